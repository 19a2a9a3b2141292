"""The distance maps as plain loops, straight from the equations: definition, lesson and test oracle.

Each function has the name, the arguments and the result of its fast twin in `maps.py`, without its checks.
Symbols: K objects including background, D embedding, h w the stride-4 grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pairwise_sq_dist(query: Tensor, reference: Tensor) -> Tensor:
    """‖e_p − e_q‖² = Σ_d (e_p[d] − e_q[d])² for all pairs: (N, D), (M, D) → (N, M)."""
    result = torch.zeros(len(query), len(reference), dtype=query.dtype)
    for p, e_p in enumerate(query.tolist()):
        for q, e_q in enumerate(reference.tolist()):
            result[p, q] = _sq_dist(e_p, e_q)
    return result


def normalise_distance(sq: Tensor) -> Tensor:
    """Eq. 1: d(p, q) = 1 − 2 / (1 + exp(‖e_p − e_q‖²)), any shape → the same in [0, 1]."""
    result = torch.zeros_like(sq)
    for i, value in enumerate(sq.flatten().tolist()):
        result.view(-1)[i] = 1 - 2 / (1 + _exp(value))
    return result


def global_matching(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """Eq. 2 and 3: G_o(p) = min d(p, q) over the reference pixels q labelled o, 1 if there is none.

    Shapes: (D, h, w), (D, h', w'), (h', w') → (K, h, w); or the reference as (D, N) with labels (N,).
    """
    _, h, w = query.shape
    pixels = reference.flatten(1).t().tolist()  # N lists of D numbers
    result = torch.ones(num_objects, h, w, dtype=query.dtype)
    for o in range(num_objects):
        for y in range(h):
            for x in range(w):
                e_p = query[:, y, x].tolist()
                for e_q, label in zip(pixels, labels.flatten().tolist(), strict=True):
                    if label == o:
                        result[o, y, x] = min(result[o, y, x].item(), _distance(e_p, e_q))
    return result


def local_matching(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """Eq. 4: L_o(p) = min d(p, q) over the previous frame's pixels q labelled o in the window N(p), 1 if there is none.

    N(p) are the pixels at most `radius` rows and `radius` columns away from p, fewer near the border.
    Shapes: (D, h, w), (D, h, w), (h, w) → (K, h, w).
    """
    _, h, w = query.shape
    result = torch.ones(num_objects, h, w, dtype=query.dtype)
    for o in range(num_objects):
        for y in range(h):
            for x in range(w):
                e_p = query[:, y, x].tolist()
                for v in range(max(0, y - radius), min(h, y + radius + 1)):
                    for u in range(max(0, x - radius), min(w, x + radius + 1)):
                        if labels[v, u] == o:
                            e_q = previous[:, v, u].tolist()
                            result[o, y, x] = min(result[o, y, x].item(), _distance(e_p, e_q))
    return result


def _sq_dist(e_p: list[float], e_q: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(e_p, e_q, strict=True))


def _distance(e_p: list[float], e_q: list[float]) -> float:
    return 1 - 2 / (1 + _exp(_sq_dist(e_p, e_q)))


def _exp(value: float) -> float:
    """exp, infinite above 709, where Python's overflows."""
    return math.exp(value) if value < 709 else math.inf
