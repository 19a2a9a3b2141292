"""Exact nearest neighbours within a window: for each query pixel, the nearest pixel of each object. For the local map.

Symbols: K objects, D embedding, h w the grid, N = h·w pixels, T tiles, P places of the window around a tile,
m queries of a tile, A blocks of S pixels.

A tile of queries is compared with all pixels up to `radius` beyond its border, by one matrix product. To products
outside the window of a query infinity is added, by one mask for all tiles. Longer vectors and blocks of one label are
as in `global_search.py`. A tile is small, so that few of its products lie outside a window; several are computed at
once, as many as fit into the cache, since calls have an overhead. `window_search.py` does the same for a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from feelvos_lab.model.matching.global_search import lengthened_query, lengthened_reference, products_at_once
from feelvos_lab.model.matching.label_blocks import LabelBlocks, group_by_label, smallest_of_each_object

_BLOCK = 16  # S

_TILES = 24  # tiles whose indices are prepared together


def nearest_around(query: Tensor, previous: Tensor, labels: Tensor, num_objects: int, radius: int) -> Tensor:
    """The index of the nearest pixel of each label within `radius` rows and columns, -1 where there is none.

    Shapes: (D, h, w), (D, h, w), (h, w) → (K, h, w).
    """
    d, h, w = query.shape
    device, labels = query.device, labels.reshape(-1)
    tile = _tile(radius)
    height, width = min(tile, h), min(tile, w)
    reach_y, reach_x = min(radius, h - 1), min(radius, w - 1)  # of the window, beyond the tile's border
    outside = outside_of_windows(height, width, radius, reach_y, reach_x).to(query)  # (P, m)
    places, m = outside.shape
    rows, mean = lengthened_reference(previous.reshape(d, h * w))  # (N, D+1)
    q = query.reshape(d, h * w)
    top, left = torch.cartesian_prod(_starts(h, height), _starts(w, width)).to(device).unbind(1)  # of each tile
    index = torch.full((num_objects, h * w), -1, device=device)
    step = max(1, products_at_once(device) // (places * m))
    for tiles in torch.arange(len(top), device=device).split(step * max(1, _TILES // step)):
        own, _ = _pixels(top[tiles], left[tiles], range(height), range(width), h, w)  # (T, m)
        seen, inside = _pixels(
            top[tiles], left[tiles], range(-reach_y, height + reach_y), range(-reach_x, width + reach_x), h, w
        )  # (T, P)
        # sort the window of each tile by label; places beyond the frame get a label that is left out
        blocks = group_by_label(labels[seen].where(inside, -1), num_objects, _BLOCK)
        amount = blocks.amount.sum(1)  # (T,) blocks of a tile
        window_place, pixel = blocks.places % places, seen.view(-1)[blocks.places]  # (T, A, S)
        part = q.index_select(1, own.view(-1)).view(d, len(tiles), m).transpose(0, 1)
        part = lengthened_query(part, mean)  # (T, D+1, m)
        # the buffers are used by all steps, so they stay in the cache
        most = min(step, len(tiles)) * int(amount.max()) * _BLOCK
        products_buffer, near_buffer = q.new_empty(most, m), q.new_empty(most, d + 1)
        for first in range(0, len(tiles), step):
            some = slice(first, first + step)
            a = int(amount[some].max())
            shape = (len(part[some]), a * _BLOCK)
            of, to = window_place[some, :a].reshape(-1), pixel[some, :a].reshape(-1)  # (T·A·S,)
            # products start as the mask of the window, 0 or infinity, to which the matrix product is added
            products = torch.index_select(outside, 0, of, out=products_buffer[: len(of)]).view(*shape, m)
            near = torch.index_select(rows, 0, to, out=near_buffer[: len(to)]).view(*shape, d + 1)
            products.baddbmm_(near, part[some])  # (T, A·S, m)
            of_frame = LabelBlocks(pixel[some, :a], blocks.start[some], blocks.amount[some])  # places in the frame
            found = smallest_of_each_object(products.view(shape[0], a, _BLOCK, m), of_frame)  # (T, K, m)
            index[:, own[some].reshape(-1)] = found.transpose(0, 1).reshape(num_objects, -1)
    return index.view(num_objects, h, w)


def _tile(radius: int) -> int:
    """Rows and columns of a tile, the fastest as measured: a wide window is worth sharing by more queries."""
    return 8 if radius < 7 else 12


def _starts(size: int, tile: int) -> Tensor:
    """The starts of tiles that cover `size`; the last one may overlap the one before."""
    return torch.arange(0, size, tile).clamp_(max=size - tile)


def _pixels(top: Tensor, left: Tensor, rows: range, columns: range, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A rectangle at each (top, left): flat indices, clamped to the frame, and which were inside it, (T, P) each."""
    y = top[:, None] + torch.arange(rows.start, rows.stop, device=top.device)  # (T, rows)
    x = left[:, None] + torch.arange(columns.start, columns.stop, device=top.device)  # (T, columns)
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
    pixels = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None]
    return pixels.flatten(1), inside.flatten(1)


def outside_of_windows(
    height: int, width: int, radius: int, reach_y: int, reach_x: int, *, device: torch.device | str = "cpu"
) -> Tensor:
    """Infinity where a place lies outside the window of a query of its tile, else 0: (P, m)."""

    def too_far(size: int, reach: int) -> Tensor:
        place, query = torch.arange(-reach, size + reach, device=device), torch.arange(size, device=device)
        far = (place[:, None] - query).abs() > radius
        return torch.zeros(far.shape, device=device).masked_fill_(far, torch.inf)

    either = too_far(height, reach_y)[:, None, :, None] + too_far(width, reach_x)[:, None, :]
    return either.reshape(-1, height * width)
