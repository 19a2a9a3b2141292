"""Which reference pixel of each object is nearest to each query pixel? The search behind the global distance map.

Letters: K objects, D embedding, h w the query grid, N reference pixels, m queries of a tile, A bunches of S pixels.

The definition compares everything with everything and would fill an M×N table (2.6 GB for one 480p frame).
Five ideas make it about as cheap as the matrix product it contains:

1. Of ‖q − r‖² = ‖q‖² + ‖r‖² − 2q·r the first term is the same for all references, so it does not matter for
   *which* is nearest. The rest is one product of longer vectors, [q, 1] · [−2r, ‖r‖²].
2. References are sorted by object and cut into bunches of S (`bunches.py`). So no object needs a mask over all
   references, and the cost hardly grows with K.
3. The smallest product of each bunch is found at once, while it is still in the cache.
4. An object's nearest pixel lies in a bunch whose smallest product is the object's smallest. Only the S products of
   such a bunch are looked at again, to see where: for all queries of some tiles that share it together.
5. Where it saves time, 3 is done in bfloat16, and 4 with every bunch that its error may hide (`rough.py`).

Subtracting the references' mean from both sides leaves distances alone and keeps the terms of 1 small, and with them
the rounding. Where two pixels are equally near to within that rounding, either may be chosen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from feelvos_lab.model.matching.bfloat16_bound import RoughReference, limit_of, pays, rough_query, rough_reference
from feelvos_lab.model.matching.label_blocks import LabelBlocks, group_by_label, smallest_of_each_object

_BUNCH = 16  # S

_PART = 2**11  # reference pixels lengthened at once

_KEPT = 2**20  # products of all queries with all references, up to which they are kept until the end

_QUERIES = 512  # m where they are not

_PRODUCTS = {"cpu": 2**20, "cuda": 2**26}  # computed at once: they should still be in the cache when they are reduced

_TILES = 8  # whose nearest bunches are looked at again together

_TOGETHER = 8  # queries of one bunch that are compared with it at once

_AGAIN = 2**8  # times so many

_MANY = 4  # bunches for each query and object; if a first look leaves more, it was not worth it


def products_at_once(device: torch.device) -> int:
    """How many products to compute before their minimum is taken, by the kind of device."""
    return _PRODUCTS.get(device.type, _PRODUCTS["cpu"])


def nearest_anywhere(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> Tensor:
    """The index of the nearest reference with each label: (D, h, w), (D, N), (N,) → (K, h, w), -1 where none."""
    d, h, w = query.shape
    rows, mean = lengthened_reference(reference)  # (N, D+1)
    bunches = group_by_label(labels[None], num_objects, _BUNCH)
    rows = rows.index_select(0, bunches.places.view(-1))  # (A·S, D+1)
    q = query.reshape(d, h * w)
    if len(rows) * h * w <= _KEPT:
        products = torch.mm(rows, lengthened_query(q, mean))
        index = smallest_of_each_object(products.view(1, -1, _BUNCH, h * w), bunches)
    else:
        rough = rough_reference(rows) if pays(q, len(rows)) else None
        columns = _columns(rows)
        rows = None if rough else rows  # no longer needed: memory for the search itself
        index = _in_tiles(q, rows, rough, columns, mean, bunches)
    return index.reshape(num_objects, h, w)


def _columns(rows: Tensor) -> Tensor:
    """The vectors of each bunch side by side: (A·S, D+1) → (A, (D+1)·S)."""
    return rows.view(-1, _BUNCH, rows.shape[1]).mT.reshape(-1, rows.shape[1] * _BUNCH)


def _in_tiles(
    q: Tensor, rows: Tensor | None, rough: RoughReference | None, columns: Tensor, mean: Tensor, bunches: LabelBlocks
) -> Tensor:
    """The same for many queries (D, M), a tile at a time, from lengthened references in float32 or rough → (K, M)."""
    d, n = q.shape
    index = torch.full((bunches.amount.shape[1], n), -1, device=q.device)
    for start in range(0, n, _QUERIES * _TILES):
        part = lengthened_query(q[:, start : start + _QUERIES * _TILES], mean)  # (D+1, several m)
        near = []  # (J,) bunches, (J,) queries, of each tile
        for first, tile in zip(range(0, part.shape[1], _QUERIES), part.split(_QUERIES, 1), strict=True):
            found = _near_at_first_look(tile[:d], rough, bunches) if rough else None
            if found is None:
                if rough:  # too many bunches are as near as the nearest: so float32 alone is faster from here on
                    rough, rows = None, columns.view(-1, d + 1, _BUNCH).mT.reshape(-1, d + 1)
                found = _pairs(_not_above_the_smallest(_smallest_of_bunches(tile, rows), bunches))
            near.append((found[0], found[1] + first))
        bunch, query = (torch.cat(parts) for parts in zip(*near, strict=True))
        part_index = index[:, start : start + _QUERIES * _TILES]
        _write_nearest(part_index, bunch, query, part.t().contiguous(), columns, bunches)
    return index


def _smallest_of_bunches(q: Tensor, rows: Tensor) -> Tensor:
    """The smallest product of each bunch: (D', m), (A·S, D') → (A, m)."""
    m = q.shape[1]
    step = max(1, products_at_once(q.device) // (m * _BUNCH)) * _BUNCH
    smallest, buffer = q.new_empty(len(rows) // _BUNCH, m), q.new_empty(min(step, len(rows)), m)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        products = torch.mm(part, q, out=buffer[: len(part)]).view(-1, _BUNCH, m)
        torch.amin(_comparable(products), 1, out=_comparable(smallest[start // _BUNCH :][: len(products)]))
    return smallest


def _not_above_the_smallest(smallest: Tensor, bunches: LabelBlocks, bound: Tensor | None = None) -> Tensor:
    """Which bunches may hold an object's smallest product: (A, m), and the bound of the error if rough → (A, m)."""
    near = torch.empty(smallest.shape, dtype=torch.bool, device=smallest.device)
    for start, amount in zip(bunches.start[0].tolist(), bunches.amount[0].tolist(), strict=True):
        if amount:
            of_object = _comparable(smallest[start : start + amount])
            limit = of_object.amin(0)  # (m,)
            if bound is not None:
                limit = _comparable(limit_of(limit.view(smallest.dtype), bound))
            torch.le(of_object, limit, out=near[start : start + amount])
    return near


def _near_at_first_look(q: Tensor, rough: RoughReference, bunches: LabelBlocks) -> tuple[Tensor, Tensor] | None:
    """The same from bfloat16, as pairs: (D, m) → (J,) bunches, (J,) queries. Nothing if these are too many."""
    q, bound = rough_query(q, rough)  # (D+4, m), (m,)
    if not bound.isfinite().all():
        return None
    near = _not_above_the_smallest(_smallest_of_bunches(q, rough.rows), bunches, bound)
    if near.count_nonzero() > _MANY * q.shape[1] * bunches.amount.count_nonzero():
        return None
    return _pairs(near)


def _pairs(near: Tensor) -> tuple[Tensor, Tensor]:
    """Where a sparse table is true: (A, m) → (J,) rows, (J,) columns. Eight entries are passed over at once."""
    if near.shape[1] % 8:
        return near.nonzero().unbind(1)
    word = near.view(torch.int64).view(-1).nonzero()[:, 0]  # those of eight entries that have a true one
    which, byte = near.view(-1, 8)[word].nonzero().unbind(1)
    flat = word[which] * 8 + byte
    row = flat.div(near.shape[1], rounding_mode="floor")
    return row, flat - row * near.shape[1]


def _comparable(numbers: Tensor) -> Tensor:
    """bfloat16 numbers, which must not be negative, as the integers of the same bits: these have a fast minimum."""
    return numbers.view(torch.int16) if numbers.dtype == torch.bfloat16 else numbers


def _write_nearest(
    index: Tensor, bunch: Tensor, query: Tensor, q: Tensor, columns: Tensor, bunches: LabelBlocks
) -> None:
    """Write into `index` (K, m) the nearest pixel of each object: for a query in one of the bunches paired with it.

    The products of these are computed once more, from `q` (m, D+1) and the bunches' `columns` (A, (D+1)·S): for several
    queries of one bunch at once.
    """
    k, m = index.shape
    pairs = group_by_label(bunch[None], len(columns), _TOGETHER).places[0]  # (G, _TOGETHER)
    bunch, query = bunch[pairs[:, 0]], query[pairs]  # (G,), (G, _TOGETHER)
    value, rank = q.new_empty(query.shape), bunch.new_empty(query.shape)
    for start in range(0, len(bunch), _AGAIN):
        part = slice(start, start + _AGAIN)
        vectors = columns.index_select(0, bunch[part]).view(-1, q.shape[1], _BUNCH)
        queries = q.index_select(0, query[part].view(-1)).view(-1, _TOGETHER, q.shape[1])
        torch.min(torch.bmm(queries, vectors), 2, out=(value[part], rank[part]))
    pixel = bunches.places.view(-1)[bunch[:, None] * _BUNCH + rank].view(-1)
    owner = torch.repeat_interleave(bunches.amount[0])  # (A,)
    key = (owner[bunch][:, None] * m + query).view(-1)  # object and query
    value = value.view(-1)
    smallest = value.new_full((k * m,), torch.inf).scatter_reduce_(0, key, value, "amin")
    nearest = (value == smallest[key]) & (value < torch.inf)
    found = torch.full((k * m,), -1, device=index.device)
    found[key[nearest]] = pixel[nearest]
    index.copy_(found.view(k, m))


def lengthened_reference(reference: Tensor) -> tuple[Tensor, Tensor]:
    """[−2r, ‖r‖²], their mean subtracted, and the mean: (D, N) → (N, D+1), (D,)."""
    d, n = reference.shape
    mean = reference.mean(1)
    rows = reference.new_empty(n, d + 1)
    for part, some in zip(rows.split(_PART), reference.split(_PART, 1), strict=True):
        torch.sub(some.t(), mean, out=part[:, :d])
        part[:, d] = part[:, :d].square().sum(1)
        part[:, :d] *= -2
    return rows, mean


def lengthened_query(query: Tensor, mean: Tensor) -> Tensor:
    """[q, 1], the references' mean subtracted: (…, D, m), (D,) → (…, D+1, m)."""
    d, m = query.shape[-2:]
    q = query.new_ones(*query.shape[:-2], d + 1, m)
    torch.sub(query, mean[:, None], out=q[..., :d, :])
    return q
