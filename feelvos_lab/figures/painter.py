"""The painter's two pictures: the frame with the mask as it grows, and a frame of the result.

Large frames are shown with fewer pixels, so that the brush can follow the hand; the mask keeps them all.
Letters: H W frame size.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from feelvos_lab.data.images import PALETTE, overlay
from feelvos_lab.figures import style

_SHOWN = 400  # rows of a frame up to which every pixel is drawn


def swatch(object_id: int) -> str:
    """The colour in which an object is painted, for a page: such as "#800000"."""
    return "#" + "".join(f"{int(part):02x}" for part in PALETTE[object_id % 256])


class FrameSheet:
    """One frame with its masks, in its own pixel coordinates.

    Args:
        size: H and W.
        dpi: of the figure.
    """

    def __init__(self, size: tuple[int, int], *, dpi: int = style.DPI) -> None:
        self.size = size
        self.step = -(-size[0] // _SHOWN)  # every how manieth pixel is drawn
        self.figure = self._laid_out(dpi)

    @style.in_house_style
    def show(self, frame: Tensor, labels: Tensor, *, title: str, caption: str = "") -> Figure:
        """Draw a frame (3, H, W) with its labels (H, W); the same figure is returned."""
        few = slice(None, None, self.step)
        self._image.set_data(overlay(frame[:, few, few], labels[few, few], opacity=0.55))
        self.axes.set_title(title)
        self.axes.set_xlabel(caption, color=style.QUIET, loc="left", labelpad=2)
        return self.figure

    def brush(self, at: tuple[float, float] | None, *, radius: float) -> None:
        """The ring that shows how large the brush is, at a row and column; None hides it."""
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
        shown = overlay_size(self.size, self.step)
        extent = (-0.5, shown[1] * self.step - 0.5, shown[0] * self.step - 0.5, -0.5)
        self._image = self.axes.imshow([[[0, 0, 0]]], interpolation="nearest", extent=extent)
        self.axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), title="title")
        self.axes.set_xlabel("caption", loc="left", labelpad=2)
        for spine in self.axes.spines.values():
            spine.set_visible(False)
        self._rings = [
            self.axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=colour, linewidth=line, visible=False))
            for colour, line in (("black", 2.2), ("white", 1.1))
        ]
        FigureCanvasAgg(figure)
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")  # laid out once: the picture does not move under the brush
        return figure


def overlay_size(size: tuple[int, int], step: int) -> tuple[int, int]:
    """Rows and columns left when every `step`-th is kept."""
    return -(-size[0] // step), -(-size[1] // step)
