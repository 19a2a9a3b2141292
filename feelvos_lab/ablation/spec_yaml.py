"""Read an experiment's YAML: its keys, their types, and the line on which each stands.

Values that set a parameter of the notebook are checked against the type that its parameters cell states.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, StrictInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from feelvos_lab.data.difficulty_sweep import place_of
from feelvos_lab.errors import LabError, did_you_mean
from feelvos_lab.files.atomic import refuse_pipe

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 1000  # of a grid

MOST, DEEPEST = 10_000, 100  # values and levels in a file: a few aliases of aliases could expand beyond any memory

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument", "invalid_key")  # pydantic's errors for an unknown key

_MERGE = "tag:yaml.org,2002:merge"  # of the key `<<`

_PLAIN = {"int": int, "float": float, "bool": bool, "str": str}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Claim:
    """Stated before the runs: the row `better` scores higher than the row `worse`."""

    better: str
    worse: str
    factor: str | None = None  # only on the clips that sweep it, or on the base that they share
    level: StrictInt | None = None  # only at this level of it, from 1 on

    @property
    def where(self) -> str:
        """Such as `, speed at level 3`; empty: on all clips."""
        return (f", {self.factor}" if self.factor else "") + (f" at level {self.level}" if self.level else "")

    def clips(self, scores: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table with a column `clip` that the claim is about."""
        if self.factor is None:
            return scores
        places = ((name, place_of(name)) for name in scores["clip"].unique())
        wanted = [n for n, p in places if p and p.factor == self.factor and self.level in (None, p.level)]
        return scores[scores["clip"].isin(wanted)]


class Written(BaseModel, extra="forbid", strict=True, frozen=True):
    """The file's keys."""

    question: str
    notebook: str | None = None  # None: the project's
    metric: Literal["JF", "J", "F"] = "JF"
    split: str | None = None
    preset: str | None = None
    paper_table: str | None = None
    seeds: list[int] = [0]
    sources: list[str] = []
    fixed: dict[str, Any] = {}
    baseline: str
    variants: dict[str, dict[str, Any] | None] | None = None
    grid: dict[str, list[Any]] | None = None
    claims: list[Claim] = []


class Places(NamedTuple):
    """Where in the file a key stands, for error messages."""

    path: Path
    lines: Mapping[tuple[str, ...], int]

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
    """The file's keys, with their types checked, and their lines; LabError with the line of whatever is wrong."""
    refuse_pipe(path, "an experiment file")
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
    if not isinstance(content, dict):
        raise LabError(f"{path} must hold keys such as question and variants, got {type(content).__name__}")
    places = Places(path, lines)
    try:
        return Written.model_validate(content), places
    except ValidationError as error:
        raise _first_error(error, places) from None


def _first_error(error: ValidationError, places: Places) -> LabError:
    """Pydantic's first error as ours; a misspelt key explains a missing one, so it comes first."""
    first = min(error.errors(include_url=False), key=lambda e: e["type"] not in _UNKNOWN)
    key, where = ".".join(map(str, first["loc"])), places.at(*first["loc"])
    if first["type"] in _UNKNOWN:
        known = [field.name for field in fields(Claim)] if len(first["loc"]) > 1 else Written.model_fields
        return LabError(f"{where}: unknown key {key!r}{did_you_mean(first['loc'][-1], known)}")
    if first["type"] == "missing":
        return LabError(f"{where}: the key {key!r} is missing")
    if first["loc"][-1] == "[key]":
        return LabError(f"{where}: a key in {first['loc'][0]} must be text, got {first['input']!r}; put it in quotes")
    expected = first["msg"].removeprefix("Input should be ")
    return LabError(f"{where}: {key} must be {expected}, got {first['input']!r}")


def expand(written: Written, places: Places) -> dict[str, dict[str, Any]]:
    """The rows with their own settings: those of `variants`, or every combination of the values in `grid`.

    A row of a grid is named after its values, such as radius-4 or radius-4-previous-mask-false. LabError if both keys
    are given or neither, or a value gives no name.
    """
    if (written.variants is None) == (written.grid is None):
        both = "both are given" if written.grid is not None else "neither is given"
        raise LabError(f"{places.path}: the rows must be given by one of variants and grid, {both}")
    if written.variants is not None:
        if not written.variants:
            raise LabError(f"{places.at('variants')}: variants must name at least one row")
        return {name: settings or {} for name, settings in written.variants.items()}
    for key, values in written.grid.items():
        if not values or any(not isinstance(v, (str, int, float)) for v in values):
            raise LabError(f"{places.at('grid', key)}: grid {key} must list plain values, got {values!r}")
    if (count := math.prod(map(len, written.grid.values()))) > MOST_ROWS:
        raise LabError(f"{places.at('grid')}: grid must give at most {MOST_ROWS:,} rows, gives {count:,}")
    rows: dict[str, dict[str, Any]] = {}
    for chosen in itertools.product(*written.grid.values()):
        settings = dict(zip(written.grid, chosen, strict=True))
        name = "-".join(f"{key}-{value}" for key, value in settings.items()).lower()
        name = name.replace("_", "-").replace(".", "p")  # 0p5 for 0.5
        if not name or name in rows:
            problem = f"gives row {name!r} twice" if name else "must name at least one parameter"
            raise LabError(f"{places.at('grid')}: grid {problem}")
        rows[name] = settings
    return rows


def check_value(name: str, value: Any, annotation: str, *, where: str) -> Any:
    """The value, or LabError if it is not of the annotated type; only an int is converted, to an expected float.

    `annotation` may consist of int, float, bool, str, None, `list[…]`, `Literal[…]` and `|`.
    """
    try:
        return _adapter(annotation).validate_python(value)
    except (ValidationError, TypeError):
        hint = ""
        if isinstance(value, str) and (number := re.fullmatch(r"([+-]?[0-9]+(\.[0-9]*)?)[eE]([+-]?[0-9]+)", value)):
            digits = number[1] if number[2] else f"{number[1]}.0"  # its floats need a dot, and a sign behind the e
            hint = f"; YAML reads {value} as text, write {digits}e{int(number[3]):+d}"
        raise LabError(f"{where}: {name} must be {annotation}, got {type(value).__name__} {value!r}{hint}") from None


@lru_cache
def _adapter(annotation: str) -> TypeAdapter[Any]:
    return TypeAdapter(_type(ast.parse(annotation, mode="eval").body), config=ConfigDict(strict=True))


def _type(annotation: ast.expr) -> Any:
    """The type that an annotation means; it comes from a notebook, so it is not evaluated."""
    match annotation:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return list[_type(item)]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return Literal[ast.literal_eval(choices)]
    raise TypeError


class _Loader(yaml.SafeLoader):
    """Rejects a key that is given twice, `<<` too, where YAML silently keeps one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for below, _ in node.value:
            key = "<<" if below.tag == _MERGE else self.construct_object(below, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} cannot be a key", below.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number, unless YAML 1.1 means another one by it than its reader."""
        read = self.construct_yaml_int if node.tag.endswith(":int") else self.construct_yaml_float
        value = read(node)
        if ":" in node.value or re.fullmatch(r"[-+]?0[0-9_]+", node.value):
            problem = f"{node.value} would be read as {value}; write that, or the text in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, KeyError, AttributeError, TypeError) as error:  # such as a date of month 13
            problem = f"{node.value!r} is no value: {error}" if isinstance(node, yaml.ScalarNode) else str(error)
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def _load(text: str) -> tuple[Any, dict[tuple[str, ...], int]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[tuple[str, ...], int] = {}
        _note_lines(node, (), lines)
        return (None if node is None else loader.construct_document(node)), lines
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node | None, keys: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> int:
    """Record the line of each key and list item below `node`, in which each alias counts as what it stands for.

    Returns how many there are. What is merged by `<<` stands at its own line, unless the node has the key itself.
    """
    count = 0
    if isinstance(node, yaml.MappingNode):
        for merged in [value for key, value in node.value if key.tag == _MERGE]:
            for one in reversed(merged.value) if isinstance(merged, yaml.SequenceNode) else [merged]:
                count += 1 + _note_lines(one, keys, lines)
                _check_count(count, one)
        below = [(str(key.value), key, value) for key, value in node.value if key.tag != _MERGE]
    elif isinstance(node, yaml.SequenceNode):
        below = [(str(number), item, item) for number, item in enumerate(node.value)]
    else:
        return 0
    for name, marked, value in below:
        lines[(*keys, name)] = marked.start_mark.line + 1
        _check_count(MOST + 1 if len(keys) > DEEPEST else 0, node)
        count += 1 + _note_lines(value, (*keys, name), lines)
        _check_count(count, node)
    return count


def _check_count(count: int, node: yaml.Node) -> None:
    if count > MOST:
        problem = f"an alias cycle, more than {DEEPEST} levels or more than {MOST:,} values"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
