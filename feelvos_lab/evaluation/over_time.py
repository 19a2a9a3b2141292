"""J and F over the time of a clip, and their mean over clips of different length with a bootstrap band.

A clip's time is that of its scored frames, divided into equal parts: 0 is the frame after the given one, 1 the last
that is scored. Recall and decay, the official statistics over time, are columns of `evaluate` and `score_masks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from feelvos_lab.errors import LabError

DRAWS = 10_000


def scores_over_time(scores: Sequence[Mapping[str, Any]], *, parts: int = 10) -> pd.DataFrame:
    """The mean J, F and J&F of each object in each of `parts` equal parts of its scored frames.

    Of an object's n scored frames, the i-th (from 0) belongs to part ⌊i · parts / n⌋.

    Args:
        scores: rows of `frame_scores`, of one or several clips; those of several trainings also have a `seed`.
        parts: 1 or more; decay compares the first and the last of 4, officially with a shared frame at their border.

    Returns:
        one row per object and part, with the columns seed (0 if the rows have none), clip, object, time (of the part's
        middle, in (0, 1)), and J, F, JF, fractions.

    Raises:
        LabError: no rows, an object scored in fewer frames than parts, or twice in one frame.

    Example:
        >>> from feelvos_lab.data import make_clip
        >>> from feelvos_lab.evaluation import frame_scores, scores_over_time
        >>> clip = make_clip(1, height=32, width=32, frames=12, objects=1)
        >>> copied = frame_scores([clip.masks[0]] * 12, clip)  # the first mask for every frame
        >>> curve = scores_over_time(copied, parts=2)
        >>> curve["time"].tolist(), bool(curve["J"][0] > curve["J"][1])
        ([0.25, 0.75], True)
    """
    if not scores:
        raise LabError("scores over time need at least one row of frame_scores, got none")
    if parts < 1:
        raise LabError(f"parts must be 1 or more, got {parts}")
    rows = []
    table = pd.DataFrame(scores)
    if "seed" not in table:
        table["seed"] = 0
    for (seed, clip, number), one in table.groupby(["seed", "clip", "object"], sort=False):
        if one["frame"].duplicated().any():
            raise LabError(f"object {number} of clip {clip!r} is scored twice in one frame: give the rows their seed")
        if len(one) < parts:
            raise LabError(
                f"object {number} of clip {clip!r} is scored in {len(one)} frames, too few for {parts} parts"
            )
        one = one.sort_values("frame")
        means = one[["J", "F"]].groupby(np.arange(len(one)) * parts // len(one)).mean()
        for part, (j, f) in enumerate(means.itertuples(index=False)):
            rows.append((seed, clip, number, (part + 0.5) / parts, j, f, (j + f) / 2))
    return pd.DataFrame(rows, columns=["seed", "clip", "object", "time", "J", "F", "JF"])


def mean_over_time(curves: pd.DataFrame, *, measure: Literal["J", "F", "JF"] = "J") -> pd.DataFrame:
    """The mean of the objects' curves, with a 95 % band for other videos like these and, with several seeds, trainings.

    Every object counts once. The band is a pointwise bootstrap that resamples seeds and clips with replacement; a
    clip's objects stay together, and so do the parts of a curve.

    Args:
        curves: rows of `scores_over_time`; every seed has the same clips.

    Returns:
        columns time, mean, low, high, fractions; low and high are nan for one clip of one seed.

    Raises:
        LabError: no rows, or seeds with different clips.

    Example:
        >>> from feelvos_lab.data import make_clip
        >>> from feelvos_lab.evaluation import frame_scores, mean_over_time, scores_over_time
        >>> clips = [make_clip(seed, height=32, width=32, frames=6) for seed in range(4)]
        >>> rows = [row for clip in clips for row in frame_scores([clip.masks[0]] * 6, clip)]
        >>> band = mean_over_time(scores_over_time(rows, parts=2))
        >>> bool(((band["low"] <= band["mean"]) & (band["mean"] <= band["high"])).all())
        True
    """
    if curves.empty:
        raise LabError("a mean over time needs at least one curve, got none")
    grouped = curves.groupby(["seed", "clip", "time"])[measure]
    sums, counts = (found.unstack("clip") for found in (grouped.sum(), grouped.count()))  # (seeds · parts, clips)
    if sums.isna().any(axis=None):
        raise LabError("a mean over time needs the same clips, in as many parts, for every seed")
    times = sums.index.unique("time")
    seeds, clips = len(sums.index.unique("seed")), sums.shape[1]
    means = curves.groupby("time")[measure].mean()
    low = high = np.full(len(times), np.nan)
    if seeds > 1 or clips > 1:
        rng = np.random.default_rng(0)  # the same scores give the same band
        of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)  # (DRAWS, seeds)
        of_clips = rng.multinomial(clips, np.full(clips, 1 / clips), size=DRAWS)  # (DRAWS, clips)
        total, weight = (
            np.einsum(
                "ds,spc,dc->dp", of_seeds, found.to_numpy().reshape(seeds, len(times), clips), of_clips, optimize=True
            )
            for found in (sums, counts)
        )
        low, high = np.quantile(total / weight, [0.025, 0.975], axis=0)
    return pd.DataFrame({"time": times, "mean": means.to_numpy(), "low": low, "high": high})
