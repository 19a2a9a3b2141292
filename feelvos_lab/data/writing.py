"""Files that are complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feelvos_lab.errors import LabError


@contextmanager
def complete_file(path: Path | str) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends, and is removed if it fails.

    Missing folders are made.

    Raises:
        LabError: the folder or the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise LabError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _remove(unfinished)


def _remove(path: Path) -> None:
    if os.path.lexists(path):
        path.unlink()
