"""Files that are complete or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feelvos_lab.errors import LabError

DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})  # where a disk is at fault


@contextmanager
def complete_file(path: Path | str) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends, and is removed if it fails.

    Missing folders are made.

    Raises:
        LabError: the folder or the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise LabError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _remove(unfinished)


def is_unfinished(name: str) -> bool:
    """Whether something of that name is being written, or was when its process was killed."""
    return name.startswith(".") and ".partial" in name


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed had begun to write; nobody may be writing there now."""
    for path in folder.iterdir():
        if is_unfinished(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if os.path.lexists(path):
        path.unlink()
