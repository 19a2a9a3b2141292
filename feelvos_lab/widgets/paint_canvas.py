"""A picture to paint on: turns what the mouse does into strokes, and moves the view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ipympl.backend_nbagg import Canvas
from torch import Tensor

from feelvos_lab.figures.painter import FrameSheet
from feelvos_lab.widgets.notebook import live_canvas, resized

Point = tuple[float, float]  # row and column of the frame, in pixels


class Hand(Protocol):
    """What follows the mouse and the keys."""

    def press(self, at: Point) -> bool:
        """The left button goes down; whether strokes follow until it goes up."""

    def drag(self, start: Point, end: Point) -> None:
        """A stroke goes on."""

    def release(self) -> None:
        """A stroke ends."""

    def key(self, name: str | None) -> None:
        """A key goes down, while the picture has the focus."""

    def look(self) -> None:
        """The view has moved: draw it."""


class PaintCanvas:
    """One `FrameSheet` on one canvas, whatever is shown on it.

    The left button paints; the right or middle one, or Shift and the left one, moves the view. The wheel zooms once the
    picture was clicked, until the mouse leaves it, and scrolls the page otherwise.

    Args:
        size: (H, W) of the frames.
        width: of the picture, in pixels.
        hand: is called for each event.
        guarded: wraps each handler, to show its LabErrors.
    """

    def __init__(
        self, size: tuple[int, int], *, width: int, hand: Hand, guarded: Callable[[Any], Callable[..., None]]
    ) -> None:
        self.sheet = FrameSheet(size, width=width)
        self.canvas: Canvas = live_canvas(self.sheet.figure)
        self.radius: float | None = 1.0  # of the ring that shows the brush; None: no ring
        self._hand = hand
        self._last: Point | None = None  # where the brush is pressed
        self._held: tuple[float, float] | None = None  # where the view is held, in pixels of the picture
        for event, action in (
            ("button_press_event", self._pressed),
            ("button_release_event", self._released),
            ("motion_notify_event", self._moved),
            ("figure_leave_event", self._left),
            ("scroll_event", self._scrolled),
            ("key_press_event", lambda event: hand.key(event.key)),
        ):
            self.canvas.mpl_connect(event, guarded(action))

    def fit(self, size: tuple[int, int], *, width: int) -> None:
        """Make room for frames of another size, or a picture of another width; the whole frame is in view."""
        self._last = self._held = None
        self.sheet.fit(size, width=width)
        resized(self.canvas)

    def show(self, frame: Tensor, labels: Tensor, *, opacity: float) -> None:
        """Draw a frame (3, H, W) with its labels (H, W)."""
        self.sheet.show(frame, labels, opacity=opacity)
        self.canvas.draw_idle()

    def zoom(self, factor: float, at: Point | None = None) -> None:
        """Magnify; the row and column `at` stays in place, None: the middle."""
        self.sheet.zoom(factor, at)
        self._hand.look()

    def whole(self) -> None:
        """Show the whole frame."""
        self.sheet.whole()
        self._hand.look()

    def _pressed(self, event: Any) -> None:
        if event.inaxes is not self.sheet.axes:
            return
        self.canvas.capture_scroll = True
        at = (event.ydata, event.xdata)
        self._show_ring(at)
        if event.button != 1 or "shift" in event.modifiers:
            self._held = (event.x, event.y)
        elif self._hand.press(at):
            self._last = at
            self._hand.drag(at, at)

    def _moved(self, event: Any) -> None:
        if event.inaxes is not self.sheet.axes:
            self._left(event)
            return
        at = (event.ydata, event.xdata)
        if self._held is not None:
            self._move_view(event)
            return
        self._show_ring(at)
        if self._last is not None:
            start, self._last = self._last, at
            self._hand.drag(start, at)
        else:
            self.canvas.draw_idle()

    def _move_view(self, event: Any) -> None:
        (left, right), (bottom, top) = self.sheet.axes.get_xlim(), self.sheet.axes.get_ylim()
        box = self.sheet.axes.bbox
        down, across = event.y - self._held[1], self._held[0] - event.x
        self.sheet.pan(down * (bottom - top) / box.height, across * (right - left) / box.width)
        self._held = (event.x, event.y)
        self._hand.look()

    def _released(self, _: Any) -> None:
        self._held = None
        if self._last is not None:
            self._last = None
            self._hand.release()

    def _left(self, event: Any) -> None:
        self._released(event)  # what the button does outside is never reported
        self.canvas.capture_scroll = False
        self._show_ring(None)
        self.canvas.draw_idle()

    def _scrolled(self, event: Any) -> None:
        if self.canvas.capture_scroll and event.inaxes is self.sheet.axes:
            self.zoom(1.25**event.step, (event.ydata, event.xdata))

    def _show_ring(self, at: Point | None) -> None:
        self.sheet.brush(at if self.radius else None, radius=self.radius or 1.0)
