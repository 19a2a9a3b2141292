"""Laws of the printed table of scores."""

from __future__ import annotations

import pandas as pd

from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.evaluation.metrics import summarise
from feelvos_lab.evaluation.scoring import benchmark_caveat, table


def rows(name: str, scores: list[float]) -> pd.DataFrame:
    """An object whose J is as given in each frame and whose F is 0.25."""
    frames = [{"clip": name, "object": 1, "frame": t, "J": j, "F": 0.25} for t, j in enumerate(scores, 1)]
    return pd.DataFrame(summarise(frames))


def test_the_table_shows_recall_and_decay_and_the_means_over_all_objects() -> None:
    scores = pd.concat([rows("falls", [0.9, 0.7, 0.5, 0.3]), rows("rises", [0.2, 0.4, 0.6, 0.8])])
    text = table(scores, scores)
    header, _, falls, rises, _, mean = text.splitlines()
    names = ["clip", "object", "J&F", "J", "J recall", "J decay", "F", "F recall", "F decay"]
    assert header.split() == " ".join([*names, "copy J&F", "copy J", "copy F"]).split()
    assert falls.split()[:9] == ["falls", "1", "42.5", "60.0", "50.0", "40.0", "25.0", "0.0", "0.0"]
    assert rises.split()[3:6] == ["50.0", "50.0", "-40.0"]
    assert mean.split()[:6] == ["mean", "n=2", "40.0", "55.0", "50.0", "0.0"]  # not -0.0


def test_scores_of_frames_as_they_were_filmed_are_no_published_benchmark() -> None:
    clips = [make_clip(1, height=height, width=64, frames=3) for height in (480, 496)]
    plain, larger = (benchmark_caveat("davis-2017", split="test", clips=[clip] * 30, scored_height=0) for clip in clips)
    assert plain == "" and larger.endswith(f"of frames with 480 rows, those of {clips[1].name} have more.")
