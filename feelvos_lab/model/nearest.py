"""Which reference pixel of each object is nearest to each query pixel? The search behind both distance maps.

Letters: K objects, D embedding, h w the query grid, N reference pixels, m queries of a tile, T tiles of a row,
P places of the window round a tile, S references of a bunch, A bunches.

The definition compares everything with everything and would fill an M×N table (2.6 GB for one 480p frame).
Four ideas make it about as cheap as the matrix product it contains:

1. Of ‖q − r‖² = ‖q‖² + ‖r‖² − 2q·r the first term is the same for all references, so it does not matter for
   *which* is nearest. The rest is one product of longer vectors, [q, 1] · [−2r, ‖r‖²].
2. References are sorted by object and cut into bunches of S, each of one object; the last bunch of an object is
   filled up by repeating a pixel, which changes no minimum. So no object needs a mask over all references, and the
   cost hardly grows with K.
3. The smallest value of each bunch is found first, which is fast; only then *where* it lies, which is slow, among
   the S values of the best bunch.
4. All this is done for a tile of queries at a time, in a buffer that stays in the cache.

For the local map a tile of queries sees the pixels around it, up to `radius` beyond its border. Not all of them lie
in the window of each query: where they do not, the product is added to infinity instead of 0. Which places these are
is the same for all tiles.

Subtracting the references' mean from both sides leaves distances alone and keeps the terms of 1 small, and with them
the rounding. Where two pixels are equally near to within that rounding, either may be chosen.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_BUNCH = 16  # S: references of which the smallest distance is kept
_SLICE = 2**18  # products computed at once, so that they are still in the cache when they are reduced
_KEPT = 2**20  # products of all queries with all references, up to which they are kept until the end
_QUERIES = 256  # queries of a tile where they are not
_TILE = 12  # rows and columns of a tile of local queries
_SMALL = 1024  # a grid of so few pixels is cut into strips instead: there the number of calls counts
_STRIP = 384  # local queries of a strip


def nearest_anywhere(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> Tensor:
    """The index of the nearest reference with each label: (D, h, w), (D, N), (N,) → (K, h, w), -1 where none."""
    d, h, w = query.shape
    q, r = _lengthened(query, reference)  # (D+1, h, w), (N, D+1)
    q = q.reshape(d + 1, h * w)
    places, stops = _bunches(labels[None], num_objects)
    r = r.index_select(0, places)  # (A·S, D+1)
    index = torch.full((num_objects, h * w), -1, device=q.device)
    keep = len(r) * h * w <= _KEPT
    m = h * w if keep else min(h * w, _QUERIES)
    buffer = q.new_empty(len(r) if keep else min(len(r), _rows_at_once(m)), m)
    columns = None if keep else r.view(-1, _BUNCH, d + 1).mT.reshape(-1, (d + 1) * _BUNCH)  # (A, (D+1)·S)
    for start in range(0, h * w, m):
        start = min(start, h * w - m)  # the last tile overlaps the one before
        tile = q[:, start : start + m].contiguous()  # (D+1, m)
        smallest = _smallest_of_bunches(tile, r, buffer)
        _write_nearest(index[:, start : start + m], smallest, stops[0], places, buffer, tile.t().contiguous(), columns)
    return index.reshape(num_objects, h, w)


def nearest_around(query: Tensor, previous: Tensor, labels: Tensor, num_objects: int, radius: int) -> Tensor:
    """The same within `radius` rows and columns: (D, h, w), (D, h, w), (h, w) → (K, h, w), -1 where none."""
    h, w = labels.shape
    q, r = _lengthened(query, previous.reshape(len(previous), h * w))  # (D+1, h, w), (N, D+1)
    height, width = min(_TILE, h), min(_TILE, w)
    if h * w <= _SMALL:
        height, width = min(h, max(1, _STRIP // w)), w
    reach_y, reach_x = min(radius, h - height), min(radius, w - width)  # the window's, beyond the tile's border
    outside = _outside(height, width, radius, reach_y, reach_x).to(q)  # (P, m)
    lefts = [min(left, w - width) for left in range(0, w, width)]  # the last tile overlaps the one before
    x = torch.tensor(lefts, device=q.device)[:, None] + torch.arange(-reach_x, width + reach_x, device=q.device)
    index = torch.full((num_objects, h, w), -1, device=q.device)
    for top in range(0, h, height):
        top = min(top, h - height)
        y = torch.arange(top - reach_y, top + height + reach_y, device=q.device)
        inside = ((y >= 0) & (y < h))[:, None] & ((x >= 0) & (x < w))[:, None, :]  # (T, rows, columns)
        pixels = (y.clamp(0, h - 1) * w)[:, None] + x.clamp(0, w - 1)[:, None, :]
        seen = labels.reshape(-1)[pixels].where(inside, -1)
        places, stops = _bunches(seen.flatten(1), num_objects)
        pixels = pixels.reshape(-1)[places]  # (all tiles' A·S,)
        places = places % len(outside)
        first = 0
        for left, ends in zip(lefts, stops, strict=True):
            mine = slice(first, first + ends[-1] * _BUNCH)
            first = mine.stop
            block = (slice(None), slice(top, top + height), slice(left, left + width))
            found = index.new_full((num_objects, height * width), -1)
            buffer = outside.index_select(0, places[mine])  # (A·S, m)
            tile, near = q[block].flatten(1), r.index_select(0, pixels[mine])  # (D+1, m), (A·S, D+1)
            smallest = _smallest_of_bunches(tile, near, buffer, add=True)
            _write_nearest(found, smallest, ends, pixels[mine], buffer)
            index[block] = found.reshape(num_objects, height, width)
    return index


def _smallest_of_bunches(q: Tensor, r: Tensor, buffer: Tensor, *, add: bool = False) -> Tensor:
    """The smallest product of each bunch: lengthened (D+1, m), (A·S, D+1) → (A, m).

    The products fill `buffer` (A·S, m), or are added to it. One with fewer rows is filled again and again.
    """
    n, m = len(r), q.shape[1]
    smallest = q.new_empty(n // _BUNCH, m)
    step = _rows_at_once(m)
    for start in range(0, n, step):
        rows = r[start : start + step]
        part = buffer[start : start + step] if len(buffer) == n else buffer[: len(rows)]
        if add:
            torch.addmm(part, rows, q, out=part)
        else:
            torch.mm(rows, q, out=part)
        bunches = part.view(-1, _BUNCH, m)
        torch.amin(bunches, 1, out=smallest[start // _BUNCH : start // _BUNCH + len(bunches)])
    return smallest


def _write_nearest(
    index: Tensor,
    smallest: Tensor,
    stops: list[int],
    pixels: Tensor,
    buffer: Tensor,
    q: Tensor | None = None,
    columns: Tensor | None = None,
) -> None:
    """Write into `index` (K, m) the nearest pixel of each object, given the smallest product of each bunch (A, m).

    The bunches of object o are number stops[o] up to stops[o + 1], and row i of the buffer belongs to reference pixel
    `pixels[i]`. Where the buffer did not keep all products, those of the best bunches are computed once more, from
    `q` (m, D+1) and the bunches' `columns` (A, (D+1)·S).
    """
    m = index.shape[1]
    present = [o for o in range(len(index)) if stops[o] < stops[o + 1]]
    if not present:
        return
    best = [smallest[stops[o] : stops[o + 1]].min(0) for o in present]
    value = torch.stack([b.values for b in best])  # (K', m)
    bunch = torch.stack([b.indices + stops[o] for o, b in zip(present, best, strict=True)])  # (K', m)
    if columns is None:
        choice = bunch[:, None].expand(-1, _BUNCH, m)  # (K', S, m)
        rank = buffer.view(-1, _BUNCH, m).gather(0, choice).min(1).indices  # (K', m)
    else:
        again = [torch.bmm(q[:, None], columns.index_select(0, b).view(m, -1, _BUNCH)) for b in bunch]  # K' × (m, 1, S)
        rank = torch.stack([products[:, 0].min(1).indices for products in again])  # (K', m)
    index[present] = pixels[bunch.mul_(_BUNCH).add_(rank)].masked_fill_(value.isinf(), -1)


def _rows_at_once(m: int) -> int:
    return max(1, _SLICE // (m * _BUNCH)) * _BUNCH


def _lengthened(query: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """[q, 1] as (D+1, h, w) and [−2r, ‖r‖²] as (N, D+1), both with the references' mean subtracted."""
    d, n = reference.shape
    mean = reference.mean(1)  # (D,)
    q = query.new_ones(d + 1, *query.shape[1:])
    torch.sub(query, mean[:, None, None], out=q[:d])
    r = reference.new_empty(n, d + 1)
    torch.sub(reference.t(), mean, out=r[:, :d])
    r[:, d] = r[:, :d].square().sum(1)
    r[:, :d] *= -2
    return q, r


def _outside(height: int, width: int, radius: int, reach_y: int, reach_x: int) -> Tensor:
    """Infinity where a place of the window is too far from a query of its tile, else 0: (P, m)."""

    def too_far(size: int, reach: int) -> Tensor:
        far = (torch.arange(-reach, size + reach)[:, None] - torch.arange(size)).abs() > radius
        return torch.zeros(far.shape).masked_fill_(far, torch.inf)

    sum_ = too_far(height, reach_y)[:, None, :, None] + too_far(width, reach_x)[:, None, :]
    return sum_.reshape(-1, height * width)


class _Bunches(NamedTuple):
    places: Tensor  # (A·S,) positions in the flat labels, sorted by row, then by label, and filled up
    stops: list[list[int]]  # for each row, [0, …]: where the bunches of one object end and the next one's begin


def _bunches(labels: Tensor, num_objects: int) -> _Bunches:
    """Sort each row of `labels` (T, P) by label and cut it into bunches; labels that are not 0..K-1 are left out."""
    rows = torch.arange(len(labels), device=labels.device)
    key = labels.where((labels >= 0) & (labels < num_objects), num_objects) + rows[:, None] * (num_objects + 1)
    key = key.reshape(-1).int()
    order = key.argsort(stable=True)
    size = torch.bincount(key, minlength=len(labels) * (num_objects + 1))  # of each row and label
    end = size.cumsum(0)
    amount = (size + (_BUNCH - 1)).div_(_BUNCH, rounding_mode="floor").view(len(labels), -1)
    amount[:, num_objects] = 0  # the ignored
    stops = torch.cat([torch.zeros_like(amount[:, :1]), amount.cumsum(1)[:, :-1]], 1)
    amount = amount.reshape(-1)
    owner = torch.repeat_interleave(amount)  # (A,) the row and label of each bunch
    nth = torch.arange(len(owner), device=labels.device) - (amount.cumsum(0) - amount)[owner]  # among its owner's
    ranks = ((end - size)[owner] + nth * _BUNCH)[:, None] + torch.arange(_BUNCH, device=labels.device)  # (A, S)
    return _Bunches(order[ranks.minimum(end[owner][:, None] - 1)].reshape(-1), stops.tolist())
