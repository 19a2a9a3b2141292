"""Laws of the curves for TensorBoard: every logged step once, whatever was interrupted; one writer; a clear refusal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from curves import read_curves

from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.training.loop import train
from feelvos_lab.training.losses import kept_fraction
from feelvos_lab.training.optimizer import poly_rate
from feelvos_lab.training.samples import Rank
from feelvos_lab.training.tensorboard import open_curves

CLIPS = make_clips("train", count=2, height=64, width=64, frames=6)
CONFIG = configure("smoke", steps=6, hard_anneal_steps=3)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_curves_are_those_of_the_history_and_of_the_schedule(tmp_path: Path) -> None:
    trained = train(CONFIG, seed=0, clips=CLIPS, log_every=2, curves=tmp_path)
    curves = read_curves(tmp_path)
    assert set(curves) == {"loss", "learning_rate", "seconds", "kept_fraction"}
    for name in ("loss", "learning_rate", "seconds"):
        assert curves[name] == [(row["step"], pytest.approx(row[name])) for row in trained.history]
    done = (1, 3, 5)  # a row tells of its last step, which counts from 0
    assert [v for _, v in curves["kept_fraction"]] == pytest.approx(
        [kept_fraction(step, hard_fraction=0.15, anneal_steps=3) for step in done]
    )
    rate, power = CONFIG.train.learning_rate, CONFIG.train.poly_power
    assert [v for _, v in curves["learning_rate"]] == pytest.approx(
        [poly_rate(step, base=rate, steps=6, power=power) for step in done]
    )


def test_a_resumed_training_goes_on_with_its_curves_and_shows_no_step_twice(tmp_path: Path) -> None:
    whole = train(CONFIG, seed=0, clips=CLIPS, log_every=1)
    state, curves = tmp_path / "state", tmp_path / "curves"
    train(CONFIG, seed=0, clips=CLIPS, folder=state, log_every=1, save_every=100, stop_after=2, curves=curves)
    kept = (state / "state.safetensors").read_bytes()
    train(CONFIG, seed=0, clips=CLIPS, folder=state, log_every=1, save_every=100, stop_after=5, curves=curves)
    assert [step for step, _ in read_curves(curves)["loss"]] == [1, 2, 3, 4, 5]
    (state / "state.safetensors").write_bytes(kept)  # as if killed after step 5, with a state of step 2
    train(CONFIG, seed=0, clips=CLIPS, folder=state, log_every=1, curves=curves)
    assert read_curves(curves)["loss"] == [(row["step"], pytest.approx(row["loss"])) for row in whole.history]


def test_curves_that_are_asked_for_late_begin_with_the_history(tmp_path: Path) -> None:
    train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, log_every=1, stop_after=2)
    train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, log_every=1, curves=tmp_path / "curves")
    assert [step for step, _ in read_curves(tmp_path / "curves")["loss"]] == [1, 2, 3, 4, 5, 6]


def test_a_row_is_on_the_disk_before_the_next_step(tmp_path: Path) -> None:
    with open_curves(tmp_path, first=0) as append:
        append({"step": 1, "loss": 0.5})
        assert read_curves(tmp_path) == {"loss": [(1, 0.5)]}


def test_one_process_alone_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure("smoke", steps=1, draws="clip")
    for rank in (1, 0):
        monkeypatch.setattr("feelvos_lab.training.distributed.this_rank", lambda rank=rank: Rank(rank, 1))
        train(config, seed=0, clips=CLIPS, curves=tmp_path / "curves")
        assert (tmp_path / "curves").exists() == (rank == 0)


def test_the_command_line_keeps_the_curves_beside_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["train", "--preset", "smoke", "--set", "steps=2", "--tensorboard", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="0"):
        cli.main(options)
    assert [step for step, _ in read_curves(tmp_path / "out" / "tensorboard")["loss"]] == [2]
    assert f"tensorboard --logdir {tmp_path / 'out' / 'tensorboard'}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):  # the model is there: a second training would overwrite it
        cli.main(options)


def test_curves_without_the_package_are_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(LabError, match=r"need the package tensorboard, .*pip install 'feelvos_lab\[tensorboard\]'"):
        train(CONFIG, seed=0, clips=CLIPS, curves=tmp_path / "curves")
    assert not (tmp_path / "curves").exists()


def test_curves_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot write curves"):
        train(CONFIG, seed=0, clips=CLIPS, curves=tmp_path / "file" / "curves")
