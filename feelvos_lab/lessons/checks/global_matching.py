"""Notebook 03: the nearest pixel of each object in the whole frame; the memory for the table of all distances."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake
from feelvos_lab.model.grid import stride4_size
from feelvos_lab.model.matching import global_matching, matching_memory, normalise_distance, pairwise_sq_dist


def _match_cases() -> list[Case]:
    generator = Generator().manual_seed(4)
    labels = torch.randint(-1, 3, (4, 3), generator=generator)
    hand = {
        "query": torch.tensor([[[0.0, 2.0], [1.0, 3.0]]]),
        "reference": torch.tensor([[[0.0, 2.0], [0.0, 2.5]]]),
        "labels": torch.tensor([[0, 1], [0, 1]]),
        "num_objects": 2,
    }
    random = {
        "query": torch.randn(3, 5, 6, generator=generator),
        "reference": torch.randn(3, 4, 3, generator=generator),
        "labels": labels,
        "num_objects": 3,
    }
    edge = {
        "query": torch.randn(2, 2, 3, generator=generator),
        "reference": torch.randn(2, 2, 3, generator=generator),
        "labels": torch.tensor([[0, 0, 2], [0, 2, 2]]),
        "num_objects": 4,
    }
    return [
        Case("hand", "a grid of 2×2 pixels with one number each, the object on the right", hand),
        Case("random", "a 5×6 grid against a 4×3 one, some labels −1", random),
        Case("edge", "objects 1 and 3 have no pixel in the reference", edge),
    ]


def _wrong(
    *,
    squash: Callable[[Tensor], Tensor] = normalise_distance,
    reduce: Callable[[Tensor], Tensor] = lambda mine: mine.amin(1),
    empty: float = 1.0,
) -> Answer:
    """The global map with a mistake: `reduce` makes one number per query pixel from an object's columns (M, N_o)."""

    def wrong(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
        table = squash(pairwise_sq_dist(query.flatten(1).t(), reference.flatten(1).t()))  # (M, N)
        maps = torch.full((num_objects, len(table)), empty)
        for o in range(num_objects):
            mine = table[:, labels.flatten() == o]
            if mine.shape[1]:
                maps[o] = reduce(mine)
        return maps.view(num_objects, *query.shape[1:])

    return wrong


def _any_label(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    return _wrong()(query, reference, torch.zeros_like(labels), num_objects=1).expand(num_objects, -1, -1)


def _same_place(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    d = normalise_distance((query - reference).square().sum(0))
    return torch.stack([torch.where(labels == o, d, torch.ones_like(d)) for o in range(num_objects)])


_MATCHING = Exercise(
    "global_matching",
    global_matching,
    _match_cases,
    mistakes=(
        Mistake(
            "not-squashed",
            "these look like squared distances, not squashed into 0 … 1; use `normalise_distance` on the smallest",
            tuple(_wrong(squash=lambda sq: sq, empty=empty) for empty in (1.0, float("inf"), 0.0)),
        ),
        Mistake(
            "root",
            "it looks as if Eq. 1 got the distance, not its square; leave the root out",
            (_wrong(squash=lambda sq: normalise_distance(sq.sqrt())),),
        ),
        Mistake(
            "mean",
            "this looks like the mean distance to the object's pixels; Eq. 2 takes the smallest: one is enough",
            (_wrong(reduce=lambda mine: mine.mean(1)),),
        ),
        Mistake(
            "labels",
            "all objects have the same map here, the distance to the nearest pixel of any of them; the minimum for "
            "object o runs only over the pixels labelled o",
            (_any_label,),
        ),
        Mistake(
            "same-place",
            "each pixel is compared only with the one at the same position; the minimum runs over all pixels of the "
            "object, wherever they are, or nothing that moved would be found",
            (_same_place,),
        ),
        Mistake(
            "absent",
            "an object without a reference pixel should be as far as possible, 1 everywhere, and is not",
            tuple(_wrong(empty=empty) for empty in (0.0, float("inf"), float("nan"))),
        ),
    ),
    hints=(
        "Make a list of query pixels and one of reference pixels, compare all with all, then look at one object's "
        "columns of that table at a time.",
        "G_o(p) = min over {q : label(q) = o} of d(p, q). The squashing is monotonic, so min-then-squash gives the "
        "same as squash-then-min.",
        "sq = pairwise_sq_dist(query.flatten(1).t(), reference.flatten(1).t())        # (M, N)\n"
        "maps = []\n"
        "for o in range(num_objects):\n"
        "    mine = sq.masked_fill(labels.flatten() != o, torch.inf)                  # only o's columns count\n"
        "    maps.append(normalise_distance(mine.amin(1)).view(query.shape[1:]))      # inf becomes 1\n"
        "return torch.stack(maps)",
    ),
)


def _memory_cases() -> list[Case]:
    return [
        Case("hand", "9×14 pixels are a grid of 3×4 cells", {"size": (9, 14), "references": None}),
        Case("random", "a 480p frame against 1024 reference pixels", {"size": (480, 854), "references": 1024}),
        Case("edge", "a frame of one pixel, and no reference pixel", {"size": (1, 1), "references": 0}),
    ]


def _bytes(cells: int, references: int | None, each: int = 4) -> int:
    return cells * (cells if references is None else references) * each


def _cells(size: tuple[int, int]) -> int:
    rows, columns = stride4_size(size)
    return rows * columns


_MEMORY = Exercise(
    "matching_memory",
    matching_memory,
    _memory_cases,
    mistakes=(
        Mistake(
            "full-size",
            "this counts all pixels of the frame; matching works on the stride-4 grid, one cell per 4×4 pixels",
            (lambda size, *, references=None: _bytes(size[0] * size[1], references),),
        ),
        Mistake(
            "numbers",
            "this counts numbers, not bytes; a float32 has four",
            (lambda size, *, references=None: _bytes(_cells(size), references, 1),),
        ),
        Mistake(
            "rounded-down",
            "the grid is a row or column too small: the first and the last pixel both have a cell, so a side of H "
            "pixels has (H − 1) // 4 + 1 of them",
            (
                lambda size, *, references=None: _bytes((size[0] // 4) * (size[1] // 4), references),
                lambda size, *, references=None: _bytes(size[0] * size[1] // 16, references),
            ),
        ),
        Mistake(
            "one-sided",
            "this is the size of one frame's list, not of the table, which has a number for every pair: M · N",
            (lambda size, *, references=None: _cells(size) * 4,),
        ),
    ),
    hints=(
        "How many rows and columns does the grid have? How many numbers does the table have? How many bytes has each?",
        "M = ((H − 1) // 4 + 1) · ((W − 1) // 4 + 1); N = M where `references` is None; bytes = M · N · 4.",
        "cells = ((size[0] - 1) // 4 + 1) * ((size[1] - 1) // 4 + 1)\n"
        "return cells * (cells if references is None else references) * 4",
    ),
)

EXERCISES = (_MATCHING, _MEMORY)
