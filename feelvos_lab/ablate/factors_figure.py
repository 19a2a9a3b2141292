"""A heat map of when each cue helps: a line per row, and along it one difficulty after the other, growing."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from feelvos_lab import style
from feelvos_lab.ablate.factors import Cell, axis_number
from feelvos_lab.data.factors import BASE, FACTORS, Factor, cells_a_frame

WORTH_MAP = "RdBu"  # red: the cue hurts, blue: it helps; told apart by all kinds of colour vision
A_PANEL = 3  # factors
GAP = 0.3  # between factors, in cells
SMALL = 4.8  # points
HATCH, PALE = "#b4b4b4", 0.55  # of undecided cells, which lie so far on the way to white


@style.in_house_style
def factors_figure(
    cells: Sequence[Cell],
    *,
    rows: Mapping[str, str],
    baseline: str,
    metric: str,
    title: str,
    side: int,
    radius: int,
) -> Figure:
    """A cell per row, factor and level: what the row's missing cue is worth there, with its 95 % interval below.

    Args:
        cells: at least one.
        rows: those of `cells` with what they set, in the table's order.
        metric: such as "J&F".
        title: the experiment's question.
        side: the frame's shorter side in pixels, which says how many cells a speed is.
        radius: of the baseline's local window, in cells; marked where speed passes it.
    """
    there = {cell.factor for cell in cells}
    factors = [factor for factor in FACTORS if factor.name in there]
    panels = [factors[i : i + A_PANEL] for i in range(0, len(factors), A_PANEL)] or [[]]
    scale = _scale(cells)
    figure = style.new_figure(width=style.PAGE, height=1.25 + len(panels) * (0.75 + 0.36 * (len(rows) + 1)))
    drawn = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, panel in zip(drawn, panels, strict=True):
        _panel(axes, cells, panel, rows=rows, baseline=baseline, scale=scale, side=side, radius=radius)
    bar = figure.colorbar(scale, ax=list(drawn), orientation="horizontal", aspect=60, pad=0.02, fraction=0.03)
    bar.outline.set_visible(False)
    n = cells[0].worth.estimate
    over = f"{n.clips} scenes, one seed†" if n.seeds == 1 else f"{n.clips} scenes × {n.seeds} seeds"
    bar.set_label(
        f"{metric} of {baseline} minus that of the row, in points: what the row lacks hurts (red) or helps (blue)\n"
        f"Below each mean its 95 % interval over {over}. Bold and framed: decided\n"
        "Pale and hatched: undecided, since "
        + ("one seed decides nothing" if n.seeds == 1 else "the interval, or that of the seeds' means, reaches 0")
    )
    figure.suptitle(textwrap.fill(title, 100), x=0.01, ha="left", fontweight="bold")
    return figure


def _scale(cells: Sequence[Cell]) -> ScalarMappable:
    """Colours centred on 0, and as far on both sides as the largest mean needs."""
    most = max(5, 5 * math.ceil(max(abs(cell.worth.estimate.mean) for cell in cells) / 5))
    return ScalarMappable(Normalize(-most, most), matplotlib.colormaps[WORTH_MAP])


def _panel(
    axes: Axes,
    cells: Sequence[Cell],
    factors: Sequence[Factor],
    *,
    rows: Mapping[str, str],
    baseline: str,
    scale: ScalarMappable,
    side: int,
    radius: int,
) -> None:
    """The base and some factors side by side, the baseline's score above the rows."""
    at = {(cell.variant, cell.factor, cell.level): cell for cell in cells}
    left = {(BASE, 0): 0.0}
    start = 1 + GAP
    for factor in factors:
        levels = range(1, len(factor.levels) + 1)
        left |= {(factor.name, level): start + level - 1 for level in levels}
        axes.text(start, -0.98, factor.name.replace("-", " "), fontweight="bold", va="bottom")
        axes.text(start, -0.92, factor.unit, fontsize=6, color=style.QUIET, va="top")
        for level in levels:
            axes.text(
                start + level - 0.5, -0.12, axis_number(factor, level, side), ha="center", va="bottom", fontsize=7
            )
        if factor.name == "speed":
            _mark_window(axes, factor, start, bottom=len(rows) + 1, side=side, radius=radius)
        start += len(factor.levels) + GAP
    axes.text(0, -0.98, BASE, fontweight="bold", va="bottom")
    axes.text(0, -0.92, "easy", fontsize=6, color=style.QUIET, va="top")
    for (factor, level), x in left.items():
        here = [at[key] for name in rows if (key := (name, factor, level)) in at]
        if here:
            axes.text(x + 0.5, 0.5, f"{here[0].score:.1f}", ha="center", va="center", color=style.QUIET)
        for y, name in enumerate(rows, start=1):
            if (cell := at.get((name, factor, level))) is not None:
                _draw_cell(axes, cell, x, y, scale)
            elif here:
                axes.text(x + 0.5, y + 0.5, "–", ha="center", va="center", color=style.QUIET)
    axes.set(xlim=(-0.02, 1 + A_PANEL * (3 + GAP) + 0.02), ylim=(len(rows) + 1.02, -1.45))
    labels = [f"{name}\n{setting}" if setting else name for name, setting in rows.items()]
    axes.set_yticks([0.5, *(y + 0.5 for y in range(1, len(rows) + 1))], [f"score of {baseline}", *labels], fontsize=6.5)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def _draw_cell(axes: Axes, cell: Cell, x: float, y: float, scale: ScalarMappable) -> None:
    value = cell.worth.estimate
    decided = cell.worth.verdict != "undecided"
    colour = scale.to_rgba(value.mean)
    if not decided:
        colour = tuple(PALE + (1 - PALE) * channel for channel in colour[:3])
    box = {"xy": (x + 0.02, y + 0.03), "width": 0.96, "height": 0.94, "facecolor": colour}
    if decided:
        axes.add_patch(Rectangle(**box, edgecolor=style.INK, linewidth=0.9))
    else:
        with matplotlib.rc_context({"hatch.color": HATCH}):
            axes.add_patch(Rectangle(**box, edgecolor=HATCH, linewidth=0, hatch="////"))
    ink = "white" if _brightness(colour) < 0.5 else style.INK
    dagger = "†" if value.seeds == 1 else ""
    weight = "bold" if decided else "normal"
    text = f"{round(value.mean, 1) + 0.0:+.1f}{dagger}"
    axes.text(x + 0.5, y + 0.38, text, ha="center", va="center", color=ink, fontweight=weight, fontsize=7.5)
    if not math.isnan(value.low):
        interval = f"[{round(value.low, 1) + 0.0:.1f}, {round(value.high, 1) + 0.0:.1f}]"
        axes.text(x + 0.5, y + 0.75, interval, ha="center", va="center", color=ink, fontsize=SMALL)


def _brightness(colour: tuple[float, ...]) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def _mark_window(axes: Axes, factor: Factor, start: float, *, bottom: float, side: int, radius: int) -> None:
    """A dashed line between the speeds at which an object stays within the window and those at which it leaves it."""
    within = sum(cells_a_frame(level, side) <= radius for level in factor.levels)
    if 0 < within < len(factor.levels):
        axes.plot([start + within] * 2, [-0.45, bottom], color=style.INK, linewidth=1.2, linestyle=(0, (3, 1.5)))
    told = {0: "beyond the window,", len(factor.levels): "within the window,"}.get(within, "┆ window reaches")
    axes.text(start + len(factor.levels), -0.98, f"{told} {radius}", ha="right", va="bottom", fontsize=6)
