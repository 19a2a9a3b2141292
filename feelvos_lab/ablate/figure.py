"""The ablation as one picture: a dot and an interval per row, beside what the paper printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from feelvos_lab import style
from feelvos_lab.ablate.stats import Estimate

THEIRS = "#b5492c"
CLIP = "#c4c4c4"


@dataclass(frozen=True)
class Dots:
    """What the figure shows of one row, in percent; a row without runs that are ok has no estimate."""

    label: str
    estimate: Estimate | None
    clips: Sequence[float]  # each clip's mean
    paper: float | None
    missing: str = ""  # said in place of the dot


@style.in_house_style
def ablation_figure(rows: Sequence[Dots], *, title: str, metric: str, ours: str, paper: str | None) -> Figure:
    """Rows from top to bottom: every clip in grey, mean and 95 % interval in blue, the paper's value as a diamond.

    Args:
        rows: in the table's order.
        title: the experiment's question.
        metric: such as "J&F".
        ours: what our values were measured on, such as "synthetic clips".
        paper: what the paper's were measured on; None where no row has one.
    """
    figure = style.new_figure(width=style.COLUMN, height=1.35 + 0.3 * len(rows))
    axes = figure.add_subplot()
    clips = pd.DataFrame([(value, y) for y, row in enumerate(rows) for value in row.clips], columns=["score", "row"])
    clips["row"] += np.random.default_rng(0).uniform(-0.16, 0.16, len(clips))  # sns.stripplot jitters anew each time
    if not clips.empty:
        sns.scatterplot(clips, x="score", y="row", ax=axes, color=CLIP, s=2.2**2, linewidth=0, zorder=1)
    for y, row in enumerate(rows):
        if row.estimate is None:
            axes.text(2, y, row.missing, va="center", color=style.QUIET, fontstyle="italic")
        else:
            axes.plot([row.estimate.low, row.estimate.high], [y, y], color=style.LINE, solid_capstyle="butt", zorder=2)
            axes.plot(row.estimate.mean, y, "o", color=style.LINE, markersize=4.5, zorder=3)
        if row.paper is not None:
            axes.plot(row.paper, y + 0.2, "D", markerfacecolor="white", markeredgecolor=THEIRS, markersize=4, zorder=4)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5), xlabel=f"{metric} in %", ylabel="")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(textwrap.fill(title, 48), x=0.01, ha="left", fontweight="bold")
    shown = [row.estimate for row in rows if row.estimate is not None]
    seeds = max((e.seeds for e in shown), default=0)
    over = "clips, one seed" if seeds == 1 else f"clips and {seeds} seeds"
    handles = [
        Line2D([], [], color=style.LINE, marker="o", markersize=4.5, label=f"here: mean, 95 % over {over}"),
        Line2D([], [], color=CLIP, marker="o", markersize=2.5, linestyle="none", label=f"here: each clip ({ours})"),
    ]
    if paper is not None:
        diamond = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": THEIRS, "markersize": 4}
        handles.append(Line2D([], [], linestyle="none", label=f"the paper, {paper}: other data", **diamond))
    figure.legend(handles=handles, loc="outside lower left", frameon=False, handlelength=1.5, borderaxespad=0.2)
    return figure
