"""Exact nearest-neighbour pre-filter in bfloat16, with its error bound.

Symbols: D embedding, N reference pixels, m queries of a tile.

bfloat16 keeps 8 of the 24 binary digits of float32, and CPUs that support it multiply it about twice as fast. Such
distances are too coarse to say which reference is the nearest, but they exclude nearly all that are not: let E bound
the error of every distance of a query q. If the bfloat16 distance of a reference is more than 2E above the smallest
one, its true distance is above the true distance of that one. So only references below this limit are compared in
float32, and the result is the one of float32 alone.

**The bound.** x̂ is x rounded to bfloat16, b = −2r, and the wanted number is ‖q − r‖² = ‖q‖² + ‖r‖² + q·b.

1. q·b − q̂·b̂ = (q − q̂)·b + q̂·(b − b̂), so by the Cauchy–Schwarz inequality |q·b − q̂·b̂| ≤ ‖q − q̂‖ ‖b‖ + ‖q̂‖ ‖b − b̂‖.
   All four norms are computed, the two of b as the largest of all references.
2. ‖q‖² and ‖r‖² are each split into two bfloat16 numbers, the second for the rounding error of the first. bfloat16
   rounds by at most 2⁻⁸ of a number, so the split loses at most 2⁻¹⁶ of them.
3. Products of two bfloat16 numbers are exact in float32. D + 4 of them are added there in any order, with at most two
   roundings of 2⁻²⁴ each. The norms are themselves float32 sums of D squares. The magnitudes of the terms sum to at
   most (‖q‖ + ‖b‖/2)², so all this and 2 together stay below (4D + 512) 2⁻²⁴ (‖q‖ + ‖b‖/2)²; 10⁻³⁰ covers underflow.

E is the sum of 1 and 3. With E added to ‖q‖² no bfloat16 distance is negative, so their bits, read as integers, have
the same order: the minimum of integers is fast.

The result itself is rounded to bfloat16, which keeps the order. Let w be the smallest result, at reference s, and x its
value before that rounding, so x ≤ w (1 + 2⁻⁷). The nearest reference n has ‖q − n‖² ≤ ‖q − s‖² ≤ x, and a bfloat16
distance of at most ‖q − n‖² + 2E ≤ w (1 + 2⁻⁷) + 2E before rounding. Rounded, it is at most this limit, rounded. ∎
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_WORTH_IT = 2**24  # the pre-filter saves time from so many products on

_WIDE = 32  # and from this embedding dimension on

_PART = 2**12  # references whose norms are computed at once


class RoughReference(NamedTuple):
    """All reference pixels in bfloat16, and what the bound needs of them."""

    rows: Tensor  # (N, D+4) bfloat16: [b, ‖r‖² in two parts, 1, 1]
    length: Tensor  # () the largest ‖b‖
    loss: Tensor  # () the largest ‖b − b̂‖


def pays(query: Tensor, references: int) -> bool:
    """Whether the pre-filter is faster than float32 alone, for queries (D, …) and so many references.

    It is on a CPU with bfloat16 multiplication (without, bfloat16 is slower than float32), for float32 embeddings and
    many products. `experiments/benchmarks/matching.py` measures both.
    """
    if query.device.type != "cpu" or query.dtype != torch.float32 or len(query) < _WIDE:
        return False
    return query[0].numel() * references >= _WORTH_IT and multiplies_bfloat16()


def multiplies_bfloat16() -> bool:
    """Whether this CPU has bfloat16 multiplication; False where torch is too old to report it."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.cpu, "get_capabilities")):
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def rough_reference(rows: Tensor) -> RoughReference:
    """The references [−2r, ‖r‖²] (N, D+1) float32 in bfloat16."""
    d = rows.shape[1] - 1
    rough = rows.new_ones(len(rows), d + 4, dtype=torch.bfloat16)
    rough[:, : d + 1] = rows
    rough[:, d + 1] = rows[:, d] - rough[:, d]  # the rounding error of the column before
    length = 2 * rows[:, d].max().sqrt()
    parts = zip(rows[:, :d].split(_PART), rough[:, :d].split(_PART), strict=True)
    loss = torch.stack([(exact - kept).square_().sum(1).max() for exact, kept in parts]).max().sqrt()
    return RoughReference(rough, length, loss)


def rough_query(query: Tensor, reference: RoughReference) -> tuple[Tensor, Tensor]:
    """A tile of queries (D, m) float32 → [q, 1, 1, ‖q‖² + E in two parts] (D+4, m) bfloat16, and E (m,) float32."""
    d = len(query)
    rough = query.new_ones(d + 4, query.shape[1], dtype=torch.bfloat16)
    rough[:d] = query
    square = query.square().sum(0)  # (m,)
    kept, lost = rough[:d].float().square_().sum(0).sqrt_(), (query - rough[:d]).square_().sum(0).sqrt_()
    rounding = (4 * d + 512) * 2**-24 * (square.sqrt() + reference.length / 2) ** 2
    bound = lost * reference.length + kept * reference.loss + rounding + 1e-30
    rough[d + 2] = square + bound
    rough[d + 3] = (square + bound) - rough[d + 2]
    return rough, bound


def limit_of(smallest: Tensor, bound: Tensor) -> Tensor:
    """The largest bfloat16 distance that the nearest reference may have: smallest (…, m), E (m,) → (…, m) bfloat16."""
    # the last factor covers the rounding of this line itself, which is float32
    return ((smallest.float() * (1 + 2**-7) + 2 * bound) * (1 + 2**-20)).bfloat16()
