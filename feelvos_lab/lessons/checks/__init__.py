"""What each exercise asks for, on which inputs it is checked, and which mistakes have a name: one file a notebook."""

from __future__ import annotations

import difflib
import importlib

from feelvos_lab.errors import LabError
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
    """The exercise of that name.

    Raises:
        LabError: there is none; a similar name is suggested.
    """
    if name not in LESSONS:
        near = difflib.get_close_matches(str(name), LESSONS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise LabError(f"there is no exercise {name!r}{hint}; there are: {', '.join(LESSONS)}")
    module = importlib.import_module(f"{__name__}.{LESSONS[name]}")
    return next(e for e in module.EXERCISES if e.name == name)
