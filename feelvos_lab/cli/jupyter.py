"""Copy the notebooks to a work folder, open JupyterLab there, and serve a notebook as a page without code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from feelvos_lab.errors import LabError, reporting
from feelvos_lab.files.project import project_folder

NOTEBOOKS = project_folder() / "notebooks"

_FIRST_LESSON = "00_start_here.ipynb"


def copy_notebooks(source: Path | str, folder: Path | str) -> list[str]:
    """Copy notebooks that are new, or changed in `source` but not in `folder`; the user's changes are kept.

    The last copy of each is also kept in `folder/.originals`, to distinguish the user's changes from the project's.

    Returns:
        A line for each notebook that was not updated because the user has changed it.

    Raises:
        LabError: no notebooks in `source`.
    """
    folder = Path(folder)
    books = sorted(Path(source).glob("*.ipynb"))
    pages = sorted(Path(source).glob("symbols.md"))  # linked by the lessons
    if not books:
        raise LabError(f"{source} holds no notebooks: install feelvos_lab again")
    originals = folder / ".originals"
    with reporting(f"cannot make the folder {folder}"):
        originals.mkdir(parents=True, exist_ok=True)
    kept = []
    for book in (*books, *pages):
        mine, original = folder / book.name, originals / book.name
        if not mine.exists() or (original.exists() and mine.read_bytes() == original.read_bytes()):
            shutil.copyfile(book, mine)
            shutil.copyfile(book, original)
        elif not original.exists() or book.read_bytes() != original.read_bytes():
            kept.append(f"{mine}: yours is kept, though {book} is newer")
    return kept


def open_lab(folder: Path | str) -> int:
    """Run JupyterLab in the folder until it is closed; returns its exit status. It opens the first lesson, if there.

    It listens on 127.0.0.1 only, whatever a configuration file says, and asks for Jupyter's token.
    """
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    there = (Path(folder) / _FIRST_LESSON).is_file()
    page = [f"--LabApp.default_url=/lab/tree/{_FIRST_LESSON}"] if there else []
    return subprocess.call(
        [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", *page, *as_root, str(folder)]
    )


def open_page(notebook: Path, *, port: int, browser: bool) -> int:
    """Serve a notebook as a page without code with Voilà until it is stopped; returns its exit status.

    It listens on 127.0.0.1 only and asks for the token in the address that it prints and opens.

    Raises:
        LabError: no such notebook, or no Voilà.
    """
    if find_spec("voila") is None:
        raise LabError("the page without code needs Voilà: pip install feelvos_lab[app]")
    if not notebook.is_file():
        raise LabError(f"there is no notebook {notebook}")
    options = ["--Voila.ip=127.0.0.1", "--Voila.auto_token=True", f"--port={port}", "--show_tracebacks=True"]
    return subprocess.call(
        [sys.executable, "-m", "voila", str(notebook), *options, *([] if browser else ["--no-browser"])]
    )
