"""The nearest reference pixel of each object by one kernel in Triton: the global search on an NVIDIA GPU, on request.

Symbols: K objects including background, D embedding (D' padded), h w the query grid, M = h·w queries, N reference
pixels.

`slice_search.py` writes a table of products to memory and reads it for the minimum. Here a table never leaves the
processor: the references are sorted by label, and each program of the kernel walks those of one object for a tile of
queries. A step multiplies the tile with some references and keeps the smaller minimum and its place.

Products are "tf32x3": each factor is split into two TF32 numbers, and three products of the parts are added, which
rounds nearly as little as float32. Of two pixels that are equally near to within rounding, either may be chosen.

The kernel is not the default: how fast it is on a GPU, next to `slice_search.py`, is unmeasured.
`python experiments/benchmarks/gpu.py` measures both, and FEELVOS_SEARCH=triton (`maps.global_search_for`) switches the
kernel on. The tests run it in Triton's interpreter on the CPU, and compile it for several GPUs to see that it fits.
Nothing imports this file, and with it Triton, unless the kernel is asked for.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from feelvos_lab.errors import LabError

STAGES = 2  # of the pipeline that loads references while others are multiplied

BLOCKS = ((128, 32), (64, 32), (32, 32), (16, 16))  # queries and references of a step; Triton multiplies 16×16 or more


def nearest_by_triton(
    query: Tensor, reference: Tensor, labels: Tensor, num_objects: int, *, blocks: tuple[int, int] | None = None
) -> Tensor:
    """The index of the nearest reference with each label: (D, h, w), (D, N), (N,) → (K, h, w), -1 where none.

    Args:
        blocks: queries of a tile, references of a step, powers of 2 from 16 on; None: `blocks_that_fit`.

    Raises:
        LabError: embeddings that are not float32, or of so many dimensions that no block fits.
    """
    if query.dtype != torch.float32:
        raise LabError(f"expected float32 embeddings for the search by Triton, got {query.dtype}")
    d, h, w = query.shape
    m = h * w
    index = torch.full((num_objects, m), -1, device=query.device)
    if not len(labels):
        return index.view(num_objects, h, w)
    owner, order = labels.where((labels >= 0) & (labels < num_objects), num_objects).sort(stable=True)
    objects = torch.arange(num_objects + 1, device=query.device)
    bounds = torch.searchsorted(owner, objects, out_int32=True)  # (K+1,) where the references of each object begin
    mean = reference.mean(1)  # subtracted from both sides: less rounding, the same distances
    width = padded(d)
    rows = query.new_zeros(len(order), width)  # (N, D'), zeros change no distance
    torch.sub(reference.t().index_select(0, order), mean, out=rows[:, :d])
    queries = query.new_zeros(m, width)  # (M, D')
    torch.sub(query.reshape(d, m).t(), mean, out=queries[:, :d])
    norms = rows.square().sum(1)  # (N,)
    many, few = blocks or blocks_that_fit(query.device, d)
    with torch.cuda.device_of(query):  # a kernel starts on the current GPU, which need not be the tensors'
        search[triton.cdiv(m, many), num_objects](
            queries, rows, norms, bounds, order, index, m, many, few, width, num_warps=warps(many), num_stages=STAGES
        )
    return index.view(num_objects, h, w)


@triton.jit
def search(
    queries, rows, norms, bounds, order, index, m, MANY: tl.constexpr, FEW: tl.constexpr, WIDTH: tl.constexpr
):  # fmt: skip
    """The nearest of one object's references for MANY queries; arguments as in `nearest_by_triton`."""
    o = tl.program_id(1)
    at = tl.program_id(0) * MANY + tl.arange(0, MANY)
    dims = tl.arange(0, WIDTH)
    q = tl.load(queries + at[:, None] * WIDTH + dims[None, :], mask=at[:, None] < m, other=0.0)  # (MANY, D')
    first, last = tl.load(bounds + o), tl.load(bounds + o + 1)
    least = tl.full((MANY,), float("inf"), tl.float32)
    place = tl.full((MANY,), -1, tl.int32)
    for start in range(first, last, FEW):
        n = start + tl.arange(0, FEW)
        r = tl.load(rows + n[None, :] * WIDTH + dims[:, None], mask=n[None, :] < last, other=0.0)  # (D', FEW)
        norm = tl.load(norms + n, mask=n < last, other=float("inf"))
        # ‖q‖² is the same for all references, so ‖r‖² − 2 q·r has its minimum at the same pixel
        value = norm[None, :] - 2 * tl.dot(q, r, input_precision="tf32x3")  # (MANY, FEW)
        smallest, where = tl.min(value, 1, return_indices=True)
        nearer = smallest < least
        least = tl.where(nearer, smallest, least)
        place = tl.where(nearer, start + where, place)
    pixel = tl.load(order + place, mask=place >= 0, other=-1)
    tl.store(index + o * m + at, pixel, mask=at < m)


def padded(dim: int) -> int:
    """The dimensions of embeddings in the kernel: a power of 2, at least 16."""
    return max(16, triton.next_power_of_2(dim))


def warps(queries: int) -> int:
    """Groups of 32 threads for a tile of so many queries: with fewer, the numbers of a thread leave its registers."""
    return 8 if queries >= 128 else 4


def shared_bytes(blocks: tuple[int, int], dim: int, major: int) -> int:
    """An upper bound of the shared memory that the kernel takes on a GPU of compute capability `major`.

    The tile of queries as the two parts of each number, and as many references for each stage; one more of these on
    Hopper, whose multiplication reads them from shared memory.
    """
    many, few = blocks
    return 4 * padded(dim) * (2 * many + (STAGES + (major == 9)) * few)


def blocks_that_fit(device: torch.device, dim: int) -> tuple[int, int]:
    """The largest of `BLOCKS` that fits into a GPU's shared memory; in Triton's interpreter on a CPU any does.

    Raises:
        LabError: none fits.
    """
    if device.type != "cuda":
        return BLOCKS[0]
    card = torch.cuda.get_device_properties(device)
    for blocks in BLOCKS:
        if shared_bytes(blocks, dim, card.major) <= card.shared_memory_per_block_optin:
            return blocks
    raise LabError(
        f"expected embeddings of fewer dimensions for the search by Triton on {card.name}, whose shared memory has "
        f"{card.shared_memory_per_block_optin} bytes, got {dim}"
    )
