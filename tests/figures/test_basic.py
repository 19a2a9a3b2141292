"""Figures explain themselves, show what they are given, and change nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from feelvos_lab.data import images as images_module
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import PALETTE
from feelvos_lab.data.sample_video import CREDITS
from feelvos_lab.errors import LabError
from feelvos_lab.figures import basic, style
from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.model.feelvos import Cues

FRAMES, HEIGHT, WIDTH = 5, 40, 48
IDS = (1, 3)


@pytest.fixture
def clip() -> Clip:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (FRAMES, 3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(FRAMES, HEIGHT, WIDTH, dtype=torch.int64)
    for t in range(FRAMES):
        masks[t, 5:15, 4 + t : 14 + t] = 1
        masks[t, 20:30, 20 + t : 30 + t] = 3
    return Clip("pair", frames, masks, IDS)


def _predictions(clip: Clip, *, without: str = "") -> list[Prediction]:
    predictions = [Prediction(0, clip.masks[0], torch.zeros(3, HEIGHT, WIDTH), None)]
    generator = torch.Generator().manual_seed(1)
    for t in range(1, len(clip)):
        maps = {n: torch.rand(3, 10, 12, generator=generator) for n in ("global_map", "local_map", "previous_mask")}
        cues = Cues(**{n: None if n == without else m for n, m in maps.items()}, features=None, embeddings=None)
        predictions.append(Prediction(t, clip.masks[t], torch.zeros(3, HEIGHT, WIDTH), cues))
    return predictions


def _texts(figure: Figure) -> str:
    found = [t.get_text() for t in figure.findobj(matplotlib.text.Text)]
    return " | ".join(t for t in found if t)


def test_an_overlay_leaves_the_background_as_it_is_and_outlines_objects_in_their_colour(clip: Clip) -> None:
    picture = images_module.overlay(clip.frames[0], clip.masks[0])
    frame, mask = clip.frames[0].permute(1, 2, 0).numpy(), clip.masks[0].numpy()
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    assert (picture[mask == 0] == frame[mask == 0]).all()
    assert (picture[5, 4] == PALETTE[1]).all() and (picture[29, 29] == PALETTE[3]).all()  # corners of the squares
    halfway = (frame[10, 9].astype(float) + PALETTE[1]) / 2
    assert np.abs(picture[10, 9] - halfway).max() <= 0.5


def test_an_overlay_of_another_size_is_refused(clip: Clip) -> None:
    with pytest.raises(LabError, match="size 48×40, got labels of 47×40"):
        images_module.overlay(clip.frames[0], clip.masks[0][:, 1:])


def test_drawing_changes_no_input(clip: Clip) -> None:
    predictions = _predictions(clip)
    before = [t.clone() for t in (clip.frames, clip.masks, predictions[2].cues.global_map)]
    basic.cue_sheet(clip, predictions, object_id=3, frame=2)
    basic.film_strip(clip, [p.labels for p in predictions], [0, 4])
    after = (clip.frames, clip.masks, predictions[2].cues.global_map)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_drawing_leaves_matplotlibs_settings_and_pyplots_figures_alone(clip: Clip) -> None:
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    FigureCanvasAgg(basic.cue_sheet(clip, _predictions(clip), object_id=1, frame=1)).draw()
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.2, 0.3)])
def test_distances_are_drawn_on_one_scale_whatever_their_range(clip: Clip, values: tuple[float, float]) -> None:
    predictions = _predictions(clip)
    low, high = values
    maps = predictions[2].cues.global_map * (high - low) + low
    predictions[2] = predictions[2]._replace(cues=predictions[2].cues._replace(global_map=maps))
    figure = basic.cue_sheet(clip, predictions, object_id=1, frame=2)
    images = [i for axes in figure.axes for i in axes.images if i.get_cmap().name == style.DISTANCE_MAP]
    assert len(images) == 2
    assert all(i.get_clim() == (0.0, 1.0) for i in images)
    assert np.allclose(images[0].get_array(), maps[1].numpy())  # the channel of object 1


def test_the_cue_sheet_shows_the_channel_of_its_object(clip: Clip) -> None:
    predictions = _predictions(clip)
    for object_id, channel in ((0, 0), (1, 1), (3, 2)):
        figure = basic.cue_sheet(clip, predictions, object_id=object_id, frame=3)
        shown = next(i for axes in figure.axes for i in axes.images if i.get_cmap().name == style.DISTANCE_MAP)
        assert np.allclose(shown.get_array(), predictions[3].cues.global_map[channel].numpy())


def test_the_cue_sheet_explains_itself(clip: Clip) -> None:
    words = _texts(basic.cue_sheet(clip, _predictions(clip), object_id=3, frame=2))
    for word in (
        "object 3 in frame 2",
        "Frame 0",
        "Prediction for frame 1",
        "Global map",
        "Local map",
        "Result",
        "near",
    ):
        assert word in words
    assert "far" in words and "not used" not in words
    assert "nearby" not in _texts(
        basic.cue_sheet(clip, _predictions(clip), object_id=3, frame=2, previous_matching="global")
    )


@pytest.mark.parametrize("cue", ["global_map", "local_map", "previous_mask"])
def test_a_cue_that_is_off_is_shown_as_not_used(clip: Clip, cue: str) -> None:
    assert _texts(basic.cue_sheet(clip, _predictions(clip, without=cue), object_id=1, frame=2)).count("not used") == 1


def test_the_truth_is_outlined_only_where_there_is_one(clip: Clip) -> None:
    from matplotlib.contour import ContourSet

    def outlines(of: Clip) -> int:
        return len(basic.cue_sheet(of, _predictions(clip), object_id=1, frame=2).findobj(ContourSet))

    assert outlines(clip) == 2
    assert outlines(Clip("bare", clip.frames, clip.masks[:1], IDS)) == 1  # the first mask


@pytest.mark.parametrize(("object_id", "frame"), [(2, 2), (1, 0), (1, 9)])
def test_a_cue_sheet_of_something_that_is_not_there_is_refused(clip: Clip, object_id: int, frame: int) -> None:
    with pytest.raises(LabError, match=r"object_id must be one of 0, 1, 3|a cue sheet needs a predicted frame"):
        basic.cue_sheet(clip, _predictions(clip), object_id=object_id, frame=frame)


def test_a_film_strip_has_a_row_of_truth_only_where_there_is_one(clip: Clip) -> None:
    labels = [p.labels for p in _predictions(clip)]
    assert len(basic.film_strip(clip, labels, [0, 2, 4]).axes) == 6
    assert len(basic.film_strip(Clip("bare", clip.frames, clip.masks[:1], IDS), labels, [0, 2, 4]).axes) == 3


@pytest.mark.parametrize("frames", [[], [0, 7], list(range(9))])
def test_a_film_strip_without_labels_or_of_too_many_frames_is_refused(clip: Clip, frames: list[int]) -> None:
    with pytest.raises(LabError, match="a film strip"):
        basic.film_strip(clip, list(clip.masks), frames)


def test_figures_have_the_papers_widths_and_eight_points(clip: Clip) -> None:
    rows = [{"step": 20 * i, "loss": 1 / i} for i in range(1, 31)]
    scores = {"all": [{"frame": t, "J": 0.5} for t in (1, 2, 3)]}
    figures = [
        basic.loss_curve(rows),
        basic.score_by_frame(scores),
        basic.cue_sheet(clip, _predictions(clip), object_id=1, frame=1),
    ]
    assert [f.get_figwidth() for f in figures] == [style.COLUMN, style.COLUMN, style.PAGE]
    for figure in figures:
        FigureCanvasAgg(figure).draw()
        sizes = {t.get_fontsize() for t in figure.findobj(matplotlib.text.Text) if t.get_text()}
        assert sizes == {8.0}


def test_no_text_of_the_cue_sheet_overlaps_another_or_leaves_the_page(clip: Clip) -> None:
    figure = basic.cue_sheet(clip, _predictions(clip), object_id=3, frame=2)
    FigureCanvasAgg(figure).draw()
    boxes = [t.get_window_extent() for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    assert all(a is b or not a.overlaps(b) for a in boxes for b in boxes)
    page = figure.bbox.padded(1)
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)


def test_the_loss_curve_averages_a_tenth_of_the_training() -> None:
    rows = [{"step": 10 * i, "loss": float(i % 2)} for i in range(1, 41)]
    grey, blue = basic.loss_curve(rows).axes[0].lines
    assert len(grey.get_xdata()) == 40
    assert np.allclose(blue.get_ydata(), 0.5) and blue.get_xdata()[0] == 40


def test_a_curve_without_rows_is_refused() -> None:
    with pytest.raises(LabError, match="at least one row"):
        basic.loss_curve([])
    with pytest.raises(LabError, match="got none"):
        basic.score_by_frame({"network": []})


def test_the_curve_of_scores_is_the_mean_over_objects() -> None:
    rows = [{"frame": t, "object": o, "J": 0.2 * o} for t in (1, 2) for o in (1, 3)]
    (line,) = basic.score_by_frame({"network": rows}).axes[0].lines
    assert np.allclose(line.get_ydata(), 40) and list(line.get_xdata()) == [1, 2]


def test_a_loss_that_was_logged_once_is_a_dot_and_the_note_stands_above_every_curve():
    (axes,) = basic.loss_curve([{"step": 12, "loss": 0.5}]).axes
    assert axes.lines[-1].get_marker() == "o" and axes.lines[-1].get_xydata().tolist() == [[12, 0.5]]
    (axes,) = basic.loss_curve([{"step": s, "loss": s / 100} for s in range(100)]).axes
    assert axes.lines[-1].get_marker() == "None" and axes.get_ylim()[1] > 1.3 * 0.99


@pytest.mark.parametrize("object_id", [0, 3])
def test_no_captions_of_the_cue_sheet_overlap(clip: Clip, object_id: int) -> None:
    figure = basic.cue_sheet(clip, _predictions(clip), object_id=object_id, frame=2)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in shown]
    assert [(a, b) for (a, box), (b, other) in combinations(boxes, 2) if box.overlaps(other)] == []


def test_a_figure_of_the_sample_video_says_whose_it_is(clip: Clip) -> None:
    drawn = [basic.film_strip(c, c.masks, [0, 2]) for c in (clip, replace(clip, name="bunny"))]
    drawn += [basic.cue_sheet(c, _predictions(c), object_id=1, frame=2) for c in (clip, replace(clip, name="bunny"))]
    assert [figure.get_supxlabel() for figure in drawn] == ["", CREDITS["bunny"]] * 2


def test_a_given_strip_shows_the_mask_of_the_first_frame_alone(clip: Clip) -> None:
    figure = basic.given_strip(clip, [0, 2, 4])
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == ["frame 0, given", "frame 2", "frame 4"]
    wanted = [images_module.overlay(clip.frames[0], clip.masks[0]), *(clip.frames[t].permute(1, 2, 0) for t in (2, 4))]
    assert all(np.array_equal(a.images[0].get_array(), w) for a, w in zip(shown, wanted, strict=True))
    with pytest.raises(LabError, match="a strip shows 1 to 8 frames, got 0"):
        basic.given_strip(clip, [])
