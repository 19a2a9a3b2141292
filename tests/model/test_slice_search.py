"""The global search for GPUs finds what the one for CPUs finds; here both run on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from feelvos_lab.model.matching import maps, nearest_global
from feelvos_lab.model.matching.slice_search import nearest_in_slices


def frames(seed: int, *, pixels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """A query (D, h, w), reference pixels (D, N), and labels -1 … 4 of which 2 does not occur."""
    random = Generator().manual_seed(seed)
    query = torch.randn(6, 11, 13, generator=random, dtype=dtype)
    reference = 3 + torch.randn(6, pixels, generator=random, dtype=dtype)  # far from the origin, as embeddings may be
    labels = torch.randint(-1, 5, (pixels,), generator=random)
    return query, reference, labels.where(labels != 2, 0)


def sq_distances(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int, monkeypatch) -> Tensor:
    """Of the match in use and of the search for GPUs: (2, K, h, w)."""
    found = [nearest_global(query, reference, labels, num_objects=num_objects).sq_distance]
    with monkeypatch.context() as patch:
        patch.setattr(maps, "nearest_anywhere", nearest_in_slices)
        found.append(nearest_global(query, reference, labels, num_objects=num_objects).sq_distance)
    return torch.stack(found)


@pytest.mark.parametrize("pixels", [1, 40, 700])
@pytest.mark.parametrize("num_objects", [1, 4, 7])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-4)], ids=str)
def test_it_finds_a_pixel_as_near(pixels: int, num_objects: int, dtype: torch.dtype, bound: float, monkeypatch) -> None:
    query, reference, labels = frames(pixels, pixels=pixels, dtype=dtype)
    cpu, gpu = sq_distances(query, reference, labels, num_objects, monkeypatch)
    torch.testing.assert_close(gpu, cpu, rtol=bound, atol=bound)
    assert torch.equal(gpu.isinf(), cpu.isinf())


@pytest.mark.parametrize("block_bytes", [1, 300_000, 2**20])
def test_blocks_of_any_size_find_the_same_pixels(block_bytes: int, monkeypatch) -> None:
    monkeypatch.setattr("feelvos_lab.model.matching.slice_search._LEAST_QUERIES", 5)
    query, reference, labels = frames(3, pixels=300, dtype=torch.float64)
    whole = nearest_in_slices(query, reference, labels, 5)
    assert torch.equal(nearest_in_slices(query, reference, labels, 5, block_bytes=block_bytes), whole)
    assert (whole[2] == -1).all() and (whole[[0, 1, 3, 4]] >= 0).all()
    assert torch.equal(labels[whole[3]], torch.full_like(whole[3], 3))


def test_nothing_is_nearest_where_every_pixel_is_ignored() -> None:
    query, reference, _ = frames(0, pixels=9, dtype=torch.float32)
    assert (nearest_in_slices(query, reference, torch.full((9,), -1), 3) == -1).all()


@pytest.mark.parametrize(("name", "tf32"), [("allow_tf32", True), ("fp32_precision", "tf32")])
def test_it_multiplies_in_float32_and_the_callers_setting_stays(name: str, tf32: object, monkeypatch) -> None:
    setting = torch.backends.cuda.matmul
    if not hasattr(setting, name):
        pytest.skip("this torch has the older setting alone")
    seen, multiply = [], torch.addmm
    monkeypatch.setattr(torch, "addmm", lambda *a, **k: (seen.append(_exact(setting)), multiply(*a, **k))[1])
    before = getattr(setting, name)
    setattr(setting, name, tf32)
    try:
        nearest_in_slices(*frames(1, pixels=20, dtype=torch.float32), 3)
        assert seen == [True] and getattr(setting, name) == tf32
    finally:
        setattr(setting, name, before)


def _exact(setting) -> bool:
    return setting.fp32_precision == "ieee" if hasattr(setting, "fp32_precision") else not setting.allow_tf32
