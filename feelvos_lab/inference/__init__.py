"""Use a model: propagate given masks through a clip, query distances and matches, write masks."""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Prediction": "propagation",
        "Probe": "probe",
        "propagate": "propagation",
    },
)
