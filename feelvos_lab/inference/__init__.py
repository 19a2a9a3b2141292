"""Use a model: propagate first masks through a clip, look up distances and matches, write masks."""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Prediction": "propagation",
        "Probe": "probe",
        "propagate": "propagation",
    },
)
