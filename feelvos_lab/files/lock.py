"""Lock files that record their holder: process, host, start time.

The system releases the lock when its process ends, however it ends. A lock file that remains without a lock marks work
that was interrupted. Linux and macOS lock with flock, Windows locks one byte of the file.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError, reporting

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PATIENCE = 0.3  # seconds: `holder` also locks the file for a moment

INHERITED = sys.platform != "win32"  # whether a subprocess that is given the open file holds the lock too

_LOCKED_BYTE = 2**30  # on Windows no other process reads a locked byte, so it must lie behind the entries

# POSIX's, POSIX's and Windows': no link is followed, no named pipe is waited for
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


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
        The open file descriptor. Where `INHERITED`, a subprocess that is given it (`pass_fds`) holds the lock too,
        until both close it.

    Raises:
        LabError: another process holds it, it is a link, or it cannot be written or locked.
    """
    path = Path(path)
    held = _locked_file(path, doing, give_up=time.monotonic() + patience)
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), **(notes or {})}
    try:
        os.ftruncate(held, 0)
        os.lseek(held, 0, os.SEEK_SET)
        os.write(held, json.dumps(holder).encode())
    except OSError as error:
        release(path, held)
        raise LabError(f"the folder {path.parent} cannot be written: {error.strerror or error}") from None
    return held


def release(path: Path | str, held: int) -> None:
    """Remove a lock file and close its descriptor, which releases the lock."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file that remains locks nothing, and must not hide the error of the work
            Path(path).unlink()
        os.close(held)
        return
    _unlock(held)
    os.close(held)
    give_up = time.monotonic() + PATIENCE
    while os.path.lexists(path) and time.monotonic() < give_up:  # Windows removes no file that is open elsewhere
        try:
            Path(path).unlink()
        except OSError:  # `holder` reads it, or the next process has locked it: then it is that one's
            time.sleep(0.02)


def holder(path: Path | str) -> dict[str, Any] | None:
    """The entries of a lock file that a process holds now; None where no process does. Nothing is written.

    The dict is empty while the holder has not yet written its entries.
    """
    try:
        opened = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return None
    try:
        _lock(opened, shared=True)
        _unlock(opened)
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
            held = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o644)
        try:
            _lock(held)
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


def _lock(file: int, *, shared: bool = False) -> None:
    """Lock an open file without waiting; BlockingIOError where another open file of it is locked.

    Two shared locks do not exclude each other, except on Windows, whose runtime library has only exclusive ones.
    """
    if sys.platform != "win32":
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return
    os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from None


def _unlock(file: int) -> None:
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_UN)
        return
    os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(file, msvcrt.LK_UNLCK, 1)  # closing the file would also unlock it, but not at once


def _entries(file: int) -> dict[str, Any]:
    os.lseek(file, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(file, 65536))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _holder_text(entries: Mapping[str, Any]) -> str:
    """Such as `: process 12 on host, since 14:03`."""
    if not {"pid", "host", "since"} <= entries.keys():
        return ""
    since = time.strftime("%H:%M", time.localtime(entries["since"]))
    return f": process {entries['pid']} on {entries['host']}, since {since}"
