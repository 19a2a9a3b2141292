"""A pair of vectors follows the mouse and the keys, and Eq. 1 follows the pair."""

from __future__ import annotations

import math

import pytest
from matplotlib.backend_bases import MouseEvent
from mouse import press_key

from feelvos_lab.figures.pair import SIDE
from feelvos_lab.widgets import pair
from feelvos_lab.widgets.vector_pair import Pair


@pytest.fixture
def widget() -> Pair:
    return Pair((-0.5, 0.0), (0.5, 0.0))


def hold(widget: Pair, what: str, x: float, y: float, *, button: int = 1) -> None:
    """The mouse does something at a place of the plane."""
    at = widget.sheet.plane.transData.transform((x, y))
    widget.canvas.callbacks.process(what, MouseEvent(what, widget.canvas, *at, button=button))


def test_the_nearer_point_follows_the_mouse_while_the_button_is_down(widget: Pair) -> None:
    hold(widget, "motion_notify_event", 1.0, 1.0)
    assert widget.points == [(-0.5, 0.0), (0.5, 0.0)]
    hold(widget, "button_press_event", 0.6, 0.1)
    hold(widget, "motion_notify_event", 1.0, -1.0)
    hold(widget, "button_release_event", 1.0, -1.0)
    hold(widget, "motion_notify_event", 0.0, 0.0)
    assert widget.points[0] == (-0.5, 0.0) and widget.points[1] == pytest.approx((1.0, -1.0), abs=0.02)
    hold(widget, "button_press_event", -1.0, 0.5, button=3)
    assert widget.points[0] == (-0.5, 0.0)


def test_the_dot_lies_on_the_curve_of_eq_1_at_the_squared_distance_of_the_pair(widget: Pair) -> None:
    for to in ((0.5, 0.0), (1.5, -1.0), (-0.5, 0.0)):
        widget.move(1, to)
        square = math.dist(widget.points[0], to) ** 2
        d = 1 - 2 / (1 + math.exp(square))
        ((x,), (y,)) = widget.sheet._place.get_data()
        assert (x, y) == pytest.approx((square, d))
        assert f"‖e − e′‖² = {square:.2f}" in widget.sheet.plane.get_title(loc="left")
        slope = (1 - d**2) / 2
        assert float(widget.sheet.curve.get_title(loc="left").split("slope ")[1]) == pytest.approx(slope, abs=0.02)


def test_keys_move_the_point_that_was_clicked_up_to_the_planes_edge(widget: Pair) -> None:
    hold(widget, "button_press_event", 0.5, 0.0)
    hold(widget, "button_release_event", 0.5, 0.0)
    for _ in range(30):
        press_key(widget.canvas, "right")
    press_key(widget.canvas, "up")
    press_key(widget.canvas, "q")
    assert widget.points[0] == (-0.5, 0.0)
    assert widget.points[1] == pytest.approx((SIDE, 0.1), abs=0.02)


def test_outside_ipython_nothing_is_displayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert pair((0.0, 0.0), (1.0, 1.0)) is None
    assert capsys.readouterr().out == ""
