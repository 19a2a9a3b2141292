"""Notebook 04: the nearest pixel of each object within a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


def _windows(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, offsets: list[int], **odd) -> Tensor:
    """The local map over the given row and column offsets, with a mistake."""
    h, w = labels.shape
    maps = torch.full((num_objects, h, w), odd.get("empty", 1.0))
    found = torch.zeros(num_objects, h, w, dtype=torch.bool)
    for y in range(h):
        for x in range(w):
            for dy in odd.get("rows", offsets):
                for dx in offsets:
                    v, u = y + dy, x + dx
                    if odd.get("wrap"):
                        v, u = v % h, u % w
                    inside = 0 <= v < h and 0 <= u < w
                    if not inside and not odd.get("pad"):
                        continue
                    o = int(labels[v, u]) if inside else 0
                    if not 0 <= o < num_objects:
                        continue
                    e_q = previous[:, v, u] if inside else torch.zeros(len(previous))
                    d = normalise_distance((query[:, y, x] - e_q).square().sum())
                    maps[o, y, x] = torch.minimum(d, maps[o, y, x]) if found[o, y, x] else d
                    found[o, y, x] = True
    return maps


def _wrong(**odd) -> Answer:
    def wrong(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
        reach = list(range(-radius, radius + 1))
        return _windows(query, previous, labels, num_objects=num_objects, offsets=reach, **odd)

    return wrong


def _anywhere(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    return global_matching(query, previous, labels, num_objects=num_objects)


def _width(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    half = radius // 2
    return local_matching(query, previous, labels, num_objects=num_objects, radius=half)


def _exclusive(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    reach = list(range(-radius, radius))
    return _windows(query, previous, labels, num_objects=num_objects, offsets=reach)


def _no_squash(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    return _squared(query, previous, labels, num_objects=num_objects, radius=radius).nan_to_num(posinf=1.0)


def _squared(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    h, w = labels.shape
    seen = F.pad(previous, [radius] * 4)
    ids = F.pad(labels, [radius] * 4, value=-1)
    maps = torch.full((num_objects, h, w), torch.inf)
    for v in range(2 * radius + 1):
        for u in range(2 * radius + 1):
            sq = (query - seen[:, v : v + h, u : u + w]).square().sum(0)
            for o in range(num_objects):
                mine = sq.masked_fill(ids[v : v + h, u : u + w] != o, torch.inf)
                maps[o] = torch.minimum(maps[o], mine)
    return maps


EXERCISES = (
    Exercise(
        "local_matching",
        local_matching,
        _cases,
        mistakes=(
            Mistake(
                "anywhere",
                "this looks everywhere, like global matching; only pixels at most `radius` rows and columns away count",
                (_anywhere,),
            ),
            Mistake(
                "half-window",
                "the window is too narrow on one side or on both; it reaches `radius` cells in each direction and has "
                "2·radius + 1 rows and columns (mind that `range` leaves its end out)",
                (_width, _exclusive),
            ),
            Mistake(
                "wraps",
                "pixels at one border look at the other one, as `torch.roll` and negative indices do; beyond it "
                "there is nothing",
                (_wrong(wrap=True),),
            ),
            Mistake(
                "padded",
                "the zeros of the padding are taken for pixels of the background; pad the labels with a number that is "
                "no object, such as −1",
                (_wrong(pad=True),),
            ),
            Mistake(
                "empty-window",
                "a window without a pixel of the object should give 1, as far as can be, and does not",
                (_wrong(empty=0.0), _wrong(empty=float("inf")), _wrong(empty=float("nan"))),
            ),
            Mistake(
                "not-squashed",
                "these look like squared distances, not squashed into 0 … 1; send the smallest through "
                "`normalise_distance`",
                (_squared, _no_squash),
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
