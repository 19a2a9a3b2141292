"""Clicks, sliders and switches move what is shown; handlers are called as the page calls them, without a browser."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backend_bases import MouseEvent
from PIL import Image

from feelvos_lab import widgets
from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import read_mask, write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets import Explorer, Painter, notebook

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> Feelvos:
    torch.manual_seed(0)
    return build_model(configure("smoke").model).eval()


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(7, height=64, width=80, frames=5, objects=2)


@pytest.fixture
def explorer(model: Feelvos, clip: Clip) -> Explorer:
    return Explorer(clip, model, frame=2, object_id=1)


@pytest.fixture
def painter(model: Feelvos, clip: Clip) -> Painter:
    return Painter(clip, model)


def mouse(axes: Any, what: str, *, row: float, column: float, button: int | None = 1) -> None:
    """What the canvas is told when the mouse does something at a pixel of the frame."""
    canvas = axes.figure.canvas
    x, y = axes.transData.transform((column, row))
    canvas.callbacks.process(what, MouseEvent(what, canvas, x, y, button=button))


def drag(axes: Any, *points: tuple[float, float]) -> None:
    mouse(axes, "button_press_event", row=points[0][0], column=points[0][1])
    for row, column in points[1:]:
        mouse(axes, "motion_notify_event", row=row, column=column)
    mouse(axes, "button_release_event", row=points[-1][0], column=points[-1][1])


def picture(widget: Any) -> np.ndarray:
    widget.canvas.draw()
    return np.asarray(widget.canvas.renderer.buffer_rgba()).copy()


def texts(figure: Any) -> str:
    return " | ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text())


# the explorer


def test_a_click_looks_at_the_cell_under_it_and_the_picture_changes(explorer: Explorer) -> None:
    before = picture(explorer)
    for axes, (row, column) in zip(explorer.sheet.clickable, ((12, 70), (50, 8)), strict=True):
        mouse(axes, "button_press_event", row=row, column=column)
        assert explorer.look.cell == explorer.probe.cell_at(row, column)
        after = picture(explorer)
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
    before, labels = picture(explorer), explorer.look.labels
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
        assert np.array_equal(picture(explorer), before)


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


# the painter


def test_the_mask_is_what_was_painted(painter: Painter) -> None:
    axes = painter.sheet.axes
    painter.brush.value = 4
    drag(axes, (20, 20), (20, 40))
    y, x = np.indices((64, 80))
    along = np.clip(x, 20, 40)
    expected = (y - 20) ** 2 + (x - along) ** 2 < 16
    painted = painter.painting.labels.numpy()
    assert (painted != expected).sum() <= 4  # a screen's pixel is not quite a frame's
    painter.object_id.value = 3
    drag(axes, (50, 60))
    assert painter.painting.object_ids == (1, 3)
    assert painter.painting.labels[50, 60] == 3
    assert "#808000" in painter.colour.value  # object 3 in the DAVIS colours


def test_the_eraser_undo_and_clear_do_what_they_say(painter: Painter) -> None:
    axes = painter.sheet.axes
    drag(axes, (30, 30), (30, 50))
    painted = painter.painting.labels
    painter.tool.value = "eraser"
    drag(axes, (30, 40))
    assert painter.painting.labels[30, 40] == 0 and painter.painting.labels[30, 30] == 1
    painter.undo.click()
    assert torch.equal(painter.painting.labels, painted)
    painter.clear.click()
    assert painter.painting.object_ids == ()
    painter.undo.click()
    painter.undo.click()
    assert painter.painting.object_ids == ()
    painter.undo.click()
    assert painter.status.text == "there is nothing to undo"


def test_moving_without_a_button_paints_nothing(painter: Painter) -> None:
    mouse(painter.sheet.axes, "motion_notify_event", row=30, column=30, button=None)
    mouse(painter.sheet.axes, "motion_notify_event", row=30, column=50, button=None)
    assert painter.painting.object_ids == ()
    assert all(ring.get_visible() for ring in painter.sheet._rings)


def test_a_stroke_that_leaves_the_picture_ends_there(painter: Painter) -> None:
    axes = painter.sheet.axes
    mouse(axes, "button_press_event", row=30, column=70)
    mouse(axes, "motion_notify_event", row=30, column=500)
    mouse(axes, "motion_notify_event", row=60, column=10)
    assert painter.painting.labels[45, 40] == 0  # nothing on the way from one to the other


def test_the_sample_video_is_opened_by_its_name_and_brings_its_mask(painter: Painter) -> None:
    painter.video.value = "bunny"
    painter.open_button.click()
    assert painter.name == "bunny" and len(painter.frames) == 41 and not painter.given.disabled
    painter.given.click()
    assert painter.painting.object_ids == (1, 2, 3)


def test_an_empty_mask_is_refused_in_one_sentence_and_nothing_is_computed(painter: Painter) -> None:
    painter.propagate.click()
    assert painter.status.text == "the first mask is empty: paint at least one object, then propagate"
    assert painter.labels == [] and painter._result_box.layout.display == "none"
    painter.save_button.click()
    assert painter.status.text.startswith("there is no result to save yet")


def test_the_result_is_that_of_propagate_and_is_saved_as_segment_saves(
    painter: Painter, model: Feelvos, clip: Clip, tmp_path: Path
) -> None:
    painter.given.click()
    assert torch.equal(painter.painting.labels, clip.masks[0])
    painter.propagate.click()
    expected = [p.labels for p in propagate(model, Clip("own", clip.frames, clip.masks[:1], clip.object_ids))]
    assert all(torch.equal(a, b) for a, b in zip(painter.labels, expected, strict=True))
    assert painter.status.text.startswith("5 of 5 frames")
    painter.frame.value = 2
    assert "frame 2 of" in texts(painter.result_sheet.figure)
    painter.out.value = str(tmp_path / "masks")
    painter.save_button.click()
    saved = sorted((tmp_path / "masks").glob("*.png"))
    assert [p.name for p in saved] == [f"{t:05d}.png" for t in range(5)]
    assert all(torch.equal(read_mask(path), labels) for path, labels in zip(saved, expected, strict=True))
    painter.save_button.click()
    assert "holds files already" in painter.status.text


def test_a_second_click_stops_the_work_and_keeps_what_is_done(painter: Painter) -> None:
    async def click_twice() -> None:
        painter.propagate.click()
        assert painter.propagate.description == "propagate"  # the task has not begun
        work = painter._working
        await asyncio.sleep(0)
        assert painter.propagate.description == "stop"
        painter.video.value = "elsewhere"
        painter.open_button.click()
        assert "stop that first" in painter.status.text
        painter.propagate.click()
        await work

    painter.given.click()
    asyncio.run(click_twice())
    assert 1 <= len(painter.labels) < 5
    assert "stopped before frame" in painter.status.text
    assert painter.propagate.description == "propagate" and painter._working is None


def test_a_video_and_a_mask_of_ones_own_are_opened(painter: Painter, clip: Clip, tmp_path: Path) -> None:
    for t in range(3):
        Image.fromarray(clip.frames[t].permute(1, 2, 0).numpy()).save(tmp_path / f"{t:03d}.png")
    first = tmp_path / "first" / "mask.png"
    write_mask(first, clip.masks[0])
    painter.video.value, painter.mask.value = str(tmp_path), str(first)
    painter.open_button.click()
    assert painter.name == tmp_path.name and len(painter.frames) == 3
    assert torch.equal(painter.painting.labels, clip.masks[0])
    painter.run()
    assert len(painter.labels) == 3
    painter.save(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000.png", "001.png", "002.png"]  # as the frames


def test_what_cannot_be_opened_is_told_and_the_video_stays(painter: Painter, clip: Clip, tmp_path: Path) -> None:
    drag(painter.sheet.axes, (30, 30))
    painted = painter.painting.labels
    write_mask(tmp_path / "other.png", torch.ones(9, 9, dtype=torch.int64))
    for video, mask, words in (
        ("", "", "no video is named"),
        (str(tmp_path / "none.mp4"), "", "there is no"),
        (str(tmp_path), "", "has no number"),
        (str(tmp_path), str(tmp_path / "none.png"), "is missing"),
    ):
        painter.video.value, painter.mask.value = video, mask
        painter.open_button.click()
        assert words in painter.status.text
        assert painter.name == clip.name and torch.equal(painter.painting.labels, painted)
    with pytest.raises(LabError, match="64×80 like the frames, got 9×9"):
        painter.load(clip, tmp_path / "other.png")
    assert torch.equal(painter.painting.labels, painted)


def test_the_result_can_be_explored(painter: Painter) -> None:
    painter.explore.click()
    assert painter.status.text.startswith("there is no result to explore yet")
    painter.given.click()
    painter.propagate.click()
    painter.frame.value = 3
    painter.explore.click()
    (explorer,) = painter._explorer_box.children
    assert torch.equal(explorer.look.labels, painter.labels[3])


def test_a_large_frame_is_drawn_with_fewer_pixels_and_painted_with_all() -> None:
    from feelvos_lab.figures.painter import FrameSheet

    sheet = FrameSheet((901, 1203))
    sheet.show(torch.zeros(3, 901, 1203, dtype=torch.uint8), torch.zeros(901, 1203, dtype=torch.int64), title="large")
    assert sheet._image.get_array().shape == (301, 401, 3)
    assert sheet.axes.get_xlim() == (-0.5, 1202.5)


# static first


def test_nobody_can_click_outside_a_kernel_or_where_a_file_is_executed(monkeypatch) -> None:
    assert not notebook.is_live()

    def shell(content: dict[str, Any]) -> Any:
        return lambda: SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: {"content": content}))

    monkeypatch.setattr(notebook, "get_ipython", shell({"allow_stdin": False}))  # papermill, nbconvert
    assert not notebook.is_live()
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
    assert notebook.is_live()
    monkeypatch.delenv("SERVER_SOFTWARE")
    monkeypatch.setattr(notebook, "get_ipython", shell({"allow_stdin": True}))  # by hand
    assert notebook.is_live()


@pytest.mark.parametrize("live", [False, True])
def test_a_picture_stands_above_the_widget_and_alone_where_nobody_can_click(live, model, clip, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(notebook, "get_ipython", lambda: SimpleNamespace())
    monkeypatch.setattr(notebook, "is_live", lambda: live)
    monkeypatch.setattr(notebook, "display", lambda thing: shown.append(type(thing).__name__))
    assert widgets.explore(clip, model) is None
    assert widgets.paint(clip, model, mask=clip.masks[0]) is None
    assert shown == (["Figure", "Explorer", "Figure", "Painter"] if live else ["Figure", "Figure"])


def test_widgets_leave_pyplot_and_matplotlibs_settings_alone(model: Feelvos, clip: Clip) -> None:
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    Explorer(clip, model).redraw()
    Painter(clip, model)
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []
