"""A place that one process at a time works in; the others are told who it is.

The lock belongs to the process, not to the file: whoever dies lets go, by whatever signal. The file that it leaves
then says that the work there did not end.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError, reporting

PATIENCE = 0.3  # seconds: one who only looks holds the file for a moment


@contextmanager
def locked(path: Path, doing: str, *, notes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Hold the lock file `path` while the block lasts, and remove it then. Missing folders are made.

    Raises:
        LabError: as `hold`.
    """
    held = acquire(path, doing, notes=notes)
    try:
        yield
    finally:
        release(path, held)


def acquire(path: Path, doing: str, *, notes: Mapping[str, Any] | None = None, patience: float = PATIENCE) -> int:
    """Take the lock file `path`, and write into it who has it.

    Args:
        path: made where it is not there, with its folders.
        doing: what this process does, such as "training in runs/a", for others to be told.
        notes: more for others to know, as JSON.
        patience: seconds to wait for another process to end.

    Returns:
        The open file. A process that is started with it (`pass_fds`) holds the lock too, until the last has closed it.

    Raises:
        LabError: another process has it, or it cannot be written or locked.
    """
    held = _taken(path, doing, give_up=time.monotonic() + patience)
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), **(notes or {})}
    try:
        os.ftruncate(held, 0)
        os.write(held, json.dumps(holder).encode())
    except OSError as error:
        release(path, held)
        raise LabError(f"the folder {path.parent} cannot be written: {error.strerror or error}") from None
    return held


def release(path: Path, held: int) -> None:
    """Remove a lock file that is held, and close it."""
    with suppress(OSError):  # left behind it holds nobody, and the work's own error must not be hidden
        path.unlink()
    os.close(held)


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock file at this moment, with its notes; None where nobody does. Nothing is written.

    A process that has just begun to hold it, or that has not written who it is, is an empty dict.
    """
    try:
        looking = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(looking, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _notes(looking)
    finally:
        os.close(looking)


def _taken(path: Path, doing: str, *, give_up: float) -> int:
    """The file, locked, as it stands under its name: whoever had it may have removed the one that was waited for."""
    while True:
        with reporting(f"the folder {path.parent} cannot be written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(held), path.stat()):
                return held
        except BlockingIOError:
            if time.monotonic() > give_up:
                told = _told(_notes(held))
                os.close(held)
                raise LabError(f"another process is {doing}{told}; wait for it or end it") from None
            time.sleep(0.05)
        except OSError as error:
            os.close(held)
            raise LabError(f"the file {path} cannot be locked: {error.strerror or error}") from None
        os.close(held)


def _notes(file: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(file, 65536, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _told(notes: Mapping[str, Any]) -> str:
    """Such as `: process 12 on host, since 14:03`."""
    if not {"pid", "host", "since"} <= notes.keys():
        return ""
    since = time.strftime("%H:%M", time.localtime(notes["since"]))
    return f": process {notes['pid']} on {notes['host']}, since {since}"
