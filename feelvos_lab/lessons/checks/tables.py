"""Notebook 03: global matching with mistakes, to recognise them in an answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from feelvos_lab.lessons.checks.exercise import Answer
from feelvos_lab.model.matching import global_matching, normalise_distance, pairwise_sq_dist


def table(query: Tensor, reference: Tensor) -> Tensor:
    return pairwise_sq_dist(query.flatten(1).t(), reference.flatten(1).t())  # (M, N)


def columns(query: Tensor, reference: Tensor) -> Tensor:
    """The table of vectors that were not transposed: channels take the place of pixels."""
    return pairwise_sq_dist(query.flatten(1), reference.flatten(1))


def wrong(
    *,
    table: Callable[[Tensor, Tensor], Tensor] = table,
    squash: Callable[[Tensor], Tensor] = normalise_distance,
    reduce: Callable[[Tensor], Tensor] = lambda mine: mine.amin(1),
    empty: float = 1.0,
    relabel: Callable[[Tensor, int], Tensor] = lambda labels, count: labels,
    owns: Callable[[Tensor, int], Tensor] = lambda labels, o: labels == o,
) -> Answer:
    """The global map with a mistake: `reduce` makes one number per query pixel from an object's columns (M, N_o)."""

    def wrong(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
        d = squash(table(query, reference))
        ids = relabel(labels, num_objects).flatten()
        maps = torch.full((num_objects, len(d)), empty)
        for o in range(num_objects):
            mine = d[:, owns(ids, o)]
            if mine.shape[1]:
                maps[o] = reduce(mine)
        return maps.view(num_objects, *query.shape[1:])

    return wrong


def filled(
    fill: float,
    squash: Callable[[Tensor], Tensor],
    last: Callable[[Tensor], Tensor],
    *,
    table: Callable[[Tensor, Tensor], Tensor] = table,
) -> Answer:
    """The other objects' columns are filled with a number, and not left out."""

    def wrong(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
        d = squash(table(query, reference))
        maps = [last(d.masked_fill(labels.flatten() != o, fill).amin(1)) for o in range(num_objects)]
        return torch.stack(maps).view(num_objects, *query.shape[1:])

    return wrong


def changed(change: Callable[[Tensor], Tensor]) -> Answer:
    """The right map, changed."""
    return lambda query, reference, labels, *, num_objects: change(
        global_matching(query, reference, labels, num_objects=num_objects)
    )


def any_label(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    return wrong()(query, reference, torch.zeros_like(labels), num_objects=1).expand(num_objects, -1, -1)


def same_place(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    d = normalise_distance((query - reference).square().sum(0))
    return torch.stack([torch.where(labels == o, d, torch.ones_like(d)) for o in range(num_objects)])


def swapped(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    return global_matching(reference, query, labels, num_objects=num_objects)


def over_queries(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """The minimum over the query pixels: one number per reference pixel."""
    d = normalise_distance(table(query, reference)).amin(0)  # (N,)
    maps = [torch.where(labels.flatten() == o, d, 1.0) for o in range(num_objects)]
    return torch.stack(maps).view(num_objects, *labels.shape)


def of_query_rows(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """Labels of the reference choose rows of the table, which are query pixels."""
    d = normalise_distance(table(query, reference))
    maps = [d[labels.flatten() == o].amin(0) for o in range(num_objects)]
    return torch.stack(maps).view(num_objects, *query.shape[1:])


def seen_only(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """Maps of the labels that occur, in their order, and no other."""
    right = global_matching(query, reference, labels, num_objects=8)
    return right[[int(o) for o in labels.unique() if o >= 0]]


def reshaped(*which: str) -> Answer:
    """The list of pixels by `reshape(-1, D)`, which mixes channels and pixels."""

    def pixels(e: Tensor, name: str) -> Tensor:
        return e.reshape(-1, e.shape[0]) if name in which else e.flatten(1).t()

    return wrong(table=lambda q, r: pairwise_sq_dist(pixels(q, "query"), pixels(r, "reference")))


def turned(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    d = global_matching(query.transpose(1, 2), reference, labels, num_objects=num_objects)
    return d.reshape(num_objects, *query.shape[1:])


def normalised(query: Tensor, reference: Tensor) -> Tensor:
    """1 − cosine of all pairs (M, N)."""
    q, r = (torch.nn.functional.normalize(e.flatten(1), dim=0) for e in (query, reference))
    return 1 - q.t() @ r


def products(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """The largest product q·r over the object's pixels."""
    table = query.flatten(1).t() @ reference.flatten(1)
    maps = [table.masked_fill(labels.flatten() != o, -torch.inf).amax(1) for o in range(num_objects)]
    return torch.stack(maps).view(num_objects, *query.shape[1:])
