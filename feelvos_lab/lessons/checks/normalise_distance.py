"""Notebook 02: Eq. 1, the distance of two pixels from their squared distance."""

from __future__ import annotations

import torch
from torch import Generator

from feelvos_lab.lessons.checks.exercise import Case, Exercise, Law, Mistake
from feelvos_lab.model.matching import normalise_distance


def _squash_cases() -> list[Case]:
    generator = Generator().manual_seed(3)
    return [
        Case("hand", "four squared distances", {"sq": torch.tensor([0.0, 1.0, 2.0, 4.0])}),
        Case("random", "3×4 random squared distances", {"sq": 5 * torch.rand(3, 4, generator=generator)}),
        Case("random", "2×3×2 random squared distances", {"sq": 2 * torch.rand(2, 3, 2, generator=generator)}),
        Case("edge", "the distances are the same everywhere", {"sq": torch.full((2, 2), 0.5)}, telling=False),
        Case("edge", "a distance of 200", {"sq": torch.tensor([[0.0, 3.0, 200.0]])}, telling=False),
        Case(
            "edge",
            "infinity, which stands for an object without a pixel",
            {"sq": torch.tensor([[0.0, 2.0, torch.inf]])},
            telling=False,
        ),
        Case("edge", "the slope is asked for", {"sq": torch.linspace(0, 20, 9)}, gradient="sq", telling=False),
    ]


SQUASH = Exercise(
    "normalise_distance",
    normalise_distance,
    _squash_cases,
    laws=(
        Law("the result is a number, and not nan", lambda given, d: not bool(d.isnan().any())),
        Law("0 becomes 0", lambda given, d: bool((d[given["sq"] == 0].abs() < 1e-3).all())),
        Law("nothing is above 1", lambda given, d: bool((d < 1.001).all())),
        Law("nothing is below 0", lambda given, d: bool((d > -0.001).all())),
        Law("large squared distances become 1", lambda given, d: bool((d[given["sq"] > 20] > 0.99).all())),
    ),
    mistakes=(
        Mistake(
            "sigmoid",
            "equal pixels have distance 0.5, as from a plain sigmoid, or with a 1 in place of the 2 of Eq. 1; it "
            "should be 0: d = 2·sigmoid(sq) − 1",
            (torch.sigmoid, lambda sq: 1 - 1 / (1 + torch.exp(sq))),
        ),
        Mistake(
            "no-half",
            "this rises too fast, like tanh(sq) or Eq. 1 of 2·sq; the same as Eq. 1 is tanh(sq / 2)",
            (torch.tanh,),
        ),
        Mistake(
            "too-slow",
            "this rises too slowly, like tanh(sq / 4) or Eq. 1 of sq / 2; the same as Eq. 1 is tanh(sq / 2)",
            (lambda sq: torch.tanh(sq / 4),),
        ),
        Mistake(
            "similarity",
            "this is large for near pixels, so it is a similarity, 1 − d; a distance is 0 for equal pixels",
            (
                lambda sq: 2 / (1 + torch.exp(sq)),
                lambda sq: 1 - torch.tanh(sq / 2),
                lambda sq: torch.exp(-sq),
                lambda sq: 1 / (1 + sq),
                lambda sq: 1 / (1 + torch.exp(sq)),
            ),
        ),
        Mistake(
            "negative",
            "the sign of the exponent or of the result looks reversed: d rises from 0 to 1",
            (lambda sq: 1 - 2 / (1 + torch.exp(-sq)), lambda sq: 2 / (1 + torch.exp(sq)) - 1),
        ),
        Mistake(
            "squared-again",
            "`sq` looks squared once more; it is a squared distance already",
            (lambda sq: torch.tanh(sq.square() / 2), lambda sq: torch.tanh(sq.square())),
        ),
        Mistake(
            "root",
            "it looks as if Eq. 1 got the distance, the root of sq; in Eq. 1 the exponent is the squared distance "
            "itself",
            (lambda sq: torch.tanh(sq.sqrt() / 2), lambda sq: torch.tanh(sq.sqrt())),
        ),
        Mistake(
            "other-function",
            "this also rises from 0 to 1, but it is another function than Eq. 1: d = 1 − 2 / (1 + exp(sq))",
            (
                lambda sq: 1 - torch.exp(-sq),
                lambda sq: 1 - torch.exp(-sq / 2),
                lambda sq: sq / (1 + sq),
                lambda sq: 1 - 1 / (1 + sq),
                lambda sq: 1 - 2 / (2 + sq),
                lambda sq: torch.atan(sq) * 2 / torch.pi,
                lambda sq: torch.erf(sq),
                lambda sq: torch.erf(sq / 2),
                lambda sq: sq / (1 + sq.square()).sqrt(),
            ),
        ),
        Mistake(
            "numerator",
            "the 2 of Eq. 1 looks missing, or is in another place: d = 1 − 2 / (1 + exp(sq))",
            (
                lambda sq: 1 - 1 / torch.exp(sq) / 2,
                lambda sq: 1 - 2 / (2 + torch.exp(sq)),
                lambda sq: 1 - 2 / torch.exp(sq),
                lambda sq: (1 - 2) / (1 + torch.exp(sq)),
                lambda sq: 1 - 2 / 1 + torch.exp(sq),  # = exp(sq) − 1
                lambda sq: 1 - 2 / (1 + sq),
            ),
        ),
        Mistake(
            "base",
            "the exponential looks taken to another base than e",
            (lambda sq: 1 - 2 / (1 + 2**sq), lambda sq: 1 - 2 / (1 + 10**sq)),
        ),
        Mistake(
            "scaled",
            "this divides by a number taken from the tensor itself (its largest, its sum, its mean), so a distance "
            "would depend on the others; Eq. 1 looks at each number alone",
            (
                lambda sq: sq / sq.max(),
                lambda sq: (sq - sq.min()) / (sq.max() - sq.min()),
                lambda sq: sq / sq.sum(),
                lambda sq: sq / sq.norm(),
                lambda sq: (sq - sq.mean()) / sq.std(),
                lambda sq: torch.softmax(sq, -1),
                lambda sq: torch.softmax(sq, 0),
                lambda sq: torch.tanh(sq / sq.max() / 2),
            ),
        ),
        Mistake(
            "unbounded",
            "this grows beyond 1 for large squared distances; Eq. 1 stays below 1",
            (
                torch.log1p,
                lambda sq: (1 + torch.exp(sq)).log(),
                lambda sq: torch.sqrt(sq),
                lambda sq: 2 / (1 + torch.exp(-sq)),
            ),
        ),
        Mistake(
            "clamped",
            "these are the squared distances cut at 1; Eq. 1 bends them, and does not cut",
            (lambda sq: sq.clamp(0, 1), lambda sq: (sq / 2).clamp(0, 1)),
        ),
        Mistake(
            "unchanged",
            "these are the squared distances themselves; apply Eq. 1",
            (lambda sq: sq.clone(), lambda sq: sq / 2),
        ),
        Mistake(
            "twice",
            "Eq. 1 looks applied twice",
            (lambda sq: torch.tanh(torch.tanh(sq / 2) / 2),),
        ),
        Mistake(
            "overflow",
            "a large squared distance should give 1 and gives nan, as ∞ / ∞ does; keep the exponential in the "
            "denominator alone, or use tanh",
            (
                lambda sq: (torch.exp(sq) - 1) / (torch.exp(sq) + 1),
                lambda sq: (torch.exp(sq / 2) - torch.exp(-sq / 2)) / (torch.exp(sq / 2) + torch.exp(-sq / 2)),
                lambda sq: torch.where(sq > 40, torch.nan, torch.tanh(sq / 2)),
            ),
        ),
        Mistake(
            "infinite",
            "an infinite squared distance should give 1, and does not; the large numbers are right",
            tuple(lambda sq, v=v: torch.where(sq.isinf(), v, torch.tanh(sq / 2)) for v in (torch.nan, 0.0, torch.inf)),
        ),
        Mistake(
            "kink",
            "the numbers are right, but |…| has no slope at 0, where the curve of Eq. 1 is steepest; the difference is "
            "never negative, so leave `abs` out",
            (lambda sq: (1 - 2 / (1 + torch.exp(sq))).abs(), lambda sq: (2 / (1 + torch.exp(sq)) - 1).abs()),
        ),
        Mistake(
            "no-gradient",
            "the numbers are right, but no gradient reaches sq, and the next cell asks for the slope: it stops at "
            "`detach`, `item`, `tolist`, numpy, `math` or a new `torch.tensor`",
            (lambda sq: torch.tanh(sq.detach() / 2),),
        ),
    ),
    hints=(
        "The input is already squared. You need a function that maps 0 to 0 and large numbers to 1.",
        "Eq. 1: d = 1 − 2 / (1 + exp(sq)), for the whole tensor at once. It is the same as tanh(sq / 2).",
        "grown = ...                       # the exponential of every number of sq\nreturn 1 - ... / (1 + grown)",
        "return 1 - 2 / (1 + torch.exp(sq))",
    ),
)
