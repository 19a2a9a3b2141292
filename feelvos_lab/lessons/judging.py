"""Judge an answer: run it on the cases of its exercise, say where it first differs from the right result, and why."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from feelvos_lab.lessons.checks import find_exercise
from feelvos_lab.lessons.checks.compare import Difference, as_number, find_difference, same
from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake, parameters_of
from feelvos_lab.lessons.checks.values import shapes, show
from feelvos_lab.lessons.relations import one_sided, part, relation
from feelvos_lab.lessons.watched import SECONDS, Raised, TooSlow, calls_itself, change_of, watch

_ARGUMENTS = 300  # the longest line of arguments that is shown, in characters


class Verdict(NamedTuple):
    """What is said about an answer."""

    state: str  # "right", "wrong" or "untried"
    problem: str = ""  # where it differs, or what is wrong with the code
    reason: str = ""  # the mistake, if one is recognised
    evidence: str = ""  # the case in which it shows, with its arguments


class _NoGradient:
    """In place of a gradient that does not reach the input."""

    def __repr__(self) -> str:
        return "no gradient"


class _Results:
    """The results of a function for the cases of its exercise, each computed when it is first asked for."""

    def __init__(self, task: Exercise, function: Answer, cases: list[Case]) -> None:
        self._of = cache(lambda i: _result(task, function, cases[i]))

    def __getitem__(self, case: int) -> Any:
        return self._of(case)


class _Known(NamedTuple):
    """What is known of an exercise: kept, since the cases are always the same."""

    cases: list[Case]
    expected: _Results
    mistakes: list[tuple[Mistake, _Results]]  # each wrong function


class _Tried(NamedTuple):
    """An answer's results for the cases that it can be called with."""

    task: Exercise
    answer: Answer
    cases: list[Case]
    expected: list[Any]
    results: list[Any]
    failed: list[int]  # cases with a wrong result
    mistakes: list[tuple[Mistake, Callable[[int], Any]]]  # each wrong function's result for a case


def judge(task: Exercise, answer: Answer) -> Verdict:
    """Run an answer on every case. It is right if all results are, and it changes nothing of the caller's."""
    if _is_stub(answer):
        return Verdict("untried")
    if problem := _wrong_arguments(task, answer):
        return Verdict("wrong", problem)
    if calls_itself(answer, task.name):
        return Verdict("wrong", f"your code calls `{task.name}` itself", _ASKED_LIBRARY)
    known = _known(task.name)
    left_out = task.optional - {p.name for p in parameters_of(answer)}
    used = [i for i, case in enumerate(known.cases) if not left_out & case.arguments.keys()]
    cases, results = [known.cases[i] for i in used], []
    for case in cases:
        outcome = _outcome(task, answer, case)
        if isinstance(outcome, Verdict):
            return outcome
        results.append(outcome)
    expected = [known.expected[i] for i in used]
    failed = [i for i in range(len(cases)) if not _agree(expected[i], results[i])]
    mistakes = [(mistake, lambda i, theirs=theirs: theirs[used[i]]) for mistake, theirs in known.mistakes]
    return _compare(_Tried(task, answer, cases, expected, results, failed, mistakes))


_TWO_TENSORS = "along an axis, `min` and `max` return values and indices; take `.values`, or use `amin` and `amax`"
_ASKED_LIBRARY = "that is the library's function, or an earlier version of your own; write the steps yourself"


def _outcome(task: Exercise, answer: Answer, case: Case) -> Any:
    """The result of an answer for a case, or a verdict where the case settles it."""
    arguments = _arguments(case)
    switches = torch.is_grad_enabled(), torch.get_default_dtype()
    left: list[Any] = []

    def call() -> Any:
        result = _with_gradient(case, arguments, task.call(answer, arguments))
        left.append((torch.is_grad_enabled(), torch.get_default_dtype()))
        return result

    about = f"{case.name} case, {case.about}: {shapes(case.arguments)}"
    try:
        result, asked_library = watch(call, name=task.name, seconds=SECONDS)
    except TooSlow:
        problem = f"your code was stopped after {SECONDS:.0f} seconds: it does not end, or is very slow"
        return Verdict("wrong", problem, "look at the conditions of its loops", about)
    if isinstance(result, Raised) and _gives_up(answer, result.error):
        return Verdict("untried")
    if asked_library:
        return Verdict("wrong", f"your code calls the library's own `{task.name}`", _ASKED_LIBRARY)
    for name, before in _arguments(case).items():
        if change := change_of(before, arguments[name]):
            words = f"your code {change.format(f'its argument `{name}`')}, which belongs to the caller"
            return Verdict("wrong", words, "leave it as it was, or work on a copy", about)
    if left and left[0] != switches:
        words = "your code leaves the gradients switched off, or another default dtype, for everything after it"
        return Verdict("wrong", words, "use `with torch.no_grad():`, or nothing", about)
    return result


def _gives_up(answer: Answer, error: BaseException) -> bool:
    """Whether the code says that it is not written yet: torch raises NotImplementedError, too, for a type it lacks."""
    if not isinstance(error, NotImplementedError):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename == _file(answer) and (not last.line or "raise" in last.line.split())  # "": no source is kept


def _arguments(case: Case) -> dict[str, Any]:
    """A copy of a case's arguments for one call; the one of which the gradient is asked for requires it."""
    arguments = copy.deepcopy(case.arguments)
    if case.gradient:
        arguments[case.gradient].requires_grad_()
    return arguments


def _with_gradient(case: Case, arguments: dict[str, Any], result: Any) -> Any:
    """The result and its gradient, where a case asks for it: of a sum in which every number has a weight of its own."""
    if not case.gradient:
        return result
    given = arguments[case.gradient]
    if not (isinstance(result, Tensor) and result.requires_grad):
        return {"the result": result, "the gradient of the result": _NoGradient()}
    weights = torch.arange(1.0, 1 + result.numel(), dtype=result.dtype).view(result.shape)
    (slope,) = torch.autograd.grad((result * weights).sum(), given, allow_unused=True)
    return {"the result": result.detach(), "the gradient of the result": _NoGradient() if slope is None else slope}


def _compare(tried: _Tried) -> Verdict:
    if not tried.failed:
        return Verdict("right")
    reason, shown = _mistake(tried)
    if not reason:
        reason, shown = _reason(tried)
    case, right, got = tried.cases[shown], tried.expected[shown], tried.results[shown]
    about = f"{case.name} case, {case.about}"
    if isinstance(got, Raised) and not isinstance(right, Raised):
        raised = f"your code raised {_where(tried.answer, got.error)}"
        return Verdict("wrong", raised, reason, f"{about}: {shapes(case.arguments)}")
    return Verdict("wrong", _difference(tried.task, right, got).words, reason, f"{about}{_given(case)}")


def _mistake(tried: _Tried) -> tuple[str, int]:
    """The hint of the mistake that explains most, or "", and the case that shows it.

    A mistake explains an answer if it gives the same results wherever it differs from the right ones, and so in the
    first case that fails. Where that is no accident, one that differs elsewhere is taken, too: there are two mistakes.
    """
    cases, expected, results = tried.cases, tried.expected, tried.results
    first = tried.failed[0]
    best, hint, shown = 0.0, "", first
    for mistake, theirs in tried.mistakes:
        if _agree(expected[first], theirs(first)) or not _agree(theirs(first), results[first]):
            continue
        differs = [i for i in range(len(cases)) if not _agree(expected[i], theirs(i))]
        alike = [i for i in differs if i in tried.failed and _agree(theirs(i), results[i])]
        if alike == differs:
            value = 100.0 + len(alike)
        elif any(cases[i].telling for i in alike):
            value = len(alike) - len(differs) / 2
        else:
            continue
        if value > best:
            best, hint, shown = value, mistake.hint, alike[0]
    return hint, shown


def _difference(task: Exercise, right: Any, got: Any) -> Difference:
    if isinstance(right, Raised):
        wanted = type(right.error).__name__
        if isinstance(got, Raised):
            words = " ".join(str(got.error).split())[:100]
            return Difference("raised", f"expected a {wanted}, got {type(got.error).__name__}: {words}")
        return Difference("raised", f"expected a {wanted} ({right.error}), got {show(got)}")
    found = find_difference(right, got, task.axes)
    assert found is not None, "results that differ have a difference"
    return found


def _reason(tried: _Tried) -> tuple[str, int]:
    """What can be said of an answer that makes no known mistake, and the case in which it shows."""
    task, cases, expected, results, failed = tried.task, tried.cases, tried.expected, tried.results, tried.failed
    first = failed[0]
    words = _plain_reason(tried, first)
    if words or isinstance(results[first], Raised):
        return words, first
    answered = [i for i in range(len(cases)) if not any(isinstance(x[i], Raised) for x in (expected, results))]
    numbers = [as_number(x[i]) for i in answered for x in (expected, results)]
    if len(answered) > 2 and None not in numbers:  # a relation must hold for all cases together
        pair = torch.tensor(numbers, dtype=torch.float64).view(-1, 2).unbind(1)
        if words := relation(*pair):
            return words, first
    for i in [i for i in failed if cases[i].telling] or failed:
        if i in answered and (words := relation(expected[i], results[i], task.axes)):
            return words, first if relation(expected[first], results[first], task.axes) == words else i
    for i in failed:
        if i in answered and (words := _broken_law(task, cases[i], expected[i], results[i])):
            return words, i
    found = [find_difference(expected[i], results[i], task.axes) if i in answered else None for i in failed]
    if all(difference and difference.wrong is not None for difference in found):
        parts = [(d.wrong, task.regions(cases[i].arguments)) for d, i in zip(found, failed, strict=True)]
        if words := part(parts, task.axes):
            return words, first
    if first > 0 and len(failed) < len(cases):
        right_on = [case.about for i, case in enumerate(cases) if i not in failed][:2]
        return f"it is right elsewhere ({'; '.join(right_on)}), and wrong where {cases[first].about}", first
    words = one_sided([(expected[i], results[i]) for i in failed if i in answered])
    return words or "no mistake that is known here explains it", first


def _plain_reason(tried: _Tried, case: int) -> str:
    """What the kind of a wrong result says: an exception, a type, no gradient, a list of tensors."""
    right, got = tried.expected[case], tried.results[case]
    if isinstance(right, Raised):
        if isinstance(got, Raised):
            return f"the exception must be a {type(right.error).__name__}, which says what is wrong with the input"
        return "this input is refused, not answered"
    if isinstance(got, Raised):
        found = tried.cases[case]
        expected = f"a result is expected here, and no exception: {show(right)}" if found.name == "edge" else ""
        return _of_error(found, got.error) or expected
    difference = _difference(tried.task, right, got)
    if difference.kind == "dtype":
        return "the numbers have the wrong type; convert them, or create the result with the type of the input"
    if "got no gradient" in difference.words:
        return (
            "no gradient reaches the input: it stops at `detach`, `item`, `numpy`, `math` or a new `torch.tensor`; "
            "use torch's functions from the input to the result"
        )
    if type(got).__module__ == "torch.return_types":
        return _TWO_TENSORS
    if isinstance(right, Tensor) and isinstance(got, list | tuple) and all(isinstance(x, Tensor) for x in got):
        return "these are several tensors; `torch.stack` makes one of them"
    return ""


def _broken_law(task: Exercise, case: Case, expected: Any, got: Any) -> str:
    if isinstance(expected, Tensor) and not (isinstance(got, Tensor) and got.shape == expected.shape):
        return ""
    if case.gradient or (not isinstance(expected, Tensor) and (got := as_number(got)) is None):
        return ""
    broken = [law.words for law in task.laws if not law.holds(case.arguments, got)]
    return f"a right result has this property, and yours has not: {broken[0]}" if broken else ""


def _agree(expected: Any, got: Any) -> bool:
    if isinstance(expected, Raised) or isinstance(got, Raised):
        both = isinstance(expected, Raised) and isinstance(got, Raised)
        return both and isinstance(got.error, type(expected.error))
    return same(expected, got)


@cache
def _known(name: str) -> _Known:
    task = find_exercise(name)
    cases = task.cases()
    mistakes = [(mistake, _Results(task, wrong, cases)) for mistake in task.mistakes for wrong in mistake.wrong]
    return _Known(cases, _Results(task, task.library, cases), mistakes)


def _result(task: Exercise, function: Answer, case: Case) -> Any:
    arguments = _arguments(case)
    try:
        return _with_gradient(case, arguments, task.call(function, arguments))
    except Exception as error:  # the library rejects some input, and a mistake may raise where students' code does
        return Raised(error)


def _is_stub(answer: Answer) -> bool:
    """Whether the body is only a docstring, `...`, `pass` or `raise NotImplementedError`."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(answer))).body
    except (OSError, SyntaxError, ValueError, TypeError):  # no source is kept of it: then the call decides
        return False
    return isinstance(function, ast.FunctionDef) and all(_does_nothing(node) for node in function.body)


def _does_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise):
        return "NotImplementedError" in ast.unparse(node)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _wrong_arguments(task: Exercise, answer: Answer) -> str:
    """What is wrong with the signature. Arguments of one's own need a default."""
    wanted, given = parameters_of(task.library), parameters_of(answer)
    names = [p.name for p in given]
    kept = [p.name for p in wanted if p.name in names or p.name not in task.optional]
    own = [p.name for p in given if p.name not in kept and p.default is p.empty]
    if own or [n for n in names if n in kept] != kept:
        return f"the arguments must be ({', '.join(kept)}), they are ({', '.join(names)})"
    given_by_name = {p.name: p for p in given}
    for p in wanted:
        if p.name in given_by_name and p.default is not p.empty and given_by_name[p.name].default is p.empty:
            return f"the argument `{p.name}` must have the default {p.default!r}, it has none"
    return ""


def _where(answer: Answer, error: BaseException) -> str:
    """ "ValueError in line 3: its words"."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == _file(answer)]
    where = f" in line {lines[-1]}" if lines and lines[-1] else ""
    words = " ".join(str(error).split())[:200].rstrip(".")
    return f"{type(error).__name__}{where}{': ' if words else ''}{words}"


def _file(answer: Answer) -> str:
    return getattr(getattr(inspect.unwrap(answer), "__code__", None), "co_filename", "")


def _of_error(case: Case, error: BaseException) -> str:
    """What an error means that many make."""
    words = str(error)
    if case.gradient:
        return (
            "this happens where the gradient is asked for, and nowhere else: compute with torch's functions from the "
            "input to the result, without `numpy`, `math` and in-place changes"
        )
    if isinstance(error, NameError):
        return "the name is not defined in this notebook: import it, or look for a slip in its spelling"
    if "'method' object" in words or "'function' object" in words:
        return 'this is a function, not a value; of a table, `table.clip` is a method and `table["clip"]` the column'
    if "'bool' object has no attribute" in words:
        return 'two functions are compared; of a table, `table.clip` is a method and `table["clip"]` the column'
    if isinstance(error, AttributeError) and hasattr(error.obj, "_fields"):
        return f"it has {', '.join(error.obj._fields)}"
    if "is invalid for input of size" in words:
        return "`view` or `reshape` asks for a shape of another number of values: compare it with those below"
    if "torch.return_types" in words:
        return _TWO_TENSORS
    if "shape of the mask" in words:
        return "a mask of True and False must have the shape of the axes that it selects from: compare the two"
    if isinstance(error, IndexError) and "out of" in words:
        return "an index is beyond the end of its axis"
    if "must match" in words or "broadcast" in words or "shapes cannot be multiplied" in words:
        return "the shapes do not fit: compare those that you combine with those of the arguments below"
    return ""


def _given(case: Case) -> str:
    words = ", ".join(f"{name} = {show(value)}" for name, value in case.arguments.items())
    return f": {words}" if len(words) <= _ARGUMENTS else f": {shapes(case.arguments)}"
