"""The painter follows the mouse, keys and buttons; handlers are called as the page calls them, without a browser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from mouse import drag, mouse, texts
from PIL import Image

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import read_mask, write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets import Explorer, Painter

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def painter(model: Feelvos, clip: Clip) -> Painter:
    return Painter(clip, model)


@pytest.fixture
def done(painter: Painter) -> Painter:
    """The given mask, propagated."""
    painter.given.click()
    painter.propagate.click()
    return painter


def axes_of(painter: Painter):
    return painter.view.sheet.axes


# brush, eraser, fill


def test_the_mask_is_what_was_painted(painter: Painter) -> None:
    painter.brush.value = 4
    drag(axes_of(painter), (20, 20), (20, 40))
    y, x = np.indices((64, 80))
    along = np.clip(x, 20, 40)
    expected = (y - 20) ** 2 + (x - along) ** 2 < 16
    painted = painter.painting.labels.numpy()
    assert (painted != expected).sum() <= 4  # a screen's pixel is not quite a frame's
    painter.object_id.value = 3
    drag(axes_of(painter), (50, 60))
    assert painter.painting.object_ids == (1, 3)
    assert painter.painting.labels[50, 60] == 3
    assert "#808000" in painter.controls.colour.value  # object 3 in the DAVIS colours


def test_the_eraser_undo_redo_and_clear_do_what_they_say(painter: Painter) -> None:
    drag(axes_of(painter), (30, 30), (30, 50))
    painted = painter.painting.labels
    painter.tool.value = "eraser"
    drag(axes_of(painter), (30, 40))
    erased = painter.painting.labels
    assert erased[30, 40] == 0 and erased[30, 30] == 1
    painter.undo.click()
    assert torch.equal(painter.painting.labels, painted)
    painter.redo.click()
    assert torch.equal(painter.painting.labels, erased)
    painter.redo.click()
    assert painter.status.text == "there is nothing to redo"
    painter.clear.click()
    assert painter.painting.object_ids == ()
    for _ in range(3):
        painter.undo.click()
    assert painter.painting.object_ids == ()
    painter.undo.click()
    assert painter.status.text == "there is nothing to undo"


def test_fill_paints_what_an_outline_encloses_and_refuses_an_open_one(painter: Painter) -> None:
    axes, painter.brush.value = axes_of(painter), 2
    drag(axes, (10, 20), (10, 60), (50, 60))
    painter.tool.value = "fill"
    before = painter.painting.labels
    drag(axes, (30, 40))
    assert "nothing encloses this place" in painter.status.text and torch.equal(painter.painting.labels, before)
    painter.tool.value = "brush"
    drag(axes, (50, 60), (50, 20), (10, 20))
    painter.tool.value = "fill"
    drag(axes, (30, 40))
    assert (painter.painting.labels[10:51, 20:61] == 1).all() and painter.painting.labels[5, 40] == 0
    assert not any(ring.get_visible() for ring in painter.view.sheet._rings)  # no brush to show


def test_moving_without_a_button_paints_nothing(painter: Painter) -> None:
    mouse(axes_of(painter), "motion_notify_event", row=30, column=30, button=None)
    mouse(axes_of(painter), "motion_notify_event", row=30, column=50, button=None)
    assert painter.painting.object_ids == ()
    assert all(ring.get_visible() for ring in painter.view.sheet._rings)


def test_a_stroke_that_leaves_the_picture_ends_there(painter: Painter) -> None:
    axes = axes_of(painter)
    mouse(axes, "button_press_event", row=30, column=70)
    mouse(axes, "motion_notify_event", row=30, column=500)
    mouse(axes, "motion_notify_event", row=60, column=10)
    assert painter.painting.labels[45, 40] == 0  # nothing on the way from one to the other


def test_the_list_of_objects_chooses_and_counts(painter: Painter) -> None:
    painter.given.click()
    assert list(painter.objects.buttons) == [1, 2]
    assert painter.objects.buttons[2].description == "2 · J 1.00"
    assert painter.objects.buttons[2].style.button_color == "#008000"
    painter.tool.value = "eraser"
    painter.objects.buttons[2].click()
    assert painter.object_id.value == 2 and painter.tool.value == "brush"
    painter.objects._new.click()
    assert painter.object_id.value == 3
    painter.clear.click()
    drag(axes_of(painter), (5, 5))
    pixels = int((painter.painting.labels == 3).sum())
    assert painter.objects.buttons[3].description in (f"3 · {pixels} pixels", "3 · J 0.00")
    painter.frame.value = 4
    assert painter.objects.buttons[3].description in ("3 · none", "3 · J 0.00")


# opening


def test_a_shorter_video_is_opened_from_a_frame_that_it_lacks(done: Painter) -> None:
    done.go(11)
    short = make_clip(3, height=48, width=64, frames=4, objects=1)
    done.load(short)
    assert done.video.name == short.name and done.frame.value == 0 and done.frame.max == 3
    assert done.status.text.startswith("paint over an object of frame 0")


def test_another_video_is_shown_on_the_same_canvas_and_nothing_is_left_of_the_one_before(done: Painter) -> None:
    canvas, strip = done.view.canvas, done.strip.canvas
    done.explore.click()
    done.chooser.video.value = "bunny"
    done.chooser.open_button.click()
    assert (done.view.canvas, done.strip.canvas) == (canvas, strip)
    assert canvas.figure is done.view.sheet.figure and canvas.figure.canvas is canvas
    assert done.video.name == "bunny" and len(done.video) == 41 and done.frame.value == 0
    assert (done.controls.progress.value, done.controls.progress.max) == (0, 41)
    assert done.labels == [] and strip.layout.display == "none" and done._explorer_box.children == ()
    drag(axes_of(done), (120, 300), (130, 300))
    assert done.painting.labels[125, 300] == 1  # in the frame's own pixels


def test_the_sample_video_is_opened_by_its_name_and_brings_masks_of_some_frames(painter: Painter) -> None:
    painter.chooser.video.value = "bunny"
    painter.chooser.open_button.click()
    assert not painter.given.disabled
    painter.given.click()
    assert painter.painting.object_ids == (1, 2, 3)
    painter.frame.value = 1
    assert painter.given.disabled
    painter.frame.value = 8
    assert not painter.given.disabled


def test_a_video_and_a_mask_of_ones_own_are_opened(painter: Painter, clip: Clip, tmp_path: Path) -> None:
    for t in range(3):
        Image.fromarray(clip.frames[t].permute(1, 2, 0).numpy()).save(tmp_path / f"{t:03d}.png")
    first = tmp_path / "first" / "mask.png"
    write_mask(first, clip.masks[0])
    painter.chooser.video.value, painter.chooser.mask.value = str(tmp_path), str(first)
    painter.chooser.open_button.click()
    assert painter.video.name == tmp_path.name and len(painter.video) == 3
    assert torch.equal(painter.painting.labels, clip.masks[0])
    painter.run()
    assert len(painter.labels) == 3
    painter.video.save(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000.png", "001.png", "002.png"]  # as the frames


def test_a_mask_alone_is_opened_for_the_video_that_is_there(done: Painter, clip: Clip, tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", torch.where(clip.masks[0] == 2, 5, 0))
    done.chooser._name_mask(tmp_path / "mask.png")
    assert done.video.name == clip.name and done.video.object_ids == (5,) and done.labels == []


def test_what_cannot_be_opened_is_told_and_the_video_stays(painter: Painter, clip: Clip, tmp_path: Path) -> None:
    drag(axes_of(painter), (30, 30))
    painted = painter.painting.labels
    for video, mask, words in (
        ("", "", "no video is named"),
        (str(tmp_path / "none.mp4"), "", "there is no"),
        (str(tmp_path), "", "holds no"),
        (str(tmp_path), str(tmp_path / "none.png"), "is missing"),
    ):
        painter.chooser.video.value, painter.chooser.mask.value = video, mask
        painter.chooser.open_button.click()
        assert words in painter.status.text
        assert painter.video.name == clip.name and torch.equal(painter.painting.labels, painted)


# propagating, correcting, saving


def test_an_empty_mask_is_refused_in_one_sentence_and_nothing_is_computed(painter: Painter) -> None:
    painter.propagate.click()
    assert painter.status.text == "the first mask is empty: paint at least one object, then propagate"
    assert painter.labels == [] and painter._saving.layout.display == "none"
    painter.save_button.click()
    assert painter.status.text.startswith("there is no result to save yet")


def test_the_result_is_saved_as_segment_saves(done: Painter, tmp_path: Path) -> None:
    assert done.status.text.startswith("12 of 12 frames") and done.frame.value == 11
    done.frame.value = 2
    assert done.controls.title.value == "<b>Frame 2</b> of “shapes-7” (0 to 11): predicted"
    done.controls.out.value = str(tmp_path / "masks")
    done.save_button.click()
    saved = sorted((tmp_path / "masks").glob("*.png"))
    assert [p.name for p in saved] == [f"{t:05d}.png" for t in range(12)]
    assert all(torch.equal(read_mask(path), labels) for path, labels in zip(saved, done.labels, strict=True))
    done.save_button.click()
    assert "holds files already" in done.status.text


def test_a_later_frame_is_corrected_and_the_run_goes_on_from_there(done: Painter) -> None:
    before = list(done.labels)
    done.frame.value, done.object_id.value = 9, 1
    drag(axes_of(done), (10, 10), (10, 30))
    assert done.status.text == "frame 9 is corrected: propagate goes on from frame 9"
    assert done.controls.title.value.endswith("painted") and done.controls.progress.value == 9
    corrected = done.painting.labels
    done.frame.value = 10
    assert "predicted before the last edit" in done.controls.title.value
    done.propagate.click()
    assert torch.equal(done.labels[9], corrected) and not torch.equal(done.labels[10], before[10])
    assert all(done.labels[t] is before[t] or torch.equal(done.labels[t], before[t]) for t in range(9))
    assert done.controls.progress.value == 12
    done.frame.value = 9
    done.unpaint.click()
    assert torch.equal(done.video.labels(9), before[9]) and done.unpaint.disabled


def test_a_click_on_the_strip_shows_its_frame(done: Painter) -> None:
    axes = done.strip.sheet.axes
    assert axes.get_ylabel() == "J" and len(axes.lines) > 3
    mouse(axes, "button_press_event", row=0.5, column=4.2)
    assert done.frame.value == 4
    done.frame.value = 6
    assert list(done.strip.sheet._cursor.get_xdata()) == [6, 6]


def test_without_truth_the_strip_shows_areas(model: Feelvos, clip: Clip) -> None:
    painter = Painter(Clip("own", clip.frames, clip.masks[:1], (1, 2)), model, mask=clip.masks[0])
    painter.run()
    assert painter.strip.sheet.axes.get_ylabel() == "pixels"
    assert painter.objects.buttons[1].description == f"1 · {int((painter.labels[11] == 1).sum()):,} pixels"


def test_a_second_click_stops_the_work_and_keeps_what_is_done(painter: Painter) -> None:
    async def click_twice() -> None:
        painter.propagate.click()
        assert painter.propagate.description == "propagate"  # the task has not begun
        work = painter._working
        await asyncio.sleep(0)
        assert painter.propagate.description == "stop"
        painter.chooser.video.value = "elsewhere"
        for act in (painter.chooser.open_button.click, painter.undo.click, painter.unpaint.click):
            act()
            assert "stop that first" in painter.status.text
        painted = painter.video.labels(0)
        drag(axes_of(painter), (5, 5))
        assert torch.equal(painter.video.labels(0), painted) and "stop that first, then paint" in painter.status.text
        while work is painter._working and painter.controls.progress.value < 2:
            await asyncio.sleep(0.01)
        assert "stop that first" in painter.status.text  # and not the number of a frame
        painter.propagate.click()
        await work

    painter.given.click()
    asyncio.run(click_twice())
    assert 1 <= len(painter.labels) < 12
    assert "stopped before frame" in painter.status.text
    assert painter.propagate.description == "propagate" and painter._working is None
    painter.propagate.click()
    assert len(painter.labels) == 12


def test_the_result_can_be_explored(painter: Painter, clip: Clip) -> None:
    painter.explore.click()
    assert painter.status.text.startswith("there is no result to explore yet")
    painter.given.click()
    painter.propagate.click()
    painter.frame.value = 3
    painter.explore.click()
    (explorer,) = painter._explorer_box.children
    assert isinstance(explorer, Explorer) and torch.equal(explorer.look.labels, painter.labels[3])
    assert "true in the result" not in texts(explorer.sheet.figure)
    painter.frame.value = 5
    painter.given.click()
    painter.explore.click()
    assert painter.status.text.endswith("without later corrections")


def test_the_picture_above_the_widget_says_what_is_painted(painter: Painter) -> None:
    assert "nothing is painted yet" in painter.picture().text
    painter.given.click()
    picture = painter.picture()
    assert picture.text == "Frame 0 of “shapes-7” and its mask (objects: 1, 2)" and picture.text in texts(
        picture.figure
    )
