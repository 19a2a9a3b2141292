"""The pre-filter in bfloat16 loses no nearest pixel: its bound holds, also for near-ties made to break it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from feelvos_lab.model.matching import bfloat16_bound, global_search
from feelvos_lab.model.matching.global_search import lengthened_query, lengthened_reference, nearest_anywhere
from feelvos_lab.model.matching.label_blocks import group_by_label

ANY_SEED = st.integers(0, 2**16)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every search uses the pre-filter, whatever its size; the list says of each tile whether it saved time."""
    seen: list[bool] = []
    look = global_search._prefiltered

    def watched(*arguments: object) -> Tensor | None:
        near = look(*arguments)
        seen.append(near is not None)
        return near

    monkeypatch.setattr(global_search, "_prefiltered", watched)
    monkeypatch.setattr(global_search, "_TABLE", 0)
    monkeypatch.setattr(global_search, "pays", lambda query, references: query.dtype == torch.float32)
    return seen


def _pixels(seed: int, *, dim: int, queries: int, references: int, scale: float = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = Generator().manual_seed(seed)
    query = scale * torch.randn(dim, 1, queries, generator=generator)
    reference = scale * torch.randn(dim, references, generator=generator)
    return query, reference, torch.randint(-1, 4, (references,), generator=generator)


def _exact(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> Tensor:
    """The definition in float64."""
    difference = query.double().flatten(1)[:, :, None] - reference.double()[:, None, :]
    sq = difference.square().sum(0)  # (M, N)
    far = [sq.masked_fill(labels != o, torch.inf) for o in range(num_objects)]
    index = torch.stack([table.argmin(1).masked_fill_(table.amin(1).isinf(), -1) for table in far])
    return index.view(num_objects, *query.shape[1:])


@settings(max_examples=20, deadline=None)
@given(ANY_SEED, st.sampled_from([1, 5, 32, 130]), st.sampled_from([1e-12, 1e-3, 1.0, 30.0, 1e12]), st.booleans())
def test_no_rough_distance_errs_by_more_than_the_bound(seed: int, dim: int, scale: float, alike: bool) -> None:
    query, reference, _ = _pixels(seed, dim=dim, queries=23, references=64, scale=scale)
    if alike:
        reference[:, :23] = query[:, 0] * (1 + 2**-12)
    rows, mean = lengthened_reference(reference)
    known = bfloat16_bound.rough_reference(rows)
    q = lengthened_query(query[:, 0], mean)[:dim]
    kept, bound = bfloat16_bound.rough_query(q, known)
    rounded, bound = known.rows @ kept, bound.double()
    right = (q.double()[:, :, None] + rows.double()[:, :dim].t()[:, None] / 2).square().sum(0).t()  # (N, m)
    before_rounding = known.rows.double() @ kept.double()
    assert ((before_rounding - bound - right).abs() <= bound).all()
    assert rounded.dtype == torch.bfloat16
    assert rounded.min() >= 0  # so that its bits may be compared as integers
    assert ((rounded - bound - right).abs() <= bound + 2**-8 * (1 + 1e-5) * (right + 2 * bound)).all()


@settings(max_examples=15, deadline=None)
@given(ANY_SEED, st.sampled_from([2, 60]))
def test_the_limit_is_never_below_the_nearest(seed: int, dim: int) -> None:
    query, reference, _ = _pixels(seed, dim=dim, queries=40, references=300)
    rows, mean = lengthened_reference(reference)
    known = bfloat16_bound.rough_reference(rows)
    kept, bound = bfloat16_bound.rough_query(lengthened_query(query[:, 0], mean)[:dim], known)
    distance = known.rows @ kept
    right = (query.double()[:, 0][:, None] - reference.double()[:, :, None]).square().sum(0)
    limit = bfloat16_bound.limit_of(distance.amin(0), bound)
    assert (distance.gather(0, right.argmin(0)[None])[0] <= limit).all()


@pytest.mark.parametrize("seed", range(2))
def test_the_nearest_is_that_of_float32(looks: list[bool], monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    tensors = _pixels(seed, dim=100, queries=600, references=400)
    first = nearest_anywhere(*tensors, 4)
    assert looks == [True] * 2
    monkeypatch.setattr(global_search, "pays", lambda query, references: False)
    assert torch.equal(first, nearest_anywhere(*tensors, 4))
    assert looks == [True] * 2
    assert torch.equal(first, _exact(*tensors, 4))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("seed", range(3))
def test_near_ties_that_bfloat16_turns_round_are_told_apart(looks: list[bool], seed: int, scale: float) -> None:
    """Each query has a nearest pixel and, in other blocks, rivals that bfloat16 believes to be nearer.

    A rival is a little farther than the nearest, by much less than bfloat16 resolves and much more than float32 does.
    """
    generator = Generator().manual_seed(seed)
    query = torch.randn(64, 1, 150, generator=generator)
    away = torch.nn.functional.normalize(torch.randn(64, 4, 150, generator=generator), dim=0)
    distance = torch.tensor([1.0, 1.0004, 1.0008, 1.0012])[
        :, None
    ]  # squared ones differ by 0.0008: 5 digits of float32
    near = query + distance * away  # (D, 4, 150)
    reference = scale * near.reshape(64, 600)
    labels = torch.zeros(600, dtype=torch.int64)
    rows, mean = lengthened_reference(reference)
    known = bfloat16_bound.rough_reference(rows)
    kept, _ = bfloat16_bound.rough_query(lengthened_query(scale * query[:, 0], mean)[:64], known)
    deceived = (known.rows @ kept).argmin(0) != torch.arange(150)
    assert deceived.float().mean() > 0.4  # otherwise this would test nothing
    index = nearest_anywhere(scale * query, reference, labels, 1)
    assert torch.equal(index[0, 0], torch.arange(150))
    assert looks == [True]


def test_what_the_first_look_lets_through_is_no_more_than_needed(looks: list[bool]) -> None:
    query, reference, labels = _pixels(5, dim=100, queries=300, references=4000)
    rows, mean = lengthened_reference(reference)
    blocks = group_by_label(labels[None], 4, 16)
    known = bfloat16_bound.rough_reference(rows.index_select(0, blocks.places.view(-1)))
    block, _ = global_search._prefiltered(lengthened_query(query[:, 0], mean)[:100], known, blocks)
    assert 4 * 300 <= len(block) < 2.5 * 4 * 300


@pytest.mark.parametrize("columns", [1, 7, 8, 24, 300, 512])
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_pairs_are_where_a_table_is_true_row_by_row(columns: int, share: float) -> None:
    table = torch.rand(40, columns, generator=Generator().manual_seed(columns)) < share
    assert torch.equal(torch.stack(global_search._true_entries(table), 1), table.nonzero())


def test_where_all_pixels_are_alike_float32_takes_over_after_one_look(looks: list[bool]) -> None:
    generator = Generator().manual_seed(6)
    query = 1 + 1e-3 * torch.randn(40, 1, 600, generator=generator)
    reference = 1 + 1e-3 * torch.randn(40, 700, generator=generator)
    reference[:, 0] += 1000  # one far pixel, and all the others are within the bound of each other
    labels = torch.arange(700) % 2
    index = nearest_anywhere(query, reference, labels, 2)
    assert looks == [False]
    chosen = (query.double() - reference.double()[:, index[:, 0]]).square().sum(0)
    best = _exact(query, reference, labels, 2)
    right = (query.double() - reference.double()[:, best[:, 0]]).square().sum(0)
    torch.testing.assert_close(chosen, right, rtol=0, atol=0.2)  # float32 beside a pixel a million away squared


@pytest.mark.parametrize("scale", [1e-25, 1e17])
def test_numbers_at_the_end_of_the_range_are_still_matched(looks: list[bool], scale: float) -> None:
    query, reference, labels = _pixels(7, dim=33, queries=600, references=700)
    index = nearest_anywhere(scale * query, scale * reference, labels, 4)
    assert looks
    if scale > 1:
        assert torch.equal(index, _exact(query, reference, labels, 4))
    assert ((index >= 0).all(2) == torch.tensor([[True]] * 4)).all()


def test_doubles_never_take_the_first_look(looks: list[bool]) -> None:
    query, reference, labels = _pixels(8, dim=40, queries=600, references=300)
    index = nearest_anywhere(query.double(), reference.double(), labels, 4)
    assert torch.equal(index, _exact(query, reference, labels, 4))
    assert looks == []


@pytest.mark.parametrize(("able", "expected"), [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)])
def test_the_first_look_is_taken_where_the_processor_can(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    frame = torch.zeros(100, 120, 214)
    assert bfloat16_bound.pays(frame, 25_680) is expected
    assert not bfloat16_bound.pays(frame, 100)  # few products
    assert not bfloat16_bound.pays(frame[:8], 25_680)  # short embeddings
    assert not bfloat16_bound.pays(frame.double(), 25_680)
    assert not bfloat16_bound.pays(frame.to("meta"), 25_680)


def test_a_torch_that_cannot_say_what_the_processor_can_compares_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not bfloat16_bound.pays(torch.zeros(100, 120, 214), 25_680)
