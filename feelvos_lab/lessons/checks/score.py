"""Notebook 01: the region similarity J of two masks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from feelvos_lab.evaluation.metrics import region_similarity
from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Law, Mistake


def _cases() -> list[Case]:
    hand = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], [[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    random = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(1)) < torch.tensor([0.6, 0.3])[:, None, None]
    large = torch.zeros(2, 40, 70, dtype=torch.bool)
    large[0, 8:38, 20:66], large[1, 5:35, 10:60] = True, True  # more pixels than a byte counts
    some, none = torch.eye(3, 4, dtype=torch.bool), torch.zeros(3, 4, dtype=torch.bool)
    rest = ~some & (torch.arange(4) < 3)
    return [
        _case("hand", "3×4 pixels, of which 2 are in both masks", *torch.tensor(hand, dtype=torch.bool)),
        _case("random", "two random masks", *random),
        _case("random", "two large rectangles", *large),
        _case("edge", "the masks are equal", some, some),
        _case("edge", "the masks have no pixel in common", some, rest),
        _case("edge", "the truth alone is empty", some, none),
        _case("edge", "the prediction alone is empty", none, some),
        _case("edge", "both masks are empty, so there is nothing to disagree about", none, none),
    ]


def _any(given: dict[str, torch.Tensor]) -> bool:
    return bool((given["prediction"] | given["truth"]).any())


def _case(name: str, about: str, prediction: torch.Tensor, truth: torch.Tensor) -> Case:
    return Case(name, about, {"prediction": prediction, "truth": truth}, telling=name == "random")


def _from_counts(score: Callable[[float, float, float, float, float], float], *, empty: float | None = 1.0) -> Answer:
    """The wrong answer that is a `score` of five numbers of pixels: |A ∩ B|, |A ∪ B|, |A|, |B| and all.

    It is `empty` for two empty masks (None: the score), and where the score divides by zero.
    """

    def wrong(prediction: ArrayLike, truth: ArrayLike) -> float:
        a, b = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
        counts = [float(mask.sum()) for mask in (a & b, a | b, a, b)]
        if empty is not None and not counts[1]:
            return empty
        try:
            return score(*counts, float(a.size))
        except ZeroDivisionError:
            return 1.0 if empty is None else empty

    return wrong


def _divided(score: Callable[[float, float, float, float, float], float]) -> tuple[Answer, ...]:
    """The same with each result that students give where the divisor is zero."""
    return tuple(_from_counts(score, empty=empty) for empty in (1.0, 0.0, math.nan, None))


def _by_row(axis: int, *, empty: float) -> Answer:
    def wrong(prediction: ArrayLike, truth: ArrayLike) -> float:
        a, b = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
        both, either = (a & b).sum(axis), (a | b).sum(axis)
        return float(np.where(either > 0, both / np.maximum(either, 1), empty).mean())

    return wrong


_SAYS_NAN = "two empty masks give nan: 0 / 0 needs a case of its own, with the result 1"

EXERCISES = (
    Exercise(
        "region_similarity",
        region_similarity,
        _cases,
        laws=(
            Law("J is a number, and not nan", lambda given, j: not math.isnan(j)),
            Law("J lies in 0 … 1", lambda given, j: -1e-3 < j < 1.001),
            Law("equal masks have J = 1", lambda given, j: j > 0.999 or not given["prediction"].equal(given["truth"])),
            Law(
                "masks without a common pixel have J = 0",
                lambda given, j: j < 1e-3 or bool((given["prediction"] & given["truth"]).any()) or not _any(given),
            ),
        ),
        mistakes=(
            Mistake(
                "dice",
                "this looks like the Dice coefficient, 2·|A ∩ B| / (|A| + |B|), which counts the overlap twice; "
                "J divides the overlap by the union",
                _divided(lambda both, either, a, b, n: 2 * both / (a + b)),
            ),
            Mistake(
                "accuracy",
                "this looks like the share of pixels on which the masks agree, background included; J counts only "
                "pixels that are in at least one of the masks, or an empty mask would score well",
                _divided(lambda both, either, a, b, n: (n - either + both) / n),
            ),
            Mistake(
                "of-prediction",
                "this looks like the overlap divided by the prediction (precision): one right pixel would score 1; "
                "J divides by the union",
                _divided(lambda both, either, a, b, n: both / a),
            ),
            Mistake(
                "of-truth",
                "this looks like the overlap divided by the truth (recall): a mask of everything would score 1; "
                "J divides by the union",
                _divided(lambda both, either, a, b, n: both / b),
            ),
            Mistake(
                "sum",
                "the divisor looks like |A| + |B|, which counts the overlap twice; the union counts each pixel once: "
                "|A| + |B| − |A ∩ B|",
                _divided(lambda both, either, a, b, n: both / (a + b)),
            ),
            Mistake(
                "exclusive",
                "the divisor looks like the pixels that are in exactly one of the masks (xor); the union holds those "
                "in both, too",
                _divided(lambda both, either, a, b, n: both / (either - both)),
            ),
            Mistake(
                "one-size",
                "the overlap looks divided by the size of the smaller or the larger mask; J divides by the union",
                (
                    *_divided(lambda both, either, a, b, n: both / min(a, b)),
                    *_divided(lambda both, either, a, b, n: both / max(a, b)),
                    *_divided(lambda both, either, a, b, n: both / math.sqrt(a * b)),
                ),
            ),
            Mistake(
                "frame",
                "this looks divided by all pixels of the frame; J divides by the union of the two masks",
                (
                    *_divided(lambda both, either, a, b, n: both / n),
                    *_divided(lambda both, either, a, b, n: either / n),
                ),
            ),
            Mistake(
                "count",
                "this looks like a number of pixels; J is a share: the pixels in both masks divided by those in either",
                (
                    *_divided(lambda both, either, a, b, n: both),
                    *_divided(lambda both, either, a, b, n: either),
                ),
            ),
            Mistake(
                "inverse",
                "the fraction looks upside down: it is the union divided by the overlap",
                _divided(lambda both, either, a, b, n: either / both),
            ),
            Mistake(
                "distance",
                "this is 0 for equal masks, so it is the distance 1 − J; J itself is 1 for equal masks",
                (
                    *_divided(lambda both, either, a, b, n: 1 - both / either),
                    *_divided(lambda both, either, a, b, n: (either - both) / n),
                ),
            ),
            Mistake(
                "background",
                "this looks like the overlap of the two backgrounds, or its mean with J; J looks at the object alone",
                (
                    *_divided(lambda both, either, a, b, n: (n - either) / (n - both)),
                    *_divided(lambda both, either, a, b, n: (both / either + (n - either) / (n - both)) / 2),
                ),
            ),
            Mistake(
                "whole",
                "the quotient is cut or rounded to a whole number: divide with `/`, and keep the fraction",
                (
                    *_divided(lambda both, either, a, b, n: both // either),
                    *_divided(lambda both, either, a, b, n: round(both / either)),
                ),
            ),
            Mistake(
                "percent",
                "this looks like a percentage; J lies in 0 … 1",
                _divided(lambda both, either, a, b, n: 100 * both / either),
            ),
            Mistake(
                "smoothed",
                "a constant looks added to overlap and union (smoothing), which changes every J; treat two empty masks "
                "as a case of their own instead",
                (
                    _from_counts(lambda both, either, a, b, n: (both + 1) / (either + 1), empty=None),
                    _from_counts(lambda both, either, a, b, n: both / (either + 1), empty=None),
                ),
            ),
            Mistake(
                "by-row",
                "this looks like the mean of a J for each row or column; count over the whole mask, and divide once",
                tuple(_by_row(axis, empty=empty) for axis in (0, 1) for empty in (1.0, 0.0)),
            ),
            Mistake(
                "root",
                "this looks like the root or the square of J",
                (
                    *_divided(lambda both, either, a, b, n: math.sqrt(both / either)),
                    *_divided(lambda both, either, a, b, n: (both / either) ** 2),
                ),
            ),
            Mistake(
                "one-empty",
                "one empty mask scores 1 here; that is for two empty ones: where only one is empty, nothing of the "
                "object is right, and J is 0",
                (
                    _from_counts(lambda both, either, a, b, n: both / either if a and b else 1.0),
                    _from_counts(lambda both, either, a, b, n: both / either if b else 1.0),
                    _from_counts(lambda both, either, a, b, n: both / either if a else 1.0),
                    _from_counts(lambda both, either, a, b, n: both / either if both else 1.0),
                ),
            ),
            Mistake(
                "empty",
                "two empty masks agree and should score 1, and here they score 0",
                (_from_counts(lambda both, either, a, b, n: both / either, empty=0.0),),
            ),
            Mistake(
                "nan",
                _SAYS_NAN,
                (_from_counts(lambda both, either, a, b, n: both / either, empty=math.nan),),
            ),
            Mistake(
                "zero-division",
                "two empty masks have an empty union, and 0 / 0 raises: they need a case of their own, with the result "
                "1",
                (lambda prediction, truth: (prediction & truth).sum().item() / (prediction | truth).sum().item(),),
            ),
        ),
        hints=(
            "Count two things: pixels that are in both masks, and pixels that are in at least one of them.",
            "J = |A ∩ B| / |A ∪ B|; for masks of True and False, ∩ is & and ∪ is |.",
            "both = ...                        # how many pixels are in both masks\n"
            "either = ...                      # how many are in at least one\n"
            "return ... if either else ...     # two empty masks agree",
            "both = (prediction & truth).sum().item()\n"
            "either = (prediction | truth).sum().item()\n"
            "return both / either if either else 1.0",
        ),
    ),
)
