"""A pair of vectors to drag with the mouse: its distance by Eq. 1 follows on the curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ipywidgets import Box, Layout, VBox

from feelvos_lab.figures.pair import SIDE, PairSheet, Point
from feelvos_lab.model.matching import normalise_distance
from feelvos_lab.widgets.notebook import Picture, Status, live_canvas, show

_DPI = 100  # letters of 8 points are 11 pixels high

_STEP = 0.1  # of an arrow key


class Pair(VBox):
    """The widget of `pair`: the nearer point follows the mouse while its button is down; arrow keys move it, too.

    Example:
        >>> from feelvos_lab.widgets.vector_pair import Pair
        >>> widget = Pair((-0.5, 0.0), (0.5, 0.0))
        >>> widget.move(1, (1.5, 0.0))
        >>> widget.picture().text
        'Vectors (-0.5, 0.0) and (1.5, 0.0): squared distance 4.00, d = 0.964.'
    """

    def __init__(self, first: Point, second: Point) -> None:
        self.points = [first, second]
        self.chosen = 0  # which of them a key moves
        self._held = False
        self.sheet = PairSheet(_distance, dpi=_DPI)
        self.canvas = live_canvas(self.sheet.figure)
        self.canvas.layout.flex = "0 0 auto"  # never squeezed, which would cut it
        self.status = Status()
        self.status.say("drag a point; or click at one and press the arrow keys")
        for event, action in (
            ("button_press_event", self._pressed),
            ("motion_notify_event", self._moved),
            ("button_release_event", self._released),
            ("figure_leave_event", self._released),
            ("key_press_event", self._typed),
        ):
            self.canvas.mpl_connect(event, action)
        super().__init__([Box([self.canvas], layout=Layout(overflow="auto hidden")), self.status])
        self.add_class("feelvos-pair")
        self.sheet.show(*self.points)

    def move(self, which: int, to: Point) -> None:
        """Put one of the two points to a place, or to the edge of the plane that is nearest to it."""
        self.points[which] = tuple(min(max(x, -SIDE), SIDE) for x in to)
        self.sheet.show(*self.points)
        self.canvas.draw_idle()

    def picture(self) -> Picture:
        """The pair as it stands, as a figure of its own, with a text for those who cannot see it."""
        first, second = self.points
        square = sum((a - b) ** 2 for a, b in zip(first, second, strict=True))
        written = " and ".join(f"({x:.1f}, {y:.1f})" for x, y in self.points)
        text = f"Vectors {written}: squared distance {square:.2f}, d = {float(_distance(np.array(square))):.3f}."
        return Picture(PairSheet(_distance).show(first, second), text)

    def _pressed(self, event: Any) -> None:
        if event.inaxes is self.sheet.plane and event.button == 1:
            at = (event.xdata, event.ydata)
            self.chosen = min((0, 1), key=lambda i: sum((a - b) ** 2 for a, b in zip(self.points[i], at, strict=True)))
            self._held = True
            self.move(self.chosen, at)

    def _moved(self, event: Any) -> None:
        if self._held and event.inaxes is self.sheet.plane:
            self.move(self.chosen, (event.xdata, event.ydata))

    def _released(self, _: Any) -> None:
        self._held = False

    def _typed(self, event: Any) -> None:
        by = {"left": (-_STEP, 0), "right": (_STEP, 0), "down": (0, -_STEP), "up": (0, _STEP)}.get(event.key)
        if by is not None:
            x, y = self.points[self.chosen]
            self.move(self.chosen, (x + by[0], y + by[1]))


def pair(first: Point = (-0.5, 0.0), second: Point = (0.5, 0.0)) -> None:
    """Display two vectors and their distance by Eq. 1, and below it the same to be dragged if the front end is live.

    Args:
        first: a vector of two numbers, each −1.5 … 1.5.
        second: the other one.

    Example:
        >>> from feelvos_lab.widgets import pair
        >>> pair((0.0, 0.0), (1.0, 1.0))  # outside IPython: no display
    """
    widget = Pair(first, second)
    show(widget, widget.picture)


def _distance(square: np.ndarray) -> np.ndarray:
    return normalise_distance(torch.from_numpy(square)).numpy()
