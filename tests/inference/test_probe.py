"""A pixel is shown what the network was given, and a cue that is switched off says the same of every object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.inference.probe import NearestCell, Probe, Switches, nearest, window_round
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> Feelvos:
    """A network whose cues matter: its weights are random, its weighted sum of cues is the start of a training."""
    torch.manual_seed(0)
    return build_model(configure("smoke").model).eval()


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(7, height=64, width=80, frames=5, objects=2)


@pytest.fixture
def probe(model: Feelvos, clip: Clip) -> Iterator[Probe]:
    yield Probe(model, clip)


def test_with_the_training_s_switches_the_answer_is_that_of_propagate(probe: Probe, model: Feelvos, clip: Clip) -> None:
    for prediction in list(propagate(model, clip))[:0:-1]:  # the last frame first: order of asking does not matter
        answer = probe.answer(prediction.frame)
        assert torch.equal(answer.labels, prediction.labels)
        assert torch.equal(answer.probabilities, prediction.probabilities)


def test_hard_feedback_and_a_scaled_network_are_followed_too(clip: Clip) -> None:
    torch.manual_seed(1)
    hard = build_model(configure("smoke", feedback="hard").model).eval()
    probe = Probe(hard, clip, height=48)
    for prediction in list(propagate(hard, clip, height=48))[1:]:
        assert torch.equal(probe.answer(prediction.frame).labels, prediction.labels)


@pytest.mark.parametrize("cell", [(0, 0), (7, 9), (15, 19)])
@pytest.mark.parametrize("object_id", [0, 1, 2])
def test_at_the_marked_cell_stands_the_value_of_the_networks_own_map(probe: Probe, cell, object_id) -> None:
    look = probe.look(3, object_id=object_id, cell=cell)
    cues = probe.answer(3).cues
    for match, cue in ((look.first_match, cues.global_map), (look.previous_match, cues.local_map)):
        value = float(cue[object_id, cell[0], cell[1]])
        assert (1.0 if match is None else match.distance) == pytest.approx(value, abs=2e-5)


def test_the_marked_cell_is_the_objects_smallest_distance_of_the_map_that_is_shown(probe: Probe) -> None:
    look = probe.look(2, object_id=1, cell=(8, 8))
    inside = look.previous_object & window_round((8, 8), look.window, probe.grid)
    for match, shown, allowed in (
        (look.first_match, look.first_distance, look.first_object),
        (look.previous_match, look.previous_distance, inside),
    ):
        assert allowed[match.row, match.column]
        assert match.distance == float(shown[allowed].min()) == float(shown[match.row, match.column])


def test_a_cell_is_at_distance_nothing_from_itself(model: Feelvos, clip: Clip) -> None:
    still = Clip("still", clip.frames[:1].expand(3, -1, -1, -1), clip.masks[:1].expand(3, -1, -1), clip.object_ids)
    for distance in Probe(model, still).distances(2, (5, 6)):
        assert float(distance[5, 6]) == pytest.approx(0, abs=1e-4)
        assert float(distance.min()) >= 0 and float(distance.max()) <= 1


def test_a_look_changes_with_each_switch_and_comes_back_exactly(probe: Probe) -> None:
    before = probe.answer(3)
    changes = [
        {"first_matching": "none"},
        {"previous_matching": "none"},
        {"previous_matching": "global"},
        {"previous_mask": False},
        {"radius": 1},
    ]
    for change in changes:
        other = probe.answer(3, replace(probe.trained, **change))
        assert not torch.equal(other.probabilities, before.probabilities), change
        back = probe.answer(3, probe.trained)
        assert torch.equal(back.probabilities, before.probabilities)
        assert torch.equal(back.labels, before.labels)


def test_without_any_cue_no_object_can_be_told_from_another(probe: Probe) -> None:
    nothing = Switches("none", "none", False, radius=4)
    answer = probe.answer(3, nothing)
    assert torch.allclose(answer.probabilities, torch.full_like(answer.probabilities, 1 / 3), atol=1e-6)
    for cue, constant in zip(answer.cues[:3], (1.0, 1.0, 1 / 3), strict=True):
        assert torch.equal(cue, torch.full_like(cue, constant))
    assert probe.look(3, object_id=1, cell=(2, 2), switches=nothing).off == ("first frame", "previous frame", "mask")


def test_a_radius_as_wide_as_the_grid_is_global_matching(probe: Probe) -> None:
    widest = probe.answer(3, replace(probe.trained, radius=max(probe.grid)))
    everywhere = probe.answer(3, replace(probe.trained, previous_matching="global"))
    assert torch.allclose(widest.probabilities, everywhere.probabilities, atol=1e-5)


def test_maps_of_one_frame_are_not_kept_for_another(probe: Probe, model: Feelvos, clip: Clip) -> None:
    wide = replace(probe.trained, radius=9)
    probe.answer(2, wide)
    assert torch.equal(probe.answer(4, wide).probabilities, Probe(model, clip).answer(4, wide).probabilities)


def test_outside_the_window_nothing_is_marked_and_the_map_says_one(probe: Probe) -> None:
    look = probe.look(1, object_id=1, cell=probe.centre_of(1, 1), switches=replace(probe.trained, radius=0))
    far = next(
        (row, column)
        for row in range(probe.grid[0])
        for column in range(probe.grid[1])
        if not look.previous_object[row, column]
    )
    look = probe.look(1, object_id=1, cell=far, switches=replace(probe.trained, radius=0))
    assert look.previous_match is None
    assert float(probe.answer(1, look.switches).cues.local_map[1, far[0], far[1]]) == 1


def test_pixels_and_cells_have_aligned_corners(probe: Probe) -> None:
    assert probe.cell_at(0, 0) == (0, 0)
    assert probe.cell_at(63, 79) == (15, 19)
    assert probe.cell_at(-3, 500) == (0, 19)
    assert probe.cell_at(63 / 15 * 4, 79 / 19 * 11) == (4, 11)


def test_the_centre_of_an_object_lies_on_it(probe: Probe, clip: Clip) -> None:
    row, column = probe.centre_of(0, 2)
    assert clip.masks[0][round(row * 63 / 15), round(column * 79 / 19)] == 2
    assert probe.centre_of(1, 99) == (8, 10)  # nowhere: the middle of the frame


def test_nearest_is_none_where_nothing_is_allowed() -> None:
    distance = torch.tensor([[0.1, 0.2], [0.3, 0.05]])
    assert nearest(distance, torch.zeros(2, 2, dtype=torch.bool)) is None
    found = nearest(distance, torch.tensor([[False, True], [True, False]]))
    assert found == NearestCell(0, 1, pytest.approx(0.2))


def test_a_window_has_the_paper_s_size_and_ends_at_the_border() -> None:
    assert int(window_round((8, 8), 2, (20, 20)).sum()) == 25
    assert int(window_round((0, 0), 2, (20, 20)).sum()) == 9


def test_what_cannot_be_looked_at_is_refused_in_one_sentence(probe: Probe, model: Feelvos, clip: Clip) -> None:
    with pytest.raises(LabError, match="frame 0 is given, not predicted"):
        probe.look(0, object_id=1, cell=(0, 0))
    with pytest.raises(LabError, match="a frame must be 0 to 4"):
        probe.look(5, object_id=1, cell=(0, 0))
    with pytest.raises(LabError, match="object_id must be one of 0, 1, 2 in clip"):
        probe.look(1, object_id=7, cell=(0, 0))
    with pytest.raises(LabError, match="a cell must lie on the grid of 16×20"):
        probe.look(1, object_id=1, cell=(16, 0))
    with pytest.raises(LabError, match="radius"):
        probe.answer(1, replace(probe.trained, radius=-1))
    with pytest.raises(LabError, match="all given in frame 0"):
        Probe(model, replace(clip, starts=(0, 2)))
    pml = build_model(configure("smoke", method="pml").model).eval()
    with pytest.raises(LabError, match="a network with a head"):
        Probe(pml, clip)


def test_a_cue_that_the_network_never_had_cannot_be_switched_on(clip: Clip) -> None:
    torch.manual_seed(0)
    blind = build_model(configure("smoke", first_matching="none").model).eval()
    probe = Probe(blind, clip)
    assert probe.answer(1).labels.shape == clip.masks[0].shape
    assert probe.look(1, object_id=1, cell=(1, 1)).first_match is None
    with pytest.raises(LabError, match="trained without first_matching"):
        probe.answer(1, replace(probe.trained, first_matching="global"))


def test_nothing_that_is_given_is_changed(model: Feelvos, clip: Clip) -> None:
    before = [t.clone() for t in (clip.frames, clip.masks)] + [p.clone() for p in model.parameters()]
    probe = Probe(model, clip)
    probe.look(2, object_id=1, cell=(3, 3), switches=Switches("none", "global", False, 2))
    after = [clip.frames, clip.masks, *model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_look_costs_one_encoding_a_frame_however_often_it_is_taken(model: Feelvos, clip: Clip, monkeypatch) -> None:
    asked = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda images: asked.append(1) or encode(images))
    probe = Probe(model, clip)
    for radius in (0, 2, 5):
        for cell in ((1, 1), (4, 4)):
            probe.look(3, object_id=1, cell=cell, switches=replace(probe.trained, radius=radius))
    assert len(asked) == 4  # frames 0 to 3
