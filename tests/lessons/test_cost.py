"""What the notebooks cost is stated in their headers, adds up, and can be measured."""

from __future__ import annotations

import re

import pytest
from lesson_runs import NOTEBOOKS
from standin_experiment import cell, notebook

from feelvos_lab.errors import LabError
from feelvos_lab.lessons import cost
from feelvos_lab.lessons.cost import Measured
from feelvos_lab.lessons.rules import NUMBERED

SERIES = sorted(p for p in NOTEBOOKS.glob("*.ipynb") if NUMBERED.fullmatch(p.stem))


def write(path, time, *code):
    header = cell("header", f"# One\n\n`Time: {time}`.", kind="markdown")
    cells = [cell(f"code-{'abc'[i]}", text) for i, text in enumerate(code)]
    path.write_text(notebook(header, cell("parameters", "seed: int = 0  # of all", "parameters"), *cells))
    return path


def test_a_course_of_about_eight_hours_computes_for_eight_minutes_at_most():
    costs = {path.stem: cost.stated(path) for path in SERIES}
    assert 7 * 60 <= sum(c.minutes for c in costs.values()) <= 8.5 * 60
    assert sum(c.compute for c in costs.values()) <= 8 * 60
    assert costs["06_training"].compute <= 3 * 60


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("5 s", 5), ("2 min", 120), ("1 min 30 s", 90)],
)
def test_minutes_seconds_and_lines_are_read_from_the_notebook(tmp_path, time, seconds):
    path = write(tmp_path / "a.ipynb", f"40 min · {time} compute on 2 cores", "import os\n# why\nx = 1", "y = 2")
    assert cost.stated(path) == (40, seconds, 2)


@pytest.mark.parametrize("time", ["40 min", "40 min · compute on 2 cores", "40 min · 5 s on 2 cores"])
def test_a_header_without_compute_is_refused(tmp_path, time):
    with pytest.raises(LabError, match=re.escape(f"{tmp_path}/a.ipynb must say in its header")):
        cost.stated(write(tmp_path / "a.ipynb", time))


def test_a_run_is_measured_in_seconds_of_the_kernel(tmp_path):
    busy = "import time\nwhile time.process_time() < 3:\n    sum(range(1000))"
    path = write(tmp_path / "a.ipynb", "40 min · 5 s compute on 2 cores", busy)
    cpu, wall = cost.measure(path)
    assert cpu > 3 and wall > 2


def test_the_table_counts_what_comes_on_top_of_a_kernels_start(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "measure_start", lambda: Measured(6.0, 8.0))
    monkeypatch.setattr(cost, "measure", lambda path: Measured(10.0, 30.0))
    paths = [write(tmp_path / f"{n}.ipynb", "40 min · 5 s compute on 2 cores", "y = 2") for n in "ab"]
    lines = [line.split() for line in cost.cost_lines(paths, only_stated=False)]
    assert lines[1] == ["a", "40", "1", "5", "4", "22"] and lines[3] == ["together", "80", "2", "10", "8", "44"]
    assert "6 s (cpu) or 8 s" in " ".join(lines[4])


def test_a_notebook_that_fails_is_named_and_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "measure_start", lambda: Measured(0.0, 0.0))
    path = write(tmp_path / "a.ipynb", "40 min · 5 s compute on 2 cores", "raise ValueError('no')")
    with pytest.raises(LabError, match=r"a\.ipynb does not run: ValueError: no"):
        list(cost.cost_lines([path], only_stated=False))
