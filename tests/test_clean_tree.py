"""The commands can follow each other: after a run of one's own the tree is clean and tests that read results pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
READERS = (
    "tests/test_lab.py",
    "tests/lessons/test_lesson_09.py",
    "tests/ablation/test_tables_and_figures.py",
    "tests/ablation/test_compare.py",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files as a repository of its own, with everything committed."""
    listed = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listed, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("the project is not in a git repository, so there is no list of its files")
    folder = tmp_path_factory.mktemp("clone")
    for name in filter(None, found.stdout.split("\0")):
        if (PROJECT / name).is_file():  # else deleted, and not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "-m", "as it is")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


def in_clone(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the clone's own library."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, cwd=folder, env=kept | {"PYTHONPATH": str(folder)}, capture_output=True, text=True)


def make(folder: Path, *targets: str) -> str:
    """`make` with the environment that runs this test, which is not installed again."""
    stamp = f"{sys.prefix}/.installed"
    done = in_clone(folder, "make", f"VENV={sys.prefix}", "-o", stamp, *targets)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_after_a_run_of_ones_own_the_tree_is_clean_and_the_tests_that_read_results_pass(clone: Path) -> None:
    printed = make(clone, "smoke")
    report = "experiments/runs/smoke/report/report.md"
    assert f"report: {report}" in printed and (clone / report).is_file()
    assert git(clone, "status", "--porcelain") == ""
    done = in_clone(
        clone, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "09 or result or publish", *READERS
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout.splitlines()[-1]
    assert git(clone, "status", "--porcelain") == ""


def test_the_readmes_pictures_are_drawn_beside_the_published_ones(clone: Path) -> None:
    drawn = [f"runs/pictures/start_here/00-{name}.png" for name in ("cue-sheet", "real-video")]
    assert make(clone, "figures").split() == drawn
    assert all((clone / picture).stat().st_size < 400_000 for picture in drawn)
    assert git(clone, "status", "--porcelain") == ""
