"""Lock files (flock) that record their holder: process, host, start time.

The kernel releases the lock when its process ends, by whatever signal. A lock file that remains without a lock marks
work that was interrupted.
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

PATIENCE = 0.3  # seconds: `holder` also locks the file for a moment


@contextmanager
def locked(path: Path | str, doing: str, *, notes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Hold the lock file `path` during the block, and remove it afterwards; arguments and errors as for `acquire`."""
    held = acquire(path, doing, notes=notes)
    try:
        yield
    finally:
        release(path, held)


def acquire(path: Path | str, doing: str, *, notes: Mapping[str, Any] | None = None, patience: float = PATIENCE) -> int:
    """Lock the file `path` and write its holder into it.

    Args:
        path: created, with its parent folders, if missing.
        doing: what this process does, such as "training in runs/a", for the error message in another process.
        notes: further JSON entries for the file.
        patience: seconds to wait while another process holds the lock.

    Returns:
        The open file descriptor. A subprocess that inherits it (`pass_fds`) holds the lock too, until both close it.

    Raises:
        LabError: another process holds it, it is a link, or it cannot be written or locked.
    """
    path = Path(path)
    held = _locked_file(path, doing, give_up=time.monotonic() + patience)
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), **(notes or {})}
    try:
        os.ftruncate(held, 0)
        os.write(held, json.dumps(holder).encode())
    except OSError as error:
        release(path, held)
        raise LabError(f"the folder {path.parent} cannot be written: {error.strerror or error}") from None
    return held


def release(path: Path | str, held: int) -> None:
    """Remove a lock file and close its descriptor, which releases the lock."""
    with suppress(OSError):  # a file that remains locks nothing, and must not hide the error of the work
        Path(path).unlink()
    os.close(held)


def holder(path: Path | str) -> dict[str, Any] | None:
    """The entries of a lock file that a process holds now; None where no process does. Nothing is written.

    The dict is empty while the holder has not yet written its entries.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _entries(opened)
    finally:
        os.close(opened)


def _locked_file(path: Path, doing: str, *, give_up: float) -> int:
    while True:
        with reporting(f"the folder {path.parent} cannot be written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                raise LabError(f"the lock file {path} is a link, which is not followed: remove it")
            # a link that came in between would have its target overwritten
            held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the former holder may have removed the file that was opened here: then a lock on it locks nobody out
            if path.exists() and os.path.samestat(os.fstat(held), path.stat()):
                return held
        except BlockingIOError:
            if time.monotonic() > give_up:
                by_whom = _holder_text(_entries(held))
                os.close(held)
                raise LabError(f"another process is {doing}{by_whom}; wait for it or end it") from None
            time.sleep(0.05)
        except OSError as error:
            os.close(held)
            raise LabError(f"the file {path} cannot be locked: {error.strerror or error}") from None
        os.close(held)


def _entries(file: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(file, 65536, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _holder_text(entries: Mapping[str, Any]) -> str:
    """Such as `: process 12 on host, since 14:03`."""
    if not {"pid", "host", "since"} <= entries.keys():
        return ""
    since = time.strftime("%H:%M", time.localtime(entries["since"]))
    return f": process {entries['pid']} on {entries['host']}, since {since}"
