"""The painter's two pictures: the frame with the mask being painted, and a frame of the result.

Large frames are drawn subsampled, so that the brush keeps up with the mouse; the mask keeps all pixels.
Symbols: H W frame size.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from feelvos_lab.data.images import PALETTE, overlay
from feelvos_lab.figures import style

_SHOWN = 400  # rows up to which every pixel is drawn


def swatch(object_id: int) -> str:
    """The colour in which an object is painted, in HTML: such as "#800000"."""
    return "#" + "".join(f"{int(part):02x}" for part in PALETTE[object_id % 256])


class FrameSheet:
    """One frame with its mask, whose data coordinates are the frame's pixels; `size` is (H, W)."""

    def __init__(self, size: tuple[int, int], *, dpi: int = style.DPI) -> None:
        self.size = size
        self.step = -(-size[0] // _SHOWN)  # draw every `step`-th pixel
        self.figure = self._laid_out(dpi)

    @style.in_house_style
    def show(self, frame: Tensor, labels: Tensor, *, title: str, caption: str = "") -> Figure:
        """Draw a frame (3, H, W) with its labels (H, W); the same figure is returned."""
        few = slice(None, None, self.step)
        self._image.set_data(overlay(frame[:, few, few], labels[few, few], opacity=0.55))
        style.label(self.axes, title, caption)
        return self.figure

    def brush(self, at: tuple[float, float] | None, *, radius: float) -> None:
        """Show the size of the brush as a ring at a row and column; None hides it."""
        for ring in self._rings:
            ring.set_visible(at is not None)
            if at is not None:
                ring.set_center((at[1], at[0]))
                ring.set_radius(radius)

    @style.in_house_style
    def _laid_out(self, dpi: int) -> Figure:
        height, width = self.size
        across = min(style.PAGE - 0.1, 3.9 * width / height)
        figure = style.new_figure(width=max(style.COLUMN, across + 0.1), height=across * height / width + 0.5)
        figure.set_dpi(dpi)
        self.axes: Axes = figure.add_subplot()
        bottom, right = (-(-side // self.step) * self.step - 0.5 for side in self.size)  # of the last pixel drawn
        self._image = self.axes.imshow([[[0, 0, 0]]], interpolation="nearest", extent=(-0.5, right, bottom, -0.5))
        self.axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        style.hide_axes(self.axes)
        style.label(self.axes, "title", "caption")
        self._rings = [
            self.axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=colour, linewidth=line, visible=False))
            for colour, line in style.EDGES
        ]
        style.freeze_layout(figure)  # the picture must not move under the brush
        return figure
