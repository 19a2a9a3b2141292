"""A block in which matrix products keep the precision of their factors, whatever the caller has set.

TF32 and bfloat16 round the factors of a product to 10 or 7 explicit binary digits, so much that another pixel may seem
the nearest. `torch.set_float32_matmul_precision` and `torch.autocast` switch them on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_OLDER = ("allow_tf32", False)


@contextlib.contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Switch TF32, bfloat16 products and autocast off, and back to the caller's settings at the end."""
    # torch 2.9 renamed the setting of GPUs, and raises where a caller mixes the two names; CPUs have the new one alone
    name, exact = ("fp32_precision", "ieee") if hasattr(torch.backends.cuda.matmul, "fp32_precision") else _OLDER
    places = [torch.backends.cuda.matmul, *([torch.backends.mkldnn.matmul] if name == "fp32_precision" else [])]
    before = [getattr(place, name) for place in places]
    with contextlib.ExitStack() as stack:
        if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        try:
            for place in places:
                setattr(place, name, exact)
            yield
        finally:
            for place, setting in zip(places, before, strict=True):
                setattr(place, name, setting)
