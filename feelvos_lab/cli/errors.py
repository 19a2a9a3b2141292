"""What a command says when it cannot go on: one sentence on stderr, and the traceback only to who asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import DISK

DEBUG = "--debug"

REFUSED, UNEXPECTED, INTERRUPTED = 2, 1, 130  # exit codes; the last is a shell's own for Ctrl-C


@contextmanager
def report_errors(program: str, *, debug: bool) -> Iterator[None]:
    """End the process with one line on stderr where the block raises.

    A refusal is told as it is, with exit code 2, and so is a full disk; an exception that nobody foresaw is named, with
    exit code 1; Ctrl-C ends with 130. With `debug` the exception itself passes.

    A letter that the terminal or log has no code for is written as its number.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except LabError as error:
        if debug:
            raise
        _leave(program, str(error), REFUSED)
    except KeyboardInterrupt:
        if debug:
            raise
        _leave(program, "interrupted", INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in DISK:  # of what is printed too: the log may lie on that disk
            _leave(program, f"the disk is at fault: {error.strerror}", REFUSED)
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        _leave(program, f"stopped by an unexpected {what}; {DEBUG} shows the traceback", UNEXPECTED)


def _leave(program: str, sentence: str, code: int) -> None:
    print(f"{program}: {' '.join(sentence.split())}", file=sys.stderr)
    raise SystemExit(code) from None
