"""The explorer follows clicks, keys, sliders and switches; handlers are called as the page calls them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mouse import mouse, pixels_of, press_key, texts

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import GivenMasks
from feelvos_lab.data.sample_video import film
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets import Explorer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def explorer(model: Feelvos, clip: Clip) -> Explorer:
    return Explorer(clip, model, frame=2, object_id=1)


def test_a_click_looks_at_the_cell_under_it_and_the_picture_changes(explorer: Explorer) -> None:
    before = pixels_of(explorer.canvas)
    for axes, (row, column) in zip(explorer.sheet.clickable, ((12, 70), (50, 8)), strict=True):
        mouse(axes, "button_press_event", row=row, column=column)
        assert explorer.look.cell == explorer.probe.cell_at(row, column)
        after = pixels_of(explorer.canvas)
        assert not np.array_equal(after, before)
        before = after


def test_a_click_elsewhere_changes_nothing(explorer: Explorer) -> None:
    look = explorer.look
    mouse(explorer.sheet._axes["first"], "button_press_event", row=20, column=20)
    mouse(explorer.sheet._axes["first_distance"], "button_press_event", row=20, column=20)
    assert explorer.look is look


def test_the_ring_sits_on_the_smallest_value_of_the_heat_map_that_is_drawn(explorer: Explorer) -> None:
    mouse(explorer.sheet.clickable[0], "button_press_event", row=30, column=40)
    sheet, look = explorer.sheet, explorer.look
    for name, allowed in (("first", look.first_object), ("previous", look.previous_object)):
        drawn = np.asarray(sheet._images[f"{name}_distance"].get_array())
        if name == "previous":
            rows, columns = np.indices(drawn.shape)
            near = (abs(rows - look.cell[0]) <= look.window) & (abs(columns - look.cell[1]) <= look.window)
            allowed = allowed & torch.from_numpy(near)
        lowest = np.where(allowed.numpy(), drawn, np.inf)
        expected = np.unravel_index(lowest.argmin(), lowest.shape)
        for ring in sheet._matches[name]:
            (x,), (y,) = ring.get_data()
            assert explorer.probe.cell_at(y, x) == tuple(expected)


def test_sliders_and_choices_are_what_is_shown(explorer: Explorer, clip: Clip) -> None:
    explorer.frame.value = 4
    assert explorer.look.frame == 4 and "C · Frame 4" in texts(explorer.sheet.figure)
    explorer.object_id.value = 2
    assert explorer.look.object_id == 2 and "nearest pixel of object 2" in texts(explorer.sheet.figure)
    explorer.radius.value = 1
    assert explorer.look.window == 1
    side = explorer.sheet._windows[0].get_width()
    assert side == pytest.approx(3 * 79 / 19)  # three cells
    assert explorer.frame.max == len(clip) - 1


def test_a_cue_that_is_off_changes_the_prediction_says_so_and_comes_back_exactly(explorer: Explorer) -> None:
    before, labels = pixels_of(explorer.canvas), explorer.look.labels
    probability = explorer.look.probability
    for control, off, said in (
        (explorer.first_matching, "none", "off, the same for all objects:\nfirst frame = 1"),
        (explorer.previous_matching, "none", "off, the same for all objects:\nprevious frame = 1"),
        (explorer.previous_mask, "none", "off, the same for all objects:\nmask = 1/K"),
        (explorer.previous_matching, "global", "matched otherwise"),
    ):
        on = control.value
        control.value = off
        assert explorer.look.probability != probability, said
        assert said in texts(explorer.sheet.figure)
        control.value = on
        assert torch.equal(explorer.look.labels, labels) and explorer.look.probability == probability
        assert np.array_equal(pixels_of(explorer.canvas), before)


def test_a_map_that_is_off_has_no_ring_and_no_window(explorer: Explorer) -> None:
    explorer.first_matching.value = explorer.previous_matching.value = "none"
    sheet = explorer.sheet
    assert not any(part.get_visible() for part in (*sheet._matches["first"], *sheet._matches["previous"]))
    assert not any(box.get_visible() for box in sheet._windows)
    assert explorer.radius.disabled
    explorer.previous_matching.value = "local"
    assert all(box.get_visible() for box in sheet._windows) and not explorer.radius.disabled


def test_a_network_without_a_cue_offers_no_switch_for_it(clip: Clip) -> None:
    blind = build_model(configure("smoke", previous_matching="none").model).eval()
    explorer = Explorer(clip, blind)
    assert explorer.previous_matching.disabled and explorer.radius.disabled
    assert not explorer.first_matching.disabled
    assert "nothing is matched" in texts(explorer.sheet.figure)


def test_a_clip_nobody_annotated_is_explored_without_a_truth(model: Feelvos, clip: Clip) -> None:
    explorer = Explorer(Clip("own", clip.frames, clip.masks[:1], clip.object_ids), model, frame=3)
    assert "true in the result" not in texts(explorer.sheet.figure)


def test_where_some_frames_have_a_true_mask_it_is_outlined_in_those_alone(model: Feelvos) -> None:
    bunny = film("bunny")
    short = Clip(
        bunny.name,
        bunny.frames[:10],
        GivenMasks({t: bunny.masks.paths[t] for t in (0, 8)}, length=10, size=(240, 427)),
        bunny.object_ids,
    )
    explorer = Explorer(short, model, frame=8, height=64)
    outline = explorer.sheet._outlines["result"]
    assert "true in the result" in texts(explorer.sheet.figure)
    for at, places in zip(outline.get_data(), (bunny.masks[8] == 1).nonzero().flip(1).T.numpy(), strict=True):
        assert np.nanmin(at) == pytest.approx(places.min() - 0.5) and np.nanmax(at) == pytest.approx(places.max() + 0.5)
    explorer.frame.value = 7
    assert "true in the result" not in texts(explorer.sheet.figure) and len(outline.get_xdata()) == 0
    assert "Blender Foundation" in texts(explorer.sheet.figure)  # its licence asks for that


def test_reset_brings_back_what_the_network_was_trained_with_in_one_redraw(explorer: Explorer, monkeypatch) -> None:
    before = explorer.look
    explorer.first_matching.value = explorer.previous_mask.value = "none"
    explorer.previous_matching.value = "global"
    explorer.previous_matching.value = "local"
    explorer.radius.value = 1
    drawn = []
    monkeypatch.setattr(explorer.sheet, "show", drawn.append)
    explorer.reset.click()
    assert len(drawn) == 1 and explorer.look.switches == before.switches
    assert torch.equal(explorer.look.labels, before.labels)


def test_pointing_at_a_place_shows_its_value(explorer: Explorer, clip: Clip) -> None:
    for name, distance in (
        ("first_distance", explorer.look.first_distance),
        ("previous_distance", explorer.look.previous_distance),
    ):
        mouse(explorer.sheet._axes[name], "motion_notify_event", row=20, column=40, button=None)
        y, x = explorer.probe.cell_at(20, 40)
        frame = 0 if name.startswith("first") else 1
        assert explorer.value.value == f"from + to row {y}, column {x} of frame {frame}: distance {distance[y, x]:.3f}"
    y, x = (clip.masks[0] == 2).nonzero()[0].tolist()
    mouse(explorer.sheet._axes["first"], "motion_notify_event", row=y, column=x, button=None)
    assert explorer.value.value == f"frame 0, pixel row {y}, column {x}: object 2"
    y, x = (explorer.look.labels == 0).nonzero()[0].tolist()
    mouse(explorer.sheet._axes["result"], "motion_notify_event", row=y, column=x, button=None)
    assert explorer.value.value.endswith("the background")


def test_arrow_keys_change_the_frame_up_to_the_ends(explorer: Explorer, clip: Clip) -> None:
    for key, frame in (("right", 3), ("left", 2), ("left", 1), ("left", 1), ("q", 1)):
        press_key(explorer.canvas, key)
        assert explorer.frame.value == explorer.look.frame == frame


def test_the_picture_takes_the_width_of_the_page_and_stays_clickable(explorer: Explorer) -> None:
    canvas, figure = explorer.canvas, explorer.sheet.figure
    for page, width in ((400, 690), (900, 890), (3000, 1100)):
        explorer._page.set(page)
        assert figure.bbox.width == pytest.approx(width)
        sizes = {text.get_size() * figure.dpi / 72 for text in figure.findobj(lambda t: hasattr(t, "get_fontsize"))}
        assert min(sizes) >= 11  # pixels
    assert explorer.canvas is canvas and figure.canvas is canvas  # one canvas for good
    mouse(explorer.sheet.clickable[0], "button_press_event", row=12, column=70)
    assert explorer.look.cell == explorer.probe.cell_at(12, 70)


def test_the_text_of_the_picture_names_the_matches(explorer: Explorer) -> None:
    said, match = explorer.picture().text, explorer.look.first_match
    assert f"object 1 in frame 0: row {match.row}, column {match.column}, distance {match.distance:.2f}" in said
    explorer.first_matching.value = "none"
    assert "no pixel of object 1 is matched in frame 0" in explorer.picture().text
