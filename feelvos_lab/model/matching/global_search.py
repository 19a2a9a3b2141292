"""Exact nearest neighbours: for each query pixel, the nearest reference pixel of each object. For the global map.

Symbols: K objects, D embedding, h w the query grid, M = h·w query pixels, N reference pixels, m queries of a tile,
A blocks of S reference pixels.

The definition compares all pairs in an M×N table (2.6 GB for a 480p frame). The search costs about one matrix product:

1. Of ‖q − r‖² = ‖q‖² + ‖r‖² − 2q·r the first term does not change *which* reference is the nearest. The rest is one
   product of longer vectors, [q, 1] · [−2r, ‖r‖²].
2. References are grouped by label into blocks of S (`label_blocks.py`), so no object needs a mask over all references.
3. The minimum of each block is taken right after its products, while they are still in the cache.
4. Only the S products of blocks with the smallest minimum are computed again, to find *where* the minimum is.
5. Where it saves time, 3 is a pre-filter in bfloat16, and 4 uses float32 for every block that may hold the nearest
   pixel within the error bound (`bfloat16_bound.py`).

The mean of the references is subtracted from both sides, which makes the terms of 1 small, and with them the rounding.
Of two pixels that are equally near to within that rounding, either may be chosen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from feelvos_lab.model.matching.bfloat16_bound import RoughReference, limit_of, pays, rough_query, rough_reference
from feelvos_lab.model.matching.label_blocks import LabelBlocks, group_by_label, smallest_of_each_object

_BLOCK = 16  # S

_PART = 2**11  # reference pixels lengthened at once

_TABLE = 2**20  # up to so many products of all queries with all references, the whole table is computed

_QUERIES = 512  # m, where it is not

_PRODUCTS = {"cpu": 2**20, "cuda": 2**26}  # products computed at once: they should fit into the cache

_TILES = 8  # tiles of queries whose candidate blocks are compared together

_TOGETHER = 8  # queries of one block that are compared with it at once

_GROUPS = 2**8  # such groups at once

_MANY = 4  # candidate blocks for each query and object; where the pre-filter leaves more, it does not save time


def products_at_once(device: torch.device) -> int:
    """The number of products to compute before their minimum is taken, by the type of device."""
    return _PRODUCTS.get(device.type, _PRODUCTS["cpu"])


def nearest_anywhere(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> Tensor:
    """The index of the nearest reference of each label: (D, h, w), (D, N), (N,) → (K, h, w), -1 where none."""
    d, h, w = query.shape
    rows, mean = lengthened_reference(reference)  # (N, D+1)
    blocks = group_by_label(labels[None], num_objects, _BLOCK)
    rows = rows.index_select(0, blocks.places.view(-1))  # (A·S, D+1)
    q = query.reshape(d, h * w)
    if len(rows) * h * w <= _TABLE:
        products = torch.mm(rows, lengthened_query(q, mean))  # (A·S, M)
        index = smallest_of_each_object(products.view(1, -1, _BLOCK, h * w), blocks)
    else:
        rough = rough_reference(rows) if pays(q, len(rows)) else None
        columns = rows.view(-1, _BLOCK, d + 1).mT.reshape(-1, (d + 1) * _BLOCK)  # (A, (D+1)·S), a block side by side
        rows = None if rough else rows  # not needed for the pre-filter: frees N·(D+1) floats for the search
        index = _search_tiles(q, rows, rough, columns, mean, blocks)
    return index.reshape(num_objects, h, w)


def _search_tiles(
    q: Tensor, rows: Tensor | None, rough: RoughReference | None, columns: Tensor, mean: Tensor, blocks: LabelBlocks
) -> Tensor:
    """The search for many queries, a tile at a time: (D, M), references in float32 (`rows`) or bfloat16 → (K, M)."""
    d, n = q.shape
    index = torch.full((blocks.amount.shape[1], n), -1, device=q.device)
    # Two loops: minima are taken for a tile of queries that fits into the cache, but the comparison of candidate
    # blocks has to find several queries that share a block, of which one tile has too few.
    for start in range(0, n, _QUERIES * _TILES):
        part = lengthened_query(q[:, start : start + _QUERIES * _TILES], mean)  # (D+1, several m)
        candidates = []  # (J,) blocks, (J,) queries, of each tile
        for first, tile in zip(range(0, part.shape[1], _QUERIES), part.split(_QUERIES, 1), strict=True):
            found = _prefiltered(tile[:d], rough, blocks) if rough else None
            if found is None:
                if rough:  # too many candidates, as where pixels are alike: float32 alone is faster from here on
                    rough, rows = None, columns.view(-1, d + 1, _BLOCK).mT.reshape(-1, d + 1)
                found = _true_entries(_may_hold_nearest(_block_minima(tile, rows), blocks))
            candidates.append((found[0], found[1] + first))
        block, query = (torch.cat(parts) for parts in zip(*candidates, strict=True))
        part_index = index[:, start : start + _QUERIES * _TILES]
        _write_nearest(part_index, block, query, part.t().contiguous(), columns, blocks)
    return index


def _block_minima(q: Tensor, rows: Tensor) -> Tensor:
    """The smallest product of each block: (D', m), (A·S, D') → (A, m)."""
    m = q.shape[1]
    step = max(1, products_at_once(q.device) // (m * _BLOCK)) * _BLOCK
    # one buffer for the products of all steps: it stays in the cache, where new memory would not
    smallest, buffer = q.new_empty(len(rows) // _BLOCK, m), q.new_empty(min(step, len(rows)), m)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        products = torch.mm(part, q, out=buffer[: len(part)]).view(-1, _BLOCK, m)
        torch.amin(_comparable(products), 1, out=_comparable(smallest[start // _BLOCK :][: len(products)]))
    return smallest


def _may_hold_nearest(smallest: Tensor, blocks: LabelBlocks, bound: Tensor | None = None) -> Tensor:
    """The blocks that may hold the nearest pixel of their object: minima (A, m) → (A, m) bool.

    Args:
        bound: (m,), the error bound of the minima if they are bfloat16; None: they are exact.
    """
    near = torch.empty(smallest.shape, dtype=torch.bool, device=smallest.device)
    for start, amount in zip(blocks.start[0].tolist(), blocks.amount[0].tolist(), strict=True):
        if amount:
            of_object = _comparable(smallest[start : start + amount])
            limit = of_object.amin(0)  # (m,)
            if bound is not None:
                limit = _comparable(limit_of(limit.view(smallest.dtype), bound))
            torch.le(of_object, limit, out=near[start : start + amount])
    return near


def _prefiltered(q: Tensor, rough: RoughReference, blocks: LabelBlocks) -> tuple[Tensor, Tensor] | None:
    """The candidates by bfloat16: (D, m) → (J,) blocks, (J,) queries; None where there are too many to save time."""
    q, bound = rough_query(q, rough)  # (D+4, m), (m,)
    if not bound.isfinite().all():
        return None
    near = _may_hold_nearest(_block_minima(q, rough.rows), blocks, bound)
    if near.count_nonzero() > _MANY * q.shape[1] * blocks.amount.count_nonzero():
        return None
    return _true_entries(near)


def _true_entries(table: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the true entries of a sparse table: (A, m) → (J,), (J,)."""
    if table.shape[1] % 8:
        return table.nonzero().unbind(1)
    # `nonzero` takes its time by the entry: seen as int64, eight entries are one, and nearly all of them are 0
    word = table.view(torch.int64).view(-1).nonzero()[:, 0]
    which, byte = table.view(-1, 8)[word].nonzero().unbind(1)
    flat = word[which] * 8 + byte
    row = flat.div(table.shape[1], rounding_mode="floor")
    return row, flat - row * table.shape[1]


def _comparable(numbers: Tensor) -> Tensor:
    """bfloat16 numbers ≥ 0 as the integers of the same bits, which have the same order and a fast minimum."""
    return numbers.view(torch.int16) if numbers.dtype == torch.bfloat16 else numbers


def _write_nearest(
    index: Tensor, block: Tensor, query: Tensor, q: Tensor, columns: Tensor, blocks: LabelBlocks
) -> None:
    """Write the nearest pixel of each object into `index` (K, m), from the candidates: pairs of a block and a query.

    The products of the pairs are computed again, from `q` (m, D+1) and the `columns` (A, (D+1)·S) of the blocks.
    """
    k, m = index.shape
    # A matrix product of one block with several queries reads the block once: group the queries by block.
    pairs = group_by_label(block[None], len(columns), _TOGETHER).places[0]  # (G, _TOGETHER)
    block, query = block[pairs[:, 0]], query[pairs]  # (G,), (G, _TOGETHER)
    value, rank = q.new_empty(query.shape), block.new_empty(query.shape)
    for start in range(0, len(block), _GROUPS):
        part = slice(start, start + _GROUPS)
        vectors = columns.index_select(0, block[part]).view(-1, q.shape[1], _BLOCK)
        queries = q.index_select(0, query[part].view(-1)).view(-1, _TOGETHER, q.shape[1])
        torch.min(torch.bmm(queries, vectors), 2, out=(value[part], rank[part]))
    pixel = blocks.places.view(-1)[block[:, None] * _BLOCK + rank].view(-1)
    owner = torch.repeat_interleave(blocks.amount[0])  # (A,) the object of each block
    key = (owner[block][:, None] * m + query).view(-1)  # object and query as one number
    value = value.view(-1)
    # several blocks may be candidates for one object and query: keep the pixel that attains the smallest value
    smallest = value.new_full((k * m,), torch.inf).scatter_reduce_(0, key, value, "amin")
    nearest = (value == smallest[key]) & (value < torch.inf)
    found = torch.full((k * m,), -1, device=index.device)
    found[key[nearest]] = pixel[nearest]
    index.copy_(found.view(k, m))


def lengthened_reference(reference: Tensor) -> tuple[Tensor, Tensor]:
    """[−2r, ‖r‖²], after the mean of r was subtracted, and that mean: (D, N) → (N, D+1), (D,)."""
    d, n = reference.shape
    mean = reference.mean(1)
    rows = reference.new_empty(n, d + 1)
    for part, some in zip(rows.split(_PART), reference.split(_PART, 1), strict=True):
        torch.sub(some.t(), mean, out=part[:, :d])
        part[:, d] = part[:, :d].square().sum(1)
        part[:, :d] *= -2
    return rows, mean


def lengthened_query(query: Tensor, mean: Tensor) -> Tensor:
    """[q, 1], after the references' mean was subtracted: (…, D, m), (D,) → (…, D+1, m)."""
    d, m = query.shape[-2:]
    q = query.new_ones(*query.shape[:-2], d + 1, m)
    torch.sub(query, mean[:, None], out=q[..., :d, :])
    return q
