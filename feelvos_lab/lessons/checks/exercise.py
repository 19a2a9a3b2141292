"""The parts of an exercise: what is called, with what, and what it looks like when it goes wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One call that every answer must get right."""

    name: str  # "hand", "random" or "edge"
    about: str  # what is special about it, for the message: "object 2 has no pixel"
    arguments: dict[str, Any]  # by the library's names, in its order


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that is common enough to have a name.

    `wrong` makes the mistake, each in its own way. An answer makes it too if it gives the same as one of them
    wherever that differs from the right result.
    """

    name: str
    hint: str  # what the results look like, then what to look at
    wrong: tuple[Answer, ...]


@dataclass(frozen=True)
class Exercise:
    """A function of the library that a student writes anew; the library's own is the answer key."""

    name: str
    library: Answer
    cases: Callable[[], list[Case]]  # the hand case first
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]  # nudge, formula, code
    optional: frozenset[str] = frozenset()  # arguments that an answer may leave out
    settle: Callable[[Any], Any] = lambda result: result  # makes a comparable value of what a call returned

    def call(self, answer: Answer, arguments: dict[str, Any]) -> Any:
        """Call as the library would be called: what is keyword-only there by name, the rest by position."""
        by_name = {p.name for p in parameters_of(self.library) if p.kind is p.KEYWORD_ONLY}
        positional = [value for name, value in arguments.items() if name not in by_name]
        return self.settle(answer(*positional, **{n: v for n, v in arguments.items() if n in by_name}))


def parameters_of(function: Answer) -> list[inspect.Parameter]:
    """A function's parameters, in order."""
    return list(inspect.signature(function).parameters.values())
