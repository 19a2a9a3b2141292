"""The overview: which frames and which cues it shows, that it explains itself, and what it rejects."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import overlay
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style
from feelvos_lab.figures.overview import overview
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.model.checkpoint import load_model


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(3, height=40, width=72, frames=5, objects=2)


@pytest.fixture(scope="module")
def predictions(clip: Clip) -> list[Prediction]:
    return list(propagate(load_model("reduced"), clip))


@pytest.fixture(scope="module")
def figure(clip: Clip, predictions: list[Prediction]) -> Figure:
    return overview(clip, predictions, frames=(2, 4), object_id=2, who="the square", credit="Video: nobody's.")


def _shown(figure: Figure, panel: int) -> np.ndarray:
    return figure.axes[panel].images[0].get_array()


def test_the_frames_have_their_masks_and_the_cues_are_the_objects(
    figure: Figure, clip: Clip, predictions: list[Prediction]
) -> None:
    for panel, (t, labels) in enumerate(((0, clip.masks[0]), (2, predictions[2].labels), (4, predictions[4].labels))):
        assert np.array_equal(_shown(figure, panel), overlay(clip.frames[t], labels))
    cues = predictions[4].cues
    for panel, cue in enumerate((cues.global_map, cues.local_map, cues.previous_mask), start=3):
        assert np.array_equal(_shown(figure, panel), cue[clip.channel(2)].numpy())


def test_it_says_which_frames_and_which_object_it_shows(figure: Figure) -> None:
    titles = [axes.get_title(loc="left") for axes in figure.axes[:6]]
    assert titles[:3] == ["Frame 0", "Frame 2", "Frame 4"] and "Global map of frame 4" in titles
    captions = [axes.get_xlabel() for axes in figure.axes[:6]]
    assert "the square of frame 0" in captions[3] and "frame 3" in captions[4] and "frame 3" in captions[5]
    assert figure.get_supxlabel() == "Video: nobody's."


def test_no_text_overlaps_another_or_leaves_the_page(clip: Clip, predictions: list[Prediction]) -> None:
    credit = "Video: Big Buck Bunny, © 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0; masks added."
    figure = overview(clip, predictions, frames=(2, 4), object_id=0, credit=credit)
    assert figure.get_size_inches()[0] == style.PAGE
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [t for t in figure.findobj(lambda a: hasattr(a, "get_text")) if t.get_visible() and t.get_text().strip()]
    assert {round(t.get_fontsize()) for t in texts} == {8}
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in texts]
    assert all(not one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= figure.bbox.x1 and b.y1 <= figure.bbox.y1 for b in boxes)


@pytest.mark.parametrize("frames", [(0, 2), (2, 2), (3, 2), (2, 9)])
def test_frames_that_are_not_two_predicted_ones_in_order_are_rejected(
    clip: Clip, predictions: list[Prediction], frames: tuple[int, int]
) -> None:
    with pytest.raises(LabError, match="two predicted frames, ascending"):
        overview(clip, predictions, frames=frames, object_id=1)
