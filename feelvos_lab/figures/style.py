"""The style of all figures: two widths, one font size, one colour scale for distances.

A figure is a `matplotlib.figure.Figure` without pyplot: it belongs to the caller, and no global state changes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

COLUMN = 3.35  # inches: one column of the paper

PAGE = 6.9  # inches: both columns

DPI = 150

INK = "#222222"

QUIET = "#707070"  # captions, raw data behind a smoothed line

PAPER = "#eeeeee"  # where there is nothing to show

LINE = "#1f5fa8"

LINES = ((LINE, "-"), ("#b3541e", "--"), ("#4d7a3a", "-."), ("#6b4c9a", ":"))  # distinct without colour, too

EDGES = (("black", 2.2), ("white", 1.1))  # a line drawn in both, the wider one first, is visible on any picture

DISTANCE_MAP = "viridis_r"  # perceptually uniform: near is bright, far is dark

PROBABILITY_MAP = "gray"  # 0 is black, 1 is white

_ENDS = {"distance": ("0 near", "far 1"), "probability": ("0 no", "sure 1")}  # of a colour bar

Kind = Literal["distance", "probability"]

_RC = {
    **dict.fromkeys(("font.size", "legend.fontsize", "figure.titlesize"), 8),
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 8),
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    "font.family": "DejaVu Sans",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
    "hatch.linewidth": 0.5,
    "hatch.color": "#cccccc",
    "pdf.fonttype": 42,
    "figure.facecolor": "white",
}


def in_house_style(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorator: draw a figure with the project's settings, and leave matplotlib's own as they were."""

    @wraps(draw)
    def styled(*arguments: Any, **named: Any) -> Figure:
        with matplotlib.rc_context():
            # Not the user's matplotlibrc, whose fonts or `text.usetex` may need what is not installed.
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_RC)
            return draw(*arguments, **named)

    return styled


def new_figure(*, width: float, height: float) -> Figure:
    """An empty figure of a size in inches, with matplotlib's constrained layout."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def colour_scale(kind: Kind) -> ScalarMappable:
    """The colours of all distance or probability maps: always from 0 to 1, whatever the range of the data."""
    return ScalarMappable(Normalize(0.0, 1.0), DISTANCE_MAP if kind == "distance" else PROBABILITY_MAP)


def add_bar(figure: Figure, axes: Axes, kind: Kind) -> None:
    """Fill `axes` with a horizontal colour bar whose two ends are labelled with words."""
    bar = figure.colorbar(colour_scale(kind), cax=axes, orientation="horizontal", ticks=[0, 1])
    bar.outline.set_visible(False)
    axes.tick_params(length=0)
    left, right = axes.set_xticklabels(_ENDS[kind])
    left.set_ha("left")
    right.set_ha("right")


def hide_axes(axes: Axes) -> None:
    """Neither ticks nor a frame, for a picture."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def label(axes: Axes, title: str, caption: str) -> None:
    """A bold title above a picture and a quiet caption below it."""
    axes.set_title(title)
    axes.set_xlabel(caption, color=QUIET, loc="left", labelpad=2)


def credit(figure: Figure, text: str) -> None:
    """Whose video a figure shows, in a quiet line below it; nothing for an empty text."""
    if text:
        figure.supxlabel(text, x=0.005, ha="left", fontsize=8, color=QUIET)


def freeze_layout(figure: Figure) -> None:
    """Lay the figure out now and never again, so that nothing moves when its content changes."""
    if type(figure.canvas) is FigureCanvasBase:  # cannot draw; the canvas of a widget can, and must stay
        FigureCanvasAgg(figure)
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")


def name_of(object_id: int) -> str:
    """How texts call an object: "the background" or "object 3"."""
    return f"object {object_id}" if object_id else "the background"
