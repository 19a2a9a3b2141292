"""Which pixel of each object within a window is nearest to each query pixel? The search behind the local distance map.

Letters: K objects, D embedding, h w the grid, T tiles, P places of the window round a tile, m queries of a tile,
A bunches of S pixels.

A tile of queries sees the pixels around it, up to `radius` beyond its border: P places for m queries, one matrix
product. Not all places lie in the window of each query: where they do not, the product is added to infinity instead of
0. Which places these are is the same for all tiles. The rest is as in `nearest.py`: longer vectors, bunches.

A tile is small, so that few places are out of a query's reach. Therefore many tiles are worked on at once, as many as
fit into the cache: otherwise the calls would take longer than the numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from feelvos_lab.model.bunches import cut_into_bunches, smallest_of_each_object
from feelvos_lab.model.nearest import lengthened_query, lengthened_reference, products_at_once

_BUNCH = 8  # S
_TILE = 8  # rows and columns of a tile


def nearest_around(query: Tensor, previous: Tensor, labels: Tensor, num_objects: int, radius: int) -> Tensor:
    """The index of the nearest pixel with each label within `radius` rows and columns, -1 where there is none.

    Shapes: (D, h, w), (D, h, w), (h, w) → (K, h, w).
    """
    d, h, w = query.shape
    device, labels = query.device, labels.reshape(-1)
    height, width = min(_TILE, h), min(_TILE, w)
    down, across = -(-h // height), -(-w // width)  # tiles; the last ones may stick out
    reach_y, reach_x = min(radius, h - 1), min(radius, w - 1)  # the window's, beyond the tile's border
    outside = _outside(height, width, radius, reach_y, reach_x).to(query)  # (P, m)
    places, m = outside.shape
    q = functional.pad(query, (0, across * width - w, 0, down * height - h))
    q = q.view(d, down, height, across, width).permute(1, 3, 0, 2, 4).reshape(down * across, d, m)
    rows, mean = lengthened_reference(previous.reshape(d, h * w))  # (N, D+1)
    y = torch.arange(down, device=device)[:, None] * height + torch.arange(-reach_y, height + reach_y, device=device)
    x = torch.arange(across, device=device)[:, None] * width + torch.arange(-reach_x, width + reach_x, device=device)
    found = torch.full((down * across, num_objects, m), -1, device=device)
    step = max(1, products_at_once(device) // (places * m))
    for tiles in torch.arange(down * across, device=device).split(step):
        their_y, their_x = y[tiles // across][:, :, None], x[tiles % across][:, None]  # (T, rows, 1), (T, 1, columns)
        inside = (their_y >= 0) & (their_y < h) & (their_x >= 0) & (their_x < w)
        pixels = (their_y.clamp(0, h - 1) * w + their_x.clamp(0, w - 1)).view(-1)  # (T·P,)
        seen = labels[pixels].where(inside.view(-1), -1).view(len(tiles), places)
        bunches = cut_into_bunches(seen, num_objects, _BUNCH)
        shape = (len(tiles), -1)
        chosen = bunches.places.view(-1)  # (T·A·S,)
        products = outside.index_select(0, chosen % places).view(*shape, m)  # (T, A·S, m)
        near = rows.index_select(0, pixels[chosen]).view(*shape, d + 1)  # (T, A·S, D+1)
        products.baddbmm_(near, lengthened_query(q[tiles], mean))
        place = smallest_of_each_object(products.view(*bunches.places.shape, m), bunches)  # (T, K, m)
        found[tiles] = pixels[place].where(place >= 0, -1)
    index = found.view(down, across, num_objects, height, width).permute(2, 0, 3, 1, 4)
    return index.reshape(num_objects, down * height, across * width)[:, :h, :w]


def _outside(height: int, width: int, radius: int, reach_y: int, reach_x: int) -> Tensor:
    """Infinity where a place of the window is too far from a query of its tile, else 0: (P, m)."""

    def too_far(size: int, reach: int) -> Tensor:
        far = (torch.arange(-reach, size + reach)[:, None] - torch.arange(size)).abs() > radius
        return torch.zeros(far.shape).masked_fill_(far, torch.inf)

    sum_ = too_far(height, reach_y)[:, None, :, None] + too_far(width, reach_x)[:, None, :]
    return sum_.reshape(-1, height * width)
