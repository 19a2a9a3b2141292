"""The nearest reference pixel of each object by few large operations: the global search on a GPU.

Symbols: K objects including background, D embedding, h w the query grid, M = h·w queries, N reference pixels, m queries
of a block.

`global_search.py` keeps intermediate results in the cache of a CPU, at the price of thousands of small operations; on a
GPU each is a kernel launch, and the launches take longer than the arithmetic. Here the references are sorted by label,
each block of queries is multiplied with all of them at once, and the minimum of an object is the `argmin` of its slice:
1 + K launches a block. The law is the same, so the tests run both on the CPU and count the operations there.

How long it takes on a GPU is unmeasured: `python experiments/benchmarks/gpu.py` prints it.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_BYTES = 2**29  # of one block's products: 5,200 queries of a 480p frame
_LEAST_QUERIES = 256  # of a block, also where memory is short


def nearest_in_slices(
    query: Tensor, reference: Tensor, labels: Tensor, num_objects: int, *, block_bytes: int | None = None
) -> Tensor:
    """The index of the nearest reference with each label: (D, h, w), (D, N), (N,) → (K, h, w), -1 where none.

    Args:
        block_bytes: of the table of products held at once; None: `free_block_bytes`.
    """
    d, h, w = query.shape
    owner = labels.where((labels >= 0) & (labels < num_objects), num_objects)
    order = owner.argsort(stable=True)  # (N,) by label, the ignored ones last
    sizes = torch.bincount(owner, minlength=num_objects + 1)[:num_objects].tolist()  # the one wait for the device
    kept = order[: sum(sizes)]
    index = torch.full((num_objects, h * w), -1, device=query.device)
    if not len(kept):
        return index.view(num_objects, h, w)
    mean = reference.mean(1, keepdim=True)  # subtracted from both sides: less rounding, the same distances
    rows = reference.index_select(1, kept) - mean  # (D, N')
    norms = rows.square().sum(0)  # (N',)
    queries = (query.reshape(d, h * w) - mean).t()  # (M, D)
    block_bytes = block_bytes or free_block_bytes(query.device)
    step = max(_LEAST_QUERIES, block_bytes // (len(kept) * query.element_size()))
    for start in range(0, h * w, step):
        # ‖q‖² is the same for all references, so ‖r‖² − 2 q·r has its minimum at the same pixel
        products = torch.addmm(norms, queries[start : start + step], rows, alpha=-2)  # (m, N')
        for nearest, of_object in zip(index, products.split(sizes, 1), strict=True):
            if of_object.shape[1]:
                torch.argmin(of_object, 1, out=nearest[start : start + step])
    first = 0
    for nearest, size in zip(index, sizes, strict=True):
        if size:
            nearest.copy_(kept[first : first + size][nearest])
        first += size
    return index.view(num_objects, h, w)


def free_block_bytes(device: torch.device) -> int:
    """Bytes to use for intermediate results at once: a quarter of a GPU's free memory, at most 512 MiB.

    Memory that torch has reserved and not given to a tensor is free too.
    """
    if device.type != "cuda":
        return _MOST_BYTES
    unreserved, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_MOST_BYTES, (unreserved + unused) // 4)
