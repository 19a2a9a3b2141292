"""What lessons cost: study minutes and compute seconds as their headers state, lines of code, seconds as measured."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from feelvos_lab.errors import LabError
from feelvos_lab.files.notebooks import papermill_path, read_notebook, source, tags
from feelvos_lab.lessons.rules import TIME, count_code

_IMPORTS = """
from feelvos_lab import lab
from feelvos_lab.figures import basic, panels
from feelvos_lab.lessons import exercise
"""


class Stated(NamedTuple):
    """What a notebook's header promises."""

    minutes: int  # of study
    compute: int  # seconds, on two cores
    code_lines: int  # without parameters, imports, comments and closing brackets


class Measured(NamedTuple):
    """What a run took."""

    cpu: float  # CPU seconds of the kernel and of papermill; nan on Windows, which does not count those of ended ones
    wall: float  # seconds

    def without(self, start: Measured) -> Measured:
        """The same without what every notebook needs before its first result."""
        less = (a - b for a, b in zip(self, start, strict=True))
        return Measured(*(seconds if math.isnan(seconds) else max(0.0, seconds) for seconds in less))


def stated(path: Path) -> Stated:
    """The costs that a notebook's header states; a LabError where it states no time."""
    cells = read_notebook(path)["cells"]
    found = TIME.search(source(cells[0])) if cells else None
    if not found:
        raise LabError(f"{path} must say in its header such as `Time: 30 min · 1 min 30 s compute on 2 cores`")
    code = [source(c) for c in cells if c["cell_type"] == "code" and "parameters" not in tags(c)]
    minutes, compute = int(found[1]), 60 * int(found[2] or 0) + int(found[3] or 0)
    return Stated(minutes, compute, sum(count_code(text) for text in code))


def measure(path: Path) -> Measured:
    """Run a notebook with its default parameters, in an empty folder and a new kernel; a LabError if a cell raises."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", folder]
        command += [papermill_path(path.resolve()), papermill_path(Path(folder) / "done.ipynb")]
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        after, wall = os.times(), time.perf_counter() - began
    if done.returncode:
        raise LabError(f"{path} does not run: {done.stderr.strip().splitlines()[-1]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(math.nan if sys.platform == "win32" else cpu, wall)


def measure_start() -> Measured:
    """What the start of a kernel and the library's imports take, which no header counts: a notebook with only those."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(_IMPORTS)], metadata=kernel), path)
        return measure(path)


def cost_lines(paths: Sequence[Path], *, only_stated: bool) -> Iterator[str]:
    """The lines of a table of the notebooks, each yielded when it is known; the start of a kernel is not counted."""
    header = ("notebook", "study min", "code lines", "stated s", *(() if only_stated else ("cpu s", "wall s")))
    totals = [0.0] * (len(header) - 1)
    yield "  ".join([header[0].ljust(28), *(name.rjust(10) for name in header[1:])])
    start = None if only_stated else measure_start()
    for path in paths:
        promised = stated(path)
        run = () if start is None else measure(path).without(start)
        values = [promised.minutes, promised.code_lines, promised.compute, *run]
        totals = [a + b for a, b in zip(totals, values, strict=True)]
        yield "  ".join([path.stem.ljust(28), *(f"{v:10.0f}" for v in values)])
    yield "  ".join(["together".ljust(28), *(f"{v:10.0f}" for v in totals)])
    if start is not None:
        yield f"and for each notebook {start.cpu:.0f} s (cpu) or {start.wall:.0f} s to start a kernel and to import"
