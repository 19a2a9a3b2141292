"""The painter's pictures: a frame with its mask, to paint on and to zoom into, and a figure of both with a title.

Large frames are drawn subsampled, so that the brush keeps up with the mouse; the mask keeps all pixels.
Symbols: H W frame size.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from feelvos_lab.data.images import PALETTE, overlay
from feelvos_lab.figures import style

_SHOWN = 540  # rows up to which every pixel is drawn

_DPI = 100  # of pictures in the page, whose sizes are given in its pixels

_TALLEST = 600  # pixels: the controls stay in view

_CLOSEST = 32  # times that a frame can be magnified

OPACITY = 0.55


def swatch(object_id: int) -> str:
    """The colour in which an object is painted, in HTML: such as "#800000"."""
    return "#" + "".join(f"{int(part):02x}" for part in PALETTE[object_id % 256])


def text_colour(object_id: int) -> str:
    """Black or white, whichever stands out more from `swatch`, by the relative luminance of WCAG 2."""
    parts = PALETTE[object_id % 256] / 255
    luminance = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


class FrameSheet:
    """One frame with its mask, drawn up to the figure's edges; data coordinates are the frame's pixels.

    The figure stays the same one when another size (H, W) is shown, so its canvas can stay in a page. `width` is that
    of the picture in pixels; a tall frame gets a narrower one.
    """

    def __init__(self, size: tuple[int, int], *, width: int = 690) -> None:
        self.figure = Figure(dpi=_DPI)
        self.fit(size, width=width)

    @style.in_house_style
    def fit(self, size: tuple[int, int], *, width: int) -> Figure:
        """Lay the picture out for frames of another size, or for another width, and show the whole frame."""
        self.size = size
        across = min(width, _TALLEST * size[1] / size[0])
        self.figure.clear()
        self.figure.set_size_inches(across / _DPI, max(1, across * size[0] / size[1]) / _DPI)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self._image = self.axes.imshow([[[0, 0, 0]]], interpolation="nearest", aspect="auto")
        style.hide_axes(self.axes)
        self._rings = [
            self.axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=colour, linewidth=line, visible=False))
            for colour, line in style.EDGES
        ]
        self.whole()
        return self.figure

    @property
    def magnification(self) -> float:
        """How many times larger than the whole frame it is drawn; 1: the whole frame is in view."""
        left, right = self.axes.get_xlim()
        return self.size[1] / (right - left)

    def whole(self) -> None:
        """Bring the whole frame into view."""
        self._look_at(self.size[0] / 2 - 0.5, self.size[1] / 2 - 0.5, 1.0)

    def zoom(self, factor: float, at: tuple[float, float] | None = None) -> None:
        """Magnify by a factor; the row and column `at` stays where it is in the picture, None: the middle."""
        (left, right), (bottom, top) = self.axes.get_xlim(), self.axes.get_ylim()
        middle = (top + bottom) / 2, (left + right) / 2
        at = at or middle
        new = min(max(self.magnification * factor, 1.0), _CLOSEST)
        kept = self.magnification / new
        self._look_at(at[0] + (middle[0] - at[0]) * kept, at[1] + (middle[1] - at[1]) * kept, new)

    def pan(self, down: float, across: float) -> None:
        """Move the view by so many rows and columns of the frame, at most to its edges."""
        (left, right), (bottom, top) = self.axes.get_xlim(), self.axes.get_ylim()
        self._look_at((top + bottom) / 2 + down, (left + right) / 2 + across, self.magnification)

    def show(self, frame: Tensor, labels: Tensor, *, opacity: float = OPACITY) -> None:
        """Draw what is in view of a frame (3, H, W) with its labels (H, W)."""
        (left, right), (bottom, top) = self.axes.get_xlim(), self.axes.get_ylim()
        step = max(1, -(-round(bottom - top) // _SHOWN))
        first, last = max(0, int(top + 0.5)), min(self.size[0], int(bottom + 1.5))
        start, end = max(0, int(left + 0.5)), min(self.size[1], int(right + 1.5))
        rows, columns = slice(first, last, step), slice(start, end, step)
        self._image.set_data(overlay(frame[:, rows, columns], labels[rows, columns], opacity=opacity))
        drawn = [-(-(b - a) // step) * step for a, b in ((first, last), (start, end))]  # up to the last pixel's edge
        self._image.set_extent((start - 0.5, start + drawn[1] - 0.5, first + drawn[0] - 0.5, first - 0.5))

    def brush(self, at: tuple[float, float] | None, *, radius: float) -> None:
        """Show the size of the brush as a ring at a row and column; None hides it."""
        for ring in self._rings:
            ring.set_visible(at is not None)
            if at is not None:
                ring.set_center((at[1], at[0]))
                ring.set_radius(radius)

    def _look_at(self, row: float, column: float, magnification: float) -> None:
        """Bring a part of the frame into view, around a place as near to this one as the frame's edges allow."""
        down, across = (side / magnification / 2 for side in self.size)
        row = min(max(row, down - 0.5), self.size[0] - 0.5 - down)
        column = min(max(column, across - 0.5), self.size[1] - 0.5 - across)
        self.axes.set(xlim=(column - across, column + across), ylim=(row + down, row - down))


@style.in_house_style
def frame_picture(frame: Tensor, labels: Tensor, *, title: str, caption: str = "") -> Figure:
    """A frame (3, H, W) with its labels (H, W) as a figure with a title above and a caption below."""
    height, width = frame.shape[-2:]
    across = min(style.PAGE - 0.1, 3.9 * width / height)
    figure = style.new_figure(width=max(style.COLUMN, across + 0.1), height=across * height / width + 0.5)
    axes = figure.add_subplot()
    axes.imshow(overlay(frame, labels, opacity=OPACITY), interpolation="nearest")
    style.hide_axes(axes)
    style.label(axes, title, caption)
    return figure
