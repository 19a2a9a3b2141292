"""What the notebooks cost: minutes to study and compute as their headers say, code lines, seconds as measured."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from feelvos_lab.errors import LabError
from feelvos_lab.files.notebooks import papermill_path, read_notebook, source, tags
from feelvos_lab.lessons.rules import count_code

_TIME = re.compile(r"`Time: (\d+) min · (?:(\d+) min )?(?:(\d+) s )?compute on (\d+) cores")


class Stated(NamedTuple):
    """What a notebook's header promises."""

    minutes: int  # to study it
    compute: int  # seconds, on two cores
    code_lines: int  # without parameters, imports, comments and closing brackets


class Measured(NamedTuple):
    """What a run took."""

    cpu: float  # processor seconds of the kernel and of papermill
    wall: float  # seconds

    def without(self, start: Measured) -> Measured:
        """The same without what every notebook needs before its first result."""
        return Measured(max(0.0, self.cpu - start.cpu), max(0.0, self.wall - start.wall))


def stated(path: Path) -> Stated:
    """The costs that a notebook's header states.

    Raises:
        LabError: no notebook, or a header that does not say such as `Time: 30 min · 1 min 30 s compute on 2 cores`.
    """
    cells = read_notebook(path)["cells"]
    found = _TIME.search(source(cells[0])) if cells else None
    if not found or not (found[2] or found[3]):
        raise LabError(f"{path} must say in its header such as `Time: 30 min · 1 min 30 s compute on 2 cores`")
    code = [source(c) for c in cells if c["cell_type"] == "code" and "parameters" not in tags(c)]
    compute = 60 * int(found[2] or 0) + int(found[3] or 0)
    return Stated(int(found[1]), compute, sum(count_code(text) for text in code))


def measure(path: Path) -> Measured:
    """Run a notebook as it is, in an empty folder and a kernel of its own.

    Raises:
        LabError: a notebook that does not run to its end.
    """
    with tempfile.TemporaryDirectory() as desk:
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", desk]
        command += [papermill_path(path.resolve()), papermill_path(Path(desk) / "done.ipynb")]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise LabError(f"{path} does not run: {done.stderr.strip().splitlines()[-1]}")
    return Measured(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def measure_start() -> Measured:
    """What a kernel and the library's imports take, which no header counts: a notebook that does nothing else."""
    code = {"cell_type": "code", "id": "start", "metadata": {}, "outputs": [], "execution_count": None}
    imports = (
        "feelvos_lab import lab",
        "feelvos_lab.figures import basic, panels",
        "feelvos_lab.lessons import exercise",
    )
    code["source"] = "\n".join(f"from {line}" for line in imports)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.ipynb"
        path.write_text(json.dumps({"cells": [code], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
        return measure(path)


def cost_lines(paths: Sequence[Path], *, only_stated: bool) -> Iterator[str]:
    """A table of the notebooks, a line as soon as it is known; the start of a kernel is not counted.

    Raises:
        LabError: as `stated` and `measure`.
    """
    header = ("notebook", "study min", "code lines", "stated s", *(() if only_stated else ("cpu s", "wall s")))
    totals = [0.0] * (len(header) - 1)
    yield "  ".join([header[0].ljust(28), *(name.rjust(10) for name in header[1:])])
    start = None if only_stated else measure_start()
    for path in paths:
        said = stated(path)
        run = () if start is None else measure(path).without(start)
        values = [said.minutes, said.code_lines, said.compute, *run]
        totals = [a + b for a, b in zip(totals, values, strict=True)]
        yield "  ".join([path.stem.ljust(28), *(f"{v:10.0f}" for v in values)])
    yield "  ".join(["together".ljust(28), *(f"{v:10.0f}" for v in totals)])
    if start is not None:
        yield f"and for each notebook {start.cpu:.0f} s (cpu) or {start.wall:.0f} s to start a kernel and to import"
