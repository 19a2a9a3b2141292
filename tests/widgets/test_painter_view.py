"""The painter's view and its keys: zoom, pan, width, opacity, and what each key does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mouse import drag, mouse, pixels_of, press_key, texts

from feelvos_lab.data.clip import Clip
from feelvos_lab.figures.painter import FrameSheet, swatch, text_colour
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets import Painter
from feelvos_lab.widgets.painter_keys import KEYS, keys_as_html

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def painter(model: Feelvos, clip: Clip) -> Painter:
    return Painter(clip, model)


def axes_of(painter: Painter):
    return painter.view.sheet.axes


def test_zooming_and_panning_move_the_view_and_strokes_land_under_the_mouse(painter: Painter) -> None:
    sheet, axes = painter.view.sheet, axes_of(painter)
    before = pixels_of(painter.view.canvas)
    press_key(painter.view.canvas, "+")
    press_key(painter.view.canvas, "+")
    assert sheet.magnification == pytest.approx(2.25)
    assert not np.array_equal(pixels_of(painter.view.canvas), before)
    left = axes.get_xlim()[0]
    drag(axes, (30, 40), (30, 30), button=3)
    assert axes.get_xlim()[0] == pytest.approx(left + 10, abs=0.1)  # a pixel of the screen
    assert painter.painting.object_ids == ()  # the right button paints nothing
    painter.brush.value = 1
    drag(axes, (33, 44))
    assert painter.painting.labels.nonzero().tolist() == [[33, 44]]
    for _ in range(3):
        drag(axes, (30, axes.get_xlim()[0] + 1), (30, axes.get_xlim()[1] - 1), button=3)
    assert axes.get_xlim()[0] == pytest.approx(-0.5)  # not beyond the frame's edge
    press_key(painter.view.canvas, "0")
    assert axes.get_xlim() == (-0.5, 79.5) and axes.get_ylim() == (63.5, -0.5)
    for _ in range(20):
        press_key(painter.view.canvas, "-")
    assert sheet.magnification == 1


def test_the_wheel_zooms_at_the_mouse_after_a_click_and_scrolls_the_page_before(painter: Painter) -> None:
    axes = axes_of(painter)
    mouse(axes, "scroll_event", row=20, column=20, step=1)
    assert painter.view.sheet.magnification == 1 and not painter.view.canvas.capture_scroll
    mouse(axes, "button_press_event", row=20, column=20, button=3)
    mouse(axes, "button_release_event", row=20, column=20, button=3)
    assert painter.view.canvas.capture_scroll
    at = axes.transData.transform((20, 20))
    mouse(axes, "scroll_event", row=20, column=20, step=1)
    assert painter.view.sheet.magnification == pytest.approx(1.25)
    assert axes.transData.transform((20, 20)) == pytest.approx(at)
    mouse(axes, "figure_leave_event", row=20, column=20)
    assert not painter.view.canvas.capture_scroll


def test_opacity_changes_the_picture_and_not_the_mask(painter: Painter, clip: Clip) -> None:
    painter.given.click()
    image = painter.view.sheet._image
    painter.controls.opacity.value = 0
    inside = (clip.masks[0] == 1).numpy()
    shown, frame = np.asarray(image.get_array()), clip.frames[0].permute(1, 2, 0).numpy()
    assert (shown[inside] == frame[inside]).all(1).mean() > 0.5  # but for the outline
    painter.controls.opacity.value = 1
    assert (np.asarray(image.get_array())[inside] == (128, 0, 0)).all()
    assert torch.equal(painter.painting.labels, clip.masks[0])


def test_the_picture_takes_the_width_of_the_page_and_is_never_taller_than_the_controls_allow(painter: Painter) -> None:
    for page, width in ((500, 490), (700, 690), (3000, 750)):
        painter._page.set(page)
        assert painter.view.sheet.figure.bbox.width == pytest.approx(width)
        assert painter.strip.sheet.figure.bbox.width == pytest.approx(min(page - 10, 1060))
    painter.brush.value = 1
    drag(axes_of(painter), (33, 44))
    assert painter.painting.labels.nonzero().tolist() == [[33, 44]]


def test_every_key_of_the_list_does_what_it_says(painter: Painter) -> None:
    canvas = painter.view.canvas
    for key, tool in (("e", "eraser"), ("f", "fill"), ("b", "brush")):
        press_key(canvas, key)
        assert painter.tool.value == tool
    for number in range(1, 10):
        press_key(canvas, str(number))
        assert painter.object_id.value == number
    painter.brush.value = 5
    press_key(canvas, "]")
    assert painter.brush.value == 6
    for key in ("[", "ctrl+["):  # as some keyboards type it
        press_key(canvas, key)
    assert painter.brush.value == 4
    for key, frame in (("right", 1), ("right", 2), ("left", 1), ("end", 11), ("right", 11), ("home", 0), ("left", 0)):
        press_key(canvas, key)
        assert painter.frame.value == frame
    press_key(canvas, " ")
    assert painter.controls.play.playing
    press_key(canvas, " ")
    assert not painter.controls.play.playing
    press_key(canvas, "x")  # means nothing


def test_keys_undo_redo_and_propagate(painter: Painter) -> None:
    canvas = painter.view.canvas
    drag(axes_of(painter), (30, 30))
    painted = painter.painting.labels
    press_key(canvas, "ctrl+z")
    assert painter.painting.object_ids == ()
    press_key(canvas, "ctrl+y")
    assert torch.equal(painter.painting.labels, painted)
    press_key(canvas, "enter")
    assert len(painter.labels) == 12


def test_the_page_lists_each_key_once_and_no_key_means_two_things() -> None:
    names = [name for key in KEYS for name in key.names]
    assert len(names) == len(set(names))
    listed = keys_as_html()
    for key in KEYS:
        shown = key.shown if not key.shown.isdigit() or key.shown == "0" else "1 … 9"
        assert listed.count(f"<kbd>{shown}</kbd>") == 1


def test_a_large_frame_is_drawn_with_fewer_pixels_and_near_with_all() -> None:
    sheet = FrameSheet((1201, 1603))
    frame, labels = torch.zeros(3, 1201, 1603, dtype=torch.uint8), torch.zeros(1201, 1603, dtype=torch.int64)
    sheet.show(frame, labels)
    assert sheet._image.get_array().shape == (401, 535, 3)
    assert sheet.axes.get_xlim() == (-0.5, 1602.5)
    sheet.zoom(4, (600, 800))
    sheet.show(frame, labels)
    assert sheet._image.get_array().shape[0] in (300, 301, 302)
    left, right, bottom, top = sheet._image.get_extent()
    (x0, x1), (y1, y0) = sheet.axes.get_xlim(), sheet.axes.get_ylim()
    assert left <= x0 < left + 1 and right - 1 < x1 <= right and top <= y0 < top + 1 and bottom - 1 < y1 <= bottom


def test_an_objects_number_is_readable_on_its_colour() -> None:
    def luminance(colour: str) -> float:
        """By WCAG 2, of a colour such as "#a0b1c2"."""
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    for i in range(1, 255):
        letters = {"black": 0.0, "white": 1.0}[text_colour(i)]
        low, high = sorted((letters, luminance(swatch(i))))
        assert (high + 0.05) / (low + 0.05) >= 4.5, i


def test_the_holder_of_the_rights_is_named_with_a_video_and_with_no_other(model: Feelvos, clip: Clip) -> None:
    painter = Painter("bunny", model)
    assert "Blender Foundation" in painter.controls.credit.value and "CC BY 3.0" in texts(painter.picture().figure)
    painter.load(clip)
    assert painter.controls.credit.value == "" and "CC BY" not in texts(painter.picture().figure)
