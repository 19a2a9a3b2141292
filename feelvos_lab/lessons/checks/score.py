"""Notebook 01: the overlap of two masks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from feelvos_lab.evaluation.metrics import region_similarity
from feelvos_lab.lessons.checks.exercise import Case, Exercise, Mistake


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


def _counts(prediction: ArrayLike, truth: ArrayLike) -> tuple[float, float, float, float]:
    a, b = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
    return float((a & b).sum()), float((a | b).sum()), float(a.sum()), float(b.sum())


def _dice(prediction: ArrayLike, truth: ArrayLike) -> float:
    both, _, one, other = _counts(prediction, truth)
    return 2 * both / (one + other) if one + other else 1.0


def _accuracy(prediction: ArrayLike, truth: ArrayLike) -> float:
    return float((np.asarray(prediction, dtype=bool) == np.asarray(truth, dtype=bool)).mean())


def _precision(prediction: ArrayLike, truth: ArrayLike) -> float:
    both, _, one, _ = _counts(prediction, truth)
    return both / one if one else 1.0


def _recall(prediction: ArrayLike, truth: ArrayLike) -> float:
    both, _, _, other = _counts(prediction, truth)
    return both / other if other else 1.0


def _empty_is(value: float):
    def wrong(prediction: ArrayLike, truth: ArrayLike) -> float:
        both, either, _, _ = _counts(prediction, truth)
        return both / either if either else value

    return wrong


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
                (_dice,),
            ),
            Mistake(
                "accuracy",
                "this looks like the share of pixels on which the masks agree, background included; J looks only at "
                "pixels that are in one of the masks at least, or an empty mask would score well",
                (_accuracy,),
            ),
            Mistake(
                "one-mask",
                "this looks like the overlap divided by one of the two masks; divided by the prediction, one right "
                "pixel would score 1, divided by the truth, a mask of everything would; J divides by the union",
                (_precision, _recall),
            ),
            Mistake(
                "empty",
                "two empty masks should score 1, for they agree, and these do not: 0 / 0 needs a case of its own",
                (_empty_is(0.0), _empty_is(float("nan"))),
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
