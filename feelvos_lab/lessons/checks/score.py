"""Notebook 01: the region similarity J of two masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from feelvos_lab.evaluation.metrics import region_similarity
from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake


def _cases() -> list[Case]:
    rows = {
        "prediction": [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
        "truth": [[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]],
    }
    hand = {name: torch.tensor(mask, dtype=torch.bool) for name, mask in rows.items()}
    random = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(1)) < torch.tensor([0.6, 0.3])[:, None, None]
    empty = torch.zeros(3, 4, dtype=torch.bool)
    return [
        Case("hand", "3×4 pixels, of which 2 are in both masks", hand),
        Case("random", "two random masks", {"prediction": random[0], "truth": random[1]}),
        Case(
            "edge", "both masks are empty, so there is nothing to disagree about", {"prediction": empty, "truth": empty}
        ),
    ]


def _from_counts(score: Callable[[float, float, float, float], float]) -> Answer:
    """The wrong answer that is a `score` of four numbers of pixels: |A ∩ B|, |A ∪ B|, |A| and |B|."""

    def wrong(prediction: ArrayLike, truth: ArrayLike) -> float:
        a, b = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
        return score(*(float(mask.sum()) for mask in (a & b, a | b, a, b)))

    return wrong


def _accuracy(prediction: ArrayLike, truth: ArrayLike) -> float:
    return float((np.asarray(prediction, dtype=bool) == np.asarray(truth, dtype=bool)).mean())


EXERCISES = (
    Exercise(
        "region_similarity",
        region_similarity,
        _cases,
        mistakes=(
            Mistake(
                "dice",
                "this looks like the Dice coefficient, 2·|A ∩ B| / (|A| + |B|), which counts the overlap twice; "
                "J divides the overlap by the union",
                (_from_counts(lambda both, either, a, b: 2 * both / (a + b) if a + b else 1.0),),
            ),
            Mistake(
                "accuracy",
                "this looks like the share of pixels on which the masks agree, background included; J counts only "
                "pixels that are in at least one of the masks, or an empty mask would score well",
                (_accuracy,),
            ),
            Mistake(
                "one-mask",
                "this looks like the overlap divided by one of the two masks; divided by the prediction, one right "
                "pixel would score 1, divided by the truth, a mask of everything would; J divides by the union",
                (
                    _from_counts(lambda both, either, a, b: both / a if a else 1.0),
                    _from_counts(lambda both, either, a, b: both / b if b else 1.0),
                ),
            ),
            Mistake(
                "empty",
                "two empty masks agree and should score 1, and here they do not: 0 / 0 needs a case of its own",
                (
                    _from_counts(lambda both, either, a, b: both / either if either else 0.0),
                    _from_counts(lambda both, either, a, b: both / either if either else float("nan")),
                ),
            ),
        ),
        hints=(
            "Count two things: pixels that are in both masks, and pixels that are in at least one of them.",
            "J = |A ∩ B| / |A ∪ B|; for masks of True and False, ∩ is & and ∪ is |.",
            "both = (prediction & truth).sum().item()\n"
            "either = (prediction | truth).sum().item()\n"
            "return both / either if either else 1.0",
        ),
    ),
)
