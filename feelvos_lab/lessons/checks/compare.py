"""Compare the result of an answer with the right one: where they differ first, with both values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from feelvos_lab.lessons.checks.values import numbers, shape_of, show

TOLERANCE = 3e-5  # absolute, and relative to the expected number: loops and einsum round differently
EXACT = 1e-6  # relative, for numbers that count something: float32 holds six digits

_AXES = {1: ("entry",), 2: ("row", "column"), 3: ("object", "row", "column"), 4: ("object", "cue", "row", "column")}


class Difference(NamedTuple):
    """Where a result first differs from the right one."""

    kind: str  # "type", "shape", "dtype", "columns", "rows", "missing" or "values"
    words: str  # "object 1, row 0, column 2: expected 0.25, got 1"
    wrong: Tensor | None = None  # where two tensors of one shape differ


def same(expected: Any, got: Any) -> bool:
    """Equal up to rounding; nan equals nan."""
    return find_difference(expected, got) is None


def find_difference(expected: Any, got: Any, axes: Sequence[str] = ()) -> Difference | None:
    """The first difference, or None where the results agree.

    A number may be a Python number, a numpy scalar or a tensor without axes; a tensor of floats may be float32 or
    float64.

    Args:
        axes: what the axes of a tensor are called, such as ("query", "reference").
    """
    if isinstance(expected, Real) or (isinstance(expected, Tensor) and expected.dim() == 0):
        return _of_numbers(expected, got)
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        return _of_tensors(expected.detach(), got.detach(), axes)
    if isinstance(expected, pd.DataFrame) and isinstance(got, pd.DataFrame):
        return _of_tables(expected, got)
    if isinstance(expected, dict) and isinstance(got, dict):
        return _of_dicts(expected, got)
    if isinstance(expected, dict):
        return Difference("type", f"expected {numbers_of(expected)}, got {show(got)}{_missing_return(got)}")
    if type(expected) is type(got) and _alike(expected, got):
        return None
    return Difference("type", f"expected {show(expected)}, got {show(got)}{_missing_return(got)}")


def _alike(one: Any, other: Any) -> bool:
    """Whether two values of one type agree, which no right result has: so that a mistake's can be compared."""
    if isinstance(one, list | tuple):  # of a mistake's predictions, for example
        return len(one) == len(other) and all(same(x, y) for x, y in zip(one, other, strict=True))
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE))
    if isinstance(one, pd.Series):
        return one.reset_index(drop=True).equals(other.reset_index(drop=True))
    return not isinstance(one, Tensor | pd.DataFrame | dict) and bool(one == other)


def as_number(value: Any) -> float | None:
    """A real number as a Python float; None for anything else, a tensor of shape (1,) included."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    return float(value) if isinstance(value, Real | np.bool_) else None


def first_wrong(expected: Tensor, got: Tensor, wrong: Tensor, axes: Sequence[str] = ()) -> str:
    """ "object 1, row 0, column 2: expected 0.25, got 1 (3 of 12 numbers differ)"."""
    first = tuple(wrong.nonzero()[0].tolist())
    names = axes if len(axes) == expected.dim() else _AXES.get(expected.dim(), ())
    place = ", ".join(f"{n} {i}" for n, i in zip(names, first, strict=True)) if names else f"at {list(first)}"
    both = pair(expected[first].item(), got[first].item())
    return f"{place}: {both} ({int(wrong.sum())} of {wrong.numel()} numbers differ)"


def pair(expected: float, got: float) -> str:
    """ "expected 0.25, got 1", with as many digits as tell the two apart; "expected 2,637,885,456"."""
    if max(abs(expected), abs(got)) >= 10_000 and float(expected).is_integer() and float(got).is_integer():
        return f"expected {expected:,.0f}, got {got:,.0f}"
    for digits in (4, 7, 10):
        texts = [f"{value:.{digits}g}" for value in (expected, got)]
        if texts[0] != texts[1]:
            break
    return f"expected {texts[0]}, got {texts[1]}"


def _missing_return(got: Any) -> str:
    return "; is a `return` missing?" if got is None else ""


def _of_numbers(expected: Any, got: Any) -> Difference | None:
    right, number = float(expected), as_number(got)
    if number is None:
        sized = f" of shape {shape_of(got)}" if isinstance(got, Tensor | np.ndarray) else ""
        kind = "shape" if sized else "type"
        what = f"{'a tensor' if isinstance(got, Tensor) else 'an array'}{sized}" if sized else show(got)
        return Difference(kind, f"expected one number, {right:.6g}, got {what}{_missing_return(got)}")
    exact = isinstance(expected, int)
    near = math.isclose(right, number, rel_tol=EXACT if exact else TOLERANCE, abs_tol=0 if exact else TOLERANCE)
    if near or (math.isnan(right) and math.isnan(number)):
        return None
    return Difference("values", pair(right, number))


def _of_tensors(expected: Tensor, got: Tensor, axes: Sequence[str]) -> Difference | None:
    if expected.shape != got.shape:
        return Difference("shape", f"expected the shape {shape_of(expected)}, got {shape_of(got)}")
    kind = str(got.dtype).removeprefix("torch.")
    allowed = (torch.float32, torch.float64) if expected.is_floating_point() else (expected.dtype,)
    if got.dtype not in allowed:
        return Difference("dtype", f"expected numbers of type {str(expected.dtype)[6:]}, got {kind}")
    right, answer = expected.double(), got.double()
    wrong = ~torch.isclose(answer, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    if not wrong.any():
        return None
    return Difference("values", first_wrong(right, answer, wrong, axes), wrong)


def _of_tables(expected: pd.DataFrame, got: pd.DataFrame) -> Difference | None:
    columns = list(expected.columns)
    if missing := [c for c in columns if c not in got.columns]:
        words = f"the column {', '.join(missing)} is missing: expected {', '.join(columns)}, "
        index = "; it is in the index, of which `reset_index()` makes columns" if missing[0] in got.index.names else ""
        return Difference("columns", words + f"got {', '.join(map(str, got.columns)) or 'none'}{index}")
    if extra := [str(c) for c in got.columns if c not in columns]:
        words = f"expected only the columns {', '.join(columns)}, got {', '.join(extra)} as well"
        return Difference("columns", words)
    *keys, last = columns
    right, answer = (_rows(t, keys, last) for t in (expected, got))
    for key in right:
        if key not in answer:
            return Difference("rows", f"expected {len(expected)} rows, got {len(got)}: there is no {_named(keys, key)}")
    if len(got) != len(expected):
        key = next((k for k in answer if k not in right), None)
        what = f"{_named(keys, key)} should not be there" if key else "a row occurs twice"
        return Difference("rows", f"expected {len(expected)} rows, got {len(got)}: {what}")
    for key, values in right.items():
        for value, other in zip(values, answer[key], strict=False):
            one, number = as_number(value), as_number(other)
            if one is None or number is None or not _near(one, number):
                both = pair(one, number) if one is not None and number is not None else f"got {show(other)}"
                return Difference("values", f"{_named(keys, key)}: {both}")
    return None


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(one) and math.isnan(other))


def _rows(table: pd.DataFrame, keys: list[str], last: str) -> dict[tuple[Any, ...], list[Any]]:
    """The values of the last column by the others; more than one where rows occur twice."""
    rows: dict[tuple[Any, ...], list[Any]] = {}
    for row in table[[*keys, last]].itertuples(index=False, name=None):
        rows.setdefault(tuple(row[:-1]), []).append(row[-1])
    return {key: sorted(values, key=str) for key, values in rows.items()}


def _named(keys: list[str], values: tuple[Any, ...]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(keys, values, strict=True))


def _of_dicts(expected: dict[str, Any], got: dict[str, Any]) -> Difference | None:
    for name, one in expected.items():
        if name not in got:
            return Difference("missing", f"{name} is missing: expected {numbers_of(expected)}, got {numbers_of(got)}")
        if (difference := find_difference(one, got[name])) is not None:
            return difference._replace(words=f"{name}: {difference.words}")
    if more := [name for name in got if name not in expected]:
        return Difference("missing", f"{more[0]} was not expected")
    return None


def numbers_of(results: dict[str, Any]) -> str:
    """How many predictions a dict of named results holds."""
    count = sum(name.startswith("the number of") for name in results)
    return numbers(count) + (" prediction" if count == 1 else " predictions")
