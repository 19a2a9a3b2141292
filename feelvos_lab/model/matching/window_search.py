"""The nearest pixel of each object within a window by few large operations: the local search on a GPU.

Symbols: K objects, D embedding, h w the grid, N = h·w pixels, T tiles, P places of the window around a tile, m queries
of a tile, A blocks of S pixels.

As in `local_search.py`, a tile of queries is multiplied with all pixels up to `radius` beyond its border, infinity is
added to products outside the window of a query, and the window is sorted by label into blocks of one object. But all
tiles are computed at once, or as many as fit into memory, and all shapes follow from those of the input: the number of
kernel launches depends neither on the grid nor on K, and the CPU never waits for a result. The law is the same, so the
tests run both on the CPU and count the operations there.

How long it takes on a GPU is unmeasured: `python experiments/benchmarks/gpu.py` prints it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from feelvos_lab.model.matching.slice_search import free_block_bytes

_BLOCK = 16  # S

_TILE = 12  # rows and columns of a tile


def nearest_in_windows(
    query: Tensor,
    previous: Tensor,
    labels: Tensor,
    num_objects: int,
    radius: int,
    *,
    block_bytes: int | None = None,
) -> Tensor:
    """The index of the nearest pixel of each label within `radius` rows and columns, -1 where there is none.

    Shapes: (D, h, w), (D, h, w), (h, w) → (K, h, w).

    Args:
        block_bytes: of the intermediate results of the tiles computed at once; None: `free_block_bytes`.
    """
    d, h, w = query.shape
    height, width = min(_TILE, h), min(_TILE, w)  # of a tile
    reach_y, reach_x = min(radius, h - 1), min(radius, w - 1)  # of the window, beyond the tile's border
    below, right = -h % height, -w % width  # to whole tiles
    down, across = (h + below) // height, (w + right) // width  # T = down · across

    def windows(table: Tensor, value: int) -> Tensor:
        """The window of each tile, `value` beyond the frame: (h, w) → (T, P)."""
        table = functional.pad(table, (reach_x, reach_x + right, reach_y, reach_y + below), value=value)
        table = table.unfold(0, height + 2 * reach_y, height).unfold(1, width + 2 * reach_x, width)
        return table.reshape(down * across, -1)

    owner = windows(labels.where((labels >= 0) & (labels < num_objects), num_objects), num_objects)
    pixels = functional.pad(windows(torch.arange(h * w, device=query.device).view(h, w), 0), (0, 1))  # (T, P+1)
    outside = _outside(query, (height, width), radius, (reach_y, reach_x))  # (P+1, m)
    mean = previous.mean((1, 2), keepdim=True)  # subtracted from both sides: less rounding, the same distances
    r = (previous - mean).flatten(1).t()  # (N, D)
    # ‖q‖² is the same for all pixels, so [q, 1]·[−2r, ‖r‖²] has its minimum at the same one
    rows = torch.cat([-2 * r, r.square().sum(1, keepdim=True)], 1)  # (N, D+1)
    q = functional.pad(query - mean, (0, right, 0, below, 0, 1), value=1.0)  # (D+1, …)
    q = q.view(d + 1, down, height, across, width).permute(1, 3, 0, 2, 4).reshape(down * across, d + 1, -1)  # (T, …, m)
    found = torch.empty(len(q), num_objects, q.shape[2], dtype=torch.int64, device=query.device)
    step = max(1, (block_bytes or free_block_bytes(query.device)) // _bytes_of_a_tile(outside, d, num_objects))
    for start in range(0, len(q), step):
        tiles = slice(start, start + step)
        found[tiles] = _nearest_of_tiles(q[tiles], rows, owner[tiles], pixels[tiles], outside, num_objects)
    found = found.view(down, across, num_objects, height, width).permute(2, 0, 3, 1, 4)
    return found.reshape(num_objects, h + below, w + right)[:, :h, :w].contiguous()


def _nearest_of_tiles(
    q: Tensor, rows: Tensor, owner: Tensor, pixels: Tensor, outside: Tensor, num_objects: int
) -> Tensor:
    """Queries (T, D+1, m), all pixels (N, D+1), labels (T, P), places of pixels (T, P+1), mask (P+1, m) → (T, K, m)."""
    tiles = len(owner)
    key, order = _blocks_of_one_label(owner, num_objects)  # (T, A·S) each
    pixel = pixels.gather(1, order)
    # products start as the mask of the window, 0 or infinity, to which the matrix product is added
    products = outside.index_select(0, order.view(-1)).view(tiles, -1, q.shape[2])
    products.baddbmm_(rows.index_select(0, pixel.view(-1)).view(tiles, -1, rows.shape[1]), q)  # (T, A·S, m)
    products = products.view(tiles, -1, _BLOCK, q.shape[2])
    objects = torch.arange(num_objects, device=q.device)[:, None, None]
    mine = key.view(tiles, 1, -1, _BLOCK)[..., :1] == objects  # (T, K, A, 1)
    # `amin` is fast, `min` with its indices slow: the latter only for the minima of blocks, and the blocks that win
    value, block = products.amin(2)[:, None].where(mine, torch.inf).min(2)  # (T, K, m)
    rank = products.gather(1, block[:, :, None].expand(-1, -1, _BLOCK, -1)).min(2).indices  # (T, K, m)
    nearest = pixel.gather(1, (block * _BLOCK + rank).view(tiles, -1)).view(value.shape)
    return nearest.masked_fill_(value == torch.inf, -1)


def _blocks_of_one_label(owner: Tensor, num_objects: int) -> tuple[Tensor, Tensor]:
    """Sort each row of labels 0 … K (K: ignored) so that every S of them are of one label: (T, P) → 2 × (T, A·S).

    Returns the labels and their places in the row. To each object up to S − 1 places P are added, to fill its last
    block; the rest of these, and some to fill the last block of all, get the label K.
    """
    tiles, places = owner.shape
    objects = torch.arange(num_objects, device=owner.device)[:, None]
    amount = (owner[:, None] == objects).sum(2, keepdim=True)  # (T, K, 1)
    missing = torch.arange(_BLOCK - 1, device=owner.device) < -amount % _BLOCK  # (T, K, S − 1)
    fill = objects.where(missing, num_objects).view(tiles, -1)
    fill = functional.pad(fill, (0, -(places + fill.shape[1]) % _BLOCK), value=num_objects)
    key, order = torch.cat([owner, fill], 1).sort(dim=1, stable=True)
    return key, order.clamp_(max=places)


def _outside(query: Tensor, tile: tuple[int, int], radius: int, reach: tuple[int, int]) -> Tensor:
    """Infinity where a place lies outside the window of a query of its tile, else 0; the last place for all: (P+1, m).

    Place i and query j of a tile's row (or column) are i − j − reach apart, so row i − j + size − 1 of one table says
    whether that is too far.
    """
    window = [size + 2 * beyond for size, beyond in zip(tile, reach, strict=True)]  # its rows and columns
    table = query.new_full([places + queries - 1 for places, queries in zip(window, tile, strict=True)], torch.inf)
    near = [slice(max(0, r - radius + size - 1), r + radius + size) for size, r in zip(tile, reach, strict=True)]
    table[near[0], near[1]] = 0
    # the part of the table that begins at row s belongs to the tile's row size − 1 − s, hence the flip
    shifted = table.unfold(0, window[0], 1).unfold(1, window[1], 1).flip(0, 1)  # rows, columns of tile and window
    return functional.pad(shifted.flatten(2).flatten(0, 1).t(), (0, 0, 0, 1), value=torch.inf)


def _bytes_of_a_tile(outside: Tensor, dim: int, num_objects: int) -> int:
    """About what the intermediate results of a tile take: near pixels, products, minima of blocks, sorting."""
    places, queries = outside.shape
    rows = places + num_objects * (_BLOCK - 1) + _BLOCK
    minima = rows // _BLOCK + num_objects * (rows // _BLOCK + _BLOCK + 6)  # with the products of the blocks that win
    return outside.element_size() * (rows * (dim + 1) + (rows + minima) * queries) + (40 + num_objects) * rows
