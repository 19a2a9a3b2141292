"""Values in a line: what a case gave, and what an answer returned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from feelvos_lab.data.clip import Clip

SHOWN = 16  # the largest tensor that is shown in full, in numbers


def show(value: Any) -> str:
    """A value in a line: small tensors in full, others by their type and shape."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        if 0 < value.numel() <= SHOWN:
            return numbers(value.detach().tolist())
        return f"a {kind} tensor of shape {shape_of(value)}"
    if isinstance(value, np.ndarray):
        return f"a numpy array of shape {shape_of(value)}"
    if isinstance(value, pd.DataFrame) and len(value) <= 4:
        rows = (" ".join(map(str, row)) for row in value.to_numpy().tolist())
        return f"[{' '.join(map(str, value.columns))}: {'; '.join(rows)}]"
    if isinstance(value, pd.DataFrame):
        return f"a table of {len(value)} rows with the columns {', '.join(map(str, value.columns))}"
    if isinstance(value, pd.Series):
        return f"a pandas Series of {len(value)} values"
    if isinstance(value, Clip):
        return f"a clip of {len(value)} frames"
    if isinstance(value, torch.nn.Module):
        return "a small model"
    if isinstance(value, list | tuple | dict | set) and not (_is_short(value) or hasattr(value, "what")):
        return f"a {type(value).__name__}" + ("" if hasattr(value, "_fields") else f" of {len(value)}")
    return repr(value) if len(repr(value)) < 100 else f"a {type(value).__name__}"


def shapes(arguments: dict[str, Any]) -> str:
    """The arguments of a call, tensors by shape and type: shown with an error that the code raised."""
    return ", ".join(
        f"{n} {shape_of(v)} {str(v.dtype).removeprefix('torch.')}" if isinstance(v, Tensor) else f"{n}={show(v)}"
        for n, v in arguments.items()
    )


def numbers(value: Any) -> str:
    """A number, or lists of numbers, with four digits."""
    if isinstance(value, list):
        return f"[{', '.join(numbers(v) for v in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(int(value) if isinstance(value, bool) else value)


def shape_of(tensor: Tensor | np.ndarray) -> str:
    """A shape as Python writes it: (3, 4), (3,) or ()."""
    return f"({', '.join(map(str, tensor.shape))}{',' if tensor.ndim == 1 else ''})"


def _is_short(value: Any) -> bool:
    return len(value) <= 4 and all(isinstance(v, int | float | str) or v is None for v in value)
