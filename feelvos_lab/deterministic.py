"""Bitwise reproducible computation: one thread, and only torch's deterministic algorithms.

Without it a training repeats on one machine with the same number of threads. With it the result does not depend on how
many processes share the cores, and on a GPU a non-deterministic algorithm raises an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

VARIABLE = "FEELVOS_DETERMINISTIC"  # set to 1 for a subprocess, such as the notebook kernel of a run

VARIABLES = {VARIABLE: "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # the second makes cuBLAS deterministic


def asked() -> bool:
    """Whether the environment variable FEELVOS_DETERMINISTIC is 1."""
    return os.environ.get(VARIABLE) == "1"


def begin() -> None:
    """Compute deterministically from now on, in the whole process."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", VARIABLES["CUBLAS_WORKSPACE_CONFIG"])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


@contextmanager
def deterministic(on: bool = True) -> Iterator[None]:
    """Compute deterministically in the block if `on`; restore threads and algorithms afterwards."""
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
