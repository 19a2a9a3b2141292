"""The ablation as one picture: a dot and an interval per row, beside what the paper printed.

Clip by clip: which rows lose which objects, and how each clip's score differs from the baseline's.

A heat map of when each cue helps: a line per row, and along it one difficulty after the other, growing.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from feelvos_lab.ablation.difficulty import Cell, axis_number
from feelvos_lab.ablation.statistics import Difference, Estimate, paired_difference
from feelvos_lab.data.difficulty_sweep import BASE, FACTORS, Factor, cells_a_frame
from feelvos_lab.figures import style

THEIRS = "#b5492c"

CLIP = "#c4c4c4"


@dataclass(frozen=True)
class FigureRow:
    """What the figure shows of one row, in percent; a row without runs that are ok has no estimate."""

    label: str
    estimate: Estimate | None
    clips: Sequence[float]  # each clip's mean
    paper: float | None
    missing: str = ""  # said in place of the dot


@style.in_house_style
def ablation_figure(rows: Sequence[FigureRow], *, title: str, metric: str, ours: str, paper: str | None) -> Figure:
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


FAILS = 30.0  # percent; an object below it in the mean over seeds is lost

MOST = 60  # clips that a picture has room for

SCORE_MAP = "cividis"


def failures(scores: pd.DataFrame, column: str) -> pd.DataFrame:
    """The objects that a row loses: mean over seeds below `FAILS` percent.

    Args:
        scores: percent; columns variant, seed, clip, object and `column`.

    Returns:
        columns variant, clip, object and `column`, the worst first in each variant.
    """
    means = scores.groupby(["variant", "clip", "object"], as_index=False, sort=False)[column].mean()
    return means[means[column] < FAILS].sort_values(["variant", column, "clip", "object"], ignore_index=True)


@style.in_house_style
def clips_figure(
    scores: pd.DataFrame, *, variants: Sequence[str], baseline: str, column: str, metric: str, title: str
) -> Figure:
    """A cell per clip and row, coloured by its score, with the ids of the objects that fail written in it.

    Clips are ordered by the baseline's score, the hardest on top. Of more than `MOST` clips, those are shown in which
    some row scores worst, and the title says so.

    Args:
        scores: percent; columns variant, seed, clip, object and `column`.
        variants: those to show, in the table's order; each has scores.
        metric: such as "J&F".
        title: the experiment's question.
    """
    lost = failures(scores, column)
    means = scores.groupby(["clip", "variant"])[column].mean().unstack()[list(variants)]  # (clips, variants)
    total = len(means)
    means = means.loc[means.min(axis=1).nsmallest(MOST).index]
    means = means.loc[(means[baseline] if baseline in means else means.mean(axis=1)).sort_values().index]
    figure = style.new_figure(width=style.PAGE, height=2.0 + 0.145 * len(means))
    axes = figure.add_subplot()
    image = axes.imshow(means.to_numpy(), cmap=SCORE_MAP, vmin=0, vmax=100, aspect="auto")
    objects = lost.groupby(["clip", "variant"])["object"].apply(lambda ids: " ".join(map(str, sorted(ids)))).to_dict()
    for y, clip in enumerate(means.index):
        for x, variant in enumerate(variants):
            if ids := objects.get((clip, variant)):
                dark = means.loc[clip, variant] < 55
                axes.text(
                    x, y, ids, ha="center", va="center", fontsize=7, fontweight="bold", color="w" if dark else "k"
                )
    axes.set_xticks(range(len(variants)), variants, rotation=20, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(means)), means.index, fontsize=7)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(1, len(variants)) - 0.5, minor=True)
    axes.grid(which="minor", axis="x", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", aspect=60, pad=0.02, ticks=[0, 25, 50, 75, 100])
    bar.outline.set_visible(False)
    seeds = scores["seed"].nunique()
    over = "of the clip's objects" + (f" and {seeds} seeds" if seeds > 1 else ", one seed")
    bar.set_label(f"{metric} in %, mean {over}\nNumber in a cell: id of an object that fails, below {FAILS:.0f} %")
    some = f" ({MOST} of {total} clips: where some row is worst)" if total > MOST else ""
    hardest = f"hardest for {baseline} on top" if baseline in means else "hardest on top"
    figure.suptitle(textwrap.fill(f"{title} Clip by clip, {hardest}{some}", 100), x=0.01, ha="left", fontweight="bold")
    return figure


@style.in_house_style
def differences_figure(
    scores: pd.DataFrame,
    compared: Sequence[tuple[str, Difference]],
    *,
    baseline: str,
    column: str,
    metric: str,
    title: str,
    paper: Sequence[float | None] = (),
) -> Figure:
    """Each row minus the baseline: every clip in grey, mean and 95 % interval, in words beside it.

    A filled dot is decided, an empty one undecided: its interval reaches 0, or there is one seed.

    Args:
        scores: percent; columns variant, seed, clip, object and `column`.
        compared: the rows with their differences to the baseline.
        paper: the paper's differences, one a row, where it has any.
    """
    figure = style.new_figure(width=style.PAGE, height=1.3 + 0.32 * len(compared))
    axes = figure.add_subplot()
    base = scores[scores["variant"] == baseline]
    jitter = np.random.default_rng(0)
    for y, (variant, measured) in enumerate(compared):
        pairs = paired_difference(scores[scores["variant"] == variant], base, column)
        clips = pairs.groupby("clip")["difference"].mean().to_numpy()
        axes.plot(clips, y + jitter.uniform(-0.2, 0.2, len(clips)), "o", color=CLIP, markersize=2.2, zorder=1)
        value = measured.estimate
        decided = measured.verdict != "undecided"
        axes.plot([value.low, value.high], [y, y], color=style.LINE, solid_capstyle="butt", zorder=3)
        face = style.LINE if decided else "white"
        axes.plot(value.mean, y, "o", color=style.LINE, markerfacecolor=face, markersize=5, zorder=4)
        dagger = "†" if value.seeds == 1 else ""
        text = f"{value.mean:+.1f}{dagger} [{value.low:+.1f}, {value.high:+.1f}]"
        axes.text(1.01, y, text, transform=axes.get_yaxis_transform(), va="center")
        if y < len(paper) and (theirs := paper[y]) is not None:
            axes.plot(theirs, y + 0.3, "D", markerfacecolor="white", markeredgecolor=THEIRS, markersize=4, zorder=5)
    axes.axvline(0, color=style.INK, linewidth=0.8, zorder=2)
    axes.set_yticks(range(len(compared)), [variant for variant, _ in compared])
    axes.set(ylim=(len(compared) - 0.5, -0.5), xlabel=f"{metric} minus that of {baseline}, in points (left: worse)")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(textwrap.fill(title, 100), x=0.01, ha="left", fontweight="bold")
    dot = {"color": style.LINE, "marker": "o", "markersize": 5}
    handles = [
        Line2D([], [], **dot, label=f"mean, 95 % over {_over(compared)}: decided"),
        Line2D([], [], **dot, markerfacecolor="white", label="undecided"),
        Line2D([], [], color=CLIP, marker="o", markersize=2.5, linestyle="none", label="each clip"),
    ]
    if any(value is not None for value in paper):
        diamond = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": THEIRS, "markersize": 4}
        handles.append(Line2D([], [], linestyle="none", label="the paper: other data", **diamond))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, borderaxespad=0.2)
    return figure


def _over(compared: Sequence[tuple[str, Difference]]) -> str:
    """What the intervals are taken over, such as `32 clips × 3 seeds`."""
    seeds, clips = (max(getattr(d.estimate, what) for _, d in compared) for what in ("seeds", "clips"))
    return f"{clips} clips, one seed" if seeds == 1 else f"{clips} clips × {seeds} seeds"


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
