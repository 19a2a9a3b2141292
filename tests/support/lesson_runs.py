"""Lessons run by the tests: several in one kernel, or in this process with every exercise solved or stubbed."""

from __future__ import annotations

import ast
import json
import linecache
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from standin_experiment import cell, notebook

from feelvos_lab.files import notebooks
from feelvos_lab.lessons.checks import find_exercise

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
EXERCISES = {  # every lesson with exercises
    "01_the_task_and_the_score": ["region_similarity"],
    "02_pixel_embeddings": ["pairwise_sq_dist", "normalise_distance"],
    "03_global_matching": ["global_matching", "matching_memory"],
    "04_local_matching": ["local_matching"],
    "05_segmentation_head": ["stack_cues", "combine_objects"],
    "06_training": ["hard_pixel_loss"],
    "07_inference_and_failure": ["propagate"],
    "09_reading_an_ablation": ["paired_difference"],
}
LESSONS = tuple(EXERCISES)
QUICK: dict[str, dict[str, Any]] = {  # parameters beside preset="smoke" with which a lesson takes seconds
    "01_the_task_and_the_score": {"video_frames": 9},
    "06_training": {"steps": 4, "clips": 1},
    "07_inference_and_failure": {"clips": 1, "video_frames": 3},
}
Change = Callable[[str], str]


def davis16() -> Path:
    """The folder of DAVIS-2016, or skip the test that asks."""
    shared = Path(os.environ.get("FEELVOS_SHARED", Path(__file__).parents[3] / "shared"))
    if not (shared / "data" / "davis16").is_dir():
        pytest.skip(f"no real video in {shared}: set FEELVOS_SHARED")
    return shared / "data" / "davis16"


def cells_of(name: str) -> list[dict[str, Any]]:
    return notebooks.read_notebook(NOTEBOOKS / f"{name}.ipynb")["cells"]


def with_parameters(text: str, given: Mapping[str, Any]) -> str:
    """A parameters cell with other defaults."""
    for name, value in given.items():
        text, found = re.subn(rf"(?m)^({name}: .*? = ).*?(?=  # )", lambda m, v=value: f"{m[1]}{v!r}", text)
        assert found == 1, name
    return text


def run_in_kernel(names: tuple[str, ...], desk: Path) -> dict[str, list[dict[str, Any]]]:
    """Lessons at preset smoke, as shipped, one after the other in one kernel: their cells with outputs.

    Each begins without names. A kernel's imports take longer than a lesson.
    """
    joined = []
    for name in names:
        joined.append(cell(f"forget-{name[:2]}", "%reset -f"))
        for c in cells_of(name):
            if c["id"] == "parameters":
                c["source"] = with_parameters(notebooks.source(c), {"preset": "smoke"} | QUICK.get(name, {}))
            joined.append(c | {"id": f"{name[:2]}-{c['id']}", "metadata": {}})
    (desk / "lessons.ipynb").write_text(notebook(*joined), encoding="utf-8")
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", str(desk)]
    command += [str(desk / "lessons.ipynb"), str(desk / "done.ipynb")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=480, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in names:
        assert {p.suffix for p in (desk / "figures").glob(f"{name[:2]}-*")} == {".png", ".pdf", ".json"}
    cells = json.loads((desk / "done.ipynb").read_text(encoding="utf-8"))["cells"]
    return {name: [c for c in cells if c["id"].startswith(f"{name[:2]}-")] for name in names}


def run_here(name: str, desk: Path, *, change: Change, **given: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Run a lesson in this process, its exercises changed: its names, and what each cell printed."""
    scope: dict[str, Any] = {"__name__": "lesson"}
    printed = {}
    with chdir(desk):
        for c in cells_of(name):
            if c["cell_type"] != "code":
                continue
            text = notebooks.source(c)
            text = with_parameters(text, given) if c["id"] == "parameters" else text
            text = change(text) if c["id"].startswith("ex-") else text
            file = f"<{name}:{c['id']}>"
            linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
            with redirect_stdout(StringIO()) as out:
                exec(compile(text, file, "exec"), scope)
            printed[c["id"]] = out.getvalue()
    return scope, printed


def solve(text: str) -> str:
    """The exercise's cell with the code of its last hint as body: an answer must not call the library's function."""
    return _with_body(text, *find_exercise(_function(text).name).hints[-1].splitlines())


def stubbed(*body: str) -> Change:
    """A student's beginning: the exercise's cell with such a body and nothing that works."""
    return lambda text: _with_body(text, *body)


def _function(text: str) -> ast.FunctionDef:
    (function,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return function


def _with_body(text: str, *body: str) -> str:
    head = text.splitlines()[: _function(text).body[0].lineno - 1]
    return "\n".join([*head, *(f"    {line}" for line in body)]) + "\n"
