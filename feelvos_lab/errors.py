"""The one exception this library raises for wrong input."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager


class LabError(ValueError):
    """Wrong input, told in one sentence: what is wrong, what was expected, what came.

    The command line prints the sentence and exits with code 2; nothing is left half-written.
    """


def shape_text(shape: Sequence[int]) -> str:
    """A shape for an error message: `3×480×854`; "a single number" where it has no axis."""
    return "×".join(map(str, shape)) or "a single number"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'radius'?)`, or nothing when no known name is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


@contextmanager
def reporting(problem: str, *, only: Container[int] | None = None) -> Iterator[None]:
    """Raise an OSError of the block as a LabError: `problem`, a colon, the system's reason.

    Args:
        only: the error numbers (`errno`) meant; others pass as they are. None: all.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise LabError(f"{problem}: {error.strerror or error}") from error
