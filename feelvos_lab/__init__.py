"""feelvos_lab: learn, take apart and re-run FEELVOS (Voigtlaender et al., CVPR 2019)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__version__ = "0.1.0"


def lazy_names(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose public names are imported on first use (PEP 562).

    Args:
        package: its `__name__`.
        names: each public name with the module below the package that defines it.
    """

    def load(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        setattr(sys.modules[package], name, found)  # so that this is called once a name
        return found

    return load, lambda: sorted({*vars(sys.modules[package]), *names}), sorted(names)


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "LabError": "errors",
        "configure": "config",
        "distance_maps": "inference.probe",
        "evaluate": "evaluation.scoring",
        "explore": "widgets.explorer",
        "film": "data.sample_video",
        "load_model": "model.checkpoint",
        "make_clip": "data.synthetic",
        "paint": "widgets.painter",
        "propagate": "inference.propagation",
        "read_clip": "data.readers",
        "segment": "inference.output",
        "train": "training.loop",
    },
)
