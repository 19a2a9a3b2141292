"""Curves of a training for TensorBoard, which is the extra `[tensorboard]`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from feelvos_lab.errors import LabError

Append = Callable[[Mapping[str, float]], None]


@contextmanager
def open_curves(folder: Path | None, *, first: int, so_far: Sequence[Mapping[str, float]] = ()) -> Iterator[Append]:
    """A function that appends one row to the curves in `folder`: `step`, and a scalar of each other name.

    Whatever earlier sessions wrote there of steps after `first` is hidden, so that each step is there once.

    Args:
        folder: where the event files are; None writes nothing.
        first: how many steps the training has done.
        so_far: rows of earlier sessions, which are written where the folder has no curve yet.

    Raises:
        LabError: the package is missing, or the folder cannot be written.
    """
    if folder is None:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise LabError(
            "curves need the package tensorboard, which is not installed: run `pip install 'feelvos_lab[tensorboard]'`"
        ) from error
    begun = any(folder.glob("events.out.tfevents.*"))

    def append(row: Mapping[str, float]) -> None:
        step = int(row["step"])
        with _told(folder):
            for name, value in row.items():
                if name != "step":
                    writer.add_scalar(name, value, step)
            writer.flush()  # a training that is killed keeps its curve up to its last row

    with _silent_thread():
        with _told(folder):
            writer = SummaryWriter(str(folder), purge_step=first + 1)
        try:
            for row in () if begun else so_far:
                append(row)
            yield append
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                writer.close()
            raise
        with _told(folder):
            writer.close()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """A folder that cannot be written is one sentence."""
    try:
        yield
    except OSError as error:
        raise LabError(f"cannot write curves to {folder}: {error.strerror or error}") from error


@contextmanager
def _silent_thread() -> Iterator[None]:
    """Keep TensorBoard's writing thread from printing a traceback: its error is raised again by the next call."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not (issubclass(args.exc_type, OSError) and type(args.thread).__name__ == "_AsyncWriterThread"):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
