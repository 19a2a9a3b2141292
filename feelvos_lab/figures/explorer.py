"""The explorer's picture: one pixel, its distances to two frames, what was matched, and the answer.

The figure is laid out once and then changed in place, so that a slider can follow the hand. As in `viz`, nothing is
measured here. Letters: H W frame size, h w the stride-4 grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import PALETTE, overlay
from feelvos_lab.figures import style
from feelvos_lab.figures.basic import grid_extent
from feelvos_lab.inference.probe import NearestCell, PixelView

_ON_ANY_GROUND = [withStroke(linewidth=2.0, foreground="black")]


class ExplorerSheet:
    """Six pictures of one look: the two references and the frame above, distances and answer below.

    Args:
        clip: whose frames are shown.
        grid: h and w.
        dpi: of the figure; fewer dots are drawn faster.
    """

    def __init__(self, clip: Clip, grid: tuple[int, int], *, dpi: int = style.DPI) -> None:
        self.clip, self.grid = clip, grid
        self.size = tuple(clip.frames[0].shape[-2:])
        self.figure = self._laid_out(dpi)
        self._frame = 0  # none is shown yet

    @property
    def clickable(self) -> tuple[Axes, Axes]:
        """The pictures of the current frame, in which a pixel can be chosen."""
        return self._axes["current"], self._axes["result"]

    @style.in_house_style
    def show(self, look: PixelView) -> Figure:
        """Draw another look; the same figure is returned."""
        t, who = look.frame, _who(look.object_id)
        window = "□ local window    " if look.window is not None else ""
        true = ", true in the result" if self.clip.annotated else ""
        self._heading.set_text(
            f"“{self.clip.name}” as seen from + in frame {t} (row {look.cell[0]}, column {look.cell[1]} of the grid)\n"
            f"○ nearest pixel of {who}    {window}white line: {who}, given in A, predicted in B{true}"
        )
        frames = self.clip.frames
        if not self._frame:
            self._images["first"].set_data(overlay(frames[0], self.clip.masks[0]))
        if t != self._frame:  # most looks are at the frame that is there
            self._frame = t
            self._images["previous"].set_data(overlay(frames[t - 1], look.previous_labels))
            self._images["current"].set_data(frames[t].permute(1, 2, 0).numpy())
        self._images["result"].set_data(overlay(frames[t], look.labels))
        self._images["first_distance"].set_data(look.first_distance.numpy())
        self._images["previous_distance"].set_data(look.previous_distance.numpy())
        self._title("previous", f"B · Frame {t - 1}")
        self._title("current", f"C · Frame {t}")
        self._title("previous_distance", f"C → B · Distance to frame {t - 1}")
        self._title("result", f"Result for frame {t}")
        self._outlines["first_distance"].set_data(*_edges(look.first_object, self.size))
        self._outlines["previous_distance"].set_data(*_edges(look.previous_object, self.size))
        if self.clip.annotated:
            self._outlines["result"].set_data(*_edges(self.clip.masks[t] == look.object_id, self.size))
        self._mark(look)
        self._caption("first", "masks given for all objects")
        self._caption("previous", f"masks {'predicted, from all cues' if t > 1 else 'given'}")
        self._caption("current", "no mask yet; + looks at A and B")
        self._caption("first_distance", _found(look.first_match, look, "first_matching", "global map"))
        kind = "global map" if look.switches.previous_matching == "global" else "local map"
        self._caption("previous_distance", _found(look.previous_match, look, "previous_matching", kind))
        self._caption("result", f"at + it is {100 * look.probability:.0f} % {who}")
        self._below.set_text(_cues_in_words(look))
        return self.figure

    @style.in_house_style
    def _laid_out(self, dpi: int) -> Figure:
        height, width = self.size
        panel = min(2.6, (style.PAGE / 3 - 0.1) * height / width)
        figure = style.new_figure(width=style.PAGE, height=2 * (panel + 0.42) + 0.95)
        figure.set_dpi(dpi)
        self._heading = figure.suptitle("two\nlines", x=0.005, ha="left")
        grid = figure.add_gridspec(3, 3, height_ratios=[panel, panel, 0.08])
        names = (("first", "previous", "current"), ("first_distance", "previous_distance", "result"))
        self._axes = {name: figure.add_subplot(grid[r, c]) for r, row in enumerate(names) for c, name in enumerate(row)}
        scale = style.distance_scale()
        self._images: dict[str, AxesImage] = {}
        for name, axes in self._axes.items():
            if name.endswith("distance"):
                empty, look = np.ones(self.grid), {"norm": scale.norm, "cmap": scale.cmap}
                extent = grid_extent(self.size, self.grid)
            else:
                empty, look, extent = np.zeros((height, width, 3), np.uint8), {}, None
            self._images[name] = axes.imshow(empty, interpolation="nearest", extent=extent, **look)
            axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), title=name)
            axes.set_xlabel("caption", color=style.QUIET, loc="left", labelpad=2)
            for spine in axes.spines.values():
                spine.set_visible(False)
        self._title("first", "A · Frame 0")
        self._title("first_distance", "C → A · Distance to frame 0")
        self._outlines = {
            name: self._axes[name].add_line(Line2D([], [], color="white", linewidth=0.8, path_effects=_ON_ANY_GROUND))
            for name in ("first_distance", "previous_distance", "result")
        }
        self._crosses = [line for name in ("current", "result") for line in _ringed(self._axes[name], "+", 9)]
        self._matches = {
            "first": [line for name in ("first", "first_distance") for line in _ringed(self._axes[name], "o", 7)],
            "previous": [
                line for name in ("previous", "previous_distance") for line in _ringed(self._axes[name], "o", 7)
            ],
        }
        self._windows = [box for name in ("previous", "previous_distance") for box in _boxes(self._axes[name])]
        style.add_bar(figure, figure.add_subplot(grid[2, :2]), scale, ends=("near", "far"))
        self._below = figure.add_subplot(grid[2, 2]).text(0, 0.5, "", va="top", color=style.QUIET)
        self._below.axes.set_axis_off()
        FigureCanvasAgg(figure)
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")  # laid out once: later texts have as many lines as these
        return figure

    def _mark(self, look: PixelView) -> None:
        y, x = self._pixel(*look.cell)
        for line in self._crosses:
            line.set_data([x], [y])
        for name, match in (("first", look.first_match), ("previous", look.previous_match)):
            for number, line in enumerate(self._matches[name]):
                line.set_visible(match is not None)
                if match is not None:
                    row, column = self._pixel(match.row, match.column)
                    line.set_data([column], [row])
                    if number % 2:  # the upper of the two
                        line.set_markeredgecolor(_colour(look.object_id))
        for box in self._windows:
            box.set_visible(look.window is not None)
            if look.window is not None:
                down, across = self._pixel(1, 1)
                side_y, side_x = (2 * look.window + 1) * down, (2 * look.window + 1) * across
                box.set_bounds(x - side_x / 2, y - side_y / 2, side_x, side_y)

    def _pixel(self, row: int, column: int) -> tuple[float, float]:
        """Where a cell lies in the frame."""
        (height, width), (h, w) = self.size, self.grid
        return row * (height - 1) / max(1, h - 1), column * (width - 1) / max(1, w - 1)

    def _title(self, name: str, text: str) -> None:
        self._axes[name].set_title(text)

    def _caption(self, name: str, text: str) -> None:
        self._axes[name].set_xlabel(text, color=style.QUIET, loc="left", labelpad=2)


def explorer_sheet(clip: Clip, look: PixelView) -> Figure:
    """One look as a figure that stays as it is."""
    return ExplorerSheet(clip, tuple(look.first_distance.shape)).show(look)


def _who(object_id: int) -> str:
    return f"object {object_id}" if object_id else "the background"


def _colour(object_id: int) -> Any:
    return PALETTE[object_id % 256] / 255 if object_id else style.INK


def _found(match: NearestCell | None, look: PixelView, switch: str, name: str) -> str:
    """What the map says at the pixel, and why nothing is marked where nothing is."""
    if match is not None:
        return f"at ○ {match.distance:.2f} = the {name} at +"
    if getattr(look.switches, switch) == "none":
        return f"nothing is matched: the {name} is off"
    where = "none in the window" if look.window is not None and switch == "previous_matching" else "none there"
    return f"{where}: {name} at + is 1"


def _cues_in_words(look: PixelView) -> str:
    """Which cues made the answer; two lines."""
    if look.off:
        constants = {"first frame": "1", "previous frame": "1", "mask": "1/K"}
        said = ", ".join(f"{name} = {constants[name]}" for name in look.off)
        return f"off, the same for all objects:\n{said}"
    changed = look.switches != look.trained
    return "from all cues, matched otherwise\nthan in training" if changed else "from all cues,\nas in training"


def _ringed(axes: Axes, marker: str, size: float) -> list[Line2D]:
    """A mark that can be seen on bright and on dark ground: a white one below, a thinner one above."""
    common = {"marker": marker, "linestyle": "none", "fillstyle": "none", "markersize": size}
    below = Line2D([], [], color="white", markeredgewidth=3.4, **common)
    above = Line2D([], [], color=style.INK, markeredgewidth=1.5, **common)
    return [axes.add_line(below), axes.add_line(above)]


def _boxes(axes: Axes) -> list[Rectangle]:
    parts = (("black", 2.2), ("white", 1.1))
    return [
        axes.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, linewidth=width))
        for colour, width in parts
    ]


def _edges(mask: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The sides of a mask's cells beyond which it ends: x and y over the frame's pixels, one line with gaps."""
    inside = np.pad(mask.cpu().numpy(), 1)  # (h + 2, w + 2)
    left, _, _, top = grid_extent(size, mask.shape)
    (height, width), (h, w) = size, mask.shape
    down, across = (height - 1) / max(1, h - 1), (width - 1) / max(1, w - 1)
    rows, columns = np.nonzero(inside[1:, 1:-1] != inside[:-1, 1:-1])  # below these lines of the grid the mask changes
    upper, lefts = np.nonzero(inside[1:-1, 1:] != inside[1:-1, :-1])
    gaps, more = np.full(len(rows), np.nan), np.full(len(upper), np.nan)
    x = np.concatenate([np.stack([columns, columns + 1, gaps], 1), np.stack([lefts, lefts, more], 1)])
    y = np.concatenate([np.stack([rows, rows, gaps], 1), np.stack([upper, upper + 1, more], 1)])
    return x.ravel() * across + left, y.ravel() * down + top
