"""Notebook 04: the nearest pixel of each object within a window."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal

import torch
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake
from feelvos_lab.model.matching import global_matching, local_matching, normalise_distance


def _cases() -> list[Case]:
    generator = Generator().manual_seed(5)
    hand = {
        "query": torch.tensor([[[2.0, 0.0, 1.0, 0.0, 2.0]]]),
        "previous": torch.tensor([[[0.0, 2.0, 0.5, 0.0, 0.2]]]),
        "labels": torch.tensor([[0, 1, 0, 0, 0]]),
        "num_objects": 2,
        "radius": 1,
    }
    random = {
        "query": torch.randn(3, 7, 6, generator=generator),
        "previous": torch.randn(3, 7, 6, generator=generator),
        "labels": torch.randint(-1, 3, (7, 6), generator=generator),
        "num_objects": 3,
        "radius": 2,
    }
    edge = {
        "query": torch.randn(2, 3, 4, generator=generator),
        "previous": torch.randn(2, 3, 4, generator=generator),
        "labels": torch.tensor([[0, 0, 0, 2]] + [[2, 0, 0, 0]] * 2),
        "num_objects": 3,
        "radius": 0,
    }
    return [
        Case("hand", "five pixels in a row, the object is the second one, radius 1", hand),
        Case("random", "a 7×6 grid, radius 2, some labels −1", random),
        Case("edge", "radius 0, and object 1 has no pixel", edge),
    ]


def _wrong(
    *,
    reach: Callable[[int], range] = lambda radius: range(-radius, radius + 1),
    beyond: Literal["nothing", "wrapped", "background"] = "nothing",
    squash: Callable[[Tensor], Tensor] = normalise_distance,
    empty: float = 1.0,
) -> Answer:
    """The local map with a mistake in its window, beyond the border, in its distance, or in empty windows."""

    def wrong(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
        h, w = labels.shape
        maps = torch.full((num_objects, h, w), torch.inf)
        for y, x, dy, dx in product(range(h), range(w), reach(radius), reach(radius)):
            v, u = y + dy, x + dx
            if beyond == "wrapped":
                v, u = v % h, u % w
            inside = 0 <= v < h and 0 <= u < w
            o = int(labels[v, u]) if inside else 0 if beyond == "background" else -1
            if 0 <= o < num_objects:
                e_q = previous[:, v, u] if inside else torch.zeros(len(previous))
                maps[o, y, x] = torch.minimum(squash((query[:, y, x] - e_q).square().sum()), maps[o, y, x])
        return maps.masked_fill(maps == torch.inf, empty)

    return wrong


def _anywhere(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    return global_matching(query, previous, labels, num_objects=num_objects)


EXERCISES = (
    Exercise(
        "local_matching",
        local_matching,
        _cases,
        mistakes=(
            Mistake(
                "anywhere",
                "this searches the whole frame, as global matching does; search at most `radius` rows and columns away",
                (_anywhere,),
            ),
            Mistake(
                "half-window",
                "the window is too narrow on one side or on both; it reaches `radius` cells in each direction and has "
                "2·radius + 1 rows and columns (`range` leaves its end out)",
                (
                    _wrong(reach=lambda radius: range(-(radius // 2), radius // 2 + 1)),
                    _wrong(reach=lambda radius: range(-radius, radius)),
                ),
            ),
            Mistake(
                "wraps",
                "pixels at one border are compared with the opposite one, as with `torch.roll` or negative indices; "
                "beyond the border there is nothing",
                (_wrong(beyond="wrapped"),),
            ),
            Mistake(
                "padded",
                "the zeros of the padding count as background pixels; pad the labels with a number that is no object, "
                "such as −1",
                (_wrong(beyond="background"),),
            ),
            Mistake(
                "empty-window",
                "a window without a pixel of the object should give 1, the largest distance, and does not",
                tuple(_wrong(empty=empty) for empty in (0.0, float("inf"), float("nan"))),
            ),
            Mistake(
                "not-squashed",
                "these look like squared distances, not squashed into 0 … 1; apply "
                "`normalise_distance` to the smallest",
                tuple(_wrong(squash=lambda sq: sq, empty=empty) for empty in (float("inf"), 1.0)),
            ),
        ),
        hints=(
            "Begin with four loops: rows, columns, and the rows and columns of the window. What must not happen at the "
            "border? Then, if you like, turn it inside out: loop over the shifts only, and compare whole frames.",
            "L_o(p) = min of d(p, q) over the q with label o and |y_q − y_p| ≤ radius and |x_q − x_p| ≤ radius; 1 if "
            "there is none.",
            "h, w = labels.shape\n"
            "seen, ids = F.pad(previous, [radius] * 4), F.pad(labels, [radius] * 4, value=-1)\n"
            "maps = query.new_full((num_objects, h, w), torch.inf)\n"
            "for v in range(2 * radius + 1):\n"
            "    for u in range(2 * radius + 1):\n"
            "        sq = (query - seen[:, v : v + h, u : u + w]).square().sum(0)           # (h, w)\n"
            "        for o in range(num_objects):\n"
            "            mine = sq.masked_fill(ids[v : v + h, u : u + w] != o, torch.inf)\n"
            "            maps[o] = torch.minimum(maps[o], mine)\n"
            "return normalise_distance(maps)",
        ),
    ),
)
