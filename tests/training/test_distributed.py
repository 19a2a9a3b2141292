"""Laws of a batch that is worked off in parts: by one process after the other, or by several at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torchrun_worker import CONFIG

from feelvos_lab.cli import main as cli
from feelvos_lab.config import Config, configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import load_checkpoint, read_card
from feelvos_lab.training.loop import train
from feelvos_lab.training.samples import Rank, StepSampler

CLIPS = make_clips("train", count=3, height=64, width=64, frames=6)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def one_process() -> nn.Module:
    return train(CONFIG, seed=0, clips=CLIPS).model


def _with(**changes: object) -> Config:
    return replace(CONFIG, train=replace(CONFIG.train, **changes))


def _farthest(one: nn.Module, other: nn.Module) -> float:
    theirs = other.state_dict()
    return max(float((t.float() - theirs[n].float()).abs().max()) for n, t in one.state_dict().items())


def _torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_two_processes_end_with_the_weights_of_one_and_resume_exactly(one_process: nn.Module, tmp_path: Path) -> None:
    done = _torchrun(Path(__file__).parents[1] / "support" / "torchrun_worker.py", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    of = {path.stem: load_checkpoint(path)[0] for path in tmp_path.glob("*.safetensors")}
    assert set(of) == {"whole-0", "whole-1", "resumed-0", "resumed-1"}
    for name in ("whole-1", "resumed-0", "resumed-1"):
        assert _farthest(of["whole-0"], of[name]) == 0
    assert _farthest(one_process, of["whole-0"]) < 1e-4
    assert _farthest(one_process, train(CONFIG, seed=1, clips=CLIPS).model) > 1e-2


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_gives_the_weights_of_a_whole_one(one_process: nn.Module, parts: int) -> None:
    assert _farthest(one_process, train(_with(accumulate=parts), seed=0, clips=CLIPS).model) < 1e-4


def test_shares_of_a_batch_are_the_batch() -> None:
    whole = StepSampler([CLIPS], config=CONFIG, seed=0, share=Rank())[5].samples
    shares = [StepSampler([CLIPS], config=CONFIG, seed=0, share=Rank(rank, 2))[5].samples for rank in range(2)]
    for one, other in zip(whole, shares[0] + shares[1], strict=True):
        assert torch.equal(one.frames, other.frames) and torch.equal(one.labels, other.labels)
    assert not torch.equal(whole[0].frames, whole[1].frames)


def test_frozen_norms_keep_their_statistics_and_train_their_scale(one_process: nn.Module) -> None:
    norms = [m for m in one_process.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(torch.equal(m.running_mean, torch.zeros_like(m.running_mean)) for m in norms)
    assert any(not torch.equal(m.weight, torch.ones_like(m.weight)) for m in norms)
    free = train(_with(freeze_norm=False, steps=1), seed=0, clips=CLIPS).model
    assert any(m.running_mean.abs().max() > 0 for m in free.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(LabError, match=r"accumulate must divide the 4 clips .* got 3"):
        train(_with(accumulate=3), seed=0, clips=CLIPS)
    with pytest.raises(LabError, match="multiple of the 3 processes, got 4"):
        StepSampler([CLIPS], config=CONFIG, seed=0, share=Rank(0, 3))
    with pytest.raises(LabError, match="2 processes need draws='clip'"):
        StepSampler([CLIPS], config=configure("smoke"), seed=0, share=Rank(0, 2))


def test_torchrun_takes_the_options_of_the_command_line_and_one_process_writes(tmp_path: Path) -> None:
    settings = ("steps=2", "batch_size=2", "draws=clip", "optimizer=sgd", "learning_rate=0.01", "freeze_norm=true")
    options = ["--preset", "smoke", "--seed", "3", *(word for pair in settings for word in ("--set", pair))]
    done = _torchrun("-m", "feelvos_lab", "train", *options, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [re.sub(r"  .*", "", line) for line in done.stdout.splitlines()] == [
        "step 2/2",
        f"the model is in {tmp_path / 'two' / 'model.safetensors'}",
    ]
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == ["history.csv", "model.json", "model.safetensors"]
    card = read_card(tmp_path / "two" / "model.safetensors")
    assert card["command"].startswith("torchrun --nproc-per-node 2 -m feelvos_lab train --preset smoke --seed 3 --set")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", *options, "--out", str(tmp_path / "one")])
    one, two = (load_checkpoint(tmp_path / name / "model.safetensors")[0] for name in ("one", "two"))
    assert _farthest(one, two) < 1e-4


def test_a_refusal_ends_all_processes_with_one_sentence(tmp_path: Path) -> None:
    done = _torchrun("-m", "feelvos_lab", "train", "--preset", "smoke", "--out", tmp_path / "out")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("feelvos-lab: ")]
    assert len(said) == 1 and "2 processes need draws='clip', got draws='batch'" in said[0]
    assert not (tmp_path / "out").exists()


def test_a_refusal_of_one_process_alone_ends_all_with_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")  # which the process that writes looks for, and no other
    options = ("--preset", "smoke", "--set", "draws=clip", "--out", tmp_path / "out")
    done = _torchrun("-m", "feelvos_lab", "train", *options)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("feelvos-lab: ")]
    assert len(said) == 1 and "holds files already" in said[0]
    assert "RuntimeError" not in done.stderr
