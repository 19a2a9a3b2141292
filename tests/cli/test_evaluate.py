"""What `feelvos-lab evaluate` scores: a model or masks on a data set, one's own masks against one's own truth."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from feelvos_lab.cli import main as cli
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.evaluation.metrics import score_masks
from feelvos_lab.evaluation.scoring import benchmark_caveat

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


def test_evaluate_prints_the_baseline_and_that_synthetic_clips_are_no_benchmark(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("--data", "shapes", "--checkpoint", checkpoint, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "copy J&F" in printed and "no DAVIS benchmark" in printed and "n=" in printed
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.csv"))
    both = ["global.csv", "per_object.csv"]
    assert files == [*(f"copy_first_mask/{name}" for name in both), *both]


def davis_of_one(folder: Path) -> Path:
    """A DAVIS-2017 with CLIP as the one sequence of its val list."""
    root = folder / "davis"
    (root / "JPEGImages/480p/toys").mkdir(parents=True)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("toys\n")
    for t in range(5):
        Image.fromarray(CLIP.frames[t].permute(1, 2, 0).numpy()).save(root / f"JPEGImages/480p/toys/{t:05d}.jpg")
        write_mask(root / f"Annotations/480p/toys/{t:05d}.png", CLIP.masks[t])
    return root


def test_masks_made_elsewhere_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = davis_of_one(tmp_path)
    for t in range(1, 4):  # nothing is scored in the first and the last frame, so their masks may be missing
        write_mask(tmp_path / f"masks/toys/{t:05d}.png", CLIP.masks[t])
    arguments = ("--data", "davis-2017", "--data-root", root, "--predictions", tmp_path / "masks")
    assert _run(*arguments, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "100.0" in printed and "the published val list has 30 sequences, here are 1" in printed
    assert (tmp_path / "out" / "global.csv").read_text().splitlines()[1].startswith("1.000000,1.000000")


@pytest.mark.parametrize(
    ("height", "seen"), [(20, "downscaled to 20 rows"), (40, "as they are, 40 rows"), (60, "as they are, 40")]
)
def test_evaluate_says_how_high_a_frame_the_network_sees(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], height: int, seen: str
) -> None:
    root = davis_of_one(tmp_path)
    arguments = ("--data", "davis-2017", "--data-root", root, "--checkpoint", checkpoint)
    assert _run(*arguments, "--height", height, "--out", tmp_path / "out") == 0
    assert f"the network sees frames {seen}" in capsys.readouterr().out


def test_only_the_whole_val_list_at_its_own_size_is_called_a_benchmark() -> None:
    clips = [Clip("a", torch.zeros(2, 3, 480, 4, dtype=torch.uint8), torch.zeros(2, 480, 4), (1,))] * 20
    small = [Clip("b", torch.zeros(2, 3, 240, 4, dtype=torch.uint8), torch.zeros(2, 240, 4), (1,))] * 20
    assert benchmark_caveat("davis-2016", split="test", clips=clips, scored_height=0) == ""
    assert "scaled" in benchmark_caveat("davis-2016", split="test", clips=clips, scored_height=240)
    assert "480 rows, those of b fewer" in benchmark_caveat("davis-2016", split="test", clips=small, scored_height=0)
    assert "20 sequences" in benchmark_caveat("davis-2016", split="test", clips=clips[:3], scored_height=0)
    assert "train split" in benchmark_caveat("davis-2016", split="train", clips=clips, scored_height=0)
    assert "no DAVIS benchmark" in benchmark_caveat("shapes", split="test", clips=clips, scored_height=0)
