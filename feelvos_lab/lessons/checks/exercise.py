"""The parts of an exercise: the function, the cases on which answers are checked, and the named mistakes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """A call for which every answer must give the right result."""

    name: str  # "hand", "random" or "edge"
    about: str  # what it is, for the message: "object 2 has no pixel"
    arguments: dict[str, Any]  # by the library's names, in its order; one that is left out takes its default
    gradient: str = ""  # the argument that the gradient of the result must reach
    telling: bool = True  # whether a result that is wrong in the same way is no accident: not so with few numbers


@dataclass(frozen=True)
class Mistake:
    """A common wrong answer.

    Each function of `wrong` makes the mistake in its own way. An answer makes it if, for one of them, it gives the same
    results wherever these differ from the right ones.
    """

    name: str
    hint: str  # what the results look like, then what to change
    wrong: tuple[Answer, ...]


@dataclass(frozen=True)
class Law:
    """Something that every right result fulfils: said where no mistake explains a result that breaks it."""

    words: str  # "equal vectors have distance 0"
    holds: Callable[[dict[str, Any], Any], bool]  # of a call's arguments and its result, which has the right shape


@dataclass(frozen=True)
class Exercise:
    """A function of the library that students write themselves; the library's is the answer key."""

    name: str
    library: Answer
    cases: Callable[[], list[Case]]  # from the plain one to the edges, so that the first that fails says most
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str, str]  # nudge, formula, skeleton, code
    optional: frozenset[str] = frozenset()  # arguments that an answer may leave out
    settle: Callable[[Any], Any] = lambda result: result  # makes a value that can be compared from what a call returned
    axes: tuple[str, ...] = ()  # what the axes of the result are called
    laws: tuple[Law, ...] = ()
    regions: Callable[[dict[str, Any]], dict[str, Tensor]] = lambda arguments: {}  # parts of a result that have a name

    def call(self, answer: Answer, arguments: dict[str, Any]) -> Any:
        """Call an answer as the library's function: its keyword-only arguments by name, the others by position."""
        by_name = {p.name for p in parameters_of(self.library) if p.kind is p.KEYWORD_ONLY}
        positional = [value for name, value in arguments.items() if name not in by_name]
        return self.settle(answer(*positional, **{n: v for n, v in arguments.items() if n in by_name}))


def parameters_of(function: Answer) -> list[inspect.Parameter]:
    """A function's parameters, in order."""
    return list(inspect.signature(function).parameters.values())
