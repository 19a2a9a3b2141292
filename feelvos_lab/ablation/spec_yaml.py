"""Values as YAML brings them, held to the types that a notebook's parameters cell states.

An experiment's YAML as it is written: its keys and their types, and on which line each stands.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from feelvos_lab.errors import LabError, did_you_mean


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


MOST = 10_000  # values in a file: a few aliases of aliases could come to more than any memory holds

DEEPEST = 4  # levels of keys that a line is remembered for: claims, 0, better


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WrittenClaim(_Strict):
    better: str
    worse: str
    factor: str | None = None
    level: int | None = None


class Written(_Strict):
    """The file's keys."""

    question: str
    notebook: str
    metric: Literal["JF", "J", "F"] = "JF"
    split: str | None = None
    preset: str | None = None
    paper_table: str | None = None
    seeds: list[int] = [0]
    fixed: dict[str, Any] = {}
    baseline: str
    variants: dict[str, dict[str, Any] | None] | None = None
    grid: dict[str, list[Any]] | None = None
    claims: list[WrittenClaim] = []


@dataclass(frozen=True)
class Places:
    """Where in the file something stands, for the sentence that refuses it."""

    path: Path
    lines: Mapping[tuple[str, ...], int]

    def __str__(self) -> str:
        return str(self.path)

    def at(self, *keys: object) -> str:
        """`file.yml:12` of a key within keys, or of the innermost that is there; the file alone if none is."""
        wanted = tuple(map(str, keys))
        while wanted and wanted not in self.lines:
            wanted = wanted[:-1]
        return f"{self.path}:{self.lines[wanted]}" if wanted else str(self.path)

    def setting(self, variant: str, key: str) -> str:
        """Where a variant gets a setting from, and which variant it is."""
        ways = (("variants", variant, key), ("fixed", key), ("grid", key), ("variants", variant))
        found = next((way for way in ways if way in self.lines), ("grid",))
        return f"{self.at(*found)}, variant {variant!r}"


def read_file(path: Path) -> tuple[Written, Places]:
    """The file's keys once they and their types are right, and their lines.

    Raises:
        LabError: no such file, not YAML, or a key that is unknown, missing, given twice or of another type.
    """
    try:
        content, lines = _load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError(f"there is no experiment file {path}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise LabError(f"{path}{line} is not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LabError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise LabError(f"{path}:1 is not YAML that can be read: it is nested too deeply") from None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror or error}") from None
    places = Places(path, lines)
    if not isinstance(content, dict):
        raise LabError(f"{path} must hold keys such as question and variants, got {type(content).__name__}")
    known = Written.model_fields
    for key in content:
        if key not in known:
            raise LabError(f"{places.at(key)}: unknown key {key!r}{did_you_mean(str(key), known)}")
    for name in content["variants"] if isinstance(content.get("variants"), dict) else ():
        if not isinstance(name, str):
            raise LabError(
                f"{places.at('variants', name)}: a variant's name must be text, got {name!r}; put it in quotes"
            )
    try:
        return Written.model_validate(content), places
    except ValidationError as error:
        raise _refusal(error, places) from None


def expand(written: Written, places: Places) -> dict[str, dict[str, Any]]:
    """The rows with their own settings: those of `variants`, or every combination of the values in `grid`.

    A row of a grid is named after its values, such as radius-4 or radius-4-previous-mask-false.

    Raises:
        LabError: both keys or neither, no row, or a value that gives no name.
    """
    if (written.variants is None) == (written.grid is None):
        both = "both are given" if written.grid is not None else "neither is given"
        raise LabError(f"{places}: the rows must be told by one of variants and grid, {both}")
    if written.variants is not None:
        if not written.variants:
            raise LabError(f"{places.at('variants')}: variants must name at least one row")
        return {name: settings or {} for name, settings in written.variants.items()}
    for key, values in written.grid.items():
        if not values or any(not isinstance(v, (str, int, float)) for v in values):
            raise LabError(f"{places.at('grid', key)}: grid {key} must list plain values, got {values!r}")
    rows: dict[str, dict[str, Any]] = {}
    for chosen in itertools.product(*written.grid.values()):
        settings = dict(zip(written.grid, chosen, strict=True))
        name = "-".join(f"{key.replace('_', '-')}-{_named(value)}" for key, value in settings.items())
        if not name or name in rows:
            told = f"gives row {name!r} twice" if name else "must name at least one parameter"
            raise LabError(f"{places.at('grid')}: grid {told}")
        rows[name] = settings
    return rows


def _named(value: Any) -> str:
    """A value as part of a row's name: 4, false, 0p5 for 0.5."""
    return str(value).lower().replace(".", "p").replace("_", "-")


def _refusal(error: ValidationError, places: Places) -> LabError:
    """The first of pydantic's complaints in one sentence; a misspelt key explains a missing one, so it comes first."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key, where = ".".join(map(str, first["loc"])), places.at(*first["loc"])
    if first["type"] == "missing":
        return LabError(f"{where}: the key {key!r} is missing")
    if first["type"] == "extra_forbidden":
        return LabError(f"{where}: unknown key {key!r}{did_you_mean(str(first['loc'][-1]), WrittenClaim.model_fields)}")
    message = first["msg"].removeprefix("Input ").removeprefix("should ")
    return LabError(f"{where}: {key} should {message}, got {first['input']!r}")


class _Loader(yaml.SafeLoader):
    """YAML without its silent last-one-wins for a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for below, _ in node.value:
            key = self.construct_object(below, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} cannot be a key", below.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, KeyError, AttributeError, TypeError) as error:  # such as a date of month 13
            told = f"{node.value!r} is no value: {error}" if isinstance(node, yaml.ScalarNode) else str(error)
            raise yaml.constructor.ConstructorError(None, None, told, node.start_mark) from None


def _load(text: str) -> tuple[Any, dict[tuple[str, ...], int]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        _size(node, {})
        lines: dict[tuple[str, ...], int] = {}
        _note_lines(node, (), lines)
        return (None if node is None else loader.construct_document(node)), lines
    finally:
        loader.dispose()


def _size(node: yaml.Node | None, known: dict[int, int]) -> int:
    """How many values a node comes to, those that it names by an alias counted each time."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST + 1  # until it is counted: whoever comes here again has been led in a circle
        below = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_size(one, known) for one in below)
    if known[id(node)] > MOST:
        told = f"it holds itself, or more than {MOST:,} values"
        raise yaml.constructor.ConstructorError(None, None, told, node.start_mark)
    return known[id(node)]


def _note_lines(node: yaml.Node | None, keys: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> None:
    """Remember the line of each key and list item below `node`."""
    if len(keys) == DEEPEST:
        return
    if isinstance(node, yaml.MappingNode):
        below = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        below = [(str(number), item, item) for number, item in enumerate(node.value)]
    else:
        return
    for name, marked, value in below:
        lines[(*keys, name)] = marked.start_mark.line + 1
        _note_lines(value, (*keys, name), lines)
