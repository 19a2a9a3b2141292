"""The student's desk: a copy of the notebooks that no `git pull` touches, and JupyterLab on it; a page without code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from feelvos_lab.errors import LabError, reporting

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def copy_notebooks(source: Path, desk: Path) -> list[str]:
    """Copy the notebooks that are new, or that changed in `source` and not on the desk; never overwrite work.

    What was last copied is kept in `desk/.originals`, to tell a student's changes from the project's.

    Returns:
        a sentence for each notebook that was kept though the project has a newer one.

    Raises:
        LabError: no notebooks in `source`.
    """
    books = sorted(source.glob("*.ipynb"))
    if not books:
        raise LabError(f"{source} holds no notebooks: run this in a clone of the project, not in an installed package")
    originals = desk / ".originals"
    with reporting(f"cannot make the folder {desk}"):
        originals.mkdir(parents=True, exist_ok=True)
    kept = []
    for book in books:
        mine, original = desk / book.name, originals / book.name
        if not mine.exists() or (original.exists() and mine.read_bytes() == original.read_bytes()):
            shutil.copyfile(book, mine)
            shutil.copyfile(book, original)
        elif not original.exists() or book.read_bytes() != original.read_bytes():
            kept.append(f"{mine}: yours is kept, though {book} is newer")
    return kept


def open_lab(desk: Path) -> int:
    """Run JupyterLab on the desk until it is closed; its exit status.

    Only this computer can reach it, whatever a configuration file says, and only with Jupyter's token.
    """
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return subprocess.call([sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", *as_root, str(desk)])


def open_page(notebook: Path, *, port: int, browser: bool) -> int:
    """Serve a notebook as a page without code, by Voilà, until it is ended; its exit status.

    Only this computer can reach it, and only with the token in the address that is printed and opened.

    Raises:
        LabError: no such notebook, or no Voilà.
    """
    if find_spec("voila") is None:
        raise LabError("the page without code needs Voilà: pip install feelvos_lab[app]")
    if not notebook.is_file():
        raise LabError(f"there is no {notebook}: run this in a clone of the project, not in an installed package")
    options = ["--Voila.ip=127.0.0.1", "--Voila.auto_token=True", f"--port={port}", "--show_tracebacks=True"]
    return subprocess.call(
        [sys.executable, "-m", "voila", str(notebook), *options, *([] if browser else ["--no-browser"])]
    )
