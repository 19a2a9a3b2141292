"""Figures of the lessons: grids with their numbers, maps, curves, points. Symbols: H W frame size, h w any grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch import Tensor

from feelvos_lab.data.images import PALETTE
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style
from feelvos_lab.figures.basic import draw_outline, draw_picture, window_bounds
from feelvos_lab.model.grid import cell_spacing

Kind = Literal["picture", "values", "labels", "distance", "probability"]

KINDS: tuple[str, ...] = get_args(Kind)

_NUMBERED = 40  # cells of a grid up to which each shows its number


class Panel(NamedTuple):
    """One picture of a figure.

    `data` is uint8 (3, H, W) or (H, W, 3) for a "picture", else a grid (h, w): of any numbers ("values"), of object
    ids ("labels"), of distances or of probabilities in [0, 1].
    """

    title: str
    data: Any
    kind: Kind = "picture"
    caption: str = ""
    outline: Tensor | None = None  # (h, w) bool, drawn as a line
    window: tuple[int, int, int] | None = None  # row, column and radius of a square to draw
    grid: tuple[int, int] | None = None  # rows and columns of a grid laid over a picture, in which `window` counts


@style.in_house_style
def panels(shown: Sequence[Panel], *, heading: str = "", columns: int = 4, credit: str = "") -> Figure:
    """1 to 12 pictures and grids side by side, with one bar for all distances and one for all probabilities.

    A grid of at most 40 cells shows its numbers. Distances are drawn on the scale from 0 (near) to 1 (far). `credit`
    is a line below: whose video it is.
    """
    if not 1 <= len(shown) <= 12:
        raise LabError(f"a figure shows 1 to 12 panels, got {len(shown)}")
    for panel in shown:
        if panel.kind not in KINDS:
            raise LabError(f"a panel's kind must be one of {', '.join(KINDS)}, got {panel.kind!r}")
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    bars = [kind for kind in get_args(style.Kind) if any(p.kind == kind for p in shown)]
    shapes = [_array(p).shape[:2] for p in shown]
    narrow = columns == 1 or all(h * w <= _NUMBERED for h, w in shapes)
    width = min(style.PAGE, max(style.COLUMN, style.PAGE * (columns + 0.2) / 4)) if narrow else style.PAGE
    tallest = max(h / w for h, w in shapes)
    panel_height = min(2.4, (width / columns - 0.12) * tallest)
    height = rows * (panel_height + 0.45) + 0.25 * bool(heading) + 0.5 * bool(bars) + 0.15 * bool(credit)
    figure = style.new_figure(width=width, height=height)
    if heading:
        figure.suptitle(heading, x=0.005, ha="left", color=style.QUIET)
    heights = [panel_height] * rows + [0.08] * bool(bars)
    grid = figure.add_gridspec(len(heights), 2 * columns, height_ratios=heights)
    for number, panel in enumerate(shown):
        column = 2 * (number % columns)
        _draw(figure.add_subplot(grid[number // columns, column : column + 2]), panel)
    for number, kind in enumerate(bars):
        part = 2 * columns // len(bars)
        style.add_bar(figure, figure.add_subplot(grid[rows, number * part : (number + 1) * part]), kind)
    style.credit(figure, credit)
    return figure


@style.in_house_style
def curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    ylim: tuple[float, float] | None = None,
    dots: bool = False,
) -> Figure:
    """1 to 4 lines over one x axis, in the width of a column, distinguished by colour and dashes."""
    if not 1 <= len(lines) <= len(style.LINES):
        raise LabError(f"a figure shows 1 to {len(style.LINES)} curves, got {len(lines)}")
    for name, y in lines.items():
        if len(y) != len(x):
            raise LabError(f"curve {name!r} needs a value for each of {len(x)} places, got {len(y)}")
    figure = style.new_figure(width=style.COLUMN, height=2.3)
    axes = figure.add_subplot()
    for (name, y), (colour, dashes) in zip(lines.items(), style.LINES, strict=False):
        axes.plot(x, y, color=colour, linestyle=dashes, label=name, marker="o" if dots else None, markersize=3)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if ylim:
        axes.set_ylim(*ylim)
    if all(float(place).is_integer() for place in x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no frame 2.5
    if dots:
        axes.set_xticks(list(x))
    if len(lines) > 1:
        axes.legend(frameon=False, loc="best")
    axes.margins(x=0.02)
    return figure


@style.in_house_style
def cloud(points: Tensor, labels: Tensor, *, title: str, names: Mapping[int, str]) -> Figure:
    """Points (N, 2) in the palette colour of their label (N,), in the width of a column; 0 is grey."""
    if points.dim() != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise LabError(f"expected points N×2 and N labels, got {tuple(points.shape)} and {tuple(labels.shape)}")
    figure = style.new_figure(width=style.COLUMN, height=2.6)
    axes = figure.add_subplot()
    for label, name in names.items():
        x, y = points[labels == label].t().cpu().numpy()
        colour = PALETTE[label] / 255 if label else (0.72, 0.72, 0.72)
        axes.scatter(x, y, s=5, color=[colour], label=name, linewidths=0)
    axes.set(title=title, xlabel="first direction", ylabel="second direction", xticks=[], yticks=[])
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=2, handletextpad=0.1)
    return figure


def overlap_picture(frame: Tensor, prediction: Tensor, truth: Tensor) -> np.ndarray:
    """The frame in grey; green: in both masks, orange: only predicted, violet: missed.

    Shapes: frame uint8 (3, H, W), masks bool (H, W) → uint8 (H, W, 3).
    """
    if prediction.shape != frame.shape[1:] or truth.shape != frame.shape[1:]:
        wanted = tuple(frame.shape[1:])
        raise LabError(f"expected masks {wanted}, got {tuple(prediction.shape)} and {tuple(truth.shape)}")
    grey = frame.float().mean(0).cpu().numpy()
    picture = np.repeat(grey[..., None], 3, axis=2)  # (H, W, 3)
    prediction, truth = prediction.bool().cpu().numpy(), truth.bool().cpu().numpy()
    green, orange, violet = (64, 160, 96), (214, 96, 40), (88, 80, 200)
    for where, colour in ((prediction & truth, green), (prediction & ~truth, orange), (truth & ~prediction, violet)):
        picture[where] = 0.3 * picture[where] + 0.7 * np.array(colour)
    return picture.round().astype(np.uint8)


def _draw(axes: Axes, panel: Panel) -> None:
    values = _array(panel)
    height, width = values.shape[:2]
    if panel.kind == "picture":
        draw_picture(axes, values)
    elif panel.kind == "labels":
        colours = PALETTE[values.astype(int) % 256] / 255
        colours[values == 0] = 0.88
        axes.imshow(colours, interpolation="nearest")
    elif panel.kind == "values":
        axes.imshow(np.ones((height, width, 3)), interpolation="nearest")
    else:
        scale = style.colour_scale(panel.kind)
        axes.imshow(values, norm=scale.norm, cmap=scale.cmap, interpolation="nearest")
    if panel.kind != "picture" and values.size <= _NUMBERED:
        _draw_numbers(axes, values, panel.kind)
    if panel.outline is not None:
        draw_outline(axes, panel.outline)
    if panel.window is not None:
        _draw_window(axes, panel, (height, width))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    style.hide_axes(axes)
    style.label(axes, panel.title, panel.caption)


def _draw_numbers(axes: Axes, values: np.ndarray, kind: str) -> None:
    height, width = values.shape
    for (y, x), value in np.ndenumerate(values):
        dark = (kind == "distance" and value > 0.45) or (kind == "probability" and value < 0.55)
        dark = dark or (kind == "labels" and value > 0)
        text = f"{value:.2f}".rstrip("0").rstrip(".") if np.issubdtype(values.dtype, np.floating) else str(int(value))
        axes.text(x, y, text, ha="center", va="center", color="white" if dark else style.INK)
    for edge in range(height + 1):
        axes.axhline(edge - 0.5, color="#bbbbbb", linewidth=0.5)
    for edge in range(width + 1):
        axes.axvline(edge - 0.5, color="#bbbbbb", linewidth=0.5)


def _draw_window(axes: Axes, panel: Panel, size: tuple[int, int]) -> None:
    row, column, radius = panel.window
    down, across = spacing = cell_spacing(size, panel.grid or size)
    left, top, width, height = window_bounds((row, column), radius, spacing)
    for colour, line in style.EDGES:
        axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=line))
    if panel.kind != "picture" and size[0] * size[1] <= _NUMBERED:
        return  # the cell shows its number
    for colour, marker_size, line in (("white", 7, 2.4), ("black", 6, 1.0)):
        axes.plot(column * across, row * down, marker="+", color=colour, markersize=marker_size, markeredgewidth=line)


def _array(panel: Panel) -> np.ndarray:
    data: ArrayLike = panel.data.detach().cpu().numpy() if isinstance(panel.data, Tensor) else panel.data
    values = np.asarray(data)
    if panel.kind == "picture" and values.ndim == 3 and values.shape[0] == 3 and values.shape[2] != 3:
        values = values.transpose(1, 2, 0)
    if values.ndim != (3 if panel.kind == "picture" else 2):
        raise LabError(f"panel {panel.title!r} must be a {panel.kind}, got a shape of {tuple(values.shape)}")
    return values.astype(int) if values.dtype == bool else values
