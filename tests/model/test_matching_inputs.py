"""What the distance maps take: types of numbers, layouts in memory, and wrong input in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from gpu_searches import searches_for_gpus
from torch import Generator, Tensor

from feelvos_lab.errors import LabError
from feelvos_lab.model.matching import global_matching, local_matching, nearest_global, pairwise_sq_dist


@pytest.fixture(params=[nullcontext, searches_for_gpus], ids=["for CPUs", "for GPUs"], scope="module", autouse=True)
def searches(request: pytest.FixtureRequest) -> Iterator[None]:
    with request.param():
        yield


def _frames(
    seed: int, *, dim: int = 3, size: tuple[int, int] = (7, 9), dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """A query, a reference that is mostly like it, and labels -1 … 3."""
    generator = Generator().manual_seed(seed)
    query = torch.randn(dim, *size, generator=generator, dtype=dtype)
    noise = torch.randn(dim, *size, generator=generator, dtype=dtype)
    return query, 0.7 * query + 0.3 * noise, torch.randint(-1, 4, size, generator=generator)


def _both_maps(query: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    return torch.stack(
        [
            global_matching(query, reference, labels, num_objects=3),
            local_matching(query, reference, labels, num_objects=3, radius=2),
        ]
    )


def test_inputs_are_not_written_to() -> None:
    query, reference, labels = _frames(14, size=(34, 35))
    copies = query.clone(), reference.clone(), labels.clone()
    query.requires_grad_()
    _both_maps(query, reference, labels).sum().backward()
    for given_, copy in zip((query.detach(), reference, labels), copies, strict=True):
        assert torch.equal(given_, copy)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_batch_is_matched_clip_by_clip(kind: torch.dtype) -> None:
    clips = [_frames(seed, dim=6, size=(10, 11)) for seed in (20, 21, 22)]
    query, reference, labels = (torch.stack(part) for part in zip(*clips, strict=True))
    query, reference = (t.to(kind).requires_grad_() for t in (query, reference))
    maps = _both_maps(query, reference, labels)  # (2, B, K, h, w)
    assert maps.shape == (2, 3, 3, 10, 11) and maps.dtype == (kind if kind == torch.float64 else torch.float32)
    weight = torch.rand(maps.shape, generator=Generator().manual_seed(23))
    (maps * weight).sum().backward()
    for b in range(3):
        q, r = (t[b].detach().clone().requires_grad_() for t in (query, reference))
        alone = _both_maps(q, r, labels[b])
        assert torch.equal(maps[:, b], alone)
        (alone * weight[:, b]).sum().backward()
        assert torch.equal(query.grad[b], q.grad) and torch.equal(reference.grad[b], r.grad)
        assert q.grad.dtype == kind
    match = nearest_global(query, reference, labels, num_objects=3)
    assert torch.equal(match.index[1], nearest_global(query[1], reference[1], labels[1], num_objects=3).index)


def test_a_batch_of_lists_of_pixels_is_matched() -> None:
    query, reference, labels = (torch.stack(part) for part in zip(*[_frames(seed) for seed in (24, 25)], strict=True))
    expected = global_matching(query, reference, labels, num_objects=3)
    assert torch.equal(global_matching(query, reference.flatten(2), labels.flatten(1), num_objects=3), expected)


@pytest.mark.parametrize(
    ("query", "reference", "labels"),
    [
        ((2, 3, 4, 5), (3, 3, 4, 5), (2, 4, 5)),
        ((2, 3, 4, 5), (2, 3, 4, 5), (4, 5)),
        ((0, 3, 4, 5), (0, 3, 4, 5), (0, 4, 5)),
        ((2, 3, 4, 5), (2, 3, 4, 5), ()),
    ],
)
def test_batches_that_differ_are_rejected(query: tuple, reference: tuple, labels: tuple) -> None:
    with pytest.raises(LabError, match=r"^expected query, reference and labels of the same B ≥ 1 clips, got "):
        _both_maps(torch.zeros(query), torch.zeros(reference), torch.zeros(labels, dtype=torch.int64))


def test_the_layout_in_memory_does_not_matter() -> None:
    query, reference, labels = _frames(15, dim=6, size=(34, 35))
    expected = _both_maps(query, reference, labels)
    channels_last = [t.permute(1, 2, 0).contiguous().permute(2, 0, 1) for t in (query, reference)]
    strided = labels.repeat_interleave(2, 1)[:, ::2]
    assert not (channels_last[0].is_contiguous() or strided.is_contiguous())
    ours = _both_maps(*channels_last, strided)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.uint8], ids=str)
def test_labels_may_be_any_integers(dtype: torch.dtype) -> None:
    query, reference, labels = _frames(16, size=(20, 30))
    assert torch.equal(_both_maps(query, reference, labels.to(dtype)), _both_maps(query, reference, labels))


def test_the_kind_of_number_is_kept() -> None:
    for dtype in (torch.float32, torch.float64):
        assert _both_maps(*_frames(16, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_compared_in_float32_and_has_gradients_of_its_own_type(dtype: torch.dtype) -> None:
    query, reference, labels = _frames(17, dim=6, size=(20, 30))
    embeddings = [tensor.to(dtype).requires_grad_() for tensor in (query, reference)]
    widened = [tensor.detach().float().requires_grad_() for tensor in embeddings]
    ours, expected = _both_maps(*embeddings, labels), _both_maps(*widened, labels)
    assert ours.dtype == torch.float32 and torch.equal(ours, expected)
    ours.square().sum().backward()
    expected.square().sum().backward()
    for half, wide in zip(embeddings, widened, strict=True):
        assert half.grad.dtype == dtype
        # rounded to 8 binary digits or more: the gradients of the two maps, their sum, and the sum in float32
        torch.testing.assert_close(half.grad, wide.grad.to(dtype), rtol=0.01, atol=6 * 2**-9)


def test_float16_embeddings_whose_norm_float16_cannot_hold_are_finite() -> None:
    frame = torch.full((4, 5, 6), 6e4, dtype=torch.float16)
    assert (_both_maps(frame, frame, torch.zeros(5, 6, dtype=torch.int64))[:, 0] == 0).all()


_Q, _R, _L = torch.zeros(3, 4, 5), torch.zeros(3, 4, 5), torch.zeros(4, 5, dtype=torch.int64)
_TYPES = "expected two embeddings of one type, float16, bfloat16, float32 or float64, got"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"query": torch.zeros(4, 5)}, "expected query embeddings D×h×w, got 4×5"),
        ({"query": torch.zeros(2, 4, 5)}, "expected reference embeddings 2×h×w or 2×N, got 3×4×5"),
        ({"query": torch.zeros(3, 0, 5)}, "expected query embeddings D×h×w, got 3×0×5"),
        ({"reference": torch.zeros(3)}, "expected reference embeddings 3×h×w or 3×N, got 3"),
        ({"reference": torch.zeros(3, 5, 4)}, "expected labels 5×4, one a reference pixel, got 4×5"),
        ({"labels": _L[:2]}, "expected labels 4×5, one a reference pixel, got 2×5"),
        ({"labels": _L.float()}, "expected integer labels, got torch.float32"),
        ({"labels": _L.bool()}, "expected integer labels, got torch.bool"),
        ({"query": _Q.bfloat16()}, f"{_TYPES} torch.bfloat16 and torch.float32"),
        ({"reference": _R.double()}, f"{_TYPES} torch.float32 and torch.float64"),
        ({"query": _Q.long(), "reference": _R.long()}, f"{_TYPES} torch.int64 and torch.int64"),
        ({"query": _Q / 0}, "expected query embeddings of finite norm, got one of nan"),
        ({"reference": _R + torch.inf}, "expected reference embeddings of finite norm, got one of inf"),
        ({"query": _Q.half() - torch.inf, "reference": _R.half()}, "query embeddings of finite norm, got one of inf"),
        ({"num_objects": 0}, "expected num_objects of at least 1, got 0"),
        ({"num_objects": 2.0}, "expected num_objects of at least 1, got 2.0"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(change: dict[str, Any], sentence: str) -> None:
    good = {"query": _Q, "reference": _R, "labels": _L, "num_objects": 2}
    for match in (global_matching, lambda *tensors, **rest: local_matching(*tensors, **rest, radius=1)):
        given_ = {**good, **change}
        with pytest.raises(LabError) as caught:
            match(given_.pop("query"), given_.pop("reference"), given_.pop("labels"), **given_)
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_window_needs_a_radius_and_two_frames_of_one_size() -> None:
    with pytest.raises(LabError, match="expected a radius that is an integer of at least 0, got -1"):
        local_matching(_Q, _R, _L, num_objects=2, radius=-1)
    with pytest.raises(LabError, match="expected a previous frame 3×4×5 like the query, got 3×5×4"):
        local_matching(_Q, _R.mT, _L.mT, num_objects=2, radius=1)
    with pytest.raises(LabError, match="expected embeddings N×D and M×D, got 2×3 and 2×4"):
        pairwise_sq_dist(torch.zeros(2, 3), torch.zeros(2, 4))
