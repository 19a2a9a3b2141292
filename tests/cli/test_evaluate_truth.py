"""`feelvos-lab evaluate --truth`: one's own masks against one's own truth, without a data set."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from feelvos_lab.cli import main as cli
from feelvos_lab.data.images import write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.evaluation.metrics import score_masks

CLIP = make_clip(3, height=40, width=48, frames=5, objects=2)


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(["evaluate", *(str(a) for a in arguments)])
    return left.value.code


@pytest.mark.parametrize("below", ["", "toys"])
def test_two_folders_are_scored_as_a_clip_is(below: str, tmp_path: Path) -> None:
    shifted = CLIP.masks.roll(2, dims=2)
    for t in range(5):
        write_mask(tmp_path / "truth" / below / f"{t:05d}.png", CLIP.masks[t])
        if 0 < t < 4:
            write_mask(tmp_path / "mine" / below / f"{t:05d}.png", shifted[t])
    arguments = ("--predictions", tmp_path / "mine", "--truth", tmp_path / "truth", "--official-names")
    assert _run(*arguments, "--out", tmp_path / "out") == 0
    expected = pd.DataFrame(score_masks(shifted, CLIP))
    assert expected["JF"].max() < 1
    found = pd.read_csv(tmp_path / "out/per_object.csv")
    assert found["Sequence"].tolist() == [f"{below or 'truth'}_{i}" for i in CLIP.object_ids]
    assert (found["J-Mean"] - expected["J"]).abs().max() < 1e-6
    assert (found["F-Mean"] - expected["F"]).abs().max() < 1e-6
    header, *rows = (tmp_path / "out/per-sequence_results-val.csv").read_text().splitlines()
    assert header == "Sequence,J-Mean,F-Mean" and rows[0].split(",")[1] == f"{expected['J'][0]:.3f}"
    header, means = (tmp_path / "out/global_results-val.csv").read_text().splitlines()
    assert header == "J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay"
    assert means.split(",")[0] == f"{expected['JF'].mean():.3f}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--truth t", "--truth t needs --predictions DIR, the masks to score"),
        ("--truth t --predictions p", "there is no folder t: one with true masks, indexed PNGs, was expected"),
        ("--truth t --predictions p --data davis-2017", "--truth needs --predictions only, it cannot be combined with"),
        ("", "evaluate needs --data, a data set, or --truth DIR with --predictions DIR, your own masks"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    arguments: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(*arguments.split(), "--out", "out") == 2
    assert capsys.readouterr().err.startswith(f"feelvos-lab: {sentence}")


def test_masks_that_are_numbered_from_one_are_not_scored_one_frame_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for t in range(5):
        write_mask(tmp_path / f"truth/{t:05d}.png", CLIP.masks[t])
        write_mask(tmp_path / f"mine/{t + 1:05d}.png", CLIP.masks[t])
        write_mask(tmp_path / f"more/{t:05d}.png", CLIP.masks[t])
    arguments = ("--truth", tmp_path / "truth", "--out", tmp_path / "out")
    assert _run(*arguments, "--predictions", tmp_path / "mine") == 2
    assert "mine holds 00005.png, which is no frame of clip 'truth', and not 00000.png" in capsys.readouterr().err
    (tmp_path / "more/00002.png").rename(tmp_path / "more/00002.PNG")
    write_mask(tmp_path / "more/00005.png", CLIP.masks[0])  # as of a video that goes on
    assert _run(*arguments, "--predictions", tmp_path / "more") == 0
    assert "100.0" in capsys.readouterr().out.splitlines()[-2]
