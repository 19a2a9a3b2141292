"""Group reference pixels by label into fixed-size blocks: an object's minimum is one over whole blocks, without a mask.

Symbols: K objects, T tiles, P labels of a tile, S pixels of a block, A blocks of a tile, m queries of a tile.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LabelBlocks(NamedTuple):
    """The pixels of each tile in blocks; those of object o are blocks start[o] to start[o] + amount[o] − 1."""

    places: Tensor  # (T, A, S) positions in the flat labels; blocks beyond the last one of a tile repeat some pixel
    start: Tensor  # (T, K)
    amount: Tensor  # (T, K)


def group_by_label(labels: Tensor, num_objects: int, size: int) -> LabelBlocks:
    """Sort each row of `labels` (T, P) by label and cut it into blocks of `size` pixels, each of one object.

    The last block of an object repeats a pixel to be full, which changes no minimum. Labels other than 0 … K − 1 are
    left out.
    """
    tiles = len(labels)
    owner = labels.where((labels >= 0) & (labels < num_objects), num_objects)
    key = (owner + torch.arange(tiles, device=labels.device)[:, None] * (num_objects + 1)).reshape(-1).int()
    order = key.argsort(stable=True)  # one sort for all tiles: the tile is the higher part of the key
    pixels = torch.bincount(key, minlength=tiles * (num_objects + 1))  # of each tile and label, the ignored last
    end = pixels.cumsum(0).view(tiles, -1)[:, :num_objects]
    pixels = pixels.view(tiles, -1)[:, :num_objects]
    amount = (pixels + (size - 1)).div_(size, rounding_mode="floor")
    stop = amount.cumsum(1)
    slots = torch.arange(int(stop[:, -1].max()), device=labels.device).expand(tiles, -1).contiguous()  # (T, A)
    owner = torch.searchsorted(stop, slots, right=True).clamp_(max=num_objects - 1)
    nth = slots - (stop - amount).gather(1, owner)  # number of the block within its object
    first, last = (end - pixels).gather(1, owner) + nth * size, end.gather(1, owner) - 1
    ranks = (first[:, :, None] + torch.arange(size, device=labels.device)).minimum(last[:, :, None])  # (T, A, S)
    return LabelBlocks(order[ranks.clamp_(min=0)], stop - amount, amount)


def smallest_of_each_object(products: Tensor, blocks: LabelBlocks) -> Tensor:
    """The place of the smallest product of each object: (T, A, S, m) → (T, K, m), -1 where there is none below ∞."""
    tiles, a, size, m = products.shape
    found = torch.full((*blocks.amount.shape, m), -1, device=products.device)  # (T, K, m)
    tile, o = blocks.amount.nonzero().unbind(1)  # (J,) the objects that a tile has
    if not len(tile):
        return found
    products = products.view(tiles * a, size, m)
    amount, first = blocks.amount[tile, o][:, None], (blocks.start[tile, o] + tile * a)[:, None]  # (J, 1)
    nth = torch.arange(int(amount.max()), device=products.device).minimum(amount - 1)  # (J, largest amount)
    # `amin` is fast, `min` with its indices slow: the latter only for the blocks that hold a smallest product
    smallest = products.amin(1).index_select(0, (first + nth).view(-1)).view(*nth.shape, m)
    value, best = smallest.min(1)  # (J, m)
    block = first + best.minimum(amount - 1)
    rank = products.gather(0, block[:, None].expand(-1, size, m)).min(1).indices  # (J, m)
    found[tile, o] = blocks.places.reshape(-1)[block * size + rank].masked_fill_(value == torch.inf, -1)
    return found
