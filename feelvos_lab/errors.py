"""The exception for wrong input, and helpers that write its message."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager


class LabError(ValueError):
    """Wrong input. The message is one sentence: what is wrong, what was expected, what was given.

    The command line prints it and exits with code 2; no unfinished files remain.

    Example:
        >>> from feelvos_lab import LabError, configure
        >>> try:
        ...     configure("reduced", head_kernel=4)
        ... except LabError as error:
        ...     print(error)
        head_kernel must be odd, got 4
    """


def shape_text(shape: Sequence[int]) -> str:
    """A shape for an error message: `3×480×854`; "a single number" where it has no axis."""
    return "×".join(map(str, shape)) or "a single number"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'radius'?)`, to append to an error message; "" where no known name is similar."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


@contextmanager
def reporting(problem: str, *, only: Container[int] | None = None) -> Iterator[None]:
    """Turn an OSError raised in the block into a LabError: `problem`, a colon, the system's reason.

    Args:
        only: the error numbers (`errno`) to turn; others pass unchanged. None: all.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise LabError(f"{problem}: {error.strerror or error}") from error
