"""The nearest reference pixel of each object by few large operations: the global search on a GPU.

Symbols: K objects including background, D embedding, h w the query grid, M = h·w queries, N reference pixels, m queries
of a block.

`global_search.py` keeps intermediate results in the cache of a CPU, at the price of thousands of small operations; on a
GPU each is a kernel launch, and the launches take longer than the arithmetic. Here the references are sorted by label,
each block of queries is multiplied with all of them at once, and the minimum of an object is the `argmin` of its slice:
1 + 2 K launches a block. The law is the same, so the tests run both on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

_MOST_BYTES = 2**29  # of one block's products: 5,200 queries of a 480p frame
_LEAST_QUERIES = 256  # of a block, also where memory is short


def nearest_in_slices(
    query: Tensor, reference: Tensor, labels: Tensor, num_objects: int, *, block_bytes: int | None = None
) -> Tensor:
    """The index of the nearest reference with each label: (D, h, w), (D, N), (N,) → (K, h, w), -1 where none.

    Args:
        block_bytes: of the table of products held at once; by default a quarter of the device's free memory, at most
            512 MiB.
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
    step = max(_LEAST_QUERIES, (block_bytes or _block_bytes(query)) // (len(kept) * query.element_size()))
    with _without_tf32():
        for start in range(0, h * w, step):
            # ‖q‖² is the same for all references, so ‖r‖² − 2 q·r has its minimum at the same pixel
            products = torch.addmm(norms, queries[start : start + step], rows, alpha=-2)  # (m, N')
            first = 0
            for k, size in enumerate(sizes):
                if size:
                    nearest = products[:, first : first + size].argmin(1)  # (m,)
                    index[k, start : start + step] = kept[nearest + first]
                first += size
    return index.view(num_objects, h, w)


def _block_bytes(query: Tensor) -> int:
    if query.device.type != "cuda":
        return _MOST_BYTES
    free, _ = torch.cuda.mem_get_info(query.device)
    return min(_MOST_BYTES, free // 4)


@contextlib.contextmanager
def _without_tf32() -> Iterator[None]:
    """Products in float32, whatever the caller's settings: TF32 rounds so much that another pixel may seem nearer."""
    setting = torch.backends.cuda.matmul
    # torch 2.9 renamed the setting, and raises where a caller mixes the two names
    name, exact = ("fp32_precision", "ieee") if hasattr(setting, "fp32_precision") else ("allow_tf32", False)
    before = getattr(setting, name)
    setattr(setting, name, exact)
    try:
        yield
    finally:
        setattr(setting, name, before)
