"""The distance maps by whole tables of distances: the short way in PyTorch, limited by memory.

Each function has the name, the arguments and the result of its fast twin in `maps.py`, without its checks.
Symbols: K objects including background, D embedding, h w the stride-4 grid, M = h·w queries, N reference pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from feelvos_lab.model.matching.maps import normalise_distance, pairwise_sq_dist


def global_matching(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """Eq. 2 and 3 by one table of all M×N distances: an object's map is the minimum over its columns.

    Shapes: (D, h, w), (D, h', w'), (h', w') → (K, h, w).
    """
    sq = pairwise_sq_dist(query.flatten(1).t(), reference.flatten(1).t())  # (M, N)
    nearest = [sq.masked_fill(labels.flatten() != o, torch.inf).amin(1) for o in range(num_objects)]
    return normalise_distance(torch.stack(nearest)).view(num_objects, *query.shape[1:])


def local_matching(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """Eq. 4 by (2 radius + 1)² shifts of the previous frame, each compared with the whole new one.

    Shapes: (D, h, w), (D, h, w), (h, w) → (K, h, w).
    """
    _, h, w = query.shape
    around = functional.pad(previous, [radius] * 4)  # (D, h + 2 radius, w + 2 radius)
    owner = functional.pad(labels, [radius] * 4, value=-1)
    nearest = query.new_full((num_objects, h, w), torch.inf)
    for y in range(2 * radius + 1):
        for x in range(2 * radius + 1):
            sq = (query - around[:, y : y + h, x : x + w]).square().sum(0)  # (h, w)
            for o in range(num_objects):
                near = sq.masked_fill(owner[y : y + h, x : x + w] != o, torch.inf)
                torch.minimum(nearest[o], near, out=nearest[o])
    return normalise_distance(nearest)
