"""Questions of the lessons that check themselves: a guess before the figure, the answer below it.

    guess("J of the shifted square", ...)       # the student puts a number in place of the dots
    reveal("J of the shifted square", 1 / 3)    # a later cell, which has computed it

A notebook runs through with the dots, too: then the answer is printed alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from feelvos_lab.errors import LabError, did_you_mean

__all__ = ["guess", "reveal"]

_guesses: dict[str, Any] = {}


def guess(name: str, value: Any, *, choices: Sequence[str] = ()) -> None:
    """Note a guess until `reveal`; `...` stands for none. A later guess replaces an earlier one.

    Args:
        value: a number, or one of the `choices` where there are any.

    Raises:
        LabError: a value that is neither.

    Example:
        >>> from feelvos_lab.lessons import guess
        >>> guess("J of the shifted square", ...)
        ○ J of the shifted square: no guess yet. Put a number in place of the dots
        >>> guess("J of the shifted square", 0.5)
        ● J of the shifted square: 0.5 is noted
    """
    if value is ...:
        _guesses.pop(name, None)
        wanted = f"one of {', '.join(map(repr, choices))}" if choices else "a number"
        print(f"○ {name}: no guess yet. Put {wanted} in place of the dots")
        return
    if choices and value not in choices:
        expected = ", ".join(map(repr, choices))
        raise LabError(f"the guess {name!r} must be one of {expected}, got {value!r}{did_you_mean(value, choices)}")
    if not choices and (not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value)):
        raise LabError(f"the guess {name!r} must be a number, got {value!r}")
    _guesses[name] = value
    print(f"● {name}: {value} is noted")


def reveal(name: str, answer: float | str, *, within: float = 0.0, factor: float = 1.0) -> None:
    """Print the answer and whether the guess was right.

    Args:
        within: a number is right if it is no further than this from the answer …
        factor: … or at most this many times as large or as small, such as 2.

    Example:
        >>> from feelvos_lab.lessons import guess, reveal
        >>> guess("J of the shifted square", 0.5)
        ● J of the shifted square: 0.5 is noted
        >>> reveal("J of the shifted square", 1 / 3, within=0.05)
        ✗ J of the shifted square: it is 0.33, your guess was 0.5
    """
    shown = answer if isinstance(answer, str) else _short(answer)
    if name not in _guesses:
        print(f"○ {name}: it is {shown}; there was no guess")
        return
    value = _guesses[name]
    right = value == answer if isinstance(answer, str) else _is_near(value, answer, within=within, factor=factor)
    print(f"{'✓' if right else '✗'} {name}: it is {shown}, your guess was {value}")


def _is_near(value: float, answer: float, *, within: float, factor: float) -> bool:
    if not isinstance(value, Real):
        return False
    close = abs(value - answer) <= within + 1e-9
    return close or (value * answer > 0 and 1 / factor <= value / answer <= factor)


def _short(number: float) -> str:
    """Three digits, with separators of thousands and without an exponent: 0.33, 12, 1,540."""
    if abs(number) >= 100 or float(number).is_integer():
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) >= 1 else f"{number:.2f}"
