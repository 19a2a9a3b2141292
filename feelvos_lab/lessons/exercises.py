"""Exercises of the lessons: students write a function of the library themselves, and get named feedback.

    @exercise("global_matching")
    def global_matching(query, reference, labels, *, num_objects):
        ...

The decorator calls the function on hand cases, random cases and edge cases and prints one paragraph. It returns the
student's function if it is right and the library's if not, so that the next cell always runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError
from feelvos_lab.lessons.checks import LESSONS, NUMBERS, find_exercise
from feelvos_lab.lessons.checks.exercise import Answer, Exercise, parameters_of
from feelvos_lab.lessons.judging import Verdict, judge

__all__ = ["exercise", "hint", "progress", "solution"]

_LEVELS = ("nudge", "formula", "skeleton", "code")
_BOXES = {"right": "✓", "wrong": "✗", "untried": " "}

_hints_shown: dict[str, int] = {}


def exercise(name: str) -> Callable[[Answer], Answer]:
    """Check the decorated function on hand, random and edge cases, and print the result.

    The exercise, the library's function and the decorated function all have this `name`; any other is a LabError.
    The decorator returns the decorated function if it is right, else the library's function. A call that runs for more
    than a few seconds is stopped. What `progress` shows is kept below runs/ in the current folder.

    Example:
        >>> @exercise("pairwise_sq_dist")
        ... def pairwise_sq_dist(query, reference):
        ...     return (query[:, None] - reference).norm(dim=2)
        ✗ pairwise_sq_dist: query 0, reference 1: expected 9, got 3 (5 of 6 numbers differ).
          These look like distances, not squared distances; leave the root out: Eq. 1 squares it again.
          ...
        >>> pairwise_sq_dist.__module__  # the next cell runs with the library's function
        'feelvos_lab.model.matching.maps'
    """
    task = find_exercise(name)

    def check(answer: Answer) -> Answer:
        if answer.__name__ != name:
            raise LabError(f"the function of exercise {name!r} must be called {name}, it is called {answer.__name__}")
        try:
            verdict = judge(task, answer)
        except KeyboardInterrupt:
            print(f"■ {name}: interrupted; the library's is used below.")
            return task.library
        print(_paragraph(name, verdict))
        _keep(name, verdict.state)
        return _completed_by_library(task, answer) if verdict.state == "right" else task.library

    return check


def hint(name: str, level: int | None = None) -> None:
    """Print the next hint of an exercise: a nudge, then the formula, then a skeleton to fill in, then the code.

    Args:
        level: 1 to 4 for a certain hint, any other is a LabError; None for the one after the last that was shown.

    Example:
        >>> hint("matching_memory", 2)
        matching_memory, formula: M = ((H − 1) // 4 + 1) · ((W − 1) // 4 + 1); N = M where ... bytes = M · N · 4. ...
    """
    task = find_exercise(name)
    if level is None:
        level = _hints_shown.get(name, 0) + 1
        _hints_shown[name] = min(level, len(_LEVELS) - 1)
    if level not in range(1, len(_LEVELS) + 1):
        raise LabError(f"the level of a hint must be 1, 2, 3 or 4, got {level!r}")
    more = f'more: hint("{name}")' if level < len(_LEVELS) else f'everything: solution("{name}")'
    space = "\n" if level > 2 else " "
    print(f"{name}, {_LEVELS[level - 1]}:{space}{task.hints[level - 1]}{space}({more})")


def solution(name: str) -> None:
    """Print the library's source of an exercise: there is no other solution.

    Example:
        >>> solution("combine_objects")
        # feelvos_lab.model.head
        def combine_objects(logits: Tensor) -> Tensor:
            ...
    """
    library = find_exercise(name).library
    print(f"# {library.__module__}\n{inspect.getsource(inspect.unwrap(library))}", end="")


def progress() -> None:
    """Print a box for each exercise: ✓ solved, ✗ tried, empty otherwise, in the current folder by any notebook.

    Example:
        >>> progress()
        01  [ ] region_similarity
        02  [ ] pairwise_sq_dist    [ ] normalise_distance
        ...
        0 of 11 exercises solved
    """
    states = {name: _kept(name) for name in LESSONS}
    for number in sorted(set(NUMBERS.values())):
        boxes = [f"[{_BOXES[states[name]]}] {name}" for name in LESSONS if NUMBERS[name] == number]
        print(f"{number:02}  {'    '.join(boxes)}")
    print(f"{list(states.values()).count('right')} of {len(states)} exercises solved")


def _paragraph(name: str, verdict: Verdict) -> str:
    if verdict.state == "untried":
        return f'○ {name}: not attempted; the library\'s is used below. A start: hint("{name}")'
    if verdict.state == "right":
        return f"✓ {name}: right on the hand cases, at random and at the edge; yours is used from here on."
    below = f'The library\'s is used below until this is fixed; hint("{name}") helps.'
    stop = "" if verdict.problem.endswith("?") else "."
    lines = f"✗ {name}: {verdict.problem}{stop}", _sentence(verdict.reason), verdict.evidence, below
    return "\n  ".join(filter(None, lines))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _completed_by_library(task: Exercise, answer: Answer) -> Answer:
    """The answer, except that calls with an argument that it does not take go to the library."""
    missing = task.optional - {p.name for p in parameters_of(answer)}
    if not missing:
        return answer

    @wraps(answer)
    def either(*arguments: Any, **named: Any) -> Any:
        return (task.library if missing & named.keys() else answer)(*arguments, **named)

    return either


def _keep(name: str, state: str) -> None:
    """Keep the state of an exercise in a file of its own, as several notebooks may be open. Solved stays solved."""
    if state == "untried" or _kept(name) == "right":
        return
    try:
        _path(name).parent.mkdir(parents=True, exist_ok=True)
        _path(name).write_text(state, encoding="utf-8")
    except OSError as error:
        print(f"  (progress() will not show it: {_path(name)} cannot be written, {error.strerror})")


def _kept(name: str) -> str:
    try:
        state = _path(name).read_text(encoding="utf-8")
    except OSError:  # not tried yet
        return "untried"
    return state if state in _BOXES else "untried"


def _path(name: str) -> Path:
    return Path("runs") / "exercises" / f"{name}.txt"
