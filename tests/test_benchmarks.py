"""The benchmarks run: on sizes too small to mean anything, so that a moved function is noticed."""

from __future__ import annotations

import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
BENCHMARKS = PROJECT / "experiments" / "benchmarks"


def run(*arguments: str) -> str:
    command = [sys.executable, f"experiments/benchmarks/{arguments[0]}", *arguments[1:]]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# a table each: all three in one process took minutes where others use the cores
ON_CPU = ("gpu.py", "--device", "cpu", "--grid", "12", "16", "--runs", "2", "--presets", "smoke", "--only")


def test_the_one_for_gpus_says_where_there_is_none_and_prints_the_maps() -> None:
    assert run("gpu.py").startswith("no GPU: nothing is measured")
    printed = run(*ON_CPU, "maps")
    assert "global map" in printed and printed.count("local map, radius 15") == 3


@pytest.mark.parametrize(
    ("only", "rate", "rows"),
    [
        ("frames", "fps", ["smoke 48p", "  in turns", "  read ahead", "  written behind", "  read ahead and w"]),
        ("steps", "steps/s", ["smoke", "  1 loader", "  no empty objects"]),
    ],
)
def test_the_one_for_gpus_prints_frames_and_steps_by_stages(only: str, rate: str, rows: list[str]) -> None:
    printed = run(*ON_CPU, only).splitlines()
    head = next(n for n, line in enumerate(printed) if line.split()[:1] == [rate])
    assert [line[:18].rstrip() for line in printed[head + 1 :]] == rows
    assert not any(" nan" in line for line in printed)


def test_the_one_for_maps_on_a_gpu_has_each_search_and_says_what_differs_and_what_is_missing() -> None:
    printed = run("gpu_maps.py", "--device", "cpu", "--grid", "12", "16", "--runs", "2").splitlines()
    for row in ("  search in slices", "  local search in windows", "  local search for CPUs"):
        assert sum(line.startswith(row) for line in printed) == 3
    compared = [line for line in printed if "find different pixels for" in line]
    assert len(compared) == 6 and all(" for 0 of " in line for line in compared)
    for package in ("pykeops", "faiss"):
        assert (f"{package} is not installed" in printed) == (importlib.util.find_spec(package) is None)
    assert printed[-1] == "Triton and FAISS need a GPU"
    assert run("gpu_maps.py").startswith("no GPU: nothing is measured")


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.name)
def test_each_finds_what_it_measures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)  # as when it is run: one imports another
    names = runpy.run_path(str(path), run_name="imported")
    assert callable(names["main"]) and names["__doc__"].splitlines()[0][-1] in ".?"
