"""Laws of reading ahead and writing behind: the same results in the same order, few frames at a time, prompt ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_device import THERE, Elsewhere

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.data.video import VideoFrames, open_movie
from feelvos_lab.errors import LabError
from feelvos_lab.inference import output, propagation
from feelvos_lab.inference.output import segment
from feelvos_lab.inference.overlap import DEPTH, read_ahead, write_behind
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.feelvos import Feelvos

pytestmark = pytest.mark.usefixtures("one_thread")
TESTS = Path(__file__).parents[1]
CLIP = make_clip(11, height=48, width=64, frames=12, objects=2)


@dataclass
class Counted:
    """The frames of a clip, which count how often each is read."""

    clip: Clip = CLIP
    read: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.clip)

    def __getitem__(self, t: int) -> torch.Tensor:
        self.read.append(t)
        return self.clip.frames[t]


@pytest.fixture
def model() -> Feelvos:
    torch.manual_seed(0)
    return Feelvos(configure("smoke").model).eval()


@pytest.fixture
def there(model: Feelvos) -> Iterator[Feelvos]:
    """The model on the fake device, on which frames are read ahead as on a GPU."""
    with Elsewhere():
        yield model.to(THERE)


OTHERS: list[threading.Thread] = []


@pytest.fixture(autouse=True)
def others() -> None:
    """Threads that were there before: another file's test may hold predictions that it never asked to the end."""
    OTHERS[:] = threading.enumerate()


def threads() -> list[str]:
    """Those that this test has started and that run."""
    own = [thread.name for thread in threading.enumerate() if thread not in OTHERS]
    return [name for name in own if name.startswith(("read ahead", "write behind"))]


def settled(counts: list[int]) -> int:
    """How many were read when nothing more has been read for a while."""
    before = -1
    while before != len(counts):
        before = len(counts)
        time.sleep(0.05)
    return before


def test_what_is_read_ahead_comes_in_order_and_only_a_few_at_a_time() -> None:
    read: list[int] = []

    def square(n: int) -> int:
        read.append(n)
        return n * n

    found = read_ahead(square, range(20))
    for n in range(20):
        assert next(found) == n * n
        assert settled(read) == min(20, n + 1 + DEPTH)
    assert list(found) == [] and read == list(range(20))
    assert threads() == []


def test_an_error_of_the_reader_is_raised_at_its_place() -> None:
    def read(n: int) -> int:
        if n == 5:
            raise LabError("frame 5 is damaged")
        return n

    found = read_ahead(read, range(20))
    assert [next(found) for _ in range(5)] == list(range(5))
    with pytest.raises(LabError, match="frame 5 is damaged"):
        next(found)
    assert threads() == []


def test_closing_the_reader_reads_no_more() -> None:
    read: list[int] = []
    found = read_ahead(read.append, range(1000))
    next(found)
    found.close()
    assert threads() == [] and len(read) <= 1 + DEPTH


def test_calls_behind_are_made_in_order_and_few_wait() -> None:
    made: list[int] = []
    for on in (True, False):
        made.clear()
        with write_behind(on=on) as later:
            for n in range(20):
                later(made.append, n)
                assert len(made) >= n + 1 - DEPTH
                assert on or len(made) == n + 1
        assert made == list(range(20))
    assert threads() == []


def test_an_error_of_the_writer_is_raised_by_the_next_call_and_at_the_end() -> None:
    def fail() -> None:
        raise LabError("the disk is full")

    failing = time.monotonic()
    with pytest.raises(LabError, match="the disk is full"), write_behind() as later:
        later(fail)
        while True:
            time.sleep(0.01)
            later(lambda: None)
    assert time.monotonic() - failing < 10
    with pytest.raises(LabError, match="the disk is full"), write_behind() as later:
        later(fail)
    assert threads() == []


def test_where_the_block_raises_what_waits_is_dropped() -> None:
    made: list[int] = []
    began, go_on = threading.Event(), threading.Event()

    def first() -> None:
        began.set()
        go_on.wait(10)
        made.append(0)

    with pytest.raises(KeyboardInterrupt), write_behind() as later:
        later(first)
        later(made.append, 1)
        began.wait(10)
        threading.Timer(0.1, go_on.set).start()
        raise KeyboardInterrupt
    assert made == [0] and threads() == []


@pytest.fixture
def in_turns(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """A block in which frames are read, predicted and written by one thread in turns, whatever the device."""

    @contextmanager
    def block() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(propagation, "read_ahead", map)
            patch.setattr(output, "write_behind", lambda *, on: write_behind(on=False))
            yield

    return block


def test_predictions_are_the_same_bits_and_each_frame_is_read_once_a_few_ahead(
    there: Feelvos, in_turns: Callable[[], AbstractContextManager[None]]
) -> None:
    with in_turns():
        expected = list(propagate(there, CLIP, height=24))
    frames = Counted()
    run = propagate(there, replace(CLIP, frames=frames), height=24)
    for t, (wanted, found) in enumerate(zip(expected, run, strict=True)):
        assert settled(frames.read) == min(len(CLIP), t + 1 + DEPTH)
        assert torch.equal(wanted.labels, found.labels) and torch.equal(wanted.probabilities, found.probabilities)
        assert torch.equal(found.image, CLIP.frames[t]) and found.frame == t
    assert frames.read == list(range(len(CLIP)))
    assert threads() == []


def test_predictions_that_are_no_longer_wanted_are_no_longer_read(there: Feelvos) -> None:
    frames = Counted()
    run = propagate(there, replace(CLIP, frames=frames))
    next(run)
    run.close()
    assert threads() == [] and len(frames.read) <= 1 + DEPTH


def test_a_frame_of_another_size_is_rejected_with_its_number_there_too(there: Feelvos) -> None:
    class Odd(Counted):
        def __getitem__(self, t: int) -> torch.Tensor:
            return super().__getitem__(t)[:, : 40 if t == 5 else 48]

    found = []
    with pytest.raises(LabError, match=f"frame 5 of {CLIP.name} must be 48×64, is 40×64|64×48, is 64×40"):
        found.extend(p.frame for p in propagate(there, replace(CLIP, frames=Odd())))
    assert threads() == []


@pytest.mark.parametrize("movie", ["gif", "mp4", "none"])
def test_the_files_are_the_same_bytes(
    there: Feelvos, movie: output.Movie, in_turns: Callable[[], AbstractContextManager[None]], tmp_path: Path
) -> None:
    # libx264 gives other bytes from run to run for the same pictures; that these are the same is held by the GIF
    with in_turns():
        segment(CLIP, None, tmp_path / "in turns", model=there, movie=movie, cues=True)
    segment(CLIP, None, tmp_path / "at once", model=there, movie=movie, cues=True)
    expected, found = (
        {
            p.relative_to(tmp_path / n): b"" if p.suffix == ".mp4" else p.read_bytes()
            for p in (tmp_path / n).rglob("*.*")
        }
        for n in ("in turns", "at once")
    )
    assert len(expected) > 3 * len(CLIP) and expected == found


def test_each_frame_is_read_once_for_the_network_and_the_movie(model: Feelvos, tmp_path: Path) -> None:
    frames = Counted()
    segment(replace(CLIP, frames=frames), None, tmp_path / "out", model=model, movie="gif")
    assert frames.read == list(range(len(CLIP)))


@pytest.mark.parametrize("fails_at", [1, 11])
def test_a_full_disk_ends_it_in_the_same_sentence_and_leaves_nothing(
    model: Feelvos, fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = output.write_mask

    def full(path: Path, labels: torch.Tensor) -> None:
        if path.stem == f"{fails_at:05d}":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, labels)

    monkeypatch.setattr(output, "write_mask", full)
    sentences = []
    with Elsewhere():
        for place in ("cpu", THERE):
            frames = Counted()
            with pytest.raises(LabError) as error:
                segment(replace(CLIP, frames=frames), None, tmp_path / "out", model=model.to(place), movie="gif")
            sentences.append(str(error.value))
            assert list(tmp_path.iterdir()) == [] and threads() == []
            assert len(frames.read) <= fails_at + 2 * DEPTH + 3
    assert sentences[0] == sentences[1] and "No space left" in sentences[0]


INTERRUPTED = """
import sys, time
import torch
sys.path[:0] = [{support!r}]
from fake_device import THERE, Elsewhere
from feelvos_lab.cli.errors import report_errors
from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.data.clip import Clip
from feelvos_lab.inference import output, propagation
from feelvos_lab.model.feelvos import Feelvos

made = make_clip(11, height=48, width=64, frames=2, objects=2)

class Endless:
    def __len__(self): return 1_000_000
    def __getitem__(self, t):
        time.sleep(0.02)
        if t == 8:
            print("frame 8", flush=True)
        return made.frames[0]

torch.set_num_threads(1)
write = output.write_mask
def slowly(path, labels):
    time.sleep({pause})
    write(path, labels)
output.write_mask = slowly
with report_errors(debug=False), Elsewhere():
    model = Feelvos(configure("smoke").model).eval().to(THERE)
    clip = Clip("endless", Endless(), made.masks[:1], made.object_ids)
    output.segment(clip, None, sys.argv[1], model=model, movie="gif")
"""


@pytest.mark.parametrize("pause", [0.0, 0.3], ids=["the network is slow", "the disk is slow"])
def test_an_interrupt_ends_it_promptly_and_leaves_nothing(pause: float, tmp_path: Path) -> None:
    script = INTERRUPTED.format(support=str(TESTS / "support"), pause=pause)
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a process started in the background ignores it
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heard,
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "frame 8\n"
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert told == "feelvos-lab: interrupted\n" and process.returncode == 130
    assert time.monotonic() - began < 10 and list(tmp_path.iterdir()) == []


def test_threads_may_share_a_video_file(tmp_path: Path) -> None:
    with open_movie(tmp_path / "a.mp4", kind="mp4") as append:
        for t in range(20):
            append(np.full((48, 64, 3), 10 * t, dtype=np.uint8))
    video = VideoFrames(tmp_path / "a.mp4")
    shades = [int(video[t].float().mean()) for t in range(20)]
    assert len(set(shades)) == 20
    wrong: list[object] = []

    def read(step: int) -> None:
        try:
            for k in range(60):
                t = step * k % 20
                if (shade := int(video[t].float().mean())) != shades[t]:
                    wrong.append((t, shade))
        except Exception as error:
            wrong.append(error)

    readers = [threading.Thread(target=read, args=(step,)) for step in (1, 3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == []
