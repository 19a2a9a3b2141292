"""The global search for GPUs finds what the one for CPUs finds, in few operations; here both run on the CPU.

The laws of `test_matching.py` and the official numbers of `test_golden_matching.py` hold for it too.
"""

from __future__ import annotations

import pytest
import torch
from launches import Launches
from torch import Generator, Tensor

from feelvos_lab.model.matching import slice_search
from feelvos_lab.model.matching.slice_search import free_block_bytes, nearest_in_slices


def frames(seed: int, *, pixels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """A query (D, h, w), reference pixels (D, N), and labels -1 … 4 of which 2 does not occur."""
    random = Generator().manual_seed(seed)
    query = torch.randn(6, 11, 13, generator=random, dtype=dtype)
    reference = 3 + torch.randn(6, pixels, generator=random, dtype=dtype)  # far from the origin, as embeddings may be
    labels = torch.randint(-1, 5, (pixels,), generator=random)
    return query, reference, labels.where(labels != 2, 0)


@pytest.mark.parametrize("pixels", [1, 40, 700])
@pytest.mark.parametrize("num_objects", [1, 4, 7])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_it_finds_the_nearest_pixels(pixels: int, num_objects: int, dtype: torch.dtype) -> None:
    query, reference, labels = frames(pixels, pixels=pixels, dtype=dtype)
    table = torch.cdist(query.flatten(1).t(), reference.t(), compute_mode="donot_use_mm_for_euclid_dist")  # (M, N)
    for o, found in enumerate(nearest_in_slices(query, reference, labels, num_objects)):
        of_object = table.masked_fill(labels != o, torch.inf)
        expected = of_object.argmin(1).where(of_object.amin(1).isfinite(), -1)
        assert torch.equal(found.flatten(), expected)


@pytest.mark.parametrize("block_bytes", [1, 300_000, 2**20])
def test_blocks_of_any_size_find_the_same_pixels(block_bytes: int, monkeypatch) -> None:
    monkeypatch.setattr(slice_search, "_LEAST_QUERIES", 5)
    query, reference, labels = frames(3, pixels=300, dtype=torch.float64)
    whole = nearest_in_slices(query, reference, labels, 5)
    assert torch.equal(nearest_in_slices(query, reference, labels, 5, block_bytes=block_bytes), whole)
    assert (whole[2] == -1).all() and (whole[[0, 1, 3, 4]] >= 0).all()
    assert torch.equal(labels[whole[3]], torch.full_like(whole[3], 3))


def test_nothing_is_nearest_where_every_pixel_is_ignored() -> None:
    query, reference, _ = frames(0, pixels=9, dtype=torch.float32)
    assert (nearest_in_slices(query, reference, torch.full((9,), -1), 3) == -1).all()


@pytest.mark.parametrize("num_objects", [1, 2, 10])
def test_a_block_costs_one_launch_and_one_for_each_object(num_objects: int, monkeypatch) -> None:
    monkeypatch.setattr(slice_search, "_LEAST_QUERIES", 1)
    query, reference, _ = frames(4, pixels=200, dtype=torch.float32)
    labels = torch.arange(200) % num_objects
    counted = []
    for blocks in (1, 3):
        queries = -(-11 * 13 // blocks)
        with Launches() as launches:
            nearest_in_slices(query, reference, labels, num_objects, block_bytes=queries * 200 * 4)
        counted.append(launches.total)
        assert launches.waits == 1
    assert counted[1] - counted[0] == 2 * (1 + num_objects)
    assert counted[0] <= 16 + 3 * num_objects


def test_a_block_takes_a_quarter_of_what_is_free_on_the_gpu(monkeypatch) -> None:
    device = torch.device("cuda", 0)
    gigabyte = 2**30
    reserved = {"unreserved": gigabyte}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (reserved["unreserved"], 8 * gigabyte))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2 * gigabyte)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2 * gigabyte - 2**26)
    assert free_block_bytes(device) == (gigabyte + 2**26) // 4
    reserved["unreserved"] = 0  # all is reserved by torch, and a part of it is free
    assert free_block_bytes(device) == 2**24
    reserved["unreserved"] = 6 * gigabyte
    assert free_block_bytes(device) == free_block_bytes(torch.device("cpu")) == 2**29
