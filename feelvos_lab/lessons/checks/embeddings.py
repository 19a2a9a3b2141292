"""Notebook 02: squared distances between embedding vectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Law, Mistake
from feelvos_lab.lessons.checks.normalise_distance import SQUASH
from feelvos_lab.model.matching import pairwise_sq_dist


def _pair_cases() -> list[Case]:
    generator = Generator().manual_seed(2)
    hand = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0], [3, 0], [1, 4]])
    random, square, narrow, one = (
        [torch.randn(n, d, generator=generator) for n in sizes]
        for sizes, d in (((5, 7), 3), ((4, 4), 4), ((6, 5), 1), ((1, 1), 3))
    )
    equal = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]])
    return [
        _pair("hand", "two vectors of two numbers against three", *hand),
        _pair("random", "5 vectors of three numbers against 7", *random),
        _pair("random", "4 vectors of four numbers against 4, so that all axes are equally long", *square),
        _pair("edge", "6 vectors of one number against 5", *narrow),
        _pair("edge", "one vector against one", *one),
        _pair("edge", "both lists hold the same vectors, so the diagonal is 0", equal, equal.clone()),
    ]


def _pair(name: str, about: str, query: Tensor, reference: Tensor) -> Case:
    return Case(name, about, {"query": query, "reference": reference}, telling=name == "random")


def _differences(query: Tensor, reference: Tensor) -> Tensor:
    return query[:, None] - reference  # (N, M, D)


def _of_differences(score: Callable[[Tensor], Tensor]) -> Answer:
    """The wrong answer that is a `score` of all differences (N, M, D)."""
    return lambda query, reference: score(_differences(query, reference))


def _expanded(factor: float, power: int = 2) -> Answer:
    """‖q‖² + ‖r‖² − factor q·r, with another power of the norms."""
    return lambda query, reference: (
        query.norm(dim=1)[:, None] ** power + reference.norm(dim=1) ** power - factor * query @ reference.t()
    )


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True)


def _unit_or_zero(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-8)


_PAIRS = Exercise(
    "pairwise_sq_dist",
    pairwise_sq_dist,
    _pair_cases,
    axes=("query", "reference"),
    laws=(
        Law("a squared distance is a number, and not nan", lambda given, d: not bool(d.isnan().any())),
        Law("a squared distance is not negative", lambda given, d: bool((d > -1e-3).all())),
        Law(
            "the squared distance of equal vectors is 0",
            lambda given, d: bool((d[(given["query"][:, None] == given["reference"]).all(2)].abs() < 1e-3).all()),
        ),
    ),
    mistakes=(
        Mistake(
            "root",
            "these look like distances, not squared distances; leave the root out: Eq. 1 squares it again",
            (_of_differences(lambda e: e.norm(dim=2)),),
        ),
        Mistake(
            "two-roots",
            "these look like roots of distances: `cdist` has a root in it already, and a squared distance has none",
            (_of_differences(lambda e: e.norm(dim=2).sqrt()),),
        ),
        Mistake(
            "fourth",
            "these look squared twice: the sum of squares is the squared distance already",
            (_of_differences(lambda e: e.square().sum(2).square()), _of_differences(lambda e: e.pow(4).sum(2))),
        ),
        Mistake(
            "mean",
            "these look like means over the D numbers of a vector, not sums; a squared distance is a sum",
            (_of_differences(lambda e: e.square().mean(2)),),
        ),
        Mistake(
            "unsummed",
            "the squares are not summed: an axis of D numbers is left; sum over it",
            (_of_differences(torch.square), _of_differences(torch.abs), _of_differences(lambda e: e)),
        ),
        Mistake(
            "axis",
            "the sum looks taken over the wrong axis: it must run over the D numbers of a vector, the last axis of "
            "the differences (N, M, D)",
            tuple(_of_differences(lambda e, d=d: e.square().sum(d)) for d in (0, 1, (0, 1), (0, 1, 2))),
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
                lambda query, reference: query.square().sum(1)[:, None] - reference.square().sum(1),
                lambda query, reference: (query.norm(dim=1)[:, None] - reference.norm(dim=1)).square(),
            ),
        ),
        Mistake(
            "cross-term",
            "the term −2 q·r of ‖q‖² + ‖r‖² − 2 q·r looks wrong: it is missing, or has another factor or sign",
            tuple(_expanded(factor) for factor in (0.0, 1.0, 0.5, -1.0, 4.0)),
        ),
        Mistake(
            "unsquared-norms",
            "the norms of ‖q‖² + ‖r‖² − 2 q·r look as if they were not squared",
            (_expanded(2.0, power=1),),
        ),
        Mistake(
            "half-expanded",
            "one of the two squared norms of ‖q‖² + ‖r‖² − 2 q·r looks missing or doubled",
            (
                lambda query, reference: query.square().sum(1)[:, None] - 2 * query @ reference.t(),
                lambda query, reference: reference.square().sum(1) - 2 * query @ reference.t(),
                lambda query, reference: 2 * query.square().sum(1)[:, None] - 2 * query @ reference.t(),
                lambda query, reference: 2 * reference.square().sum(1) - 2 * query @ reference.t(),
            ),
        ),
        Mistake(
            "all-norms",
            "the squares are summed over all vectors of a list; each vector has a squared norm of its own: "
            "`query.square().sum(1)[:, None]`",
            (lambda query, reference: query.square().sum() + reference.square().sum() - 2 * query @ reference.t(),),
        ),
        Mistake(
            "product",
            "these look like products q·r, a similarity: large for vectors that point the same way; a distance is 0 "
            "for equal vectors",
            (lambda query, reference: query @ reference.t(), lambda query, reference: -query @ reference.t()),
        ),
        Mistake(
            "cosine",
            "this looks at directions alone (cosine): the vectors are divided by their lengths, and must not be",
            (
                lambda query, reference: 1 - _unit(query) @ _unit(reference).t(),
                lambda query, reference: _unit(query) @ _unit(reference).t(),
                lambda query, reference: _differences(_unit(query), _unit(reference)).square().sum(2),
                lambda query, reference: 1 - _unit_or_zero(query) @ _unit_or_zero(reference).t(),
                lambda query, reference: _unit_or_zero(query) @ _unit_or_zero(reference).t(),
                lambda query, reference: _differences(_unit_or_zero(query), _unit_or_zero(reference)).square().sum(2),
            ),
        ),
        Mistake(
            "absolute",
            "these look like sums of |difference|; square the differences before they are summed",
            (_of_differences(lambda e: e.abs().sum(2)), _of_differences(lambda e: e.abs().sum(2).square())),
        ),
        Mistake(
            "sum-first",
            "the differences look summed before they are squared, so that those of both signs cancel; square first",
            (
                _of_differences(lambda e: e.sum(2).square()),
                _of_differences(lambda e: e.sum(2)),
                _of_differences(lambda e: e.sum(2).abs()),
            ),
        ),
        Mistake(
            "largest",
            "only the largest (or smallest) of the D differences seems to count; all of them are squared and summed",
            tuple(
                _of_differences(score)
                for score in (
                    lambda e: e.abs().amax(2),
                    lambda e: e.square().amax(2),
                    lambda e: e.square().amin(2),
                    lambda e: e[..., 0].square(),
                    lambda e: e[..., :-1].square().sum(2),
                    lambda e: e[..., 1:].square().sum(2),
                )
            ),
        ),
        Mistake(
            "plus",
            "the vectors look added, not subtracted, or the term −2 q·r has the other sign",
            (lambda query, reference: (query[:, None] + reference).square().sum(2),),
        ),
        Mistake(
            "itself",
            "one of the two lists looks compared with itself; compare each query with each reference",
            (
                lambda query, reference: _differences(query, query).square().sum(2),
                lambda query, reference: _differences(reference, reference).square().sum(2),
            ),
        ),
        Mistake(
            "own-partner",
            "vector n is compared only with vector n of the other list; every query needs the distance to every "
            "reference: give `query` a new axis",
            (
                lambda query, reference: (query - reference).square().sum(1),
                lambda query, reference: (query - reference).square(),
                lambda query, reference: (query - reference).square().sum(),
                lambda query, reference: (query - reference).norm(dim=1),
            ),
        ),
    ),
    hints=(
        "Compare every query with every reference: let broadcasting make the pairs. Which axis is new in which tensor?",
        "‖q − r‖² = Σ_d (q_d − r_d)² = ‖q‖² + ‖r‖² − 2 q·r. The first form needs N×M×D numbers, the second N×M.",
        "differences = ...                 # (N, M, D): every query minus every reference\n"
        "return ...                        # (N, M): square, and sum over the last axis",
        "squares = query.square().sum(1)[:, None] + reference.square().sum(1)   # (N, M)\n"
        "return (squares - 2 * query @ reference.t()).clamp(min=0)",
    ),
)

EXERCISES = (_PAIRS, SQUASH)
