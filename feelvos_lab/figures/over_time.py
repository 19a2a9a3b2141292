"""The figure of scores over the time of a clip."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from feelvos_lab.errors import LabError
from feelvos_lab.figures import style

_NAMES = {"J": "J", "F": "F", "JF": "J&F"}


@style.in_house_style
def score_over_time(curves: Mapping[str, pd.DataFrame], *, measure: str = "J") -> Figure:
    """Mean scores over a clip's scored frames, one line with its 95 % band for each row, clip or method.

    Args:
        curves: one to four names, each with what `mean_over_time` returns; a curve without a band (nan) is a line.
        measure: which score it is, "J", "F" or "JF".

    Raises:
        LabError: no curves or more than can be told apart, or an unknown measure.

    Example:
        >>> from feelvos_lab.data import make_clip
        >>> from feelvos_lab.evaluation import frame_scores, mean_over_time, scores_over_time
        >>> from feelvos_lab.figures.over_time import score_over_time
        >>> clips = [make_clip(seed, height=32, width=32, frames=6) for seed in range(4)]
        >>> rows = [row for clip in clips for row in frame_scores([clip.masks[0]] * 6, clip)]
        >>> figure = score_over_time({"first mask": mean_over_time(scores_over_time(rows, parts=4))})
        >>> figure.axes[0].get_ylabel()
        'J in %'
    """
    if not 1 <= len(curves) <= len(style.LINES):
        raise LabError(f"a figure over time shows 1 to {len(style.LINES)} curves, got {len(curves)}")
    if measure not in _NAMES:
        raise LabError(f"measure must be one of {', '.join(_NAMES)}, got {measure!r}")
    figure = style.new_figure(width=style.COLUMN, height=2.4)
    axes = figure.add_subplot()
    for (name, curve), (colour, dashes) in zip(curves.items(), style.LINES, strict=False):
        axes.plot(curve["time"], 100 * curve["mean"], color=colour, linestyle=dashes, label=name)
        if curve["low"].notna().all():
            axes.fill_between(
                curve["time"], 100 * curve["low"], 100 * curve["high"], color=colour, alpha=0.15, linewidth=0
            )
    axes.set(title=f"{_NAMES[measure]} as the clip goes on, 95 % bands", xlabel="share of the scored frames")
    axes.set(ylabel=f"{_NAMES[measure]} in %", xlim=(0, 1), ylim=(0, 100))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(frameon=False, loc="best")
    return figure
