"""Which reference pixel of each object is nearest to each query pixel? The search behind both distance maps.

Letters: K objects, D embedding, h w the query grid, N reference pixels, T tiles, P places of a window,
m queries of a tile, S references of a bunch, A bunches.

The definition compares everything with everything and would fill an M×N table (2.6 GB for one 480p frame).
Four ideas make it as cheap as the matrix product it contains:

1. Of ‖q − r‖² = ‖q‖² + ‖r‖² − 2q·r the first term is the same for all references, so it does not matter for
   *which* is nearest. The rest is one product of longer vectors, [q, 1] · [−2r, ‖r‖²].
2. References are sorted by object and cut into bunches of S, each of one object (the last of an object is filled
   up by repeating a pixel, which changes no minimum). So no object needs a mask, and the cost hardly grows with K.
3. The smallest value of each bunch is found first, which is fast; only then *where* it lies, which is slow, among
   the S values of the best bunch.
4. It is done for a tile of queries at a time, in a buffer that fits the cache.

For the local map a tile of 8×8 queries sees the (8 + 2·radius)² pixels around it. Not all of these lie in the
window of each query; the product starts from infinity, instead of 0, where they do not. That pattern is the same
for all tiles.

Subtracting the references' mean from both sides leaves distances alone and keeps the terms of 1 small, hence the
rounding: where two pixels are equally near to within that rounding, either may be chosen.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_BUNCH = 16  # S: references whose smallest distance is kept
_BUFFER = 2**21  # numbers in the buffer of a tile of global queries
_SLICE = 2**18  # numbers of it that are computed at once, so that they are still in the cache when reduced
_TILE = 8  # rows and columns of a tile of local queries


class _Bunches(NamedTuple):
    """References of T tiles sorted by tile, then object, and cut into bunches."""

    place: Tensor  # (A, S) where in its tile's window each reference lies
    stops: list[list[int]]  # T × K: where in `place` the bunches of each tile and object end


def nearest_anywhere(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> Tensor:
    """The index of the nearest of the references (D, N) with label o: (D, h, w) → (K, h, w), -1 where there is none."""
    d, h, w = query.shape
    q, r = _augmented(query, reference)  # (D+1, h, w), (N, D+1)
    bunches = _bunches(labels[None], num_objects)
    place = bunches.place.reshape(-1)  # (A·S,)
    r = r[place]  # (A·S, D+1)
    q = q.reshape(d + 1, h * w)
    index = torch.full((num_objects, h * w), -1, device=q.device)
    m = max(16, min(h * w, _BUFFER // max(1, len(place))))
    for start in range(0, h * w, m):
        tile = q[:, start : start + m]  # (D+1, m)
        _search_tile(tile, r, place, [0, *bunches.stops[0]], None, index[:, start : start + m])
    return index.reshape(num_objects, h, w)


def nearest_around(query: Tensor, previous: Tensor, labels: Tensor, num_objects: int, radius: int) -> Tensor:
    """The same among the pixels of the previous frame (D, h, w) at most `radius` rows and columns away."""
    h, w = labels.shape
    q, r = _augmented(query, previous.reshape(len(previous), h * w))  # (D+1, h, w), (N, D+1)
    rows, columns = min(_TILE, h), min(_TILE, w)
    device = q.device
    dy = torch.arange(-radius, rows + radius, device=device)  # window rows, from the tile's first row
    dx = torch.arange(-radius, columns + radius, device=device)
    outside = _outside(dy, rows, radius)[:, None, :, None] + _outside(dx, columns, radius)[None, :, None, :]
    outside = outside.reshape(len(dy) * len(dx), rows * columns).to(q.dtype)  # (P, m)
    lefts = [min(left, w - columns) for left in range(0, w, columns)]  # the last tile overlaps its neighbour
    x = torch.tensor(lefts, device=device)[:, None] + dx  # (T, window columns)
    index = torch.full((num_objects, h, w), -1, device=device)
    for top in range(0, h, rows):
        top = min(top, h - rows)
        y = top + dy
        pixel = (y.clamp(0, h - 1) * w)[None, :, None] + x.clamp(0, w - 1)[:, None, :]  # (T, rows, columns)
        inside = ((y >= 0) & (y < h))[None, :, None] & ((x >= 0) & (x < w))[:, None, :]
        seen = labels.reshape(-1)[pixel].where(inside, -1)
        pixel = pixel.flatten(1)  # (T, P)
        bunches = _bunches(seen.flatten(1), num_objects)
        first = 0
        for tile, left in enumerate(lefts):
            stops = bunches.stops[tile]
            place = bunches.place[first : stops[-1]].reshape(-1)  # (A·S,)
            here = pixel[tile][place]
            block = (slice(None), slice(top, top + rows), slice(left, left + columns))
            found = index.new_full((num_objects, rows * columns), -1)
            ends = [stop - first for stop in (first, *stops)]
            _search_tile(q[block].flatten(1), r[here], here, ends, outside[place], found)
            index[block] = found.reshape(num_objects, rows, columns)
            first = stops[-1]
    return index


def _search_tile(q: Tensor, r: Tensor, pixel: Tensor, stops: list[int], buffer: Tensor | None, index: Tensor) -> None:
    """Write the nearest pixels of one tile into `index` (K, m).

    q (D+1, m) and r (A·S, D+1) are augmented, `pixel` (A·S,) says which reference each row of r is, and the bunches
    of object o are stops[o] … stops[o + 1]. A buffer (A·S, m), if given, is what the products are added to.
    """
    (n, _), m = r.shape, q.shape[1]
    begin = buffer is not None
    if buffer is None:
        buffer = q.new_empty(n, m)
    smallest = q.new_empty(n // _BUNCH, m)
    step = max(1, _SLICE // (m * _BUNCH)) * _BUNCH
    for a in range(0, n, step):
        part = buffer[a : a + step]
        if begin:
            torch.addmm(part, r[a : a + step], q, out=part)
        else:
            torch.mm(r[a : a + step], q, out=part)
        torch.amin(part.view(-1, _BUNCH, m), 1, out=smallest[a // _BUNCH : (a + step) // _BUNCH])
    present = [o for o in range(len(stops) - 1) if stops[o] < stops[o + 1]]
    if not present:
        return
    best = torch.stack([smallest[stops[o] : stops[o + 1]].min(0).indices + stops[o] for o in present])  # (K', m)
    k = len(present)
    candidates = buffer.view(-1, _BUNCH, m).gather(0, best[:, None].expand(k, _BUNCH, m))  # (K', S, m)
    value, at = candidates.min(1)  # (K', m)
    nearest = pixel[best * _BUNCH + at]
    nearest = torch.where(value.isinf(), -1, nearest)
    if k == len(index):
        index.copy_(nearest)
    else:
        index[present] = nearest


def _augmented(query: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """[q, 1] as (D+1, h, w) and [−2r, ‖r‖²] as (N, D+1), both with the references' mean subtracted."""
    mean = reference.mean(1)  # (D,)
    r = reference.t() - mean  # (N, D)
    q = torch.cat([query - mean[:, None, None], torch.ones_like(query[:1])])
    return q, torch.cat([-2 * r, r.square().sum(1, keepdim=True)], 1)


def _outside(offsets: Tensor, size: int, radius: int) -> Tensor:
    """Infinity where a window row (or column) is too far from a query's row (or column), else 0."""
    far = (offsets[:, None] - torch.arange(size, device=offsets.device)).abs() > radius
    return torch.zeros(far.shape, device=offsets.device).masked_fill(far, torch.inf)


def _bunches(labels: Tensor, num_objects: int) -> _Bunches:
    """Sort the places of each window (T, P) by label and cut them into bunches; labels not in 0..K-1 are left out."""
    tiles, places = labels.shape
    key = labels.where((labels >= 0) & (labels < num_objects), num_objects)
    key = (key + torch.arange(tiles, device=key.device)[:, None] * (num_objects + 1)).reshape(-1)
    order = key.to(torch.int32).argsort(stable=True)
    counts = torch.bincount(key, minlength=tiles * (num_objects + 1))  # of each tile and object
    ends = counts.cumsum(0)
    amount = (counts + _BUNCH - 1) // _BUNCH
    amount[num_objects :: num_objects + 1] = 0  # the ignored
    stops = amount.cumsum(0)
    owner = torch.repeat_interleave(amount)  # (A,) the tile and object of each bunch
    nth = torch.arange(len(owner), device=key.device) - (stops - amount)[owner]
    rank = ((ends - counts)[owner] + nth * _BUNCH)[:, None] + torch.arange(_BUNCH, device=key.device)  # (A, S)
    place = order[rank.minimum(ends[owner][:, None] - 1)] % places
    return _Bunches(place, stops.view(tiles, num_objects + 1)[:, :num_objects].tolist())
