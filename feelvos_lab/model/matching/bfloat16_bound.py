"""A first look in bfloat16 that loses no nearest pixel: half the time of the product, and a bound on what it got wrong.

Letters: D embedding, N reference pixels, m queries of a tile.

bfloat16 keeps 8 of float32's 24 binary digits, and processors that know it multiply it about twice as fast. Its
distances are too coarse to say which reference is nearest, but not too coarse to say which ones cannot be: let E bound
the error of every distance of a query q. If a reference's rough distance is more than 2E above the smallest rough one,
its true distance is above that one's true distance. So only references below that limit are compared in float32.

**The bound.** A hat marks what bfloat16 keeps, rows are b = −2r, and the wanted number is ‖q − r‖² = ‖q‖² + ‖r‖² + q·b.

1. q·b − q̂·b̂ = (q − q̂)·b + q̂·(b − b̂), so by Cauchy and Schwarz |q·b − q̂·b̂| ≤ ‖q − q̂‖ ‖b‖ + ‖q̂‖ ‖b − b̂‖. All four
   norms are measured, the two of b as the largest of all references.
2. ‖q‖² and ‖r‖² are each split into a hat and the hat of the rest. bfloat16 rounds by at most 2⁻⁸ of a number, so
   what the split loses is at most 2⁻¹⁶ of them.
3. The products of bfloat16 numbers fit into float32, and D + 4 of them are added there in some order, with at most two
   roundings of 2⁻²⁴ each. The norms are themselves float32 sums of D squares. The terms' magnitudes sum to at most
   (‖q‖ + ‖b‖/2)², so all this and 2 together stay below (4D + 512) 2⁻²⁴ (‖q‖ + ‖b‖/2)²; 10⁻³⁰ covers underflow.

E is the sum of 1 and 3. With E added to ‖q‖², no rough distance is negative, and then the bits of two bfloat16 numbers
compare like the integers they also spell: those have a fast minimum.

The result itself is rounded to bfloat16, which keeps the order. Let w be the smallest, at reference s, with x its value
before that rounding, so x ≤ w (1 + 2⁻⁷). The nearest reference n has ‖q − n‖² ≤ ‖q − s‖² ≤ x, and a rough value of at
most ‖q − n‖² + 2E ≤ w (1 + 2⁻⁷) + 2E. Rounded, it is at most this limit, rounded. ∎
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_WORTH_IT = 2**24  # products from which on the first look saves time

_WIDE = 32  # and the embedding from which on

_PART = 2**12  # references measured at once


class RoughReference(NamedTuple):
    """What the first look knows about all reference pixels."""

    rows: Tensor  # (N, D+4) bfloat16: [b, ‖r‖² in two parts, 1, 1]
    length: Tensor  # () largest ‖b‖
    loss: Tensor  # () largest ‖b − b̂‖


def pays(query: Tensor, references: int) -> bool:
    """Whether a first look in bfloat16 is faster than float32 alone: queries (D, …), number of references → yes or no.

    It is where the processor multiplies bfloat16 itself (elsewhere that is slower than float32) and the products are
    many; the numbers must be float32. `experiments/benchmarks/matching.py` measures both.
    """
    if query.device.type != "cpu" or query.dtype != torch.float32 or len(query) < _WIDE:
        return False
    return query[0].numel() * references >= _WORTH_IT and multiplies_bfloat16()


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; no where torch is too old to say."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.cpu, "get_capabilities")):
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def rough_reference(rows: Tensor) -> RoughReference:
    """Prepare the lengthened references [−2r, ‖r‖²], (N, D+1) float32."""
    d = rows.shape[1] - 1
    rough = rows.new_ones(len(rows), d + 4, dtype=torch.bfloat16)
    rough[:, : d + 1] = rows
    rough[:, d + 1] = rows[:, d] - rough[:, d]
    length = 2 * rows[:, d].max().sqrt()
    parts = zip(rows[:, :d].split(_PART), rough[:, :d].split(_PART), strict=True)
    loss = torch.stack([(exact - kept).square_().sum(1).max() for exact, kept in parts]).max().sqrt()
    return RoughReference(rough, length, loss)


def rough_query(query: Tensor, reference: RoughReference) -> tuple[Tensor, Tensor]:
    """Prepare a tile of queries, (D, m) float32 → [q, 1, 1, ‖q‖² + E in two parts] (D+4, m) bfloat16, and E (m,)."""
    d = len(query)
    rough = query.new_ones(d + 4, query.shape[1], dtype=torch.bfloat16)
    rough[:d] = query
    square = query.square().sum(0)
    kept, lost = rough[:d].float().square_().sum(0).sqrt_(), (query - rough[:d]).square_().sum(0).sqrt_()
    rounding = (4 * d + 512) * 2**-24 * (square.sqrt() + reference.length / 2) ** 2
    bound = lost * reference.length + kept * reference.loss + rounding + 1e-30
    rough[d + 2] = square + bound
    rough[d + 3] = (square + bound) - rough[d + 2]
    return rough, bound


def limit_of(smallest: Tensor, bound: Tensor) -> Tensor:
    """The largest rough distance that may still be the nearest one's: smallest (…, m) bfloat16, E (m,) → (…, m)."""
    return ((smallest.float() * (1 + 2**-7) + 2 * bound) * (1 + 2**-20)).bfloat16()
