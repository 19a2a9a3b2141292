"""Report an error as one line on stderr; `--debug` shows the traceback."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import DISK

DEBUG = "--debug"

_LESS_MEMORY = (
    "a lower --height takes less, in a training a higher --set accumulate=N (clips one after the other) or a smaller "
    "crop, and CUDA_VISIBLE_DEVICES= chooses another GPU, or empty the CPU"
)

_LESS_THERE = "smaller frames (--height), smaller settings or fewer objects take less"

_PATHS = frozenset(  # errors of a path that was given, not of the program
    {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOENT}
)

REFUSED, UNEXPECTED, INTERRUPTED = 2, 1, 130  # exit codes; 130 is the shell's for Ctrl-C


@contextmanager
def report_errors(*, debug: bool) -> Iterator[None]:
    """Exit with one line on stderr where the block raises; with `debug` the exception passes.

    Exit codes: 2 for a LabError, a full disk or full memory, 1 for an unexpected exception, 130 for Ctrl-C. Characters
    that the encoding of the terminal or log lacks are written as escape sequences. A closed stdout or stderr (`2>&-`)
    is replaced by the null device: otherwise the next file that is opened would get its number and what is printed.
    """
    for name in ("stdin", "stdout", "stderr"):  # in the order of their numbers: a new file gets the lowest free one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        match error:
            case LabError():
                message, code = str(error), REFUSED
            case KeyboardInterrupt():
                message, code = "interrupted", INTERRUPTED
            case OSError() if error.errno in DISK:  # or of `print`: stdout may be a log on that disk
                message, code = f"the disk is at fault: {error.strerror}", REFUSED
            case OSError() if error.errno in _PATHS and error.filename:
                message, code = f"{_short(str(error.filename))} cannot be used: {error.strerror}", REFUSED
            case RuntimeError() if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
                message, code = f"the GPU is out of memory: {_LESS_MEMORY}", REFUSED
            case MemoryError():
                message, code = f"out of memory: {str(error) or 'none is left'}; {_LESS_THERE}", REFUSED
            case RuntimeError() if "DefaultCPUAllocator" in str(error):  # torch's, on a CPU
                asked = re.search("allocate ([0-9]+) bytes", str(error))
                size = f"{int(asked[1]) / 1e9:.1f} GB were asked for at once" if asked else "none is left"
                message, code = f"out of memory: {size}; {_LESS_THERE}", REFUSED
            case _:
                what = f"{type(error).__name__}: {error}".removesuffix(": ")
                message, code = f"stopped by an unexpected {what}; {DEBUG} shows the traceback", UNEXPECTED
        print(f"feelvos-lab: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(code) from None


def _short(path: str) -> str:
    return path if len(path) <= 100 else f"{path[:60]}…{path[-30:]} ({len(path)} characters)"
