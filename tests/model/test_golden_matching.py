"""The distance maps against the official code's numbers (tests/golden/matching; see the README there)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_searches import NEEDS_TRITON, interpreted, searches_for_gpus
from torch import Tensor

from feelvos_lab.model.matching import maps, naive

HERE = Path(__file__).parents[1]
SHARED = Path(os.environ.get("FEELVOS_SHARED", HERE.parent.parent / "shared"))
GOLDEN = HERE / "golden" / "matching"
GLOBAL = sorted(path.stem for path in GOLDEN.glob("global_*.npz"))
LOCAL = sorted(path.stem for path in GOLDEN.glob("local_*.npz"))
TOLERANCE = {"global_g_large_distances": 1e-4}  # the official sum itself is off by 9e-5 there


@pytest.fixture(params=[nullcontext, searches_for_gpus], ids=["for CPUs", "for GPUs"], autouse=True)
def searches(request: pytest.FixtureRequest) -> Iterator[None]:
    """The searches behind the maps, here on the CPU."""
    with request.param():
        yield


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def _channels_first(embedding: np.ndarray) -> Tensor:
    return torch.from_numpy(embedding).permute(2, 0, 1)  # (h, w, D) → (D, h, w)


def _indices(labels: np.ndarray, ids: np.ndarray) -> Tensor:
    """Object ids as positions in the list of ids; -1 for ids that are not in it."""
    place = {int(identity): i for i, identity in enumerate(ids)}
    return torch.tensor([[place.get(int(value), -1) for value in row] for row in labels[..., 0]])


def _maps(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values[..., 0]).movedim(-1, -3)  # (n, h, w, K, 1) → (n, K, h, w)


def _check_global(path: Path, twin: object) -> None:
    case = _load(path)
    reference, labels = _channels_first(case["ref_embedding"]), _indices(case["ref_labels"], case["gt_ids"])
    for query, expected in zip(case["query_embedding"], _maps(case["map_k1"]), strict=True):
        ours = twin.global_matching(_channels_first(query), reference, labels, num_objects=len(case["gt_ids"]))
        torch.testing.assert_close(ours, expected, rtol=0, atol=TOLERANCE.get(path.stem, 1e-5))


def _check_local(path: Path, twin: object) -> None:
    case = _load(path)
    query, previous = _channels_first(case["query_embedding"]), _channels_first(case["prev_embedding"])
    labels, radius = _indices(case["prev_labels"], case["gt_ids"]), int(case["max_distance"])
    ours = twin.local_matching(query, previous, labels, num_objects=len(case["gt_ids"]), radius=radius)
    torch.testing.assert_close(ours, _maps(case["local_map"])[0], rtol=0, atol=1e-5)


def test_no_case_is_missing() -> None:
    assert len(GLOBAL) == 10
    assert len(LOCAL) == 13


@pytest.mark.parametrize("name", GLOBAL)
def test_the_global_map_is_the_official_one(name: str) -> None:
    _check_global(GOLDEN / f"{name}.npz", maps)


@pytest.mark.parametrize("name", LOCAL)
def test_the_local_map_is_the_official_one(name: str) -> None:
    _check_local(GOLDEN / f"{name}.npz", maps)


@pytest.mark.parametrize("name", ["global_d_refquery_differ", "global_g_large_distances", "global_j_no_background"])
def test_the_global_loops_are_the_official_ones(name: str) -> None:
    _check_global(GOLDEN / f"{name}.npz", naive)


@pytest.mark.parametrize("name", ["local_a_r4", "local_g_r4_label_not_in_gt", "local_h_1x7", "local_i_1x1_r15"])
def test_the_local_loops_are_the_official_ones(name: str) -> None:
    _check_local(GOLDEN / f"{name}.npz", naive)


@pytest.mark.parametrize("name", GLOBAL)
def test_squared_distances_are_the_official_ones(name: str) -> None:
    case = _load(GOLDEN / f"{name}.npz")
    reference, labels = _channels_first(case["ref_embedding"]), _indices(case["ref_labels"], case["gt_ids"])
    for query, raw in zip(case["query_embedding"], _maps(case["raw_k1_chunks1"]), strict=True):
        match = maps.nearest_global(_channels_first(query), reference, labels, num_objects=len(case["gt_ids"]))
        expected = torch.where(raw > 1e19, torch.inf, raw)
        atol = 1e-3 if name in TOLERANCE else 3e-5
        torch.testing.assert_close(match.sq_distance, expected, rtol=1e-6, atol=atol)


@NEEDS_TRITON
@pytest.mark.slow
@pytest.mark.parametrize("searches", [nullcontext], indirect=True)
def test_the_kernel_in_triton_finds_the_official_map(monkeypatch: pytest.MonkeyPatch) -> None:
    with interpreted() as search:
        monkeypatch.setattr(maps, "nearest_anywhere", search)
        for name in GLOBAL:
            _check_global(GOLDEN / f"{name}.npz", maps)


@pytest.mark.shared
def test_files_that_are_only_in_the_shared_folder_agree_too() -> None:
    paths = sorted((SHARED / "golden" / "matching").glob("*.npz"))
    if not paths:
        pytest.skip(f"no reference numbers in {SHARED}: set FEELVOS_SHARED")
    for path in paths:
        (_check_global if path.stem.startswith("global_") else _check_local)(path, maps)
