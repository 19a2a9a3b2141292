"""Segmentation keeps its size however long the film is, and a mask is on the disk before the next frame is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SLACK = 16 * 1024  # KiB; predictions that are kept take more than four times that (see below)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="this system does not tell a process's own peak size"
)

LONG_CLIP = Path(__file__).parents[1] / "support" / "long_clip.py"


def _peak(frames: int, folder: Path, *options: str) -> int:
    """KiB at most in memory while `frames` frames are segmented into a new folder."""
    folder.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).parents[1] / "support" / "long_clip.py"),
            str(frames),
            str(folder),
            *options,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(folder.glob("*.png"))) == frames
    return int(done.stdout)


def test_ten_times_the_frames_take_the_same_memory_where_they_are_read_ahead_and_written_behind(tmp_path: Path) -> None:
    short = _peak(30, tmp_path / "short", "ahead")
    assert abs(_peak(300, tmp_path / "long", "ahead") - short) < SLACK


def test_ten_times_the_frames_take_the_same_memory(tmp_path: Path) -> None:
    ballast = b"1" * 1_500_000_000  # what this process holds is no matter of the other one's
    short = _peak(30, tmp_path / "short")
    assert abs(_peak(300, tmp_path / "long") - short) < SLACK
    assert _peak(300, tmp_path / "kept", "kept") - short > 4 * SLACK  # the measure sees predictions that are kept
    assert short * 1024 < len(ballast)
