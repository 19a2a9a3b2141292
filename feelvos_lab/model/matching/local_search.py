"""Which pixel of each object within a window is nearest to each query pixel? The search behind the local distance map.

Letters: K objects, D embedding, h w the grid, T tiles, P places of the window round a tile, m queries of a tile,
A bunches of S pixels.

A tile of queries sees the pixels around it, up to `radius` beyond its border: P places for m queries, one matrix
product. Not all places lie in the window of each query: where they do not, the product is added to infinity instead of
0. Which places these are is the same for all tiles. The rest is as in `nearest.py`: longer vectors, bunches.

A tile is small, so that few places are out of a query's reach. Therefore several tiles are worked on at once, as many
as fit into the cache, and their indices are prepared for more: otherwise the calls would take longer than the numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from feelvos_lab.model.matching.global_search import lengthened_query, lengthened_reference, products_at_once
from feelvos_lab.model.matching.label_blocks import LabelBlocks, group_by_label, smallest_of_each_object

_BUNCH = 16  # S

_TILES = 24  # whose indices are prepared together


def nearest_around(query: Tensor, previous: Tensor, labels: Tensor, num_objects: int, radius: int) -> Tensor:
    """The index of the nearest pixel with each label within `radius` rows and columns, -1 where there is none.

    Shapes: (D, h, w), (D, h, w), (h, w) → (K, h, w).
    """
    d, h, w = query.shape
    device, labels = query.device, labels.reshape(-1)
    tile = _tile(radius)
    height, width = min(tile, h), min(tile, w)
    reach_y, reach_x = min(radius, h - 1), min(radius, w - 1)  # the window's, beyond the tile's border
    outside = _outside(height, width, radius, reach_y, reach_x).to(query)  # (P, m)
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
        bunches = group_by_label(labels[seen].where(inside, -1), num_objects, _BUNCH)
        amount = bunches.amount.sum(1)  # (T,) bunches of a tile
        window_place, pixel = bunches.places % places, seen.view(-1)[bunches.places]  # (T, A, S)
        part = q.index_select(1, own.view(-1)).view(d, len(tiles), m).transpose(0, 1)
        part = lengthened_query(part, mean)  # (T, D+1, m)
        most = min(step, len(tiles)) * int(amount.max()) * _BUNCH
        products_buffer, near_buffer = q.new_empty(most, m), q.new_empty(most, d + 1)
        for first in range(0, len(tiles), step):
            some = slice(first, first + step)
            a = int(amount[some].max())
            shape = (len(part[some]), a * _BUNCH)
            of, to = window_place[some, :a].reshape(-1), pixel[some, :a].reshape(-1)  # (T·A·S,)
            products = torch.index_select(outside, 0, of, out=products_buffer[: len(of)]).view(*shape, m)
            near = torch.index_select(rows, 0, to, out=near_buffer[: len(to)]).view(*shape, d + 1)
            products.baddbmm_(near, part[some])  # (T, A·S, m)
            chosen = LabelBlocks(
                pixel[some, :a], bunches.start[some], bunches.amount[some]
            )  # places as the frame's pixels
            found = smallest_of_each_object(products.view(shape[0], a, _BUNCH, m), chosen)  # (T, K, m)
            index[:, own[some].reshape(-1)] = found.transpose(0, 1).reshape(num_objects, -1)
    return index.view(num_objects, h, w)


def _tile(radius: int) -> int:
    """Rows and columns of a tile, as measured: a wide window is shared by more queries."""
    return 8 if radius < 7 else 12


def _starts(size: int, tile: int) -> Tensor:
    """Where tiles start that cover `size`; the last one may overlap the one before."""
    return torch.arange(0, size, tile).clamp_(max=size - tile)


def _pixels(top: Tensor, left: Tensor, rows: range, columns: range, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A rectangle at each corner: its flat indices, kept inside the frame, and whether they were inside, (T, P)."""
    y = top[:, None] + torch.arange(rows.start, rows.stop, device=top.device)  # (T, rows)
    x = left[:, None] + torch.arange(columns.start, columns.stop, device=top.device)  # (T, columns)
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
    pixels = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None]
    return pixels.flatten(1), inside.flatten(1)


def _outside(height: int, width: int, radius: int, reach_y: int, reach_x: int) -> Tensor:
    """Infinity where a place of the window is too far from a query of its tile, else 0: (P, m)."""

    def too_far(size: int, reach: int) -> Tensor:
        far = (torch.arange(-reach, size + reach)[:, None] - torch.arange(size)).abs() > radius
        return torch.zeros(far.shape).masked_fill_(far, torch.inf)

    sum_ = too_far(height, reach_y)[:, None, :, None] + too_far(width, reach_x)[:, None, :]
    return sum_.reshape(-1, height * width)
