"""Answers to `local_matching`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from answers import right, wrong
from answers_global import inf, maps_of, table_of

from feelvos_lab.model.matching import global_matching as library_global
from feelvos_lab.model.matching import normalise_distance as squash

LOCAL = "local_matching"


def windows(query, previous, labels, count, radius, *, pad=-1, mode="constant", squashing=squash):
    """The right local map by shifts, unless told otherwise."""
    (h, w), side = labels.shape, 2 * radius + 1
    seen = F.pad(previous, [radius] * 4, mode=mode) if mode == "constant" or radius else previous
    ids = F.pad(labels, [radius] * 4, value=pad)
    maps = torch.full((count, h, w), inf)
    for v in range(side):
        for u in range(side):
            sq = (query - seen[:, v : v + h, u : u + w]).square().sum(0)
            for o in range(count):
                maps[o] = torch.minimum(maps[o], sq.masked_fill(ids[v : v + h, u : u + w] != o, inf))
    return squashing(maps)


def loops(rows=None, reach=None, start=inf, better=min, last=squash, empty=None, label=None):
    """Four loops, with parts that may be exchanged."""
    reach = reach or (lambda p, r, n: range(max(0, p - r), min(n, p + r + 1)))

    def answer(query, previous, labels, *, num_objects, radius):
        h, w = labels.shape
        best = [[[start] * w for _ in range(h)] for _ in range(num_objects)]
        for y in range(h):
            for x in range(w):
                for v in (rows or reach)(y, radius, h):
                    for u in reach(x, radius, w):
                        o = int(labels[v, u]) if label is None else label(int(labels[v, u]), num_objects)
                        if 0 <= o < num_objects:
                            sq = float(((query[:, y, x] - previous[:, v, u]) ** 2).sum())
                            best[o][y][x] = better(best[o][y][x], sq)
        maps = last(torch.tensor(best))
        return maps if empty is None else maps.masked_fill(torch.tensor(best) == start, empty)

    return answer


right(LOCAL)(loops())


@right(LOCAL)
def local_by_shifts(query, previous, labels, *, num_objects, radius):
    return windows(query, previous, labels, num_objects, radius)


@right(LOCAL)
def local_by_unfold(query, previous, labels, *, num_objects, radius):
    d, h, w = query.shape
    side = 2 * radius + 1
    seen = F.unfold(previous[None], side, padding=radius).view(d, side * side, h * w)
    ids = F.unfold((labels[None, None] + 1000).float(), side, padding=radius)[0] - 1000
    sq = torch.einsum("dpm->pm", (seen - query.flatten(1)[:, None]) ** 2)
    return squash(torch.stack([sq.masked_fill(ids != o, inf).amin(0).view(h, w) for o in range(num_objects)]))


@right(LOCAL)
def local_by_table(query, previous, labels, *, num_objects, radius):
    h, w = labels.shape
    y, x = (g.flatten() for g in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    near = ((y[:, None] - y).abs() <= radius) & ((x[:, None] - x).abs() <= radius)
    sq = table_of(query, previous).masked_fill(~near, inf)
    return maps_of(sq, labels, num_objects, (h, w))


@right(LOCAL)
def local_by_global(query, previous, labels, *, num_objects, radius):
    result = torch.ones(num_objects, *labels.shape)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            window = slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)
            here = library_global(
                query[:, y : y + 1, x : x + 1], previous[:, *window], labels[window], num_objects=num_objects
            )
            result[:, y, x] = here[:, 0, 0]
    return result


@right(LOCAL)
def local_by_rolling(query, previous, labels, *, num_objects, radius):
    r = radius
    query_, previous_ = (F.pad(e, [r] * 4) for e in (query, previous))
    ids, maps = F.pad(labels, [r] * 4, value=-1), []
    for o in range(num_objects):
        best = torch.full(ids.shape, inf)
        for dy in range(-r, r + 1):
            for dx in range(-r, r + 1):
                sq = ((query_ - previous_.roll((dy, dx), (1, 2))) ** 2).sum(0)
                best = torch.where(ids.roll((dy, dx), (0, 1)) == o, torch.minimum(best, sq), best)
        maps.append(best[r : r + labels.shape[0], r : r + labels.shape[1]])
    return squash(torch.stack(maps))


@right(LOCAL)
def local_by_mirroring(query, previous, labels, *, num_objects, radius):
    """Coordinates beyond the border are clamped to it, which is in the window anyway."""
    h, w = labels.shape
    best = torch.full((num_objects, h, w), inf)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            v, u = (torch.arange(h) + dy).clamp(0, h - 1), (torch.arange(w) + dx).clamp(0, w - 1)
            there, ids = previous[:, v][:, :, u], labels[v][:, u]
            sq = ((query - there) ** 2).sum(0)
            for o in range(num_objects):
                best[o] = torch.where(ids == o, torch.minimum(best[o], sq), best[o])
    return squash(best)


def half_open(p, r, n):
    return range(max(0, p - r), min(n, p + r))


def halved(p, r, n):
    return range(max(0, p - r // 2), min(n, p + r // 2 + 1))


def doubled(p, r, n):
    return range(max(0, p - 2 * r), min(n, p + 2 * r + 1))


def everywhere(p, r, n):
    return range(n)


def from_negative(p, r, n):
    return range(p - r, min(n, p + r + 1))


def beyond(p, r, n):
    return range(max(0, p - r), p + r + 1)


wrong(LOCAL, "too narrow")(loops(reach=half_open))
wrong(LOCAL, "too narrow")(loops(reach=halved))
wrong(LOCAL, "too wide")(loops(reach=doubled))
wrong(LOCAL, "whole frame")(loops(reach=everywhere))
wrong(LOCAL, "negative index")(loops(reach=from_negative))
wrong(LOCAL, "IndexError.*|beyond the border")(loops(reach=beyond))
wrong(LOCAL, "narrow")(loops(rows=half_open))
wrong(LOCAL, "begins at 1|0.46")(loops(start=1.0))
wrong(LOCAL, "largest")(loops(start=-inf, better=max, empty=1.0))
wrong(LOCAL, "first or the last pixel")(loops(better=lambda old, new: new))
wrong(LOCAL, "not squashed")(loops(last=lambda sq: sq))
wrong(LOCAL, "gives 0")(loops(empty=0.0))
wrong(LOCAL, "last object|index")(loops(label=lambda o, count: o % count if o < 0 else o))
wrong(LOCAL, "background")(loops(label=lambda o, count: max(o, 0)))
wrong(LOCAL, "num_objects and more")(loops(label=lambda o, count: min(o, count - 1)))
wrong(LOCAL, "not its square|root")(loops(last=lambda sq: squash(sq.sqrt())))


@wrong(LOCAL, "padding")
def local_padded_labels(query, previous, labels, *, num_objects, radius):
    return windows(query, previous, labels, num_objects, radius, pad=0)


@wrong(LOCAL, "opposite")
def local_circular(query, previous, labels, *, num_objects, radius):
    best = torch.full((num_objects, *labels.shape), inf)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            sq = ((query - previous.roll((dy, dx), (1, 2))) ** 2).sum(0)
            for o in range(num_objects):
                best[o] = torch.minimum(best[o], sq.masked_fill(labels.roll((dy, dx), (0, 1)) != o, inf))
    return squash(best)


@wrong(LOCAL, "own position")
def local_centre_label(query, previous, labels, *, num_objects, radius):
    best = windows(query, previous, torch.zeros_like(labels), 1, radius)[0]
    return torch.stack([best.masked_fill(labels != o, 1.0) for o in range(num_objects)])


@wrong(LOCAL, "round|diamond")
def local_diamond(query, previous, labels, *, num_objects, radius):
    h, w = labels.shape
    y, x = (g.flatten() for g in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    near = (y[:, None] - y).abs() + (x[:, None] - x).abs() <= radius
    return maps_of(table_of(query, previous).masked_fill(~near, inf), labels, num_objects, (h, w))


@wrong(LOCAL, "negative start")
def local_slices(query, previous, labels, *, num_objects, radius):
    result = torch.ones(num_objects, *labels.shape)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            rows, columns = slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1)
            sq = ((query[:, y, x, None, None] - previous[:, rows, columns]) ** 2).sum(0)
            for o in range(num_objects):
                mine = sq[labels[rows, columns] == o]
                if len(mine):
                    result[o, y, x] = squash(mine.min())
    return result


@wrong(LOCAL, "border")
def local_inside_only(query, previous, labels, *, num_objects, radius):
    (h, w), r = labels.shape, radius
    result = torch.ones(num_objects, h, w)
    for y in range(r, h - r):
        for x in range(r, w - r):
            ids = labels[y - r : y + r + 1, x - r : x + r + 1]
            sq = ((query[:, y, x, None, None] - previous[:, y - r : y + r + 1, x - r : x + r + 1]) ** 2).sum(0)
            for o in range(num_objects):
                if (ids == o).any():
                    result[o, y, x] = squash(sq[ids == o].min())
    return result


@wrong(LOCAL, "swapped")
def local_swapped(query, previous, labels, *, num_objects, radius):
    return windows(previous, query, labels, num_objects, radius)


@wrong(LOCAL, "library")
def local_of_library(query, previous, labels, *, num_objects, radius):
    from feelvos_lab.model.matching.maps import local_matching as known

    return known(query, previous, labels, num_objects=num_objects, radius=radius)


@wrong(LOCAL, "stopped after")
def local_endless(query, previous, labels, *, num_objects, radius):
    v = 0
    while v < 2 * radius + 1:
        pass
    return windows(query, previous, labels, num_objects, radius)


def table_within(query, previous, labels, count, near):
    """The local map from the table of all pairs, where `near` (h·w, h·w) says which count."""
    return maps_of(table_of(query, previous).masked_fill(~near, inf), labels, count, labels.shape)


def offsets(labels):
    rows, columns = (g.flatten() for g in torch.meshgrid(*map(torch.arange, labels.shape), indexing="ij"))
    return (rows[:, None] - rows).abs(), (columns[:, None] - columns).abs()


@wrong(LOCAL, r"rows \*and\* columns")
def local_of_whole_columns(query, previous, labels, *, num_objects, radius):
    return table_within(query, previous, labels, num_objects, offsets(labels)[1] <= radius)


@wrong(LOCAL, "same position is left out")
def local_without_the_middle(query, previous, labels, *, num_objects, radius):
    near = torch.stack(offsets(labels)).amax(0) <= radius
    return table_within(query, previous, labels, num_objects, near.fill_diagonal_(False))


@wrong(LOCAL, "window holds no pixel")
def local_or_global(query, previous, labels, *, num_objects, radius):
    near = windows(query, previous, labels, num_objects, radius)
    return torch.where(near == 1, maps_of(table_of(query, previous), labels, num_objects, labels.shape), near)
