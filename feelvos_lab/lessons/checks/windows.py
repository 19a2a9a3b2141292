"""Notebook 04: local matching with mistakes, to recognise them in an answer; the parts of a map that have a name."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor

from feelvos_lab.lessons.checks.exercise import Answer
from feelvos_lab.model.matching import global_matching, local_matching, normalise_distance

inf = torch.inf

Shifts = list[tuple[int, int]]


def square(radius: int) -> Shifts:
    return list(product(range(-radius, radius + 1), repeat=2))


def wrong(
    *,
    window: Callable[[int], Shifts] = square,
    beyond: Literal["nothing", "wrapped", "negative", "background"] = "nothing",
    squash: Callable[[Tensor], Tensor] = normalise_distance,
    reduce: Callable[[Tensor, Tensor], Tensor] = lambda d, mine: d.masked_fill(~mine, inf).amin(0),
    empty: float = 1.0,
    relabel: Callable[[Tensor, int], Tensor] = lambda labels, count: labels,
    owner: Literal["neighbour", "centre"] = "neighbour",
) -> Answer:
    """The local map with a mistake: in its window, beyond the border, in its distance, labels or empty windows.

    `reduce` makes one number per pixel from the distances (S, h, w) to the S shifts and whether they count.
    """

    def wrong(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
        (h, w), ids = labels.shape, relabel(labels, num_objects)
        distances, owners = [], []
        for dy, dx in window(radius):
            v, u = torch.arange(h)[:, None] + dy, torch.arange(w) + dx
            inside = ((v >= 0) & (v < h)) & ((u >= 0) & (u < w))
            if beyond == "negative":  # from the end, as an index of Python
                inside = ((v >= -h) & (v < h)) & ((u >= -w) & (u < w))
            there = previous[:, v % h, u % w]
            if beyond == "background":
                there = there * inside
            outside = {"wrapped": ids[v % h, u % w], "background": torch.zeros_like(labels)}.get(
                beyond, torch.tensor(-1)
            )
            owners.append(torch.where(inside, ids if owner == "centre" else ids[v % h, u % w], outside))
            distances.append(squash((query - there).square().sum(0)))
        d, label = torch.stack(distances), torch.stack(owners)  # (S, h, w)
        maps = []
        for o in range(num_objects):
            mine = label == o
            maps.append(torch.where(mine.any(0), reduce(d, mine), empty))
        return torch.stack(maps)

    return wrong


def mean(d: Tensor, mine: Tensor) -> Tensor:
    return (d * mine).sum(0) / mine.sum(0)


def one(last: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """The first or the last pixel of the object in the window."""

    def reduce(d: Tensor, mine: Tensor) -> Tensor:
        order = torch.arange(1, 1 + len(d))[:, None, None] * mine
        index = order.argmax(0) if last else torch.where(mine, order, len(d) + 1).argmin(0)
        return d.gather(0, index[None])[0]

    return reduce


def changed(change: Callable[[Tensor], Tensor]) -> Answer:
    """The right map, changed."""
    return lambda query, previous, labels, *, num_objects, radius: change(
        local_matching(query, previous, labels, num_objects=num_objects, radius=radius)
    )


def anywhere(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    return global_matching(query, previous, labels, num_objects=num_objects)


def other_radius(radius_of: Callable[[int], int]) -> Answer:
    return wrong(window=lambda radius: square(radius_of(radius)))


def slices(raising: bool) -> Answer:
    """Windows cut out by slices, whose negative start means the other end, so that they are empty or wrong."""

    def wrong(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
        h, w = labels.shape
        maps = torch.ones(num_objects, h, w)
        for y, x in product(range(h), range(w)):
            rows, columns = slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1)
            there, ids = previous[:, rows, columns].flatten(1), labels[rows, columns].flatten()
            d = normalise_distance((query[:, y, x, None] - there).square().sum(0))
            for o in range(num_objects):
                if raising or (ids == o).any():
                    maps[o, y, x] = d[ids == o].min()
        return maps

    return wrong


def turned(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """The rows of the window lie around the column of the pixel, and its columns around the row."""
    (h, w), best = labels.shape, torch.full((num_objects, *labels.shape), inf)
    for y, x in product(range(h), range(w)):
        rows = slice(max(0, x - radius), max(0, min(h, x + radius + 1)))
        columns = slice(max(0, y - radius), max(0, min(w, y + radius + 1)))
        sq = (query[:, y, x, None, None] - previous[:, rows, columns]).square().sum(0)
        for o in range(num_objects):
            if (mine := labels[rows, columns] == o).any():
                best[o, y, x] = sq[mine].min()
    return normalise_distance(best)


def inner_only(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """Only pixels whose whole window lies in the grid."""
    r, right = radius, local_matching(query, previous, labels, num_objects=num_objects, radius=radius)
    result = torch.ones_like(right)
    inner = slice(r, max(r, labels.shape[0] - r)), slice(r, max(r, labels.shape[1] - r))
    result[:, inner[0], inner[1]] = right[:, inner[0], inner[1]]
    return result


def mirrored(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """The labels of the opposite shift."""
    (h, w), r = labels.shape, radius
    seen = torch.nn.functional.pad(previous, [r] * 4)
    ids = torch.nn.functional.pad(labels, [r] * 4, value=-1)
    maps = torch.full((num_objects, h, w), inf)
    for v, u in product(range(2 * r + 1), repeat=2):
        sq = (query - seen[:, v : v + h, u : u + w]).square().sum(0)
        v_, u_ = 2 * r - v, 2 * r - u
        for o in range(num_objects):
            maps[o] = torch.minimum(maps[o], sq.masked_fill(ids[v_ : v_ + h, u_ : u_ + w] != o, inf))
    return normalise_distance(maps)


def swapped(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    return local_matching(previous, query, labels, num_objects=num_objects, radius=radius)


def raises_if_empty(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """The minimum of an empty list."""
    right = local_matching(query, previous, labels, num_objects=num_objects, radius=radius)
    if not all((m < 1).all() for m in right):
        raise RuntimeError("min(): Expected reduction dim to be specified for input.numel() == 0")
    return right


def raises_value_error(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    try:
        return raises_if_empty(query, previous, labels, num_objects=num_objects, radius=radius)
    except RuntimeError:
        raise ValueError("min() arg is an empty sequence") from None


def beyond_raises(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """Indices beyond the lower and right border."""
    if radius:
        raise IndexError("index is out of bounds")
    return local_matching(query, previous, labels, num_objects=num_objects, radius=radius)


def regions(arguments: dict[str, Any]) -> dict[str, Tensor]:
    labels, count, r = (arguments[n] for n in ("labels", "num_objects", "radius"))
    h, w = labels.shape
    y, x = torch.arange(h)[:, None].expand(h, w), torch.arange(w).expand(h, w)

    def near(hit: Tensor) -> Tensor:
        """Whether a pixel's window holds one of these pixels."""
        places = hit.nonzero()
        return sum(((y - v).abs() <= r) & ((x - u).abs() <= r) for v, u in places.tolist()) + torch.zeros(h, w) > 0

    top_left = ((y < r) | (x < r)).expand(count, h, w)
    border = ((y < r) | (x < r) | (y >= h - r) | (x >= w - r)).expand(count, h, w)
    inside = torch.stack([near(labels == o) for o in range(count)])
    return {
        "at the border, where part of the window lies outside the grid,": border,
        "at the upper and left border, where the window would begin at a negative index,": top_left,
        "whose window holds no pixel of the object": ~inside,
        "whose window holds a pixel that belongs to nobody": near((labels < 0) | (labels >= count)).expand(count, h, w),
    }
