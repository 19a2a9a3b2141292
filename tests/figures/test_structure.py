"""The drawing of the network: nothing is cut off or covers something else, and what it names exists."""

from __future__ import annotations

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg

from feelvos_lab.figures.structure import structure


def test_no_text_of_the_drawing_is_cut_off_or_meets_another_one() -> None:
    figure = structure()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {t.get_text(): t.get_window_extent(canvas.get_renderer()) for t in figure.axes[0].texts if t.get_text()}
    assert {"backbone", "decoder", "embedding\nlayer", "local map\n$L_{t,o}$", "softmax\nover the\nobjects"} <= set(
        boxes
    )
    for text, box in boxes.items():
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, text
    for one, two in combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[two]), (one, two)
