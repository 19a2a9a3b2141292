"""A block in which matrix products keep the precision of their factors, whatever the caller has set.

TF32 and autocast round the factors of a product to 10 or 7 explicit binary digits, so much that another pixel may seem
the nearest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Switch TF32 and autocast off on a device, and back to the caller's settings at the end."""
    setting = torch.backends.cuda.matmul
    # torch 2.9 renamed the setting, and raises where a caller mixes the two names
    name, exact = ("fp32_precision", "ieee") if hasattr(setting, "fp32_precision") else ("allow_tf32", False)
    before = getattr(setting, name)
    setattr(setting, name, exact)
    try:
        with contextlib.ExitStack() as stack:
            if torch.amp.is_autocast_available(device.type):
                stack.enter_context(torch.autocast(device.type, enabled=False))
            yield
    finally:
        setattr(setting, name, before)
