"""Products of the searches keep the precision of their factors, whatever the caller has set, and settings stay."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from gpu_searches import searches_for_gpus
from torch import Generator

from feelvos_lab.model.matching import nearest_global, nearest_local
from feelvos_lab.model.matching.exact_products import exact_products

SETTING = torch.backends.cuda.matmul


@pytest.mark.parametrize(("name", "tf32"), [("allow_tf32", True), ("fp32_precision", "tf32")])
def test_tf32_is_off_in_the_block_and_on_again_after_it(name: str, tf32: object) -> None:
    if not hasattr(SETTING, name):
        pytest.skip("this torch has the older setting alone")
    before = getattr(SETTING, name)
    setattr(SETTING, name, tf32)
    try:
        with pytest.raises(ValueError, match="of the block"), exact_products(torch.device("cuda")):
            assert _exact()
            raise ValueError("of the block")
        assert getattr(SETTING, name) == tf32
    finally:
        setattr(SETTING, name, before)


def _exact() -> bool:
    return SETTING.fp32_precision == "ieee" if hasattr(SETTING, "fp32_precision") else not SETTING.allow_tf32


def test_a_lower_precision_for_all_products_is_off_in_the_block_and_on_again_after_it() -> None:
    a, b = torch.randn(2, 300, 300, generator=Generator().manual_seed(0)).unbind()
    exact, before = a @ b, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        rounded = a @ b
        with exact_products(a.device):
            assert torch.equal(a @ b, exact) and _exact()
        assert torch.equal(a @ b, rounded) and torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("searches", [nullcontext, searches_for_gpus], ids=["for CPUs", "for GPUs"])
def test_autocast_changes_no_neighbour(searches) -> None:
    generator = Generator().manual_seed(0)
    query, reference = (torch.randn(16, 30, 40, generator=generator) for _ in range(2))
    labels = torch.randint(-1, 3, (30, 40), generator=generator)
    with searches():
        found = []
        for autocast in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                found.append(nearest_global(query, reference, labels, num_objects=3))
                found.append(nearest_local(query, reference, labels, num_objects=3, radius=4))
                rounded = query.flatten(1).t() @ reference.flatten(1)
        assert rounded.dtype == torch.bfloat16  # so autocast was on
    for exact, other in zip(found[:2], found[2:], strict=True):
        assert torch.equal(exact.index, other.index)
        assert other.sq_distance.dtype == torch.float32
