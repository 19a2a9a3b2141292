"""Whether a finished run still says what the code would measure now.

A run's fingerprint is a hash of its configuration, its seed, the worker notebook's code cells up to the one tagged
`record` (what comes later draws, and cannot change a number), and the library's sources that can change one. Comments,
docstrings and layout do not count: sources are compared as syntax trees.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import feelvos_lab
from feelvos_lab.errors import LabError
from feelvos_lab.nbtools import read_notebook, source, tags
from feelvos_lab.shipped import read_card, shipped_path

PACKAGE = Path(feelvos_lab.__file__).parent
# Everything that train, infer and evaluate import, directly or not; a test holds the list complete.
SOURCES = (
    *("config.py", "data/*.py", "model/*.py", "checkpoint.py"),
    *("train.py", "optim.py", "distributed.py", "compiled.py", "curves.py", "infer.py", "evaluate.py", "metrics.py"),
)
HARMLESS = ("model/naive.py", "model/dense.py")  # the slow twins, which tests and lessons alone call


def number_sources(package: Path | None = None) -> list[Path]:
    """The library's files that can change a number, sorted; `package` is another copy of its folder."""
    package = PACKAGE if package is None else package
    found = {path for pattern in SOURCES for path in package.glob(pattern)}
    return sorted(found - {package / name for name in HARMLESS})


def fingerprint(notebook: Path, parameters: Mapping[str, Any], digest: str) -> str:
    """16 hexadecimal digits that differ when the run's number could.

    Args:
        notebook: the worker that will run.
        parameters: what is injected into it, without the output folder.
        digest: the variant's, which holds the preset's values too.

    Raises:
        LabError: there is a parameter `start` of another value than "trunk" or "all", or no shipped checkpoint.
    """
    parts = [json.dumps(dict(parameters), sort_keys=True), digest]
    parts += [_meaning(code) for code in worker_code(notebook)]
    if start := parameters.get("start"):  # weights that a training starts from change its number as sources do
        if start not in ("trunk", "all"):
            raise LabError(f"start must be 'trunk' or 'all', got {start!r}")
        parts.append(read_card(shipped_path(parameters["preset"]))["sha256"])
    parts += [f"{path.relative_to(PACKAGE)}:{_file_meaning(path)}" for path in number_sources()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def worker_code(notebook: Path) -> list[str]:
    """The code cells that can change a number: up to the cell tagged `record`, or all where there is none."""
    cells = [cell for cell in read_notebook(notebook)["cells"] if cell["cell_type"] == "code"]
    last = next((i for i, cell in enumerate(cells) if "record" in tags(cell)), len(cells) - 1)
    return [source(cell) for cell in cells[: last + 1]]


def _file_meaning(path: Path) -> str:
    stat = path.stat()
    return _cached_meaning(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def _cached_meaning(path: Path, modified: int, size: int) -> str:
    return hashlib.sha256(_meaning(path.read_text(encoding="utf-8")).encode()).hexdigest()


def _meaning(code: str) -> str:
    """The code's syntax tree without docstrings and positions; the text itself where it is not plain Python."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # `%matplotlib inline` and the like
        return code
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
