"""A strip below a video: J or the area of each object by frame, the painted frames, and the frame that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from feelvos_lab.figures import style
from feelvos_lab.figures.painter import swatch

_DPI = 100  # 8 points are 11 pixels

_TALL = 1.15  # inches


class Timeline:
    """One line per object over T frames, in its colour; the data's x is the frame.

    The figure stays the same one when another video is shown, so its canvas can stay in a page. `width` is in pixels.

    Example:
        >>> from feelvos_lab.figures.timeline import Timeline
        >>> strip = Timeline(9, width=690)
        >>> strip.show({1: [(0, 900.0), (1, 880.0)]}, painted=[0], valid=2, label="pixels", frame=1)
        >>> strip.axes.get_ylabel(), len(strip.figure.axes)
        ('pixels', 1)
    """

    def __init__(self, frames: int, *, width: int) -> None:
        self.figure = Figure(dpi=_DPI)
        self.fit(frames, width=width)

    @style.in_house_style
    def fit(self, frames: int, *, width: int) -> Figure:
        """Lay the strip out for a video of another length, or for another width, without lines."""
        self.frames = frames
        self.figure.clear()
        self.figure.set_facecolor("white")
        self.figure.set_size_inches(width / _DPI, _TALL)
        # Fixed margins: nothing moves, and no layout is computed, when the curves change.
        self.axes: Axes = self.figure.add_axes((62 / width, 0.34, 1 - 74 / width, 0.58))
        self._lines: list = []
        self._cursor = self.axes.axvline(0, color=style.INK, linewidth=1.0)
        self.axes.set(xlim=(-0.5, frames - 0.5), xlabel="frame")
        self.axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
        return self.figure

    @style.in_house_style
    def show(
        self,
        curves: Mapping[int, Sequence[tuple[int, float]]],
        *,
        painted: Sequence[int],
        valid: int,
        label: str,
        frame: int,
    ) -> None:
        """Draw another state.

        Args:
            curves: frame and value of each object.
            painted: frames with a painted mask, marked below the lines.
            valid: frames that are up to date; values of later ones are drawn pale.
            label: of the values; "J" has the range 0 … 1.
            frame: the one that is shown.
        """
        for line in self._lines:
            line.remove()
        self._lines = []
        for i, values in curves.items():
            count = sum(at < valid for at, _ in values)
            for part, opacity in ((values[:count], 1.0), (values[max(count - 1, 0) :], 0.3)):
                points = tuple(zip(*part, strict=True)) or ((), ())
                self._lines += self.axes.plot(*points, color=swatch(i), alpha=opacity, marker=".", markersize=3)
        highest = max((value for values in curves.values() for _, value in values), default=0.0)
        top = 1.0 if label == "J" else max(1.0, highest)
        marks = {"marker": "^", "markersize": 6, "color": style.INK, "linestyle": "none", "clip_on": False}
        self._lines += self.axes.plot(list(painted), [0] * len(painted), **marks)
        self.axes.set(ylim=(0, 1.05 * top), ylabel=label)
        self.axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]) if label == "J" else MaxNLocator(nbins=3))
        self.move(frame)

    def move(self, frame: int) -> None:
        """Mark another frame as the one that is shown."""
        self._cursor.set_xdata([frame, frame])
