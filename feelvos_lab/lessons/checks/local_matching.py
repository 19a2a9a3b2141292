"""Notebook 04: the nearest pixel of each object within a window."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Case, Exercise, Law, Mistake
from feelvos_lab.lessons.checks.labels import label_mistakes
from feelvos_lab.lessons.checks.windows import (
    anywhere,
    beyond_raises,
    changed,
    inner_only,
    mean,
    mirrored,
    one,
    other_radius,
    raises_if_empty,
    raises_value_error,
    regions,
    slices,
    square,
    swapped,
    turned,
    wrong,
)
from feelvos_lab.model.matching import local_matching, normalise_distance

inf = torch.inf


def _cases() -> list[Case]:
    generator = Generator().manual_seed(5)

    def random(size: tuple[int, int, int], labels: Tensor, count: int, radius: int) -> dict[str, Any]:
        query, previous = (0.6 * torch.randn(*size, generator=generator) for _ in range(2))
        return {"query": query, "previous": previous, "labels": labels, "num_objects": count, "radius": radius}

    hand = {
        "query": torch.tensor([[[2.0, 0.0, 1.0, 0.0, 2.0]]]),
        "previous": torch.tensor([[[0.0, 2.0, 0.5, 0.0, 0.2]]]),
        "labels": torch.tensor([[0, 1, 0, 0, 0]]),
        "num_objects": 2,
        "radius": 1,
    }
    everywhere = torch.randint(0, 3, (7, 6), generator=generator)
    nobody = torch.randint(0, 3, (6, 7), generator=generator)
    nobody[2:4, 2:5] = -1
    corner = torch.zeros(6, 9, dtype=torch.int64)
    corner[1:3, 1:3], corner[5, 8] = 1, 2
    above = torch.randint(0, 5, (4, 5), generator=generator)
    above[above == 4] = 9
    absent = torch.tensor([[0, 0, 0, 2]] + [[2, 0, 0, 0]] * 2)
    few = torch.tensor([[0, 1, 0], [2, 0, 1]])
    return [
        Case("hand", "five pixels in a row, the object is the second one, radius 1", hand, telling=False),
        Case("random", "a 7×6 grid, three objects everywhere, radius 2", random((3, 7, 6), everywhere, 3, 2)),
        Case("random", "a 6×9 grid, small objects, radius 1", random((2, 6, 9), corner, 3, 1)),
        Case("random", "pixels in the middle have the label −1, radius 1", random((2, 6, 7), nobody, 3, 1)),
        Case("edge", "some labels are 3 and 9, and num_objects is 3", random((2, 4, 5), above, 3, 1)),
        Case("edge", "radius 0: the window is the pixel itself", random((2, 3, 4), absent, 3, 0)),
        Case("edge", "object 1 has no pixel at all", random((2, 3, 4), absent, 3, 1)),
        Case("edge", "the window is larger than the grid: 2×3 pixels, radius 4", random((2, 2, 3), few, 3, 4)),
    ]


_MISTAKES = (
    Mistake(
        "anywhere",
        "this searches the whole frame, as global matching does; search at most `radius` rows and columns away",
        (anywhere,),
    ),
    Mistake(
        "half-window",
        "the window is too narrow on one side or on both; it reaches `radius` cells in each direction and has "
        "2·radius + 1 rows and columns (`range` leaves its end out)",
        (
            other_radius(lambda radius: radius // 2),
            wrong(window=lambda radius: list(product(range(-radius, radius), repeat=2))),
            wrong(window=lambda radius: list(product(range(-radius + 1, radius + 1), repeat=2))),
            wrong(
                window=lambda radius: list(product(range(-(radius // 2), radius // 2 + 1), range(-radius, radius + 1)))
            ),
            wrong(window=lambda radius: list(product(range(radius + 1), repeat=2))),
            wrong(window=lambda radius: list(product(range(-radius, 1), repeat=2))),
            wrong(window=lambda radius: list(product(range(-radius, radius), range(-radius, radius + 1)))),
            wrong(window=lambda radius: list(product(range(-radius, radius + 1), range(-radius, radius)))),
            other_radius(lambda radius: max(0, radius - 1)),
            other_radius(lambda radius: max(0, (radius - 1) // 2)),
            wrong(window=lambda radius: list(product(range(radius), repeat=2))),
        ),
    ),
    Mistake(
        "wide-window",
        "the window is too wide: it reaches `radius` cells in each direction, not more",
        (
            other_radius(lambda radius: radius + 1),
            other_radius(lambda radius: 2 * radius),
            other_radius(lambda radius: 2 * radius + 1),
            wrong(window=lambda radius: list(product(range(-radius, radius + 2), repeat=2))),
            wrong(window=lambda radius: list(product(range(-radius - 1, radius + 1), repeat=2))),
        ),
    ),
    Mistake(
        "fixed-window",
        "the window does not depend on `radius` as it should: it looks the same size in every case",
        tuple(other_radius(lambda radius, r=r: r) for r in (1, 2, 3, 4)),
    ),
    Mistake(
        "own-place",
        "each pixel is compared only with the one at the same position; search the whole window",
        (other_radius(lambda radius: 0),),
    ),
    Mistake(
        "one-axis",
        "the window reaches along one axis alone, or along both but never diagonally; it is a square",
        (
            wrong(window=lambda radius: [(d, 0) for d in range(-radius, radius + 1)]),
            wrong(window=lambda radius: [(0, d) for d in range(-radius, radius + 1)]),
            wrong(window=lambda radius: [(y, x) for y, x in square(radius) if not y * x]),
            wrong(window=lambda radius: [(d, d) for d in range(-radius, radius + 1)]),
        ),
    ),
    Mistake(
        "one-limit",
        "the window ends in one direction alone: rows *and* columns are at most `radius` away",
        (
            wrong(window=lambda radius: list(product(range(-20, 21), range(-radius, radius + 1)))),
            wrong(window=lambda radius: list(product(range(-radius, radius + 1), range(-20, 21)))),
        ),
    ),
    Mistake(
        "round",
        "the window looks round or like a diamond: its corners are missing; |y_q − y_p| ≤ radius and |x_q − x_p| ≤ "
        "radius make a square",
        (
            wrong(window=lambda radius: [(y, x) for y, x in square(radius) if y * y + x * x <= radius * radius]),
            wrong(window=lambda radius: [(y, x) for y, x in square(radius) if abs(y) + abs(x) <= radius]),
        ),
    ),
    Mistake(
        "no-centre",
        "the pixel at the same position is left out; it belongs to the window, too",
        (wrong(window=lambda radius: [s for s in square(radius) if s != (0, 0)] or [(10**6, 0)]),),
    ),
    Mistake(
        "wraps",
        "pixels at one border are compared with the opposite one, as with `torch.roll` or `%`; beyond the border "
        "there is nothing",
        (wrong(beyond="wrapped"),),
    ),
    Mistake(
        "negative-index",
        "a negative index counts from the other end, so pixels at the upper and left border are compared with the "
        "opposite one; let the window begin at max(0, y − radius)",
        (wrong(beyond="negative"),),
    ),
    Mistake(
        "negative-slice",
        "a slice with a negative start counts from the other end, so windows at the upper and left border are empty or "
        "wrong; let them begin at max(0, y − radius)",
        (slices(False), slices(True)),
    ),
    Mistake(
        "beyond",
        "the window runs beyond the border of the grid; let it end at min(h, y + radius + 1), or pad the frame",
        (beyond_raises,),
    ),
    Mistake(
        "inner-only",
        "pixels near the border are left at 1; their window ends at the border, and what is left of it counts",
        (inner_only,),
    ),
    Mistake(
        "padded",
        "the zeros of the padding count as background pixels; pad the labels with a number that is no object, "
        "such as −1",
        (wrong(beyond="background"),),
    ),
    Mistake(
        "centre-label",
        "the label is read at the query pixel's own position; it belongs to the pixel of the window that is compared",
        (wrong(owner="centre"),),
    ),
    Mistake(
        "mirrored",
        "embeddings and labels look shifted in opposite directions: a pixel of the window needs its own label",
        (mirrored,),
    ),
    Mistake(
        "turned",
        "rows and columns of the window look swapped: v lies around y, and u around x",
        (turned,),
    ),
    Mistake(
        "swapped",
        "query and previous look swapped: the window lies in the previous frame, to which the labels belong",
        (swapped,),
    ),
    Mistake(
        "labels",
        "the label of the pixels plays no part: all objects get the distance to the nearest pixel of the window",
        (
            wrong(relabel=lambda labels, count: labels * 0),
            *(
                lambda query, previous, labels, *, num_objects, radius: local_matching(
                    query, previous, labels * 0, num_objects=1, radius=radius
                ).expand(num_objects, -1, -1),
            ),
        ),
    ),
    Mistake(
        "shifted",
        "the maps look shifted by an object: map o must belong to label o, and the background has label 0",
        (
            wrong(relabel=lambda labels, count: labels - 1),
            wrong(relabel=lambda labels, count: labels + 1),
        ),
    ),
    Mistake(
        "not-squashed",
        "these look like squared distances, not squashed into 0 … 1; apply `normalise_distance` to the smallest",
        tuple(wrong(squash=lambda sq: sq, empty=empty) for empty in (inf, 1.0, 0.0)),
    ),
    Mistake(
        "cut",
        "these look like squared distances cut at 1, as where they are compared with a map of ones; apply "
        "`normalise_distance`",
        (wrong(squash=lambda sq: sq.clamp(0, 1)),),
    ),
    Mistake(
        "low-start",
        "squared distances are compared with a map that begins at 1, and squashed afterwards, so that nothing is above "
        "0.46; begin with infinity",
        (
            wrong(
                squash=lambda sq: normalise_distance(sq.clamp(0, 1)), empty=float(normalise_distance(torch.tensor(1.0)))
            ),
        ),
    ),
    Mistake(
        "root",
        "it looks as if Eq. 1 got the distance, not its square; leave the root out",
        (wrong(squash=lambda sq: normalise_distance(sq.sqrt())), wrong(squash=torch.sqrt, empty=inf)),
    ),
    Mistake(
        "squashed-twice",
        "Eq. 1 looks applied twice",
        (changed(normalise_distance), wrong(squash=lambda sq: normalise_distance(normalise_distance(sq)))),
    ),
    Mistake(
        "other-squash",
        "the distances look squashed by another function than Eq. 1; use `normalise_distance`",
        tuple(
            wrong(squash=f)
            for f in (torch.tanh, torch.sigmoid, lambda sq: 1 - torch.exp(-sq), lambda sq: sq / (1 + sq))
        ),
    ),
    Mistake(
        "averaged",
        "the squared distances look averaged over the D numbers of an embedding, or summed wrongly; they are a sum",
        (
            lambda query, previous, labels, *, num_objects, radius: wrong(
                squash=lambda sq: normalise_distance(sq / len(query))
            )(query, previous, labels, num_objects=num_objects, radius=radius),
        ),
    ),
    Mistake(
        "similarity",
        "this is large where the object is, so it is a similarity, 1 − d; a distance is 0 for equal pixels",
        (changed(lambda d: 1 - d),),
    ),
    Mistake(
        "mean",
        "this looks like the mean distance to the object's pixels in the window; Eq. 4 takes the smallest",
        (wrong(reduce=mean), wrong(reduce=lambda d, mine: (d * mine).sum(0) / len(d))),
    ),
    Mistake(
        "largest",
        "this looks like the largest distance in the window; Eq. 4 takes the smallest",
        (wrong(reduce=lambda d, mine: d.masked_fill(~mine, -inf).amax(0)),),
    ),
    Mistake(
        "sum",
        "the distances in the window look summed; Eq. 4 takes the smallest",
        (wrong(reduce=lambda d, mine: (d * mine).sum(0)),),
    ),
    Mistake(
        "one-pixel",
        "only the first or the last pixel of the object in the window counts: keep the smallest distance so far",
        (wrong(reduce=one(True)), wrong(reduce=one(False))),
    ),
    Mistake(
        "multiplied",
        "pixels of other objects count as distance 0, as where distances are multiplied by a mask of 0 and 1; fill "
        "them with infinity",
        (wrong(reduce=lambda d, mine: (d * mine).amin(0)), wrong(reduce=lambda d, mine: (d * mine).amin(0), empty=0.0)),
    ),
    *label_mistakes(wrong),
    Mistake(
        "label-above",
        "labels of num_objects and more count for an object; they belong to nobody",
        (
            wrong(relabel=lambda labels, count: labels.clamp(max=count - 1)),
            wrong(relabel=lambda labels, count: torch.where(labels >= count, 0, labels)),
        ),
    ),
    Mistake(
        "no-background",
        "the map of the background is missing: o runs from 0 to num_objects − 1",
        (changed(lambda d: d[1:]),),
    ),
    Mistake(
        "empty-window",
        "a window without a pixel of the object should give 1, the largest distance, and gives 0",
        (wrong(empty=0.0),),
    ),
    Mistake(
        "empty-infinite",
        "a window without a pixel of the object should give 1, the largest distance, and gives infinity or nan",
        (wrong(empty=inf), wrong(empty=float("nan"))),
    ),
    Mistake(
        "empty-raises",
        "a window may hold no pixel of the object, and then there is nothing to take the minimum of; the result is 1",
        (raises_if_empty, raises_value_error),
    ),
)

EXERCISES = (
    Exercise(
        "local_matching",
        local_matching,
        _cases,
        axes=("object", "row", "column"),
        regions=regions,
        laws=(
            Law("a distance is a number, and not nan", lambda given, d: not bool(d.isnan().any())),
            Law("nothing is above 1", lambda given, d: bool((d < 1.001).all())),
            Law("nothing is below 0", lambda given, d: bool((d > -0.001).all())),
            Law(
                "an object without a pixel is 1 everywhere",
                lambda given, d: all(
                    bool((d[o] > 0.999).all()) for o in range(len(d)) if not (given["labels"] == o).any()
                ),
            ),
        ),
        mistakes=_MISTAKES,
        hints=(
            "Begin with four loops: rows, columns, and the rows and columns of the window. What must not happen at the "
            "border? Then, if you like, turn it inside out: loop over the shifts only, and compare whole frames.",
            "L_o(p) = min of d(p, q) over the q with label o and |y_q − y_p| ≤ radius and |x_q − x_p| ≤ radius; 1 if "
            "there is none.",
            "h, w = labels.shape\n"
            "maps = ...                                   # (K, h, w), nothing found yet: infinite\n"
            "for y in range(h):\n"
            "    for x in range(w):\n"
            "        for v in range(..., ...):            # rows of the window, inside the grid\n"
            "            for u in range(..., ...):        # columns\n"
            "                o = int(labels[v, u])\n"
            "                if ...:                      # it belongs to one of the K objects\n"
            "                    maps[o, y, x] = ...      # the smaller of two squared distances\n"
            "return normalise_distance(maps)",
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
