"""Laws of the distance maps: what must hold for any embeddings, labels and radius, with the searches for CPUs and GPUs.

Types of numbers, layouts and wrong input: `test_matching_inputs.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from gpu_searches import searches_for_gpus
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from feelvos_lab.errors import LabError
from feelvos_lab.model.matching import (
    global_matching,
    global_search,
    local_matching,
    local_search,
    naive,
    nearest_global,
    nearest_local,
    sample_reference,
    slice_search,
    window_search,
)
from feelvos_lab.model.matching import maps as fast

ANY_SEED = st.integers(0, 2**16)


@pytest.fixture(params=[nullcontext, searches_for_gpus], ids=["for CPUs", "for GPUs"], scope="module", autouse=True)
def searches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every law with the searches for CPUs, then with those for GPUs, here on the CPU."""
    with request.param():
        yield


def _frames(
    seed: int, *, dim: int = 3, size: tuple[int, int] = (7, 9), num_objects: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """A query, a reference that is mostly like it, and labels of which some are to be ignored."""
    generator = Generator().manual_seed(seed)
    query = torch.randn(dim, *size, generator=generator, dtype=dtype)
    noise = torch.randn(dim, *size, generator=generator, dtype=dtype)
    labels = torch.randint(-1, num_objects + 1, size, generator=generator)
    return query, 0.7 * query + 0.3 * noise, labels


def _both_maps(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int, radius: int = 2) -> Tensor:
    return torch.stack(
        [
            global_matching(query, reference, labels, num_objects=num_objects),
            local_matching(query, reference, labels, num_objects=num_objects, radius=radius),
        ]
    )


def _dense_map(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int, radius: int | None) -> Tensor:
    """The definition with one big table: no blocks, no second evaluation, autograd as it comes."""
    h, w = query.shape[1:]
    difference = query.flatten(1)[:, :, None] - reference.flatten(1)[:, None, :]
    sq = difference.square().sum(0)  # (M, N)
    if radius is not None:
        y, x = torch.arange(h * w) // w, torch.arange(h * w) % w
        outside = ((y[:, None] - y).abs() > radius) | ((x[:, None] - x).abs() > radius)
        sq = sq.masked_fill(outside, torch.inf)
    per_object = [sq.masked_fill(labels.flatten() != o, torch.inf).amin(1) for o in range(num_objects)]
    return fast.normalise_distance(torch.stack(per_object)).view(num_objects, h, w)


# the fast maps are the loops


@settings(max_examples=25, deadline=None)
@given(ANY_SEED, st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_the_global_map_is_its_loop_twin(seed: int, h: int, w: int, dim: int, num_objects: int) -> None:
    query, reference, labels = _frames(seed, dim=dim, size=(h, w), num_objects=num_objects)
    reference, labels = reference.flatten(1)[:, : h * w - 1 or 1], labels.flatten()[: h * w - 1 or 1]
    ours = global_matching(query, reference, labels, num_objects=num_objects)
    loops = naive.global_matching(query, reference, labels, num_objects=num_objects)
    torch.testing.assert_close(ours, loops, rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(ANY_SEED, st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 7))
def test_the_local_map_is_its_loop_twin(seed: int, h: int, w: int, dim: int, num_objects: int, radius: int) -> None:
    query, previous, labels = _frames(seed, dim=dim, size=(h, w), num_objects=num_objects)
    ours = local_matching(query, previous, labels, num_objects=num_objects, radius=radius)
    loops = naive.local_matching(query, previous, labels, num_objects=num_objects, radius=radius)
    torch.testing.assert_close(ours, loops, rtol=0, atol=1e-5)


def test_pairwise_distances_are_their_loop_twin_and_never_negative() -> None:
    rows = 100 * torch.randn(40, 7, generator=Generator().manual_seed(0))
    ours = fast.pairwise_sq_dist(rows, rows[:30])
    torch.testing.assert_close(ours, naive.pairwise_sq_dist(rows, rows[:30]), rtol=1e-4, atol=0.1)
    assert ours.min() >= 0


def test_the_normalised_distance_is_its_loop_twin() -> None:
    sq = torch.tensor([0, 1e-3, 0.5, 2, 17, 900, torch.inf], dtype=torch.float64)
    torch.testing.assert_close(fast.normalise_distance(sq), naive.normalise_distance(sq), rtol=0, atol=1e-15)
    assert fast.normalise_distance(sq)[[0, -1]].tolist() == [0, 1]


# blocks change nothing


@pytest.mark.parametrize("block", [1, 3, 16, 100])
@pytest.mark.parametrize("tile", [1, 4, 7, 100])
def test_blocks_of_any_size_give_the_same_maps(monkeypatch: pytest.MonkeyPatch, block: int, tile: int) -> None:
    query, reference, labels = _frames(1, dim=5, size=(9, 14), num_objects=4, dtype=torch.float64)
    expected = [_dense_map(query, reference, labels, num_objects=4, radius=radius) for radius in (None, 6)]
    monkeypatch.setattr(global_search, "_BLOCK", block)
    monkeypatch.setattr(local_search, "_BLOCK", block)
    monkeypatch.setattr(local_search, "_tile", lambda radius: tile)
    monkeypatch.setattr(local_search, "_TILES", tile)
    monkeypatch.setattr(global_search, "_TABLE", 0 if tile < 7 else 10**6)
    monkeypatch.setattr(global_search, "_QUERIES", 7 * tile)
    monkeypatch.setattr(global_search, "_PART", 2 * tile)
    monkeypatch.setattr(global_search, "_TILES", block)
    monkeypatch.setattr(global_search, "_TOGETHER", block)
    monkeypatch.setattr(global_search, "_GROUPS", 3 * tile)
    monkeypatch.setattr(global_search, "_PRODUCTS", {"cpu": 37 * tile})
    monkeypatch.setattr(slice_search, "_LEAST_QUERIES", tile)
    monkeypatch.setattr(slice_search, "_MOST_BYTES", 37 * tile)
    monkeypatch.setattr(window_search, "_BLOCK", block)
    monkeypatch.setattr(window_search, "_TILE", tile)
    monkeypatch.setattr(fast, "_CHUNK", {"cpu": 11 * tile})
    ours = _both_maps(query, reference, labels, num_objects=4, radius=6)
    torch.testing.assert_close(ours, torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(13, 80), (1, 1100), (1100, 1), (33, 33), (32, 32), (2, 500), (500, 2), (17, 40)])
@pytest.mark.parametrize("radius", [0, 4, 40])
@pytest.mark.parametrize("num_objects", [1, 3])
def test_a_grid_of_many_tiles_gives_the_dense_map(size: tuple[int, int], radius: int, num_objects: int) -> None:
    query, previous, labels = _frames(2, dim=4, size=size, num_objects=num_objects)
    ours = local_matching(query, previous, labels, num_objects=num_objects, radius=radius)
    dense = _dense_map(query, previous, labels, num_objects=num_objects, radius=radius)
    torch.testing.assert_close(ours, dense, rtol=0, atol=1e-5)


# the laws of the maps


@settings(max_examples=20, deadline=None)
@given(ANY_SEED, st.integers(0, 3))
def test_maps_lie_between_zero_and_one(seed: int, radius: int) -> None:
    query, reference, labels = _frames(seed, num_objects=4)
    maps = _both_maps(10 * query, 10 * reference, labels, num_objects=4, radius=radius)
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_an_absent_object_has_distance_one_everywhere() -> None:
    query, reference, labels = _frames(3)
    labels[labels == 1] = 0
    maps = _both_maps(query, reference, labels, num_objects=3)
    assert (maps[:, 1] == 1).all()
    assert (maps[0, 0] < 1).all()


def test_without_a_labelled_pixel_all_is_far_and_no_gradient_flows() -> None:
    query, reference, _ = _frames(4)
    query.requires_grad_()
    maps = _both_maps(query, reference, torch.full((7, 9), 255), num_objects=2)
    assert (maps == 1).all()
    maps.sum().backward()
    assert (query.grad == 0).all()


def test_a_reference_without_pixels_is_far_from_everything() -> None:
    query, _, _ = _frames(4)
    match = nearest_global(query, torch.zeros(3, 0), torch.zeros(0, dtype=torch.int64), num_objects=2)
    assert match.sq_distance.isinf().all()
    assert (match.index == -1).all()


@settings(max_examples=20, deadline=None)
@given(ANY_SEED, st.permutations(range(4)))
def test_relabelling_the_objects_permutes_the_maps(seed: int, order: list[int]) -> None:
    query, reference, labels = _frames(seed, num_objects=4)
    known = (labels >= 0) & (labels < 4)
    renamed = torch.where(known, torch.tensor(order)[labels.clamp(0, 3)], labels)
    before = _both_maps(query, reference, labels, num_objects=4)
    after = _both_maps(query, reference, renamed, num_objects=4)
    torch.testing.assert_close(after[:, order], before, rtol=0, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(ANY_SEED)
def test_shuffling_the_reference_pixels_changes_nothing(seed: int) -> None:
    query, reference, labels = _frames(seed)
    order = torch.randperm(63, generator=Generator().manual_seed(seed))
    shuffled = reference.flatten(1)[:, order], labels.flatten()[order]
    before = nearest_global(query, reference, labels, num_objects=3)
    after = nearest_global(query, *shuffled, num_objects=3)
    torch.testing.assert_close(after.sq_distance, before.sq_distance, rtol=0, atol=1e-6)
    found = before.index >= 0
    assert torch.equal(order[after.index[found]], before.index[found])


@settings(max_examples=20, deadline=None)
@given(ANY_SEED)
def test_a_wider_window_is_never_farther_and_the_widest_is_the_global_map(seed: int) -> None:
    query, previous, labels = _frames(seed, dtype=torch.float64)
    everywhere = global_matching(query, previous, labels, num_objects=3)
    last = torch.ones_like(everywhere)
    for radius in (0, 1, 2, 5, 8, 9, 30):
        local = local_matching(query, previous, labels, num_objects=3, radius=radius)
        assert (local <= last + 1e-12).all()
        assert (local >= everywhere - 1e-12).all()
        last = local
    torch.testing.assert_close(last, everywhere, rtol=0, atol=1e-12)
    assert local_matching(query, previous, labels, num_objects=3, radius=0).gt(everywhere).any()


def test_a_look_alike_outside_the_window_moves_the_global_map_only() -> None:
    query, previous, _ = _frames(5, size=(20, 20))
    labels = torch.zeros(20, 20, dtype=torch.int64)
    labels[2:5, 2:5] = 1
    before = _both_maps(query, previous, labels, num_objects=2, radius=4)
    labels[18, 18] = 1
    previous[:, 18, 18] = query[:, 6, 6]
    after = _both_maps(query, previous, labels, num_objects=2, radius=4)
    assert before[0, 1, 6, 6] > 0.01
    assert after[0, 1, 6, 6] == 0
    assert torch.equal(after[1, :, :14, :14], before[1, :, :14, :14])


def test_the_window_is_a_square_of_the_radius() -> None:
    query = torch.zeros(1, 11, 11)
    labels = torch.zeros(11, 11, dtype=torch.int64)
    labels[5, 6] = 1
    near = local_matching(query, query, labels, num_objects=2, radius=2)[1] == 0
    expected = torch.zeros(11, 11, dtype=torch.bool)
    expected[3:8, 4:9] = True
    assert torch.equal(near, expected)


@pytest.mark.parametrize("ignored", [-1, 3, 255, -(2**40), 2**40])
def test_labels_that_are_no_object_are_ignored(ignored: int) -> None:
    query, reference, labels = _frames(6)
    labels = torch.where(labels.eq(-1) | labels.eq(3), ignored, labels)
    ours = _both_maps(query, reference, labels, num_objects=3)
    dense = [_dense_map(query, reference, labels, num_objects=3, radius=radius) for radius in (None, 2)]
    torch.testing.assert_close(ours, torch.stack(dense), rtol=0, atol=1e-5)


def test_fifty_objects_match_as_well_as_two() -> None:
    query, reference, labels = _frames(7, size=(33, 40), num_objects=50)
    ours = _both_maps(query, reference, labels, num_objects=50, radius=5)
    dense = [_dense_map(query, reference, labels, num_objects=50, radius=radius) for radius in (None, 5)]
    torch.testing.assert_close(ours, torch.stack(dense), rtol=0, atol=1e-5)


def test_the_index_points_at_the_pixel_of_the_distance() -> None:
    query, previous, labels = _frames(8, size=(40, 41))
    for match in (
        nearest_global(query, previous, labels, num_objects=3),
        nearest_local(query, previous, labels, num_objects=3, radius=3),
    ):
        found = match.index >= 0
        assert torch.equal(found, match.sq_distance.isfinite())
        objects, y, x = found.nonzero(as_tuple=True)
        pixels = match.index[found]
        assert torch.equal(labels.flatten()[pixels], objects)
        sq = (query[:, y, x] - previous.flatten(1)[:, pixels]).square().sum(0)
        torch.testing.assert_close(match.sq_distance[found], sq)
    assert ((pixels // 41 - y).abs().max(), (pixels % 41 - x).abs().max()) == (3, 3)


def test_a_far_offset_costs_no_precision() -> None:
    query, reference, labels = _frames(9, dim=8, size=(20, 20))
    offset = torch.full((8, 1, 1), 64.0)  # a power of two, so that the shifted inputs are rounded little
    query, reference = query + offset, reference + offset
    exact = _dense_map(query.double(), reference.double(), labels, num_objects=3, radius=None)
    ours = global_matching(query, reference, labels, num_objects=3)
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-5)


def test_a_frame_is_at_distance_zero_from_itself() -> None:
    query = torch.randn(100, 40, 30, generator=Generator().manual_seed(10)).relu()
    labels = torch.zeros(40, 30, dtype=torch.int64)
    assert (_both_maps(query, query, labels, num_objects=1) == 0).all()


# gradients


@pytest.mark.parametrize("radius", [None, 1])
def test_gradients_are_those_of_finite_differences(radius: int | None) -> None:
    query, reference, labels = _frames(11, dim=2, size=(3, 4), num_objects=2, dtype=torch.float64)
    match = _matcher(radius, labels, num_objects=2)
    assert torch.autograd.gradcheck(match, (query.requires_grad_(), reference.requires_grad_()))


@pytest.mark.parametrize("radius", [None, 3])
def test_gradients_are_those_of_the_dense_definition(radius: int | None) -> None:
    query, reference, labels = _frames(12, dim=4, size=(34, 35), num_objects=3, dtype=torch.float64)
    weights = torch.randn(3, 34, 35, generator=Generator().manual_seed(0), dtype=torch.float64)
    inputs = query.requires_grad_(), reference.requires_grad_()
    ours = torch.autograd.grad((_matcher(radius, labels, num_objects=3)(*inputs) * weights).sum(), inputs)
    dense = _dense_map(*inputs, labels, num_objects=3, radius=radius)
    expected = torch.autograd.grad((dense * weights).sum(), inputs)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    assert all(gradient.abs().max() > 0.01 for gradient in ours)


def _matcher(radius: int | None, labels: Tensor, *, num_objects: int) -> Callable[[Tensor, Tensor], Tensor]:
    if radius is None:
        return lambda query, reference: global_matching(query, reference, labels, num_objects=num_objects)
    return lambda query, reference: local_matching(query, reference, labels, num_objects=num_objects, radius=radius)


def test_where_nothing_was_found_no_gradient_flows_even_if_one_comes() -> None:
    query, previous, labels = _frames(17)
    labels[labels == 1] = 0
    inputs = query.requires_grad_(), previous.requires_grad_()
    sq = nearest_local(*inputs, labels, num_objects=3, radius=1).sq_distance
    assert sq.isinf().any()
    everywhere = torch.autograd.grad(sq, inputs, torch.ones_like(sq), retain_graph=True)
    found_only = torch.autograd.grad(sq, inputs, sq.isfinite().float())
    torch.testing.assert_close(everywhere, found_only)


def test_gradients_reach_one_side_alone() -> None:
    query, reference, labels = _frames(13)
    for side in (query, reference):
        side.requires_grad_()
        _both_maps(query, reference, labels, num_objects=3).sum().backward()
        assert side.grad.abs().sum() > 0
        side.requires_grad_(False)


# training's sample of the reference


@settings(max_examples=30, deadline=None)
@given(ANY_SEED, st.integers(1, 12))
def test_a_sample_keeps_few_of_each_label_and_drops_none(seed: int, most: int) -> None:
    generator = Generator().manual_seed(seed)
    labels = torch.randint(-1, 4, (6, 5), generator=generator)
    kept = sample_reference(labels, max_per_object=most, generator=generator)
    assert torch.equal(kept, kept.unique())
    for label in range(-1, 4):
        amount = (labels.flatten()[kept] == label).sum().item()
        assert amount == (0 if label == -1 else min(most, (labels == label).sum().item()))


def test_a_sample_is_random_but_repeatable() -> None:
    labels = torch.zeros(400, dtype=torch.int64)
    first, again, other = (
        sample_reference(labels, max_per_object=100, generator=Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.float().mean() == pytest.approx(200, abs=40)
    with pytest.raises(LabError, match="expected max_per_object of at least 1, got 0"):
        sample_reference(labels, max_per_object=0)


def test_the_table_of_all_distances_weighs_what_the_official_code_allocates() -> None:
    assert fast.matching_memory((480, 854)) == 25_680**2 * 4  # 2.64 GB
    assert fast.matching_memory((465, 465)) == 13_689**2 * 4  # 0.75 GB
    assert fast.matching_memory((480, 854), references=31 * 31) == 25_680 * 961 * 4  # 98.7 MB
    for size, references in (((0, 5), None), ((5, 5), -1)):
        with pytest.raises(LabError, match="size of at least 1×1 and references ≥ 0"):
            fast.matching_memory(size, references=references)
