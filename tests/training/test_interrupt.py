"""Laws of Ctrl-C: it ends a training between two steps, with its state saved; a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.model.checkpoint import STATE, read_tensors
from feelvos_lab.training import loop
from feelvos_lab.training.interrupt import postponed_ctrl_c
from feelvos_lab.training.loop import train

CONFIG = configure("smoke", steps=6, hard_anneal_steps=3)
CLIPS = make_clips("train", count=3, height=64, width=64, frames=6)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def handler_is_the_default() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # put back
    signal.signal(signal.SIGINT, before)


def interrupt_in_step(number: int, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> None:
    """Ctrl-C while a step's loss is computed, `times` times."""
    whole, calls = loop.batch_loss, iter(range(1000))

    def watched(*arguments: object, **settings: object) -> torch.Tensor:
        if next(calls) == number:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return whole(*arguments, **settings)

    monkeypatch.setattr(loop, "batch_loss", watched)


def test_an_interrupted_training_is_saved_after_its_step_and_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(CONFIG, seed=0, clips=CLIPS).model.state_dict()
    printed: list[str] = []
    with monkeypatch.context() as patch:
        interrupt_in_step(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, progress=printed.append)
    state = tmp_path / "state.safetensors"
    assert read_tensors(state, expected=(STATE,))[1]["step"] == "3"
    assert printed == [f"interrupted: {state} keeps the training as of step 3, to resume from"]
    assert not (tmp_path / ".state.lock").exists()
    resumed = train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path).model.state_dict()
    assert [name for name, tensor in whole.items() if not torch.equal(tensor, resumed[name])] == []


def test_a_second_ctrl_c_ends_at_once_and_keeps_the_last_saved_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_in_step(3, monkeypatch, times=2)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, save_every=2)
    assert read_tensors(tmp_path / "state.safetensors", expected=(STATE,))[1]["step"] == "2"


def test_a_training_that_keeps_nothing_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_in_step(1, monkeypatch)
    updates: list[int] = []
    update = loop.update
    monkeypatch.setattr(loop, "update", lambda *given: updates.append(1) or update(*given))
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, seed=0, clips=CLIPS)
    assert len(updates) == 1


def test_ctrl_c_in_the_last_step_leaves_a_training_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in_step(5, patch)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path)
    monkeypatch.setattr(loop, "_step", lambda *_, **__: 1 / 0)
    train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path)


def test_handlers_of_other_code_and_other_threads_are_left_alone() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with postponed_ctrl_c() as came:
        signal.raise_signal(signal.SIGINT)
        assert seen == [signal.SIGINT] and not came()
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def elsewhere() -> None:
        with postponed_ctrl_c():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen[1:] == [signal.default_int_handler]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (3599, "1 h 0 min"),
        (12_000, "3 h 20 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_a_duration_is_written_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert loop._time_text(seconds) == text


def test_the_progress_says_the_time_left_from_the_median_of_the_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 10))  # a clock that is read twice a step, and once for a line
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(clock))
    printed: list[str] = []
    train(CONFIG, seed=0, clips=CLIPS, log_every=2, progress=printed.append)
    assert [line.partition(", ")[2] for line in printed] == ["40 s left", "20 s left", ""]
