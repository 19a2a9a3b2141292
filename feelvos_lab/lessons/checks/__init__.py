"""The exercises: what each asks for, the inputs on which answers are checked, and the mistakes that are named.

A file per notebook holds its exercises. `tables`, `windows`, `losses` and `walks` hold wrong answers that it knows.
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
NUMBERS = {  # exercise → the number of its notebook
    "region_similarity": 1,
    "pairwise_sq_dist": 2,
    "normalise_distance": 2,
    "global_matching": 3,
    "matching_memory": 3,
    "local_matching": 4,
    "stack_cues": 5,
    "combine_objects": 5,
    "hard_pixel_loss": 6,
    "propagate": 7,
    "paired_difference": 9,
}


def find_exercise(name: str) -> Exercise:
    """The exercise of that name; a LabError that suggests a similar one where there is none."""
    if name not in LESSONS:
        raise LabError(f"there is no exercise {name!r}{did_you_mean(name, LESSONS)}; there are: {', '.join(LESSONS)}")
    module = importlib.import_module(f"{__name__}.{LESSONS[name]}")
    return next(e for e in module.EXERCISES if e.name == name)
