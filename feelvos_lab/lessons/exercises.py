"""Exercises of the lessons: students write a function of the library themselves, and get named feedback.

    @exercise("global_matching")
    def global_matching(query, reference, labels, *, num_objects):
        ...

The decorator calls the function on a hand case, a random case and an edge case and prints one paragraph. It returns
the student's function if it is right and the library's if not, so that the next cell always runs.
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
from typing import Any, NamedTuple

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


class _Raised(NamedTuple):
    """What a call raised instead of returning a result."""

    error: Exception


def exercise(name: str) -> Callable[[Answer], Answer]:
    """Check the decorated function on a hand case, a random case and an edge case, and print the result.

    The exercise, the library's function and the decorated function all have this `name`; any other is a LabError.
    The decorator returns the decorated function if it is right, else the library's function.

    Example:
        >>> @exercise("pairwise_sq_dist")
        ... def pairwise_sq_dist(query, reference):
        ...     return (query[:, None] - reference).norm(dim=2)
        ✗ pairwise_sq_dist: these look like distances, not squared distances; ...
        >>> pairwise_sq_dist.__module__  # the next cell runs with the library's function
        'feelvos_lab.model.matching.maps'
    """
    task = find_exercise(name)

    def check(answer: Answer) -> Answer:
        if answer.__name__ != name:
            raise LabError(f"the function of exercise {name!r} must be called {name}, it is called {answer.__name__}")
        message, right = _check_answer(task, answer)
        print(message)
        return _completed_by_library(task, answer) if right else task.library

    return check


def hint(name: str, level: int | None = None) -> None:
    """Print the next hint of an exercise: a nudge, then the formula, then the essential code.

    Args:
        level: 1 to 3 for a certain hint, any other is a LabError; None for the one after the last that was shown.

    Example:
        >>> hint("matching_memory", 2)
        matching_memory, formula: M = ((H − 1) // 4 + 1) · ((W − 1) // 4 + 1); N = M where ... bytes = M · N · 4. ...
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
    """Print the library's source of an exercise: there is no other solution.

    Example:
        >>> solution("combine_objects")
        # feelvos_lab.model.head
        def combine_objects(logits: Tensor) -> Tensor:
            ...
    """
    library = find_exercise(name).library
    print(f"# {library.__module__}\n{inspect.getsource(inspect.unwrap(library))}", end="")


def _check_answer(task: Exercise, answer: Answer) -> tuple[str, bool]:
    """The paragraph to print, and whether the answer is right."""
    if _is_stub(answer):
        return _not_attempted(task), False
    if problem := _wrong_arguments(task, answer):
        return _failed(task, problem), False
    cases = [case for case in task.cases() if not _left_out(task, answer) & case.arguments.keys()]
    results = []
    for case in cases:
        arguments = copy.deepcopy(case.arguments)
        result = _result(task, answer, arguments)
        if isinstance(result, _Raised) and isinstance(result.error, NotImplementedError):
            return _not_attempted(task), False
        if changed := [name for name, before in case.arguments.items() if _was_changed(before, arguments[name])]:
            problem = f"your code writes into its argument `{changed[0]}`, which belongs to the caller; work on a copy"
            return _failed(task, problem, f"{case.name} case, {case.about}"), False
        results.append(result)
    expected = _results(task, task.library, cases)
    failed = [i for i in range(len(cases)) if not _agree(expected[i], results[i])]
    if not failed:
        return f"✓ {task.name}: right on the hand case, at random and at the edge; yours is used from here on.", True
    case, right, got = cases[failed[0]], expected[failed[0]], results[failed[0]]
    mistake = next((m for m in task.mistakes if _is_made(m, task, cases, expected, results)), None)
    if mistake is None and isinstance(got, _Raised):
        return _raised(task, answer, case, got.error), False
    problem = mistake.hint if mistake else "that is not it, and none of the known mistakes explains it"
    return _failed(task, problem, _evidence(case, right, got)), False


def _was_changed(before: Any, after: Any) -> bool:
    if isinstance(before, Clip):
        return not (same(before.frames, after.frames) and same(before.masks, after.masks))
    if isinstance(before, pd.DataFrame):
        return not before.equals(after)
    return isinstance(before, Tensor) and not same(before, after)


def _result(task: Exercise, answer: Answer, arguments: dict[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():  # such as numpy's of 0 / 0: the paragraph judges the result
            warnings.simplefilter("ignore")
            return task.call(answer, arguments)
    except Exception as error:  # whatever a student's code raises is shown to the student
        return _Raised(error)


def _results(task: Exercise, answer: Answer, cases: list[Case]) -> list[Any]:
    return [_result(task, answer, copy.deepcopy(case.arguments)) for case in cases]


def _agree(expected: Any, got: Any) -> bool:
    if isinstance(expected, _Raised) or isinstance(got, _Raised):
        return isinstance(expected, _Raised) and isinstance(got, _Raised)
    return same(expected, got)


def _is_made(mistake: Mistake, task: Exercise, cases: list[Case], expected: list[Any], results: list[Any]) -> bool:
    """Whether one of the mistake's functions gives the student's results wherever it differs from the right ones."""
    for wrong in mistake.wrong:
        theirs = _results(task, wrong, cases)
        differs = [i for i in range(len(cases)) if not _agree(expected[i], theirs[i])]
        if differs and all(_agree(theirs[i], results[i]) for i in differs):
            return True
    return False


def _is_stub(answer: Answer) -> bool:
    """Whether the body is only a docstring, `...`, `pass` or `raise NotImplementedError`."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(answer))).body
    except (OSError, SyntaxError, ValueError):  # no source is kept of it: then the call decides
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


def _completed_by_library(task: Exercise, answer: Answer) -> Answer:
    """The answer, except that calls with an argument that it does not take go to the library."""
    missing = _left_out(task, answer)
    if not missing:
        return answer

    @wraps(answer)
    def either(*arguments: Any, **named: Any) -> Any:
        return (task.library if missing & named.keys() else answer)(*arguments, **named)

    return either


def _not_attempted(task: Exercise) -> str:
    return f'○ {task.name}: not attempted; the library\'s is used below. A start: hint("{task.name}")'


def _failed(task: Exercise, problem: str, evidence: str = "") -> str:
    below = f'The library\'s is used below until this is fixed; hint("{task.name}") helps.'
    return "\n  ".join(filter(None, [f"✗ {task.name}: {problem}.", evidence, below]))


def _raised(task: Exercise, answer: Answer, case: Case, error: Exception) -> str:
    own = inspect.unwrap(answer).__code__.co_filename
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    where = f" in line {lines[-1]}" if lines and lines[-1] else ""
    words = " ".join(str(error).split())[:200]
    problem = f"your code raised {type(error).__name__}{where}{': ' if words else ''}{words}"
    return _failed(task, problem.rstrip("."), f"{case.name} case, {case.about}: {shapes(case.arguments)}")


def _evidence(case: Case, expected: Any, got: Any) -> str:
    if isinstance(expected, _Raised):
        difference = f"expected an error, {expected.error}; got {show(got)}"
    elif isinstance(got, _Raised):
        difference = f"expected {show(expected)}, got {type(got.error).__name__}: {got.error}"
    else:
        given = ", ".join(f"{name} = {show(value)}" for name, value in case.arguments.items())
        difference = f"{given} → {disagreement(expected, got)}"
    return f"{case.name} case, {case.about}: {difference}"
