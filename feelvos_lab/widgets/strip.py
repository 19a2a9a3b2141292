"""The strip below the painter's picture: J, where the truth is known, or the area of each object by frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from feelvos_lab.figures.timeline import Timeline
from feelvos_lab.widgets.notebook import live_canvas, resized
from feelvos_lab.widgets.painted_video import PaintedVideo


class Strip:
    """A `Timeline` on one canvas, hidden until there is something to show; `choose` is called with a clicked frame."""

    def __init__(self, frames: int, *, width: int, choose: Callable[[int], None]) -> None:
        self.sheet = Timeline(frames, width=width)
        self.canvas = live_canvas(self.sheet.figure)
        self._choose = choose
        self.canvas.mpl_connect("button_press_event", self._clicked)
        self.hide()

    def hide(self) -> None:
        """Take it off the page."""
        self.canvas.layout.display = "none"

    def fit(self, frames: int, *, width: int) -> None:
        """Make room for a video of another length, or for another width in pixels."""
        self.sheet.fit(frames, width=width)
        resized(self.canvas)

    def show(self, video: PaintedVideo, frame: int) -> None:
        """Show the video's curves; nothing before its masks were propagated."""
        if not video.predicted:
            return
        scored = bool(video.true_ids())
        curves: dict[int, list[tuple[int, float]]] = {i: [] for i in video.object_ids}
        for t in range(len(video.predicted)):
            for i, value in (video.scores(t) if scored else video.areas(t)).items():
                curves[i].append((t, value))
        label = "J" if scored else "pixels"
        painted = list(video.key_frames)
        self.sheet.show(curves, painted=painted, valid=video.valid, label=label, frame=frame)
        self.canvas.layout.display = ""
        self.canvas.draw_idle()

    def move(self, frame: int) -> None:
        """Mark another frame."""
        self.sheet.move(frame)
        self.canvas.draw_idle()

    def _clicked(self, event: Any) -> None:
        if event.inaxes is self.sheet.axes:
            self._choose(min(max(round(event.xdata), 0), self.sheet.frames - 1))
