"""The searches for GPUs behind the maps on the CPU, and the kernel in Triton's interpreter in a process of its own."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from feelvos_lab.model.matching import maps
from feelvos_lab.model.matching.slice_search import nearest_in_slices
from feelvos_lab.model.matching.window_search import nearest_in_windows

NEEDS_TRITON = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="this torch came without Triton")


@contextmanager
def searches_for_gpus() -> Iterator[None]:
    """A block in which the maps on the CPU use the searches in plain torch for GPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "nearest_anywhere", nearest_in_slices)
        patch.setattr(maps, "nearest_around", nearest_in_windows)
        yield


@contextmanager
def interpreted() -> Iterator[Callable[..., Tensor]]:
    """`nearest_by_triton` on the CPU. Triton decides at its import whether to interpret, hence the own process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin) as process:

        def search(
            query: Tensor,
            reference: Tensor,
            labels: Tensor,
            num_objects: int,
            *,
            blocks: tuple[int, int] | None = None,
        ) -> Tensor:
            arrays = [tensor.detach().numpy() for tensor in (query, reference, labels)]
            return torch.from_numpy(process.submit(_search, *arrays, num_objects, blocks).result())

        yield search


def _begin() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)


def _search(
    query: np.ndarray, reference: np.ndarray, labels: np.ndarray, num_objects: int, blocks: tuple[int, int] | None
) -> np.ndarray:
    from feelvos_lab.model.matching.triton_search import nearest_by_triton  # not where the tests run: see above

    tensors = [torch.from_numpy(array) for array in (query, reference, labels)]
    return nearest_by_triton(*tensors, num_objects, blocks=blocks).numpy()
