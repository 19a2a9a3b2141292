"""Notebook 02: distances between embedding vectors."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Case, Exercise, Mistake
from feelvos_lab.model.matching import normalise_distance, pairwise_sq_dist


def _pair_cases() -> list[Case]:
    generator = Generator().manual_seed(2)
    hand = {"query": torch.tensor([[0.0, 0.0], [3.0, 4.0]]), "reference": torch.tensor([[0.0, 0], [3, 0], [1, 4]])}
    random = [torch.randn(n, 3, generator=generator) for n in (5, 7)]
    return [
        Case("hand", "two vectors of two numbers against three", hand),
        Case("random", "5 vectors of three numbers against 7", {"query": random[0], "reference": random[1]}),
        Case(
            "edge",
            "one vector of one number against one",
            {"query": torch.tensor([[5.0]]), "reference": torch.tensor([[2.0]])},
        ),
    ]


def _differences(query: Tensor, reference: Tensor) -> Tensor:
    return query[:, None] - reference  # (N, M, D)


_PAIRS = Exercise(
    "pairwise_sq_dist",
    pairwise_sq_dist,
    _pair_cases,
    mistakes=(
        Mistake(
            "root",
            "these look like distances, not squared distances; leave the root out: Eq. 1 squares it again",
            (lambda query, reference: _differences(query, reference).square().sum(2).sqrt(),),
        ),
        Mistake(
            "mean",
            "these look like means over the D numbers of a vector, not sums; a squared distance is a sum",
            (lambda query, reference: _differences(query, reference).square().mean(2),),
        ),
        Mistake(
            "transposed",
            "rows and columns look swapped; query pixels are the rows, reference pixels the columns: (N, M)",
            (lambda query, reference: _differences(query, reference).square().sum(2).t(),),
        ),
        Mistake(
            "norms",
            "this compares lengths, |‖q‖² − ‖r‖²|: two vectors of the same length but other directions would be equal; "
            "subtract the vectors before you square, or keep the term −2 q·r",
            (
                lambda query, reference: (query.square().sum(1)[:, None] - reference.square().sum(1)).abs(),
                lambda query, reference: query.square().sum(1)[:, None] + reference.square().sum(1),
            ),
        ),
        Mistake(
            "absolute",
            "these look like sums of |difference|; square the differences before they are summed",
            (lambda query, reference: _differences(query, reference).abs().sum(2),),
        ),
    ),
    hints=(
        "Compare every query with every reference: let broadcasting make the pairs. Which axis is new in which tensor?",
        "‖q − r‖² = Σ_d (q_d − r_d)² = ‖q‖² + ‖r‖² − 2 q·r. The first form needs N×M×D numbers, the second N×M.",
        "squares = query.square().sum(1)[:, None] + reference.square().sum(1)   # (N, M)\n"
        "return (squares - 2 * query @ reference.t()).clamp(min=0)",
    ),
)


def _squash_cases() -> list[Case]:
    generator = Generator().manual_seed(3)
    return [
        Case("hand", "four squared distances", {"sq": torch.tensor([0.0, 1.0, 2.0, 4.0])}),
        Case("random", "3×4 random squared distances", {"sq": 5 * torch.rand(3, 4, generator=generator)}),
        Case(
            "edge",
            "0, 200 and infinity, which stands for an object without a pixel",
            {"sq": torch.tensor([[0.0, 200.0, torch.inf]])},
        ),
    ]


_SQUASH = Exercise(
    "normalise_distance",
    normalise_distance,
    _squash_cases,
    mistakes=(
        Mistake(
            "sigmoid",
            "equal pixels have distance 0.5, as from a plain sigmoid; it should be 0: d = 2·sigmoid(sq) − 1",
            (torch.sigmoid, lambda sq: 1 - 1 / (1 + torch.exp(sq))),
        ),
        Mistake("no-half", "this rises too fast, like tanh(sq); the same as Eq. 1 is tanh(sq / 2)", (torch.tanh,)),
        Mistake(
            "similarity",
            "this is large for near pixels, so it is a similarity, 1 − d; a distance is 0 for equal pixels",
            (lambda sq: 2 / (1 + torch.exp(sq)), lambda sq: 1 - torch.tanh(sq / 2)),
        ),
        Mistake(
            "overflow",
            "a large squared distance should give 1 and gives nan: exp of it is infinite, and ∞ / ∞ is nan; keep "
            "the exponential in the denominator only, or use tanh",
            (
                lambda sq: (torch.exp(sq) - 1) / (torch.exp(sq) + 1),
                lambda sq: (torch.exp(sq / 2) - torch.exp(-sq / 2)) / (torch.exp(sq / 2) + torch.exp(-sq / 2)),
            ),
        ),
    ),
    hints=(
        "The input is already squared. You need a function that maps 0 to 0 and large numbers to 1.",
        "Eq. 1: d = 1 − 2 / (1 + exp(sq)), for the whole tensor at once. It is the same as tanh(sq / 2).",
        "return 1 - 2 / (1 + torch.exp(sq))",
    ),
)

EXERCISES = (_PAIRS, _SQUASH)
