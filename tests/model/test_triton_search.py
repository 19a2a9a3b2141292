"""The kernel in Triton finds the nearest pixels, fits into GPUs, and is not touched unless asked for.

It runs in Triton's interpreter on the CPU, and is compiled for GPUs that are not here. The official numbers:
`test_golden_matching.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from gpu_searches import NEEDS_TRITON, interpreted
from torch import Generator, Tensor

from feelvos_lab.errors import LabError
from feelvos_lab.model.matching import maps
from feelvos_lab.model.matching.slice_search import nearest_in_slices

pytestmark = [NEEDS_TRITON, pytest.mark.slow]
GPU = torch.device("cuda", 0)


@pytest.fixture(scope="module")
def search() -> Iterator[Callable[..., Tensor]]:
    with interpreted() as found:
        yield found


def frames(seed: int, *, size: tuple[int, int], dim: int, pixels: int, num_objects: int) -> tuple[Tensor, ...]:
    """A query (D, h, w), references (D, N) far from the origin, labels -1 … K of which 1 does not occur."""
    random = Generator().manual_seed(seed)
    query, reference = torch.randn(dim, *size, generator=random), torch.randn(dim, pixels, generator=random)
    labels = torch.randint(-1, num_objects + 1, (pixels,), generator=random)
    return 3 + query, 3 + reference, labels.where(labels != 1, 0)


def assert_as_near(found: Tensor, query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> None:
    """The pixels found are the nearest of their object but for rounding, and -1 where there is none."""
    table = torch.cdist(query.flatten(1).t().double(), reference.t().double())  # (M, N)
    for o in range(num_objects):
        of_object, index = table.masked_fill(labels != o, torch.inf), found[o].flatten()
        assert torch.equal(index == -1, of_object.amin(1).isinf())
        if (labels == o).any():
            mine = of_object.gather(1, index[:, None])[:, 0]
            torch.testing.assert_close(mine.float(), of_object.amin(1).float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "dim", "pixels", "num_objects", "blocks"),
    [
        ((1, 1), 1, 1, 1, (16, 16)),
        ((5, 13), 6, 40, 4, (16, 16)),
        ((4, 8), 16, 64, 2, (32, 32)),  # multiples of the blocks
        ((9, 15), 17, 333, 10, (32, 16)),
        ((11, 13), 100, 500, 3, (64, 32)),
        ((12, 13), 100, 700, 10, None),
    ],
)
def test_it_finds_the_nearest_pixels(
    search: Callable[..., Tensor],
    size: tuple[int, int],
    dim: int,
    pixels: int,
    num_objects: int,
    blocks: tuple[int, int] | None,
) -> None:
    query, reference, labels = frames(dim, size=size, dim=dim, pixels=pixels, num_objects=num_objects)
    found = search(query, reference, labels, num_objects, blocks=blocks)
    assert found.dtype == torch.int64 and found.shape == (num_objects, *size)
    assert_as_near(found, query, reference, labels, num_objects)
    slices = nearest_in_slices(query, reference, labels, num_objects)
    assert (found != slices).float().mean() <= 0.001  # two pixels that are as near but for rounding are rare


def test_of_equal_pixels_it_finds_one_of_the_object(search: Callable[..., Tensor]) -> None:
    reference = torch.ones(3, 50)
    labels = torch.arange(50) % 2
    found = search(torch.ones(3, 4, 5), reference, labels, 2, blocks=(16, 16))
    assert (labels[found[0]] == 0).all() and (labels[found[1]] == 1).all()


def test_a_layout_of_its_own_does_not_matter(search: Callable[..., Tensor]) -> None:
    query, reference, labels = frames(3, size=(5, 7), dim=4, pixels=30, num_objects=3)
    expected = search(query, reference, labels, 3, blocks=(16, 16))
    turned = query.permute(1, 2, 0).contiguous().permute(2, 0, 1), reference.t().contiguous().t()
    assert torch.equal(search(*turned, labels, 3, blocks=(16, 16)), expected)


@pytest.mark.parametrize("pixels", [0, 9])
def test_nothing_is_nearest_without_a_labelled_pixel(search: Callable[..., Tensor], pixels: int) -> None:
    query, reference, labels = torch.zeros(3, 4, 5), torch.zeros(3, pixels), torch.full((pixels,), -1)
    assert (search(query, reference, labels, 2) == -1).all()


def test_it_takes_float32_alone(search: Callable[..., Tensor]) -> None:
    with pytest.raises(LabError, match=r"expected float32 embeddings for the search by Triton, got torch\.float64"):
        search(torch.zeros(3, 4, 5).double(), torch.zeros(3, 9).double(), torch.zeros(9).long(), 2)


@pytest.mark.parametrize(
    ("capability", "shared", "dim"), [(80, 166_912, 100), (86, 101_376, 100), (90, 232_448, 100), (90, 232_448, 200)]
)
def test_it_compiles_for_a_gpu_and_fits_into_its_shared_memory(
    capability: int, shared: int, dim: int, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    triton = pytest.importorskip("triton", minversion="3.4", reason="older Triton compiles by other names")
    from triton.backends.compiler import GPUTarget

    from feelvos_lab.model.matching import triton_search

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: _Card(capability // 10, shared))
    many, few = blocks = triton_search.blocks_that_fit(GPU, dim)
    assert many >= 32  # a tile of 16 would read every reference twice as often
    names = ("queries", "rows", "norms", "bounds", "order", "index", "m")
    types = dict(zip(names, ("*fp32", "*fp32", "*fp32", "*i32", "*i64", "*i64", "i32"), strict=True))
    constants = {"MANY": many, "FEW": few, "WIDTH": triton_search.padded(dim)}
    signature = {**types, **dict.fromkeys(constants, "constexpr")}
    source = triton.compiler.ASTSource(triton_search.search, signature, constants)
    options = {"num_warps": triton_search.warps(many), "num_stages": triton_search.STAGES}
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert compiled.metadata.shared <= triton_search.shared_bytes(blocks, dim, capability // 10) <= shared
    assert ".tf32" in compiled.asm["ptx"]  # on the tensor cores


class _Card:
    name = "a card"

    def __init__(self, major: int, shared: int) -> None:
        self.major, self.shared_memory_per_block_optin = major, shared


def test_embeddings_too_long_for_shared_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from feelvos_lab.model.matching import triton_search

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: _Card(8, 101_376))
    assert triton_search.blocks_that_fit(GPU, 256) == (16, 16)
    with pytest.raises(LabError, match=r"fewer dimensions for the search by Triton on a card, .* got 1000"):
        triton_search.blocks_that_fit(GPU, 1000)


# the switch


def test_plain_torch_is_the_search_unless_triton_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEELVOS_SEARCH", raising=False)
    assert maps.global_search_for(GPU) is nearest_in_slices
    monkeypatch.setenv("FEELVOS_SEARCH", "slices")
    assert maps.global_search_for(GPU) is nearest_in_slices
    monkeypatch.setenv("FEELVOS_SEARCH", "triton")
    assert maps.global_search_for(GPU).__name__ == "nearest_by_triton"
    assert maps.global_search_for(torch.device("cpu")) is maps.nearest_anywhere


def test_another_name_or_no_triton_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEELVOS_SEARCH", "Triton")
    with pytest.raises(LabError, match='expected FEELVOS_SEARCH to be "slices" or "triton", got \'Triton\''):
        maps.global_search_for(GPU)
    monkeypatch.setenv("FEELVOS_SEARCH", "triton")
    monkeypatch.delitem(sys.modules, "feelvos_lab.model.matching.triton_search", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(LabError, match="expected a torch that comes with Triton for FEELVOS_SEARCH=triton, got "):
        maps.global_search_for(GPU)


def test_the_maps_import_no_triton() -> None:
    code = """
import sys, torch
from feelvos_lab.model.matching import global_matching, local_matching
frame, labels = torch.rand(3, 4, 5), torch.zeros(4, 5, dtype=torch.int64)
global_matching(frame, frame, labels, num_objects=1), local_matching(frame, frame, labels, num_objects=1, radius=1)
print([name for name in sys.modules if name.split(".")[0] == "triton" or "triton_search" in name])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
