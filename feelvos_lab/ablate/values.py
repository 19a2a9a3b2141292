"""Values as YAML brings them, held to the types that a notebook's parameters cell states."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable
from typing import Any

from feelvos_lab.errors import LabError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'radius'?)`, or nothing when no known name is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_value(name: str, value: Any, annotation: str, *, where: str) -> Any:
    """The value, once it is of the annotated type; an int is welcome where a float is expected, nothing else is bent.

    `annotation` may be made of int, float, bool, str, None, `list[…]`, `Literal[…]` and `|`.

    Raises:
        LabError: the value is of another type, with a hint where YAML reads `1e-4` as text.
    """
    try:
        return _fit(value, ast.parse(annotation, mode="eval").body)
    except TypeError:
        raise LabError(
            f"{where}: {name} must be {annotation}, got {type(value).__name__} {value!r}{_number_hint(value)}"
        ) from None


_PLAIN = {"int": int, "float": float, "bool": bool, "str": str}


def _fit(value: Any, annotation: ast.expr) -> Any:
    """`value` as the annotation wants it, or TypeError."""
    match annotation:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            try:
                return _fit(value, left)
            except TypeError:
                return _fit(value, right)
        case ast.Constant(value=None):
            if value is None:
                return None
        case ast.Name(id="float") if type(value) is int:
            return float(value)
        case ast.Name(id=name) if name in _PLAIN:
            if type(value) is _PLAIN[name]:
                return value
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            if isinstance(value, list):
                return [_fit(v, item) for v in value]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            allowed = ast.literal_eval(choices)
            if value in (allowed if isinstance(allowed, tuple) else (allowed,)):
                return value
    raise TypeError


def _number_hint(value: Any) -> str:
    """Say why YAML's `1e-4` is text: its floats need a dot."""
    if not isinstance(value, str) or not re.fullmatch(r"[+-]?[0-9]+[eE][+-]?[0-9]+", value):
        return ""
    mantissa, exponent = re.split("[eE]", value)
    return f"; YAML reads {value} as text, write {mantissa}.0e{int(exponent):+d}"
