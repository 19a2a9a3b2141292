"""Scores over time: parts of equal length, one curve an object, and a band that resamples whole clips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.metrics import frame_scores, summarise
from feelvos_lab.evaluation.over_time import mean_over_time, scores_over_time
from feelvos_lab.figures import style
from feelvos_lab.figures.over_time import score_over_time


def series(values: list[float], *, clip: str = "cow", number: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [
        {"clip": clip, "object": number, "frame": t, "J": v, "F": v / 2, **more} for t, v in enumerate(values, start=1)
    ]


def test_a_part_is_the_mean_of_its_share_of_the_frames() -> None:
    curve = scores_over_time(series([1.0, 0.8, 0.6, 0.4, 0.2]), parts=2)
    assert curve["time"].tolist() == [0.25, 0.75]
    assert curve["J"].tolist() == pytest.approx([0.8, 0.3])  # three frames and two
    assert curve["F"].tolist() == pytest.approx([0.4, 0.15])
    assert curve["JF"].tolist() == pytest.approx([0.6, 0.225])


@pytest.mark.parametrize(("frames", "parts"), [(10, 10), (11, 10), (38, 10), (104, 7), (1, 1)])
def test_parts_are_equal_within_one_frame_and_their_mean_is_the_score_if_they_are_equal(
    frames: int, parts: int
) -> None:
    rows = series(np.random.default_rng(0).uniform(size=frames).tolist())
    ones = scores_over_time([{**row, "J": 1.0 * (row["frame"] == t)} for t in (3,) for row in rows], parts=parts)
    assert len(ones) == parts
    if frames % parts == 0:
        assert scores_over_time(rows, parts=parts)["J"].mean() == pytest.approx(summarise(rows)[0]["J"])
    sizes = np.bincount(np.arange(frames) * parts // frames)
    assert sizes.max() - sizes.min() <= 1


def test_the_order_of_rows_does_not_matter() -> None:
    rows = series([0.9, 0.1, 0.5, 0.3]) + series([0.2, 0.4, 0.6, 0.8], clip="dog")
    keys = ["clip", "time"]
    one, other = (scores_over_time(r, parts=4).sort_values(keys, ignore_index=True) for r in (rows, rows[::-1]))
    pd.testing.assert_frame_equal(one, other)


def test_a_model_that_gets_worse_has_a_falling_curve_and_a_decay_above_zero() -> None:
    clip = make_clip(1, height=48, width=48, frames=22, objects=2)
    rows = frame_scores([clip.masks[0]] * len(clip), clip)
    assert all(row["J_decay"] > 0 for row in summarise(rows))
    curve = scores_over_time(rows, parts=4)
    assert set(curve["object"]) == {1, 2}
    for _, one in curve.groupby("object"):
        assert one["J"].iloc[0] > one["J"].iloc[-1]


def test_every_object_counts_once_in_the_mean() -> None:
    rows = series([1.0, 1.0]) + series([0.0, 0.0], clip="dog") + series([0.0, 0.0], clip="dog", number=2)
    assert mean_over_time(scores_over_time(rows, parts=2))["mean"].tolist() == pytest.approx([1 / 3, 1 / 3])


def test_the_band_is_as_wide_as_clips_differ_and_covers_the_mean() -> None:
    rng = np.random.default_rng(0)
    alike = [row for c in range(20) for row in series([0.5, 0.5], clip=f"clip-{c}")]
    apart = [row for c in range(20) for row in series([float(rng.uniform()), 0.5], clip=f"clip-{c}")]
    band = mean_over_time(scores_over_time(alike, parts=2))
    assert band["low"].tolist() == pytest.approx([0.5, 0.5]) and band["high"].tolist() == pytest.approx([0.5, 0.5])
    band = mean_over_time(scores_over_time(apart, parts=2))
    first = np.array([row["J"] for row in apart if row["frame"] == 1])
    expected = 1.96 * first.std() / np.sqrt(20)  # of the mean of 20 clips
    assert band["high"][0] - band["mean"][0] == pytest.approx(expected, rel=0.15)
    assert band["mean"][0] - band["low"][0] == pytest.approx(expected, rel=0.15)
    assert band["low"][1] == pytest.approx(band["high"][1])


def test_seeds_that_differ_widen_the_band() -> None:
    rows = [row for s in range(3) for c in "abcdef" for row in series([0.5 + 0.1 * s] * 2, clip=c, seed=s)]
    band = mean_over_time(scores_over_time(rows, parts=1))
    assert band["mean"][0] == pytest.approx(0.6)
    assert band["high"][0] - band["low"][0] > 0.1


def test_one_clip_of_one_seed_has_a_line_without_a_band() -> None:
    band = mean_over_time(scores_over_time(series([1.0, 0.5]), parts=2))
    assert band["mean"].tolist() == [1.0, 0.5] and band[["low", "high"]].isna().all(axis=None)
    (axes,) = score_over_time({"cow": band}).axes
    assert len(axes.collections) == 0 and axes.lines[0].get_ydata().tolist() == [100, 50]


def test_what_gives_no_curve_is_refused() -> None:
    with pytest.raises(LabError, match="at least one row of frame_scores"):
        scores_over_time([])
    with pytest.raises(LabError, match="object 1 of clip 'cow' is scored in 2 frames, too few for 3 parts"):
        scores_over_time(series([1.0, 1.0]), parts=3)
    with pytest.raises(LabError, match="parts must be 1 or more, got 0"):
        scores_over_time(series([1.0]), parts=0)
    with pytest.raises(LabError, match="scored twice in one frame: give the rows their seed"):
        scores_over_time(series([1.0]) * 2, parts=1)
    seeds = series([1.0], seed=0) + series([1.0], clip="dog", seed=1)
    with pytest.raises(LabError, match="the same clips, in as many parts, for every seed"):
        mean_over_time(scores_over_time(seeds, parts=1))
    band = mean_over_time(scores_over_time(series([1.0]), parts=1))
    for curves in ({}, dict.fromkeys("abcde", band)):
        with pytest.raises(LabError, match=f"shows 1 to 4 curves, got {len(curves)}"):
            score_over_time(curves)
    with pytest.raises(LabError, match="measure must be one of J, F, JF, got 'j'"):
        score_over_time({"cow": band}, measure="j")


def test_the_figure_has_a_line_and_a_band_for_each_row_in_the_papers_width() -> None:
    rows = {
        name: [r for c in range(5) for r in series([1 - 0.1 * t * k for t in range(10)], clip=f"{c}")]
        for k, name in ((0.2, "full"), (0.9, "no-first"))
    }
    figure = score_over_time(
        {n: mean_over_time(scores_over_time(r), measure="F") for n, r in rows.items()}, measure="F"
    )
    (axes,) = figure.axes
    assert len(axes.lines) == len(axes.collections) == 2 and axes.get_ylabel() == "F in %"
    assert axes.lines[1].get_ydata()[0] == pytest.approx(50) and axes.get_ylim() == (0, 100)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["full", "no-first"]
    assert figure.get_figwidth() == style.COLUMN
    FigureCanvasAgg(figure).draw()
