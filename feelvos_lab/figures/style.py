"""How every figure of the project looks: two widths, one size of letters, one colour scale for distances.

A figure is a `matplotlib.figure.Figure`, never pyplot's: it belongs to the caller, and nothing global changes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

COLUMN = 3.35  # inches: one column of the paper

PAGE = 6.9  # inches: both columns

DPI = 150

INK = "#222222"

QUIET = "#777777"  # captions, raw data behind a smoothed line

PAPER = "#eeeeee"  # where there is nothing to show

LINE = "#1f5fa8"

LINES = ((LINE, "-"), ("#b3541e", "--"), ("#4d7a3a", "-."), ("#6b4c9a", ":"))  # told apart without colour, too

DISTANCE_MAP = "viridis_r"  # perceptually uniform: near is bright, far is dark

PROBABILITY_MAP = "gray"

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "figure.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "hatch.linewidth": 0.5,
    "hatch.color": "#cccccc",
    "pdf.fonttype": 42,
    "figure.facecolor": "white",
}


def in_house_style(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a function that makes a figure under the house's settings, and leave matplotlib's as they were."""

    @wraps(draw)
    def styled(*arguments: Any, **named: Any) -> Figure:
        with matplotlib.rc_context(_RC):
            return draw(*arguments, **named)

    return styled


def new_figure(*, width: float, height: float) -> Figure:
    """An empty figure in inches, its parts laid out so that no text overlaps."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def distance_scale() -> ScalarMappable:
    """The one scale of all distance maps: 0 (near) … 1 (far), whatever the data's own range is."""
    return ScalarMappable(Normalize(0.0, 1.0), DISTANCE_MAP)


def probability_scale() -> ScalarMappable:
    """Black where a probability is 0, white where it is 1."""
    return ScalarMappable(Normalize(0.0, 1.0), PROBABILITY_MAP)


def add_bar(figure: Figure, axes: Axes, scale: ScalarMappable, *, ends: tuple[str, str]) -> None:
    """Fill `axes` with a horizontal colour bar whose two ends are labelled with words."""
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal", ticks=[0, 1])
    bar.outline.set_visible(False)
    axes.tick_params(length=0)
    left, right = axes.set_xticklabels([f"0 {ends[0]}", f"{ends[1]} 1"])
    left.set_ha("left")
    right.set_ha("right")
