"""Figures of an ablation: scores with intervals, differences to the baseline, clip by clip, and by difficulty."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

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
from feelvos_lab.ablation.results import Results
from feelvos_lab.ablation.runs import METRIC_NAMES
from feelvos_lab.ablation.statistics import paired_difference
from feelvos_lab.ablation.tables import interval_text, signed
from feelvos_lab.data.difficulty_sweep import BASE, FACTORS, PASTED, Factor, cells_a_frame
from feelvos_lab.figures import style

_CLIP = {"color": "#c4c4c4"}
_MEAN = {"color": style.LINE, "marker": "o", "markersize": 5}
_PAPER = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": "#b5492c", "markersize": 4, "linestyle": "none"}

_CENTRED = {"ha": "center", "va": "center"}

FAILS = 30.0  # percent; an object fails if its mean over seeds is below
MOST = 60  # clips that a figure has room for
SCORE_MAP = "cividis"

WORTH_MAP = "RdBu"  # red: the cue hurts, blue: it helps; distinct for all kinds of colour vision
FACTORS_A_PANEL = 3
GAP = 0.3  # between factors, in cells
NARROWEST = 5.0  # cells in a panel's width: wider ones would be empty
HATCH = "#b4b4b4"  # of undecided cells
PALE = 0.55  # how far undecided cells are mixed with white


@style.in_house_style
def ablation_figure(results: Results, *, measured_on: str) -> Figure:
    """One line per row: each clip's score in grey, mean and 95 % interval in blue, the paper's value as a diamond.

    Args:
        results: a row without a finished run says so in place of its mean.
        measured_on: what the scores were measured on, such as "synthetic clips".
    """
    table, metric = results.table, results.spec.metric
    theirs = pd.to_numeric(table[f"paper_{metric}"])
    figure = style.new_figure(width=style.COLUMN, height=1.35 + 0.3 * len(table))
    axes = _row_axes(figure, list(table.index))
    random = np.random.default_rng(0)
    for y, (name, row) in enumerate(table.iterrows()):
        if pd.isna(row[metric]):
            axes.text(2, y, results.lacking(name), va="center", color=style.QUIET, fontstyle="italic")
        else:
            _draw_clips(axes, results.of(name).groupby("clip")[metric].mean(), y, random)
            _draw_mean(axes, y, row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
        axes.plot(theirs[name], y + 0.25, **_PAPER, zorder=5)
    axes.set(xlim=(0, 100), xlabel=f"{METRIC_NAMES[metric]} in %", ylabel="")
    _add_title(figure, results.spec.question, width=48)
    seeds = table["seeds"].max()
    over = "clips, one seed" if seeds == 1 else f"clips and {seeds:.0f} seeds"
    handles = [
        Line2D([], [], **_MEAN, label=f"here: mean, 95 % over {over}"),
        Line2D([], [], **_CLIP, marker="o", markersize=2.5, linestyle="none", label=f"here: each clip ({measured_on})"),
    ]
    if theirs.notna().any():
        handles.append(Line2D([], [], **_PAPER, label="the paper, DAVIS 2017: other data"))
    figure.legend(handles=handles, loc="outside lower left", frameon=False, handlelength=1.5, borderaxespad=0.2)
    return figure


@style.in_house_style
def differences_figure(results: Results) -> Figure:
    """Each row minus the baseline: each clip in grey, mean and 95 % interval in blue and as text, the paper's diamond.

    A filled dot is decided, an empty one undecided: its interval reaches 0, or there is one seed.
    """
    spec, compared = results.spec, results.differences
    figure = style.new_figure(width=style.PAGE, height=1.3 + 0.32 * len(compared))
    axes = _row_axes(figure, list(compared))
    gaps = results.paper_gaps
    random = np.random.default_rng(0)
    for y, (name, measured) in enumerate(compared.items()):
        value = measured.estimate
        pairs = paired_difference(results.of(name), results.of(spec.baseline), spec.metric)
        _draw_clips(axes, pairs.groupby("clip")["difference"].mean(), y, random)
        _draw_mean(axes, y, value.mean, value.low, value.high, filled=measured.verdict != "undecided")
        text = signed(value.mean) + value.dagger + interval_text(value.low, value.high, signed)
        axes.text(1.01, y, text, transform=axes.get_yaxis_transform(), va="center")
        axes.plot(gaps.get(name, math.nan), y + 0.25, **_PAPER, zorder=5)
    axes.axvline(0, color=style.INK, linewidth=0.8, zorder=2)
    axes.set(xlabel=f"{METRIC_NAMES[spec.metric]} minus that of {spec.baseline}, in points (left: worse)", ylabel="")
    _add_title(figure, spec.question)
    seeds, clips = (max(getattr(d.estimate, n) for d in compared.values()) for n in ("seeds", "clips"))
    over = f"{clips} clips, one seed" if seeds == 1 else f"{clips} clips × {seeds} seeds"
    handles = [
        Line2D([], [], **_MEAN, label=f"mean, 95 % over {over}: decided"),
        Line2D([], [], **_MEAN, markerfacecolor="white", label="undecided"),
        Line2D([], [], **_CLIP, marker="o", markersize=2.5, linestyle="none", label="each clip"),
    ]
    if gaps.reindex(list(compared)).notna().any():
        handles.append(Line2D([], [], **_PAPER, label="the paper: other data"))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, borderaxespad=0.2)
    return figure


def _row_axes(figure: Figure, rows: Sequence[str]) -> Axes:
    """Axes with one line per row, the first on top."""
    axes = figure.add_subplot()
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    return axes


def _draw_clips(axes: Axes, values: pd.Series, y: int, random: np.random.Generator) -> None:
    jittered = y + random.uniform(-0.2, 0.2, len(values))  # sns.stripplot would jitter otherwise each time
    sns.scatterplot(x=values.to_numpy(), y=jittered, ax=axes, **_CLIP, s=3.2**2, linewidth=0, zorder=1)


def _draw_mean(axes: Axes, y: int, mean: float, low: float, high: float, *, filled: bool = True) -> None:
    axes.plot([low, high], [y, y], color=style.LINE, solid_capstyle="butt", zorder=3)
    axes.plot(mean, y, **_MEAN, markerfacecolor=style.LINE if filled else "white", zorder=4)


def _add_title(figure: Figure, text: str, *, width: int = 100) -> None:
    figure.suptitle(textwrap.fill(text, width), x=0.01, ha="left", fontweight="bold")


def _add_colour_bar(figure: Figure, scale: ScalarMappable, axes: Sequence[Axes], label: str, **layout: Any) -> None:
    bar = figure.colorbar(scale, ax=axes, orientation="horizontal", aspect=60, pad=0.02, **layout)
    bar.outline.set_visible(False)
    bar.set_label(label)


def failures(scores: pd.DataFrame, column: str) -> pd.DataFrame:
    """The objects that fail in a row: their mean over seeds is below `FAILS` percent.

    Args:
        scores: percent; columns variant, seed, clip, object and `column`.

    Returns:
        columns variant, clip, object and `column`, the worst first in each variant.
    """
    means = scores.groupby(["variant", "clip", "object"], as_index=False, sort=False)[column].mean()
    return means[means[column] < FAILS].sort_values(["variant", column, "clip", "object"], ignore_index=True)


@style.in_house_style
def clips_figure(results: Results) -> Figure:
    """A cell per clip and row, coloured by its score, with the ids of the objects that fail written in it.

    Clips are ordered by the baseline's score, the hardest on top. Of more than `MOST` clips, those are shown in which
    some row scores worst, and the title says so.
    """
    spec, scores, variants = results.spec, results.scores, results.variants
    means = scores.groupby(["clip", "variant"])[spec.metric].mean().unstack()[variants]  # (clips, variants)
    total = len(means)
    means = means.loc[means.min(axis=1).nsmallest(MOST).index]
    order = means[spec.baseline] if spec.baseline in means else means.mean(axis=1)
    means = means.loc[order.sort_values().index]
    figure = style.new_figure(width=style.PAGE, height=2.0 + 0.145 * len(means))
    axes = figure.add_subplot()
    image = axes.imshow(means.to_numpy(), cmap=SCORE_MAP, vmin=0, vmax=100, aspect="auto")
    lost = failures(scores, spec.metric).groupby(["clip", "variant"])["object"]
    objects = lost.apply(lambda ids: " ".join(map(str, sorted(ids)))).to_dict()
    for y, clip in enumerate(means.index):
        for x, name in enumerate(variants):
            if text := objects.get((clip, name)):
                colour = "w" if means.loc[clip, name] < 55 else "k"
                axes.text(x, y, text, **_CENTRED, fontsize=7, fontweight="bold", color=colour)
    axes.set_xticks(range(len(variants)), variants, rotation=20, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(means)), means.index, fontsize=7)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(1, len(variants)) - 0.5, minor=True)
    axes.grid(which="minor", axis="x", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    seeds = scores["seed"].nunique()
    over = "of the clip's objects" + (f" and {seeds} seeds" if seeds > 1 else ", one seed")
    label = f"{METRIC_NAMES[spec.metric]} in %, mean {over}\nNumber in a cell: id of an object that fails, below "
    _add_colour_bar(figure, image, [axes], f"{label}{FAILS:.0f} %", ticks=[0, 25, 50, 75, 100])
    some = f" ({MOST} of {total} clips: where some row is worst)" if total > MOST else ""
    hardest = f"hardest for {spec.baseline} on top" if spec.baseline in means else "hardest on top"
    _add_title(figure, f"{spec.question} Clip by clip, {hardest}{some}")
    return figure


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
    """A cell per row, factor and level: what the cue that the row lacks is worth there, its 95 % interval below.

    Args:
        cells: at least one.
        rows: what each row of `cells` sets, in the table's order.
        metric: such as "J&F".
        title: the experiment's question.
        side: the frame's shorter side in pixels, to convert a speed to cells.
        radius: of the baseline's local window, in cells; a line marks the speed that exceeds it.
    """
    swept = {cell.factor for cell in cells}
    factors = [factor for factor in FACTORS if factor.name in swept]
    panels = [factors[i : i + FACTORS_A_PANEL] for i in range(0, len(factors), FACTORS_A_PANEL)] or [[]]
    most = max(5, 5 * math.ceil(max(abs(cell.worth.estimate.mean) for cell in cells) / 5))
    scale = ScalarMappable(Normalize(-most, most), matplotlib.colormaps[WORTH_MAP])
    figure = style.new_figure(width=style.PAGE, height=1.25 + len(panels) * (0.75 + 0.36 * (len(rows) + 1)))
    drawn = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    width = 1 + max(sum(len(factor.levels) + GAP for factor in panel) for panel in panels)
    for axes, panel in zip(drawn, panels, strict=True):
        axes.set_xlim(-0.02, max(width, NARROWEST) + 0.02)
        _draw_panel(axes, cells, panel, rows=rows, baseline=baseline, scale=scale, side=side, radius=radius)
    n = cells[0].worth.estimate
    over = f"{n.clips} scenes, one seed†" if n.seeds == 1 else f"{n.clips} scenes × {n.seeds} seeds"
    why = "one seed decides nothing" if n.seeds == 1 else "the interval, or that of the seeds' means, reaches 0"
    label = (
        f"{metric} of {baseline} minus that of the row, in points: what the row lacks hurts (red) or helps (blue)\n"
        f"Below each mean its 95 % interval over {over}. Bold and framed: decided\n"
        f"Pale and hatched: undecided, since {why}"
    )
    _add_colour_bar(figure, scale, list(drawn), label, fraction=0.03)
    _add_title(figure, title)
    return figure


def _draw_panel(
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
    """The base and some factors next to each other, the baseline's scores above the rows; one unit is one cell."""
    by_place = {cell.place: cell for cell in cells}
    columns = {(BASE, 0): 0.0}  # each level's left edge
    headings = [(0.0, BASE, "one object" if set(factors) <= set(PASTED) else "easy")]
    start = 1 + GAP
    for factor in factors:
        headings.append((start, factor.name.replace("-", " "), factor.unit))
        for level in range(1, len(factor.levels) + 1):
            x = columns[factor.name, level] = start + level - 1
            axes.text(x + 0.5, -0.12, axis_number(factor, level, side), ha="center", va="bottom", fontsize=7)
        if factor.name == "speed":
            _mark_window(axes, factor, start, bottom=len(rows) + 1, side=side, radius=radius)
        start += len(factor.levels) + GAP
    for x, name, unit in headings:
        axes.text(x, -0.98, name, fontweight="bold", va="bottom")
        axes.text(x, -0.92, unit, fontsize=6, color=style.QUIET, va="top")
    for (factor, level), x in columns.items():
        here = [by_place.get((name, factor, level)) for name in rows]
        if scored := [cell for cell in here if cell]:
            axes.text(x + 0.5, 0.5, f"{scored[0].score:.1f}", **_CENTRED, color=style.QUIET)
            for y, cell in enumerate(here, start=1):
                if cell:
                    _draw_cell(axes, cell, x, y, scale)
                else:
                    axes.text(x + 0.5, y + 0.5, "–", **_CENTRED, color=style.QUIET)
    axes.set_ylim(len(rows) + 1.02, -1.45)
    labels = [f"{name}\n{setting}" if setting else name for name, setting in rows.items()]
    axes.set_yticks([0.5, *(y + 0.5 for y in range(1, len(rows) + 1))], [f"score of {baseline}", *labels], fontsize=6.5)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def _draw_cell(axes: Axes, cell: Cell, x: float, y: float, scale: ScalarMappable) -> None:
    value = cell.worth.estimate
    decided = cell.worth.verdict != "undecided"
    red, green, blue, _ = scale.to_rgba(value.mean)
    if not decided:
        red, green, blue = (PALE + (1 - PALE) * channel for channel in (red, green, blue))
    box = {"xy": (x + 0.02, y + 0.03), "width": 0.96, "height": 0.94, "facecolor": (red, green, blue)}
    if decided:
        axes.add_patch(Rectangle(**box, edgecolor=style.INK, linewidth=0.9))
    else:
        with matplotlib.rc_context({"hatch.color": HATCH}):
            axes.add_patch(Rectangle(**box, edgecolor=HATCH, linewidth=0, hatch="////"))
    dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
    text = {**_CENTRED, "color": "white" if dark else style.INK}
    mean = signed(value.mean) + value.dagger
    axes.text(x + 0.5, y + 0.38, mean, **text, fontweight="bold" if decided else "normal", fontsize=7.5)
    interval = interval_text(value.low, value.high, lambda end: f"{round(end, 1) + 0.0:.1f}").strip()
    axes.text(x + 0.5, y + 0.75, interval, **text, fontsize=4.8)


def _mark_window(axes: Axes, factor: Factor, start: float, *, bottom: float, side: int, radius: int) -> None:
    """A dashed line between the speeds that stay within the local window and those that exceed it."""
    within = sum(cells_a_frame(level, side) <= radius for level in factor.levels)
    if 0 < within < len(factor.levels):
        axes.plot([start + within] * 2, [-0.45, bottom], color=style.INK, linewidth=1.2, linestyle=(0, (3, 1.5)))
    words = {0: "beyond the window,", len(factor.levels): "within the window,"}.get(within, "┆ window reaches")
    axes.text(start + len(factor.levels), -0.98, f"{words} {radius}", ha="right", va="bottom", fontsize=6)
