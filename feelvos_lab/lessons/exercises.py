"""Exercises of the notebooks: write a function of the library anew, and be told what is wrong with it by name.

    @exercise("global_matching")
    def global_matching(query, reference, labels, *, num_objects):
        ...

The decorator calls the function on a hand case, a random one and an edge case, prints one paragraph, and hands back
the student's function where it is right, the library's where it is not, so that the next cell always runs.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
import traceback
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import pandas as pd
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.lessons.checks import find_exercise
from feelvos_lab.lessons.checks.compare import disagreement, same, shapes, show
from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake, parameters_of

__all__ = ["exercise", "hint", "solution"]

_LEVELS = ("nudge", "formula", "code")

_hints_shown: dict[str, int] = {}


class _Raised:
    """What a call gave instead of a result."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def exercise(name: str) -> Callable[[Answer], Answer]:
    """Check the function below on a hand case, a random one and an edge case, and say in one paragraph how it went.

    Args:
        name: of the exercise, which is that of a function of the library and of the decorated one.

    Returns:
        A decorator. What it gives back is the decorated function if that is right, else the library's.

    Raises:
        LabError: no exercise of that name, or a function of another one.
    """
    task = find_exercise(name)

    def check(answer: Answer) -> Answer:
        if answer.__name__ != name:
            raise LabError(f"the function of exercise {name!r} must be called {name}, it is called {answer.__name__}")
        verdict, right = _verdict(task, answer)
        print(verdict)
        return _with_the_rest_from_the_library(task, answer) if right else task.library

    return check


def hint(name: str, level: int | None = None) -> None:
    """Print the next hint of an exercise: a nudge, then the formula, then the code that matters.

    Args:
        level: 1 to 3 for one of them; None goes on from the last one shown, and stays at the third.

    Raises:
        LabError: no exercise of that name, or another level.
    """
    task = find_exercise(name)
    if level is None:
        level = _hints_shown.get(name, 0) + 1
        _hints_shown[name] = min(level, 2)
    if level not in (1, 2, 3):
        raise LabError(f"the level of a hint must be 1, 2 or 3, got {level!r}")
    more = f'more: hint("{name}")' if level < 3 else f'everything: solution("{name}")'
    space = "\n" if level == 3 else " "
    print(f"{name}, {_LEVELS[level - 1]}:{space}{task.hints[level - 1]}{space}({more})")


def solution(name: str) -> None:
    """Print the library's own source of an exercise: there is no other solution.

    Raises:
        LabError: no exercise of that name.
    """
    library = find_exercise(name).library
    print(f"# {library.__module__}\n{inspect.getsource(inspect.unwrap(library))}", end="")


def _verdict(task: Exercise, answer: Answer) -> tuple[str, bool]:
    """The paragraph to print, and whether the answer is right."""
    if _is_stub(answer):
        return _not_attempted(task), False
    if wrong := _wrong_arguments(task, answer):
        return _failed(task, wrong), False
    cases = [case for case in task.cases() if not _left_out(task, answer) & case.arguments.keys()]
    results = []
    for case in cases:
        given = copy.deepcopy(case.arguments)
        result = _result(task, answer, given)
        if isinstance(result, _Raised) and isinstance(result.error, NotImplementedError):
            return _not_attempted(task), False
        for argument, before in case.arguments.items():
            if _was_changed(before, given[argument]):
                says = f"your code writes into its argument `{argument}`, which belongs to the caller; work on a copy"
                return _failed(task, says, f"{case.name} case, {case.about}"), False
        results.append(result)
    expected = [_result(task, task.library, copy.deepcopy(case.arguments)) for case in cases]
    failed = [i for i in range(len(cases)) if not _agree(expected[i], results[i])]
    if not failed:
        return f"✓ {task.name}: right on the hand case, at random and at the edge; yours is used from here on.", True
    first = failed[0]
    mistake = next((m for m in task.mistakes if _is_made(m, task, cases, expected, results)), None)
    if mistake is None and isinstance(results[first], _Raised):
        return _raised(task, answer, cases[first], results[first].error), False
    evidence = _evidence(cases[first], expected[first], results[first])
    says = mistake.hint if mistake else "that is not it, and no mistake that has a name here"
    return _failed(task, says, evidence), False


def _was_changed(before: Any, after: Any) -> bool:
    if isinstance(before, Clip):
        return not (same(before.frames, after.frames) and same(before.masks, after.masks))
    if isinstance(before, pd.DataFrame):
        return not before.equals(after)
    return isinstance(before, Tensor) and not same(before, after)


def _result(task: Exercise, answer: Answer, arguments: dict[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():  # such as numpy's of 0 / 0: the result is judged, in one paragraph
            warnings.simplefilter("ignore")
            return task.call(answer, arguments)
    except Exception as error:  # whatever a student's code may raise is shown to the student
        return _Raised(error)


def _agree(expected: Any, got: Any) -> bool:
    if isinstance(expected, _Raised) or isinstance(got, _Raised):
        return isinstance(expected, _Raised) and isinstance(got, _Raised)
    return same(expected, got)


def _is_made(mistake: Mistake, task: Exercise, cases: list[Case], expected: list[Any], results: list[Any]) -> bool:
    """Does one of the mistake's functions give the student's results wherever it is wrong itself?"""
    for wrong in mistake.wrong:
        theirs = [_result(task, wrong, copy.deepcopy(case.arguments)) for case in cases]
        telling = [i for i in range(len(cases)) if not _agree(expected[i], theirs[i])]
        if telling and all(_agree(theirs[i], results[i]) for i in telling):
            return True
    return False


def _is_stub(answer: Answer) -> bool:
    """Is the body nothing but a docstring, `...`, `pass` and `raise NotImplementedError`?"""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(answer))).body
    except (OSError, SyntaxError, ValueError):  # typed where no source is kept: then calling it must tell
        return False
    return isinstance(function, ast.FunctionDef) and all(_does_nothing(node) for node in function.body)


def _does_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise):
        return "NotImplementedError" in ast.unparse(node)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _wrong_arguments(task: Exercise, answer: Answer) -> str:
    wanted, given = parameters_of(task.library), parameters_of(answer)
    names = [p.name for p in given]
    kept = [p.name for p in wanted if p.name in names or p.name not in task.optional]
    return "" if names == kept else f"the arguments must be ({', '.join(kept)}), they are ({', '.join(names)})"


def _left_out(task: Exercise, answer: Answer) -> frozenset[str]:
    """The optional arguments that the answer does not take."""
    return task.optional - {p.name for p in parameters_of(answer)}


def _with_the_rest_from_the_library(task: Exercise, answer: Answer) -> Answer:
    """The answer itself; the library where it is called with an argument that the answer left out."""
    missing = _left_out(task, answer)
    if not missing:
        return answer

    @wraps(answer)
    def either(*arguments: Any, **named: Any) -> Any:
        return (task.library if missing & named.keys() else answer)(*arguments, **named)

    return either


def _not_attempted(task: Exercise) -> str:
    return f'○ {task.name}: not attempted; the library\'s is used below. A start: hint("{task.name}")'


def _failed(task: Exercise, says: str, evidence: str = "") -> str:
    told = f"\n  {evidence}" if evidence else ""
    return (
        f'✗ {task.name}: {says}.{told}\n  The library\'s is used below until this is mended; hint("{task.name}") helps.'
    )


def _raised(task: Exercise, answer: Answer, case: Case, error: Exception) -> str:
    own = inspect.unwrap(answer).__code__.co_filename
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    where = f" in line {lines[-1]}" if lines and lines[-1] else ""
    words = " ".join(str(error).split())[:200]
    says = f"your code raised {type(error).__name__}{where}{': ' if words else ''}{words}"
    return _failed(task, says.rstrip("."), f"{case.name} case, {case.about}: {shapes(case.arguments)}")


def _evidence(case: Case, expected: Any, got: Any) -> str:
    given = ", ".join(f"{name} = {show(value)}" for name, value in case.arguments.items())
    if isinstance(expected, _Raised):
        return f"{case.name} case, {case.about}: expected an error, {expected.error}; got {show(got)}"
    if isinstance(got, _Raised):
        return f"{case.name} case, {case.about}: expected {show(expected)}, got {type(got.error).__name__}: {got.error}"
    return f"{case.name} case, {case.about}: {given} → {disagreement(expected, got)}"
