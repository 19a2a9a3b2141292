"""The folder for temporary files: nothing is left in it, and its path may be long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from standin_experiment import SPEC, write_spec

from feelvos_lab.ablation import execute
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.files.sockets import socket_folder
from feelvos_lab.training.loop import train

LONG = "x" * 100


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty folder with a short path; an error if anything is left in it. `tmp_path` lies elsewhere: it is first."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    folder.rmdir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_interrupted_leaves_nothing(temporary: Path, tmp_path: Path, number: int) -> None:
    path = write_spec(tmp_path, SPEC.replace("preset: smoke", "preset: smoke\nfixed: {pause: 600.0}"))
    command = [sys.executable, "-m", "feelvos_lab", "ablate", "run", str(path), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a process started in the background ignores it
    sweep = subprocess.Popen(
        [*command, "--root", str(tmp_path)], env=environment, stdout=subprocess.DEVNULL, preexec_fn=heard
    )
    try:
        end = time.monotonic() + 100
        while len(list(temporary.glob("feelvos-*/kernel-1"))) < 2:  # both kernels listen
            assert sweep.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        time.sleep(2)  # into the cell that pauses
        sweep.send_signal(number)
        assert sweep.wait(60) == 128 + number
    finally:
        sweep.kill()
        sweep.wait()
    assert list(temporary.iterdir()) == []


def test_a_run_is_made_where_the_path_for_temporary_files_is_too_long_for_a_socket(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / LONG).mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary / LONG))
    spec = load_spec(write_spec(tmp_path, SPEC.split("  narrow")[0] + "claims: []\n"))
    (made,) = execute.run(spec, root=tmp_path, progress=lambda _line: None)
    assert made.state == "ok", made.reason
    (temporary / LONG).rmdir()


def test_loaders_send_batches_where_the_path_for_temporary_files_is_too_long_for_a_socket(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a shorter one the training waits for ever."""
    (temporary / LONG).mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary / LONG))
    config, clips = (
        configure("smoke", steps=2, hard_anneal_steps=1),
        make_clips("train", count=1, height=32, width=32, frames=4),
    )
    assert train(config, seed=0, clips=clips, loaders=1, log_every=1).history[-1]["step"] == 2
    assert os.environ["TMPDIR"] == str(temporary / LONG)
    (temporary / LONG).rmdir()


def test_what_is_too_long_everywhere_is_told_in_one_sentence() -> None:
    with pytest.raises(LabError, match=r"at most 1 bytes, so that sockets fit into it, .* set TMPDIR to another one$"):
        socket_folder("x" * 101)
