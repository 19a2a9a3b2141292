"""Write files and folders atomically: complete, or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError, reporting
from feelvos_lab.files.lock import locked

# errors of the disk, not of the program
DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows, in every folder


def is_device(name: str) -> bool:
    """Whether Windows takes a file of this name for a device, such as `aux.png`."""
    return _DEVICES.fullmatch(name) is not None


def rename(old: Path, new: Path) -> None:
    """Rename a file or folder, in place of a file or an empty folder; OSError if that fails."""
    if sys.platform == "win32":
        if new.is_dir():
            new.rmdir()  # Windows replaces no folder
        for wait in (0.05, 0.1, 0.2, 0.4, 0.8):  # nor a file while a reader or a virus scanner has it open
            try:
                return os.replace(old, new)
            except PermissionError:
                time.sleep(wait)
    os.replace(old, new)


@contextmanager
def complete_file(path: Path | str) -> Iterator[Path]:
    """A temporary name next to `path` to write to: renamed to `path` when the block ends, removed if it fails.

    Missing parent folders are created. The suffix is that of `path`, since many writers choose a format by it. LabError
    where the folder or the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with reporting(f"cannot write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield unfinished
            rename(unfinished, path)
    finally:
        if os.path.lexists(unfinished):
            unfinished.unlink()


def is_unfinished(name: str) -> bool:
    """Whether it is the name of a file or folder that is being written, or was when its process was killed."""
    return name.startswith(".") and ".partial" in name


def remove_unfinished(folder: Path | str) -> None:
    """Remove the unfinished files of killed processes. No process may be writing in the folder."""
    for path in Path(folder).iterdir():
        if is_unfinished(path.name) and path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def complete_folder(path: Path | str) -> Iterator[Path]:
    """A temporary folder to write into: renamed to `path` when the block ends, removed if it fails.

    Missing parent folders are created, and removed again if the block fails. The unfinished folder of a killed process
    is removed.

    Raises:
        LabError: `path` is a file or a folder that is not empty, another process is writing it, or the disk is full.
    """
    path = Path(os.path.abspath(path))
    refuse_occupied(path)
    path = _target(path)
    unfinished = path.with_name(f".{path.name}.partial")
    made = _make_parents(path)
    try:
        with locked(path.with_name(f".{path.name}.lock"), f"writing {path}"):
            refuse_occupied(path)  # again: another process may have finished while this one waited
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                with _writing_to(path):
                    unfinished.mkdir()
                with _writing_to(path, only=DISK):  # other errors are the caller's own
                    yield unfinished
                with _writing_to(path):
                    rename(unfinished, path)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
    except BaseException:
        _remove_empty(made)
        raise


def refuse_occupied(path: Path | str) -> None:
    """Raise LabError unless `path` is a new or an empty folder; to call before an expensive computation."""
    path = Path(os.path.abspath(path))
    if path.is_dir() and any(path.iterdir()):
        raise LabError(f"the output folder {path} holds files already, expected a new or an empty one")
    if path.exists() and not path.is_dir():
        raise LabError(f"the output {path} must be a folder, but there is a file of that name")
    if os.path.islink(_target(path)):
        raise LabError(f"the output {path} must be a folder, but it is a link that leads in a circle")
    if file := next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None):
        raise LabError(f"the output folder {path} cannot be made, since {file} is a file")


@contextmanager
def writable_folder(path: Path | str, *, resuming: Sequence[str]) -> Iterator[Path]:
    """A locked folder to train in, new or left by an interrupted run; removed at an error if it is empty then.

    Args:
        resuming: the names that an interrupted run may leave. If the first, the file to resume from, is there, the
            folder may hold anything; otherwise only these names and unfinished files.

    Raises:
        LabError: `path` holds other work, another process is training there, or it cannot be written.
    """
    path = Path(os.path.abspath(path))
    _refuse_other_work(path, resuming)
    path = _target(path)
    made = [*([] if path.exists() else [path]), *_make_parents(path)]
    try:
        with _writing_to(path):
            path.mkdir(exist_ok=True)
        with locked(path / ".lock", f"training in {path}"):
            _refuse_other_work(path, resuming)  # again: another process may have finished while this one waited
            with _writing_to(path):
                remove_unfinished(path)
            yield path
    except BaseException:
        _remove_empty(made)
        raise


def _target(path: Path) -> Path:
    """Where a link leads, to an empty folder or to none: that is written, and the link stays."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _make_parents(path: Path) -> list[Path]:
    """Create the parent folders of `path`; returns those that were missing, deepest first."""
    missing = [parent for parent in path.parents if not parent.exists()]
    with _writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or gone
            folder.rmdir()


def _refuse_other_work(path: Path, names: Sequence[str]) -> None:
    """Raise unless the folder is new, empty, or holds an interrupted run."""
    locks = (".lock", ".state.lock")
    if (path / names[0]).is_file() or (
        path.is_dir() and all(p.name in (*names, *locks) or is_unfinished(p.name) for p in path.iterdir())
    ):
        return
    refuse_occupied(path)


def _writing_to(path: Path, *, only: frozenset[int] | None = None) -> AbstractContextManager[None]:
    return reporting(f"cannot write to the output folder {path}", only=only)


def refuse_pipe(path: Path | str, expected: str) -> None:
    """Raise LabError for a named pipe or a device: reading it could wait for ever."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise LabError(f"{path} is no regular file: {expected} was expected")


def read_json(path: Path | str) -> dict[str, Any]:
    """Read a JSON object from a file; LabError where there is none."""
    refuse_pipe(path, "a JSON file")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError(f"there is no {path}") from None
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path} cannot be read as JSON: {error}") from None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror or error}") from None
    if not isinstance(content, dict):
        raise LabError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def write_json(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically: a reader sees the whole new file or the old one."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path | str, text: str) -> None:
    """Write a text file atomically."""
    with complete_file(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
