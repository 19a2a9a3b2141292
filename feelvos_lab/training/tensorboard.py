"""Training curves for TensorBoard (the extra `[tensorboard]`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from feelvos_lab.errors import LabError, reporting

Append = Callable[[Mapping[str, float]], None]


@contextmanager
def open_curves(folder: Path | None, *, first: int, so_far: Sequence[Mapping[str, float]] = ()) -> Iterator[Append]:
    """A function that appends one row to the curves in `folder`: the value of each name but `step`, at that step.

    Args:
        folder: for the event files; None writes nothing.
        first: the steps done. Later ones in the folder, of a run that was interrupted after its last saved state, are
            hidden, so that each step is shown once.
        so_far: rows of earlier runs, which are written where the folder has no curve yet.

    Raises:
        LabError: tensorboard is not installed, or the folder cannot be written.
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
    with reporting(f"cannot write curves to {folder}"):
        writer = SummaryWriter(str(folder), purge_step=first + 1)

    def append(row: Mapping[str, float]) -> None:
        with reporting(f"cannot write curves to {folder}"):
            for name, value in row.items():
                if name != "step":
                    writer.add_scalar(name, value, int(row["step"]))
            writer.flush()  # a training that is killed keeps its curve up to its last row

    try:
        for row in () if begun else so_far:
            append(row)
        yield append
    finally:
        with suppress(OSError):  # every row was flushed: nothing is left to write
            writer.close()
