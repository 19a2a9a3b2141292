"""Pictures of the lessons: one scale of distances, numbers one can read, nothing measured."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

from feelvos_lab.errors import LabError
from feelvos_lab.figures import panels, style
from feelvos_lab.figures.panels import Panel

GRID = torch.tensor([[0.0, 0.25], [0.5, 1.0]])
FRAME = torch.randint(0, 256, (3, 20, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def texts(figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def test_a_small_grid_shows_its_numbers_and_a_large_one_does_not():
    assert {"0.25", "0.5", "1", "0"} <= set(texts(panels.panels([Panel("g", GRID, "distance")])))
    assert "0.25" not in texts(panels.panels([Panel("g", GRID.repeat(4, 4), "distance")]))


@pytest.mark.parametrize("kind", ["distance", "probability"])
def test_every_scale_runs_from_0_to_1_and_says_what_its_ends_mean(kind):
    figure = panels.panels([Panel("narrow", 0.2 + 0.1 * GRID, kind)])
    image = figure.axes[0].images[0]
    assert image.get_clim() == (0.0, 1.0)
    assert image.get_cmap().name == {"distance": style.DISTANCE_MAP, "probability": style.PROBABILITY_MAP}[kind]
    ends = {"distance": {"0 near", "far 1"}, "probability": {"0 no", "sure 1"}}[kind]
    assert ends <= set(texts(figure))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
def test_no_text_overlaps_another_or_leaves_the_page(count):
    kinds = ("distance", "probability", "values", "labels")
    shown = [Panel(f"panel {i}", GRID.repeat(2, 2), kinds[i % 4], "a caption") for i in range(count)]
    figure = panels.panels(shown, heading="a heading", columns=4)
    FigureCanvasAgg(figure).draw()  # a layout that does not fit warns, and warnings are errors here
    boxes = [t.get_window_extent() for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    assert all(a is b or not a.overlaps(b) for a in boxes for b in boxes)
    page = figure.bbox.padded(1)
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)


def test_a_window_is_drawn_in_the_cells_of_the_grid_it_counts_in():
    figure = panels.panels([Panel("f", FRAME, window=(2, 3, 1), grid=(5, 6))])
    outer, inner = figure.axes[0].findobj(lambda a: isinstance(a, Rectangle) and not a.get_fill())[:2]
    across, down = 23 / 5, 19 / 4
    assert inner.get_bbox().width == pytest.approx(3 * across) and inner.get_bbox().height == pytest.approx(3 * down)
    assert inner.get_x() == pytest.approx(1.5 * across) and outer.get_x() == inner.get_x()


def test_overlap_is_told_by_three_colours_and_the_rest_is_grey():
    prediction, truth = torch.zeros(20, 24, dtype=torch.bool), torch.zeros(20, 24, dtype=torch.bool)
    prediction[2:8, 2:8] = truth[4:10, 2:8] = True
    picture = panels.overlap_picture(FRAME, prediction, truth)
    outside = picture[~(prediction | truth).numpy()]
    assert (outside == outside[:, :1]).all()
    both, only, missed = picture[5, 5], picture[2, 5], picture[9, 5]
    assert both.argmax() == 1 and only.argmax() == 0 and missed.argmax() == 2


def test_drawing_changes_no_input():
    before = GRID.clone(), FRAME.clone()
    panels.panels([Panel("g", GRID, "values"), Panel("f", FRAME)])
    panels.overlap_picture(FRAME, FRAME[0] > 9, FRAME[0] > 99)
    assert torch.equal(before[0], GRID) and torch.equal(before[1], FRAME)


def test_curves_and_clouds_show_what_they_are_given():
    figure = panels.curves([0, 1, 2], {"a": [1, 2, 3], "b": [3, 2, 1]}, title="t", xlabel="x", ylabel="y", dots=True)
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[1, 2, 3], [3, 2, 1]]
    points, labels = torch.rand(6, 2), torch.tensor([0, 0, 1, 1, 1, 2])
    drawn = panels.cloud(points, labels, title="t", names={0: "ground", 1: "one"}).axes[0].collections
    assert [len(c.get_offsets()) for c in drawn] == [2, 3]
    assert np.allclose(drawn[1].get_offsets(), points[2:5])


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: panels.panels([]), "1 to 12 panels, got 0"),
        (lambda: panels.panels([Panel("g", GRID, "heat")]), "one of picture, values, .*got 'heat'"),
        (lambda: panels.panels([Panel("g", GRID)]), "panel 'g' must be a picture"),
        (lambda: panels.curves([1], {}, title="", xlabel="", ylabel=""), "1 to 4 curves, got 0"),
        (lambda: panels.curves([1], {"a": [1, 2]}, title="", xlabel="", ylabel=""), "each of 1 places, got 2"),
        (lambda: panels.cloud(torch.rand(3, 3), torch.zeros(3), title="", names={}), "expected points N×2"),
        (lambda: panels.overlap_picture(FRAME, FRAME[0, 1:] > 0, FRAME[0] > 0), "expected masks"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, words):
    with pytest.raises(LabError, match=words):
        draw()
