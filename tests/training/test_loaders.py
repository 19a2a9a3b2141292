"""Laws of loaders: the weights do not depend on them, and they end with the training, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from feelvos_lab.cli.main import main
from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.training import loaders
from feelvos_lab.training.loaders import default_loaders, drawn_batches
from feelvos_lab.training.loop import train
from feelvos_lab.training.samples import Rank, StepSampler

# every kind of draw: of the samples, of the step (damage, rollout), of the model (dropout)
CONFIG = {
    "steps": 6,
    "hard_anneal_steps": 3,
    "context_dropout": 0.3,
    "mask_damage": 1.0,
    "rollout": 2,
    "jitter": 0.2,
    "paste": 0.5,
    "cutout": 0.5,
    "zoom": 0.05,
    "in_memory": True,
}
CLIPS = make_clips("train", count=3, height=64, width=64, frames=6)
MARK = "FEELVOS_TEST_LOADERS"  # an environment variable by which the processes of a test are found


def sampler(**settings: object) -> StepSampler:
    return StepSampler([CLIPS], config=configure("smoke", **settings), seed=0, share=Rank())


@pytest.mark.parametrize("draws", ["clip", "batch"])
def test_no_loaders_or_three_or_one_after_a_resumption_give_the_same_bits(
    draws: str, tmp_path: Path, one_thread: None
) -> None:
    config = configure("smoke", **CONFIG, draws=draws)
    whole = train(config, seed=0, clips=CLIPS, log_every=1)
    begun = train(config, seed=0, clips=CLIPS, log_every=1, folder=tmp_path, stop_after=4, loaders=3)
    assert multiprocessing.active_children() == []
    ended = train(config, seed=0, clips=CLIPS, log_every=1, folder=tmp_path, loaders=1)
    assert multiprocessing.active_children() == []
    assert [row["loss"] for row in begun.history] == [row["loss"] for row in whole.history[:4]]
    assert [row["loss"] for row in ended.history] == [row["loss"] for row in whole.history]
    expected = whole.model.state_dict()
    assert [n for n, t in ended.model.state_dict().items() if not torch.equal(t, expected[n])] == []


@pytest.mark.parametrize("draws", ["clip", "batch"])
def test_a_batch_survives_the_way_from_a_loader(draws: str) -> None:
    """Without a process: what is sent holds all of the batch, generators included."""
    drawn = sampler(draws=draws, cutout=1.0)[3]
    drawn.seed_model()
    there = loaders._Steps(sampler(draws=draws, cutout=1.0))[3].unstacked()
    assert [s.clips for s in there.samples] == [s.clips for s in drawn.samples]
    assert [s.num_objects for s in there.samples] == [s.num_objects for s in drawn.samples]
    for one, other in zip(there.samples, drawn.samples, strict=True):
        assert torch.equal(one.frames, other.frames) and torch.equal(one.labels, other.labels)
        assert one.frames.is_shared() and not other.frames.is_shared()
    assert [r.uniform() for r in there.rngs] == [r.uniform() for r in drawn.rngs]
    expected = torch.rand(3)
    there.seed_model()
    assert torch.equal(torch.rand(3), expected)


def test_an_error_in_a_loader_is_the_one_of_the_training_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object, **__: object) -> None:
        raise LabError("frame 3 is damaged")

    monkeypatch.setattr("feelvos_lab.training.samples.draw_sample", damaged)
    sent = loaders._Steps(sampler())[0]
    with pytest.raises(LabError, match=r"^frame 3 is damaged$"):
        next(loaders._received(iter([sent])))


def test_a_batch_without_room_in_shared_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Tensor) -> Tensor:
        raise RuntimeError("unable to allocate shared memory: No space left on device")

    monkeypatch.setattr(Tensor, "share_memory_", full)
    sent = loaders._Steps(sampler())[0]
    with pytest.raises(LabError, match=r"a batch of \d+ MB does not fit into shared memory, .* No space left"):
        next(loaders._received(iter([sent])))


class Unsendable:
    """Frames that cannot be sent to another process."""

    def __init__(self, frames: Tensor) -> None:
        self.frames, self.read = frames, lambda index: frames[index]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Tensor:
        return self.read(index)


def test_clips_that_cannot_be_sent_are_an_error_and_leave_no_process() -> None:
    clips = [Clip(c.name, Unsendable(c.frames), c.masks, c.object_ids) for c in CLIPS]
    with pytest.raises(LabError, match=r"2 loaders cannot be started: Can't .*Unsendable"):
        train(configure("smoke"), seed=0, clips=clips, loaders=2)
    assert multiprocessing.active_children() == []
    with pytest.raises(LabError, match="loaders must not be negative, got -1"):
        train(configure("smoke"), seed=0, clips=CLIPS, loaders=-1)


def test_errors_of_the_training_itself_pass_through_its_loaders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "_start", lambda *_, **__: Ended())
    with (
        pytest.raises(RuntimeError, match=r"^of the training$"),
        drawn_batches(sampler(), range(2), loaders=1, device="cpu"),
    ):
        raise RuntimeError("of the training")
    assert Ended.count == 1


class Ended:
    count = 0

    def _shutdown_workers(self) -> None:
        Ended.count += 1


@pytest.mark.parametrize("killed", [True, False])
def test_a_broken_connection_is_a_loader_that_has_ended_if_one_has(killed: bool) -> None:
    """A loader that is killed while its batch is received may break the connection before torch notices its end.

    Where torch notices first, it says by which signal.
    """
    ended = r"a loader has ended early \(DataLoader worker \(pid \d+\)( is killed by signal: Killed)?\)"
    expected, said = (LabError, ended) if killed else (ConnectionResetError, "of something else")
    with pytest.raises(expected, match=said), drawn_batches(sampler(), range(8), loaders=1, device="cpu") as batches:
        next(batches)
        if killed:
            for child in multiprocessing.active_children():
                child.kill()
        raise ConnectionResetError("of something else")


def test_a_cpu_draws_for_itself_and_a_gpu_has_loaders_on_the_cores_that_are_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for cores, processes in ((1, 1), (2, 1), (64, 1), (64, 8), (4, 4), (9, 3)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        found.append(default_loaders("cuda:0"))
        assert default_loaders("cpu") == 0
    assert found == [0, 1, 4, 4, 0, 2]


def test_the_command_line_passes_the_number_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def stop(*_: object, loaders: int, **__: object) -> None:
        seen.append(loaders)
        raise LabError("seen")

    monkeypatch.setattr("feelvos_lab.training.loop.train", stop)
    for options in (["--loaders", "3"], ["--loaders", "0"], []):
        with pytest.raises(SystemExit, match="2"):
            main(["train", "--preset", "smoke", *options, "--out", str(tmp_path / "out")])
    assert seen == [3, 0, default_loaders("cuda" if torch.cuda.is_available() else "cpu")]


# -- how a training with loaders ends ----------------------------------------------------------------------------------


@contextmanager
def training(tmp_path: Path, *, count: int) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A training in a process group of its own that has done 20 steps, and its loaders; none is left afterwards."""
    options = ["--preset", "smoke", "--set", "steps=100000", "--loaders", str(count), "--out", str(tmp_path / "out")]
    mark = str(tmp_path)
    started = subprocess.Popen(
        [sys.executable, "-u", "-m", "feelvos_lab", "train", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    try:
        assert started.stdout is not None and started.stdout.readline().startswith("step 20/100000")
        spawned = [p for p in psutil.Process(started.pid).children() if "spawn_main" in " ".join(p.cmdline())]
        assert len(spawned) == count
        yield started, spawned
        assert wait_until(lambda: not marked(mark)), [p.cmdline() for p in marked(mark)]
    finally:
        for process in marked(mark):
            process.kill()
        started.communicate()


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(true: Callable[[], object], *, within: float = 60.0) -> bool:
    end = time.monotonic() + within
    while not (done := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(done)


def test_a_loader_that_is_killed_ends_the_training_with_one_sentence(tmp_path: Path) -> None:
    with training(tmp_path, count=2) as (started, spawned):
        spawned[1].kill()
        _, said = started.communicate(timeout=200)
        assert said.startswith("feelvos-lab: a loader has ended early (") and f" {spawned[1].pid})" in said
        assert said.count("\n") == 1 and said.endswith("\n")
        assert started.returncode == 2


def test_ctrl_c_saves_the_training_ends_the_loaders_and_prints_one_line_of_error(tmp_path: Path) -> None:
    with training(tmp_path, count=2) as (started, _):
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to the loaders too
        printed, said = started.communicate(timeout=200)
        assert said == "feelvos-lab: interrupted\n" and started.returncode == 130
        assert printed.splitlines()[-1].startswith(f"interrupted: {tmp_path / 'out' / 'state.safetensors'} keeps")
    assert (tmp_path / "out" / "state.safetensors").exists()


def test_loaders_end_when_the_training_is_killed(tmp_path: Path) -> None:
    with training(tmp_path, count=2) as (started, spawned):
        started.kill()
        assert started.wait() == -signal.SIGKILL
        assert wait_until(lambda: not any(p.is_running() for p in spawned))
