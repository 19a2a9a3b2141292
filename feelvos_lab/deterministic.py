"""The same numbers twice, bit for bit: fixed threads, and no algorithm of torch that adds in an order of its own.

A training repeats on one machine without it, see `train`. With it the thread count is fixed too, so that the number
does not depend on how many processes share the cores, and on a GPU an algorithm that cannot repeat is refused, where
else torch only warns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

VARIABLE = "FEELVOS_DETERMINISTIC"  # 1 asks for it in a process that somebody else starts, such as a run's kernel

VARIABLES = {VARIABLE: "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # the second is what cuBLAS needs to repeat


def asked() -> bool:
    """Whether the environment asks for it."""
    return os.environ.get(VARIABLE) == "1"


def begin() -> None:
    """Compute so from here on, in all of this process."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", VARIABLES["CUBLAS_WORKSPACE_CONFIG"])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


@contextmanager
def deterministic(on: bool = True) -> Iterator[None]:
    """A block that computes so, where `on` is set; threads and algorithms are then as they were."""
    if not on:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    threads, tuned = torch.get_num_threads(), torch.backends.cudnn.benchmark
    begin()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before, warn_only=lenient)
        torch.backends.cudnn.benchmark = tuned
