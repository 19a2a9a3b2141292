"""The explorer's picture: one pixel, its distances to two frames, its matches, and the result.

The figure is laid out once and then changed in place, so that it keeps up with a slider.
Symbols: H W frame size, h w the stride-4 grid.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import PALETTE, overlay
from feelvos_lab.data.sample_video import CREDITS
from feelvos_lab.figures import style
from feelvos_lab.figures.basic import grid_extent, window_bounds
from feelvos_lab.inference.probe import NearestCell, PixelView
from feelvos_lab.model.grid import cell_at, cell_spacing


class ExplorerSheet:
    """Six pictures of a `PixelView`: both reference frames and the current one, below them distances and result.

    `grid` is (h, w), `width` in inches; a figure of fewer `dpi` is drawn faster.
    """

    def __init__(self, clip: Clip, grid: tuple[int, int], *, width: float = style.PAGE, dpi: int = style.DPI) -> None:
        self.clip, self.grid = clip, grid
        self.size = tuple(clip.frames[0].shape[-2:])
        self.figure = style.new_figure(width=width, height=width)
        self.figure.set_dpi(dpi)
        self.fit(width)

    @style.in_house_style
    def fit(self, width: float) -> Figure:
        """Lay the pictures out for a figure of another width in inches; the same figure is returned, empty."""
        self.figure.clear()
        self.figure.set_layout_engine("constrained")
        self._lay_out(width)
        self._look: PixelView | None = None
        return self.figure

    @property
    def clickable(self) -> tuple[Axes, Axes]:
        """The axes of the current frame, in which a click chooses a pixel."""
        return self._axes["current"], self._axes["result"]

    @style.in_house_style
    def show(self, look: PixelView) -> Figure:
        """Draw another view; returns the same figure."""
        t, who = look.frame, style.name_of(look.object_id)
        window = "□ local window    " if look.window is not None else ""
        known = t in self.clip.annotated_frames
        true = ", true in the result" if known else ""
        self._heading.set_text(
            f"“{self.clip.name}” as seen from + in frame {t} (row {look.cell[0]}, column {look.cell[1]} of the grid)\n"
            f"○ nearest pixel of {who}    {window}white line: {who}, given in A, predicted in B{true}"
        )
        frames = self.clip.frames
        if self._look is None:
            self._images["first"].set_data(overlay(frames[0], self.clip.masks[0]))
        if self._look is None or t != self._look.frame:  # most changes keep the frame
            self._images["previous"].set_data(overlay(frames[t - 1], look.previous_labels))
            self._images["current"].set_data(frames[t].permute(1, 2, 0).numpy())
        self._images["result"].set_data(overlay(frames[t], look.labels))
        self._images["first_distance"].set_data(look.first_distance.numpy())
        self._images["previous_distance"].set_data(look.previous_distance.numpy())
        self._outlines["first_distance"].set_data(*_edges(look.first_object, self.size))
        self._outlines["previous_distance"].set_data(*_edges(look.previous_object, self.size))
        truth = _edges(self.clip.masks[t] == look.object_id, self.size) if known else ([], [])
        self._outlines["result"].set_data(*truth)
        self._mark(look)
        kind = "global map" if look.switches.previous_matching == "global" else "local map"
        to_first = _match_caption(look.first_match, look, "first_matching", "global map")
        to_previous = _match_caption(look.previous_match, look, "previous_matching", kind)
        labels = {
            "first": ("A · Frame 0", "masks given for all objects"),
            "previous": (f"B · Frame {t - 1}", f"masks {'predicted, from all cues' if t > 1 else 'given'}"),
            "current": (f"C · Frame {t}", "no mask yet; + looks at A and B"),
            "first_distance": ("C → A · Distance to frame 0", to_first),
            "previous_distance": (f"C → B · Distance to frame {t - 1}", to_previous),
            "result": (f"Result for frame {t}", f"at + it is {100 * look.probability:.0f} % {who}"),
        }
        for name, (title, caption) in labels.items():
            style.label(self._axes[name], title, caption)
        self._below.set_text(_cues_in_words(look))
        self._look = look
        return self.figure

    def value_at(self, axes: Axes | None, row: float, column: float) -> str:
        """What the view that is shown holds at a place of one of its pictures, in words; "" elsewhere."""
        name = next((name for name, shown in self._axes.items() if shown is axes), None)
        if name is None or self._look is None:
            return ""
        look, t = self._look, self._look.frame
        if name.endswith("distance"):
            y, x = cell_at((row, column), self.size, self.grid)
            distance, frame = (look.first_distance, 0) if name.startswith("first") else (look.previous_distance, t - 1)
            return f"from + to row {y}, column {x} of frame {frame}: distance {distance[y, x]:.3f}"
        y, x = (min(max(round(at), 0), side - 1) for at, side in zip((row, column), self.size, strict=True))
        if name == "current":
            return f"frame {t}, pixel row {y}, column {x}: click to look at it"
        labels, frame = {
            "first": (self.clip.masks[0], 0),
            "previous": (look.previous_labels, t - 1),
            "result": (look.labels, t),
        }[name]
        return f"frame {frame}, pixel row {y}, column {x}: {style.name_of(int(labels[y, x]))}"

    def _lay_out(self, page: float) -> None:
        height, width = self.size
        panel = min(2.6 * page / style.PAGE, (page / 3 - 0.1) * height / width)
        figure = self.figure
        credit = CREDITS.get(self.clip.name, "")
        figure.set_size_inches(page, 2 * (panel + 0.42) + (1.15 if credit else 0.95))
        self._heading = figure.suptitle("two\nlines", x=0.005, ha="left")
        grid = figure.add_gridspec(3, 3, height_ratios=[panel, panel, 0.08])
        names = (("first", "previous", "current"), ("first_distance", "previous_distance", "result"))
        self._axes = {name: figure.add_subplot(grid[r, c]) for r, row in enumerate(names) for c, name in enumerate(row)}
        scale = style.colour_scale("distance")
        self._images: dict[str, AxesImage] = {}
        for name, axes in self._axes.items():
            if name.endswith("distance"):
                empty, look = np.ones(self.grid), {"norm": scale.norm, "cmap": scale.cmap}
                extent = grid_extent(self.size, self.grid)
            else:
                empty, look, extent = np.zeros((height, width, 3), np.uint8), {}, None
            self._images[name] = axes.imshow(empty, interpolation="nearest", extent=extent, **look)
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            style.hide_axes(axes)
            style.label(axes, "title", "caption")
        self._outlines = {
            name: self._axes[name].add_line(_outline(width))
            for name, width in (("first_distance", 0.8), ("previous_distance", 0.8), ("result", 0.4))
        }
        self._crosses = [line for name in ("current", "result") for line in _add_marker(self._axes[name], "+", 9)]
        self._matches = {
            frame: [line for name in (frame, f"{frame}_distance") for line in _add_marker(self._axes[name], "o", 7)]
            for frame in ("first", "previous")
        }
        self._windows = [
            self._axes[name].add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, linewidth=line))
            for name in ("previous", "previous_distance")
            for colour, line in style.EDGES
        ]
        style.add_bar(figure, figure.add_subplot(grid[2, :2]), "distance")
        self._below = figure.add_subplot(grid[2, 2]).text(0, 0.5, "", va="top", color=style.QUIET)
        self._below.axes.set_axis_off()
        style.credit(figure, credit)
        style.freeze_layout(figure)  # later texts have as many lines as these

    def _mark(self, look: PixelView) -> None:
        down, across = spacing = cell_spacing(self.size, self.grid)
        for line in self._crosses:
            line.set_data([look.cell[1] * across], [look.cell[0] * down])
        for name, match in (("first", look.first_match), ("previous", look.previous_match)):
            for number, line in enumerate(self._matches[name]):
                line.set_visible(match is not None)
                if match is not None:
                    line.set_data([match.column * across], [match.row * down])
                    if number % 2:  # the upper of the two
                        line.set_markeredgecolor(PALETTE[look.object_id] / 255 if look.object_id else style.INK)
        for box in self._windows:
            box.set_visible(look.window is not None)
            if look.window is not None:
                box.set_bounds(*window_bounds(look.cell, look.window, spacing))


def explorer_sheet(clip: Clip, look: PixelView) -> Figure:
    """One view as a figure of its own."""
    return ExplorerSheet(clip, tuple(look.first_distance.shape)).show(look)


def _match_caption(match: NearestCell | None, look: PixelView, switch: str, name: str) -> str:
    """The map's value at the pixel, or why nothing is matched."""
    if match is not None:
        return f"at ○ {match.distance:.2f} = the {name} at +"
    if getattr(look.switches, switch) == "none":
        return f"nothing is matched: the {name} is off"
    where = "none in the window" if look.window is not None and switch == "previous_matching" else "none there"
    return f"{where}: {name} at + is 1"


def _cues_in_words(look: PixelView) -> str:
    """Which cues the result comes from, in two lines."""
    if look.off:
        constants = {"first frame": "1", "previous frame": "1", "mask": "1/K"}
        said = ", ".join(f"{name} = {constants[name]}" for name in look.off)
        return f"off, the same for all objects:\n{said}"
    changed = look.switches != look.trained
    return "from all cues, matched otherwise\nthan in training" if changed else "from all cues,\nas in training"


def _add_marker(axes: Axes, marker: str, size: float) -> list[Line2D]:
    """A marker that is visible on any picture: a white one below, a thinner one above."""
    common = {"marker": marker, "linestyle": "none", "fillstyle": "none", "markersize": size}
    below = Line2D([], [], color="white", markeredgewidth=3.4, **common)
    above = Line2D([], [], color=style.INK, markeredgewidth=1.5, **common)
    return [axes.add_line(below), axes.add_line(above)]


def _outline(width: float) -> Line2D:
    """An empty white line with black edges, visible on any picture; of a fine mask, whose steps are dense, thinner."""
    edges = [withStroke(linewidth=2.5 * width, foreground="black")]
    return Line2D([], [], color="white", linewidth=width, path_effects=edges)


def _edges(mask: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The outline of a mask (h, w) along its cells: x and y in the frame's pixels, one line with gaps (NaN)."""
    inside = np.pad(mask.cpu().numpy(), 1)  # (h + 2, w + 2)
    left, _, _, top = grid_extent(size, mask.shape)
    down, across = cell_spacing(size, mask.shape)
    rows, columns = np.nonzero(inside[1:, 1:-1] != inside[:-1, 1:-1])  # horizontal edges, then vertical ones
    upper, lefts = np.nonzero(inside[1:-1, 1:] != inside[1:-1, :-1])
    gaps, more = np.full(len(rows), np.nan), np.full(len(upper), np.nan)
    x = np.concatenate([np.stack([columns, columns + 1, gaps], 1), np.stack([lefts, lefts, more], 1)])
    y = np.concatenate([np.stack([rows, rows, gaps], 1), np.stack([upper, upper + 1, more], 1)])
    return x.ravel() * across + left, y.ravel() * down + top
