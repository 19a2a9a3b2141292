"""Compare the result of an answer with the right one, and show values in one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from feelvos_lab.data.clip import Clip

TOLERANCE = 1e-4  # absolute, and relative to the expected number: loops and einsum round differently
SHOWN = 16  # the largest tensor that is shown in full, in numbers


def same(expected: Any, got: Any) -> bool:
    """Equal up to rounding; nan equals nan."""
    return disagreement(expected, got) is None


def disagreement(expected: Any, got: Any) -> str | None:
    """ "expected …, got …", or None where the results agree."""
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        return _of_tensors(expected.detach(), got.detach())
    if isinstance(expected, pd.DataFrame) and isinstance(got, pd.DataFrame):
        return _of_tables(expected, got)
    if isinstance(expected, dict) and isinstance(got, dict):
        return _of_dicts(expected, got)
    if isinstance(expected, int | float) and (number := _as_number(got)) is not None:
        if math.isclose(expected, number, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            return None
        return None if math.isnan(expected) and math.isnan(number) else f"expected {expected:.6g}, got {number:.6g}"
    if type(expected) is type(got) and not isinstance(expected, Tensor) and expected == got:
        return None
    forgotten = "; is a `return` missing?" if got is None else ""
    return f"expected {show(expected)}, got {show(got)}{forgotten}"


def show(value: Any) -> str:
    """A value in a line: small tensors in full, others by their shape."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        if 0 < value.numel() <= SHOWN:
            return _numbers(value.detach().tolist())
        return f"a {kind} tensor of shape {_shape(value)}"
    if isinstance(value, np.ndarray):
        return f"a numpy array of shape {tuple(value.shape)}"
    if isinstance(value, pd.DataFrame) and len(value) <= 4:
        rows = (" ".join(map(str, row)) for row in value.to_numpy().tolist())
        return f"[{' '.join(map(str, value.columns))}: {'; '.join(rows)}]"
    if isinstance(value, pd.DataFrame):
        return f"a table of {len(value)} rows with the columns {', '.join(map(str, value.columns))}"
    if isinstance(value, Clip):
        return f"a clip of {len(value)} frames"
    if isinstance(value, torch.nn.Module):
        return "a small model"
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"a {type(value).__name__} of {len(value)}"
    return repr(value) if len(repr(value)) < 100 else f"a {type(value).__name__}"


def shapes(arguments: dict[str, Any]) -> str:
    """The arguments of a call, tensors by shape and type: shown with an error that the code raised."""
    return ", ".join(
        f"{n} {_shape(v)} {str(v.dtype).removeprefix('torch.')}" if isinstance(v, Tensor) else f"{n}={show(v)}"
        for n, v in arguments.items()
    )


def _of_tensors(expected: Tensor, got: Tensor) -> str | None:
    if expected.shape != got.shape:
        return f"expected the shape {_shape(expected)}, got {_shape(got)}"
    if got.is_complex():
        return f"expected real numbers, got {got.dtype}"
    right, answer = expected.double(), got.double()
    wrong = ~torch.isclose(answer, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    if not wrong.any():
        return None
    if 0 < expected.numel() <= SHOWN:
        return f"expected {_numbers(right.tolist())}, got {_numbers(answer.tolist())}"
    first = tuple(wrong.nonzero()[0].tolist())
    share = f"{int(wrong.sum())} of {wrong.numel()} numbers differ"
    return f"{share}: at {list(first)} expected {right[first]:.4g}, got {answer[first]:.4g}"


def _of_tables(expected: pd.DataFrame, got: pd.DataFrame) -> str | None:
    columns = list(expected.columns)
    if missing := [c for c in columns if c not in got.columns]:
        return f"expected the columns {', '.join(columns)}, {', '.join(missing)} is missing in {list(got.columns)}"
    if len(expected) != len(got):
        return f"expected {len(expected)} rows, got {len(got)}"
    keys = columns[:-1]
    right, answer = (t[columns].sort_values(columns).reset_index(drop=True) for t in (expected, got))
    for i in range(len(right)):
        row, other = right.iloc[i], answer.iloc[i]
        if list(row[keys]) != list(other[keys]) or not np.isclose(row.iloc[-1], other.iloc[-1], atol=TOLERANCE):
            return f"expected {show(right.iloc[[i]])}, got {show(answer.iloc[[i]])}"
    return None


def _of_dicts(expected: dict[str, Any], got: dict[str, Any]) -> str | None:
    for name, one in expected.items():
        if name not in got:
            return f"expected {name}, got {', '.join(got) or 'nothing'}"
        if (words := disagreement(one, got[name])) is not None:
            return f"{name}: {words}"
    return f"got {min(got.keys() - expected.keys())}, which was not expected" if got.keys() - expected.keys() else None


def _as_number(value: Any) -> float | None:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.item()
    return float(value) if isinstance(value, int | float | np.number) else None


def _numbers(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_numbers(v) for v in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(int(value) if isinstance(value, bool) else value)


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))}{',' if tensor.dim() == 1 else ''})"
