"""Training on DAVIS-2017 and YouTube-VOS together, as the paper did: both in their published layouts, made small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_davis import add_sequence
from test_youtube_vos import write_video

from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.datasets import load_clips, load_sets
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import load_checkpoint
from feelvos_lab.training import samples
from feelvos_lab.training.samples import Rank, StepSampler

MIXED = "davis-2017+youtube-vos"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sequences of DAVIS to train on and one to test; five videos of YouTube-VOS."""
    davis, youtube = tmp_path / "both/davis-2017", tmp_path / "youtube"
    for name in ("bear", "cows", "boat", "dog"):
        add_sequence(davis, name)
    (davis / "ImageSets/2017").mkdir(parents=True)
    (davis / "ImageSets/2017/train.txt").write_text("cows\nbear\nboat\n")
    (davis / "ImageSets/2017/val.txt").write_text("dog\n")
    for i in range(5):
        write_video(youtube / "train", f"video{i}", entering={1: 0, 2: 10}, last=20)
    (tmp_path / "both/youtube-vos").symlink_to(youtube)  # large sets stay where they are
    return tmp_path / "both"


def _config(root: Path, **changes: object):
    small = {"height": 24, "width": 40, "test_height": 0, "steps": 2, "clips": 0, "test_clips": 0}
    return configure("smoke", data=MIXED, root=str(root), **{**small, **changes})


def _names(clips: list[Clip]) -> list[str]:
    return [clip.name for clip in clips]


def test_each_set_is_read_in_its_own_layout_and_kept_apart(root: Path) -> None:
    davis, youtube = load_sets(_config(root).data, split="train")
    assert _names(davis) == ["cows", "bear", "boat"]
    assert _names(youtube) == [f"video{i}" for i in range(5)]
    assert youtube[0].starts == (0, 2)


def test_a_split_of_the_mixture_is_that_of_its_sets_and_the_test_is_that_of_davis(root: Path) -> None:
    data = _config(root, hold_out=1).data
    assert _names(load_clips(data, split="validation")) == ["boat", "video4"]
    assert _names(load_clips(data, split="train")) == ["cows", "bear", "video0", "video1", "video2", "video3"]
    assert _names(load_clips(data, split="test")) == ["dog"]
    limited = _config(root, clips=2).data
    assert _names(load_clips(limited, split="train")) == ["cows", "bear", "video0", "video1"]


def test_both_sets_are_equally_likely_however_many_clips_they_have(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(root, batch_size=50)
    sets = load_sets(config.data, split="train")
    chosen: list[int] = []
    monkeypatch.setattr(samples, "draw_sample", lambda clips, **_: chosen.append(sets.index(clips)))
    sampler = StepSampler(sets, config=config, seed=0, share=Rank())
    for step in range(8):
        sampler[step]
    assert len(chosen) == 400 and 170 <= sum(chosen) <= 230  # ±3 standard deviations round a half


def test_a_training_on_the_mixture_sees_both_sets(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    drawn = samples.draw_sample
    monkeypatch.setattr(
        samples, "draw_sample", lambda clips, **given: (seen.add(clips[0].name), drawn(clips, **given))[1]
    )
    settings = ("data=" + MIXED, "clips=0", "steps=4", "height=24", "width=40")
    options = ["--preset", "smoke", "--data-root", str(root), *(w for pair in settings for w in ("--set", pair))]
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", *options, "--out", str(tmp_path / "out")])
    assert seen == {"cows", "video0"}
    model, config = load_checkpoint(tmp_path / "out/model.safetensors")
    assert config.data.data == MIXED
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("missing", ["davis-2017", "youtube-vos"])
def test_a_set_that_is_missing_is_named(root: Path, missing: str) -> None:
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(LabError) as refusal:
        load_sets(_config(root).data, split="train")
    assert str(refusal.value).replace(str(root), "ROOT") == (
        f"data 'davis-2017+youtube-vos' needs the folders (or links) davis-2017 and youtube-vos in ROOT: "
        f"{missing} is not there"
    )


def test_a_mixture_without_a_root_or_a_set_of_another_layout_is_refused(root: Path) -> None:
    with pytest.raises(LabError, match="needs its folder, got none"):
        load_sets(configure("smoke", data=MIXED).data, split="train")
    (root / "youtube-vos/train/meta.json").unlink()
    with pytest.raises(LabError, match=r"youtube-vos is no YouTube-VOS root: train/meta\.json was expected"):
        load_sets(_config(root).data, split="train")


def test_holding_out_all_of_a_set_is_refused(root: Path) -> None:
    with pytest.raises(LabError, match="hold_out must leave a train sequence of davis-2017, which has 3, got 3"):
        load_sets(_config(root, hold_out=3).data, split="train")
