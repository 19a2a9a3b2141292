"""The student's desk: a copy of the notebooks that no `git pull` touches, and JupyterLab on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from feelvos_lab.errors import LabError

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


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
    try:
        originals.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"cannot make the folder {desk}: {error.strerror or error}") from error
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
    """Run JupyterLab on the desk until it is closed; its exit status."""
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return subprocess.call([sys.executable, "-m", "jupyterlab", *as_root, str(desk)])
