"""Answers to `global_matching`."""

from __future__ import annotations

import torch
from answers import right, wrong
from scipy.spatial import cKDTree

from feelvos_lab.model.matching import global_matching as library_global
from feelvos_lab.model.matching import normalise_distance as squash
from feelvos_lab.model.matching import pairwise_sq_dist

GLOBAL = "global_matching"
inf = float("inf")


def table_of(query, reference):
    return pairwise_sq_dist(query.flatten(1).T, reference.flatten(1).T)


def maps_of(table, labels, count, shape):
    hot = torch.stack([labels.flatten() == o for o in range(count)])
    return squash(table.expand(count, -1, -1).masked_fill(~hot[:, None], inf).amin(2)).view(count, *shape)


@right(GLOBAL)
def global_by_table(query, reference, labels, *, num_objects):
    d = squash(table_of(query, reference))
    maps = [torch.where(labels.flatten() == o, d, 1.0).amin(1) for o in range(num_objects)]
    return torch.stack(maps).view(num_objects, *query.shape[1:])


@right(GLOBAL)
def global_by_einsum(query, reference, labels, *, num_objects):
    q, r = query.flatten(1), reference.flatten(1)
    sq = (q * q).sum(0)[:, None] + (r * r).sum(0) - 2 * torch.einsum("dm,dn->mn", q, r)
    return maps_of(sq, labels, num_objects, query.shape[1:])


@right(GLOBAL)
def global_by_loops(query, reference, labels, *, num_objects):
    _, h, w = query.shape
    result = torch.ones(num_objects, h, w)
    for o in range(num_objects):
        mine = [reference[:, v, u] for v, u in (labels == o).nonzero().tolist()]
        for y in range(h):
            for x in range(w):
                for e in mine:
                    d = 1 - 2 / (1 + torch.exp(((query[:, y, x] - e) ** 2).sum()))
                    if d < result[o, y, x]:
                        result[o, y, x] = d
    return result


@right(GLOBAL)
def global_by_columns(query, reference, labels, *, num_objects):
    result = query.new_ones(num_objects, *query.shape[1:])
    flat = query.permute(1, 2, 0).reshape(-1, query.shape[0])
    for o in labels.unique().tolist():
        if 0 <= o < num_objects:
            nearest = torch.cdist(flat, reference[:, labels == o].T).min(dim=1).values
            result[o] = torch.tanh(nearest**2 / 2).reshape(query.shape[1:])
    return result


@right(GLOBAL)
def global_by_scatter(query, reference, labels, *, num_objects):
    sq = table_of(query, reference)
    ids = torch.where((labels < 0) | (labels >= num_objects), num_objects, labels).flatten()
    nearest = torch.full((len(sq), num_objects + 1), inf)
    nearest.scatter_reduce_(1, ids.expand(len(sq), -1), sq, "amin")
    return squash(nearest[:, :num_objects]).T.reshape(num_objects, *query.shape[1:])


@right(GLOBAL)
def global_by_numpy(query, reference, labels, *, num_objects):
    q, r, ids = query.numpy(), reference.numpy(), labels.numpy()
    sq = ((q[:, :, :, None, None] - r[:, None, None]) ** 2).sum(0)
    maps = []
    for o in range(num_objects):
        mine = sq[:, :, ids == o]
        maps.append(torch.from_numpy(mine.min(-1)) if mine.size else torch.full(q.shape[1:], 1e9))
    return squash(torch.stack(maps))


@wrong(GLOBAL, "not squashed")
def global_unsquashed(query, reference, labels, *, num_objects):
    sq = table_of(query, reference)
    return torch.stack(
        [sq.masked_fill(labels.flatten() != o, inf).amin(1).view(query.shape[1:]) for o in range(num_objects)]
    )


@wrong(GLOBAL, "not its square|root")
def global_of_roots(query, reference, labels, *, num_objects):
    d = torch.cdist(query.flatten(1).T, reference.flatten(1).T)
    return maps_of(d, labels, num_objects, query.shape[1:])


@wrong(GLOBAL, "mean distance")
def global_mean(query, reference, labels, *, num_objects):
    d = squash(table_of(query, reference))
    result = torch.ones(num_objects, len(d))
    for o in range(num_objects):
        mine = (labels == o).flatten()
        if mine.any():
            result[o] = d[:, mine].mean(dim=1)
    return result.view(num_objects, *query.shape[1:])


@wrong(GLOBAL, "reshape")
def global_reshaped(query, reference, labels, *, num_objects):
    d = pairwise_sq_dist(query.reshape(-1, query.shape[0]), reference.reshape(-1, reference.shape[0]))
    return maps_of(d, labels, num_objects, query.shape[1:])


@wrong(GLOBAL, "wrong axis")
def global_over_queries(query, reference, labels, *, num_objects):
    d = squash(table_of(query, reference)).min(dim=0).values.view(labels.shape)
    return torch.stack([torch.where(labels == o, d, 1.0) for o in range(num_objects)])


@wrong(GLOBAL, "−1.*background|clamped")
def global_clamped(query, reference, labels, *, num_objects):
    return maps_of(table_of(query, reference), labels.clamp(min=0), num_objects, query.shape[1:])


@wrong(GLOBAL, "−1.*index|last object")
def global_indexed(query, reference, labels, *, num_objects):
    nearest = torch.full((num_objects, query[0].numel()), inf)
    sq = table_of(query, reference)
    for n, o in enumerate(labels.flatten().tolist()):
        if o < num_objects:
            nearest[o] = torch.minimum(nearest[o], sq[:, n])
    return squash(nearest).view(num_objects, *query.shape[1:])


@wrong(GLOBAL, "IndexError")
def global_indexed_beyond(query, reference, labels, *, num_objects):
    nearest = torch.full((num_objects, query[0].numel()), inf)
    sq = table_of(query, reference)
    for n, o in enumerate(labels.flatten()):
        if o >= 0:
            nearest[o] = torch.minimum(nearest[o], sq[:, n])
    return squash(nearest).view(num_objects, *query.shape[1:])


@wrong(GLOBAL, "num_objects")
def global_of_seen_labels(query, reference, labels, *, num_objects):
    ids = [o for o in labels.unique().tolist() if o >= 0]
    sq = table_of(query, reference)
    return torch.stack([squash(sq[:, labels.flatten() == o].amin(1)).view(query.shape[1:]) for o in ids])


@wrong(GLOBAL, "without a reference pixel.*0")
def global_absent_zero(query, reference, labels, *, num_objects):
    result = torch.zeros(num_objects, query[0].numel())
    for o in range(num_objects):
        mine = labels.flatten() == o
        if mine.any():
            result[o] = squash(table_of(query, reference)[:, mine].amin(1))
    return result.view(num_objects, *query.shape[1:])


@wrong(GLOBAL, "IndexError.*|nothing to take the minimum of")
def global_absent_raises(query, reference, labels, *, num_objects):
    sq = table_of(query, reference)
    return squash(torch.stack([sq[:, labels.flatten() == o].amin(1) for o in range(num_objects)])).view(
        num_objects, *query.shape[1:]
    )


@wrong(GLOBAL, "multiplied|distance 0")
def global_multiplied(query, reference, labels, *, num_objects):
    d = squash(table_of(query, reference))
    return torch.stack([(d * (labels.flatten() == o)).amin(1).view(query.shape[1:]) for o in range(num_objects)])


@wrong(GLOBAL, r"0\.46|before Eq. 1")
def global_filled_before(query, reference, labels, *, num_objects):
    sq = table_of(query, reference)
    maps = [torch.where(labels.flatten() == o, sq, torch.ones(())).amin(1) for o in range(num_objects)]
    return squash(torch.stack(maps)).view(num_objects, *query.shape[1:])


@wrong(GLOBAL, "background is missing|first object")
def global_without_background(query, reference, labels, *, num_objects):
    return maps_of(table_of(query, reference), labels, num_objects, query.shape[1:])[1:]


@wrong(GLOBAL, "axes are swapped|shape")
def global_objects_last(query, reference, labels, *, num_objects):
    return maps_of(table_of(query, reference), labels, num_objects, query.shape[1:]).permute(1, 2, 0)


@wrong(GLOBAL, "shape")
def global_flat(query, reference, labels, *, num_objects):
    return maps_of(table_of(query, reference), labels, num_objects, query.shape[1:]).flatten(1)


@wrong(GLOBAL, "same map")
def global_any_label(query, reference, labels, *, num_objects):
    nearest = squash(table_of(query, reference).min(1).values).view(query.shape[1:])
    return nearest.repeat(num_objects, 1, 1)


@wrong(GLOBAL, "RuntimeError.*must match|same position")
def global_same_place(query, reference, labels, *, num_objects):
    d = squash(((query - reference) ** 2).sum(0))
    return torch.stack([d.masked_fill(labels != o, 1.0) for o in range(num_objects)])


@wrong(GLOBAL, "similarity")
def global_similarity(query, reference, labels, *, num_objects):
    return 1 - maps_of(table_of(query, reference), labels, num_objects, query.shape[1:])


@wrong(GLOBAL, "writes into its argument `labels`")
def global_in_place(query, reference, labels, *, num_objects):
    labels[labels < 0] = num_objects
    return maps_of(table_of(query, reference), labels, num_objects, query.shape[1:])


@wrong(GLOBAL, "library")
def global_of_library(query, reference, labels, *, num_objects):
    return library_global(query, reference, labels, num_objects=num_objects)


@wrong(GLOBAL, "applied twice")
def global_squashed_twice(query, reference, labels, *, num_objects):
    return maps_of(squash(table_of(query, reference)), labels, num_objects, query.shape[1:])


@right(GLOBAL)
def global_by_tree(query, reference, labels, *, num_objects):
    result = torch.ones(num_objects, *query.shape[1:])
    for o in range(num_objects):
        mine = reference[:, labels == o].T.numpy()
        if len(mine):
            nearest, _ = cKDTree(mine).query(query.flatten(1).T.numpy())
            result[o] = squash(torch.from_numpy(nearest**2)).view(query.shape[1:])
    return result


@wrong(GLOBAL, "too small, so that they are still found")
def global_filled_with_five(query, reference, labels, *, num_objects):
    sq = table_of(query, reference)
    maps = [torch.where(labels.flatten() == o, sq, 5.0).amin(1) for o in range(num_objects)]
    return squash(torch.stack(maps)).view(num_objects, *query.shape[1:])


@wrong(GLOBAL, "torch.stack")
def global_list(query, reference, labels, *, num_objects):
    return list(maps_of(table_of(query, reference), labels, num_objects, query.shape[1:]))


@wrong(GLOBAL, "another number of values")
def global_in_the_shape_of_labels(query, reference, labels, *, num_objects):
    return maps_of(table_of(query, reference), labels, num_objects, labels.shape)


@wrong(GLOBAL, "not every label above 0")
def global_of_any_object(query, reference, labels, *, num_objects):
    ground, things = maps_of(table_of(query, reference), (labels > 0).long(), 2, query.shape[1:])
    return torch.stack([ground] + [things] * (num_objects - 1))


@wrong(GLOBAL, "one vector a row")
def global_not_transposed(query, reference, labels, *, num_objects):
    d = squash(pairwise_sq_dist(query.flatten(1), reference.flatten(1)))
    return torch.stack([d[:, labels.flatten() == o].amin(1).view(query.shape[1:]) for o in range(num_objects)])


@wrong(GLOBAL, "one vector a row")
def global_not_transposed_but_filled(query, reference, labels, *, num_objects):
    sq = pairwise_sq_dist(query.view(len(query), -1), reference.view(len(reference), -1))
    return maps_of(sq, labels, num_objects, query.shape[1:])


@wrong(GLOBAL, "wrong axis, the query pixels")
def global_of_chosen_rows(query, reference, labels, *, num_objects):
    sq = table_of(query, reference)
    maps = [squash(sq[labels.flatten() == o].amin(0)) for o in range(num_objects)]
    return torch.stack(maps).view(num_objects, *query.shape[1:])


@wrong(GLOBAL, "values and indices")
def global_of_values_and_indices(query, reference, labels, *, num_objects):
    d = squash(table_of(query, reference))
    return torch.stack([d[:, (labels == o).flatten()].min(1) for o in range(num_objects)])
