"""The exercises: what each asks for, the inputs on which answers are checked, and the mistakes that are named.

One file per notebook.
"""

from __future__ import annotations

import importlib

from feelvos_lab.errors import LabError, did_you_mean
from feelvos_lab.lessons.checks.exercise import Exercise

LESSONS = {  # exercise → the file that describes it
    "region_similarity": "score",
    "pairwise_sq_dist": "embeddings",
    "normalise_distance": "embeddings",
    "global_matching": "global_matching",
    "matching_memory": "global_matching",
    "local_matching": "local_matching",
    "stack_cues": "head",
    "combine_objects": "head",
    "hard_pixel_loss": "training",
    "propagate": "inference",
    "paired_difference": "ablation",
}


def find_exercise(name: str) -> Exercise:
    """The exercise of that name; a LabError that suggests a similar one where there is none."""
    if name not in LESSONS:
        raise LabError(f"there is no exercise {name!r}{did_you_mean(name, LESSONS)}; there are: {', '.join(LESSONS)}")
    module = importlib.import_module(f"{__name__}.{LESSONS[name]}")
    return next(e for e in module.EXERCISES if e.name == name)
