"""Clip by clip: which rows lose which objects, and how each clip's score differs from the baseline's."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from feelvos_lab import style
from feelvos_lab.ablate.figure import CLIP, THEIRS
from feelvos_lab.ablate.stats import Difference, paired_difference

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
