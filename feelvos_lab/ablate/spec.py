"""An experiment file, read strictly: everything that could go wrong is refused before the first run.

question: Does each cue of FEELVOS earn its place?
notebook: ../notebooks/run_experiment.ipynb     # relative to this file
preset: reduced
split: test
metric: JF
seeds: [0]
baseline: full
variants:
  full: {paper: 1}
  first-only: {paper: 4, previous_matching: none, previous_mask: false}
claims:
  - {better: full, worse: first-only}
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from feelvos_lab import paper
from feelvos_lab.config import Config, configure
from feelvos_lab.errors import LabError
from feelvos_lab.nbtools import Parameter, read_parameters

TOP_LEVEL = {"preset", "split", "seed", "folder"}  # parameters that the plan sets, never a variant
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Claim:
    """Said before the runs: the row `better` scores higher than the row `worse`."""

    better: str
    worse: str


@dataclass(frozen=True)
class Variant:
    """One row of the table. `parameters` are those that differ from the notebook's defaults, checked."""

    name: str
    paper_row: paper.Row | None
    parameters: Mapping[str, Any]
    config: Config | None  # None for a notebook without a `preset` parameter
    digest: str  # 8 hexadecimal digits of everything that defines the variant, without the seed


@dataclass(frozen=True)
class Spec:
    """One experiment, complete and checked."""

    name: str  # the file's, without .yml
    path: Path
    question: str
    notebook: Path
    metric: Literal["JF", "J", "F"]
    split: str | None
    preset: str | None
    seeds: tuple[int, ...]
    baseline: str
    variants: tuple[Variant, ...]
    claims: tuple[Claim, ...]
    paper_table: paper.Table | None

    def variant(self, name: str) -> Variant:
        """The variant of that name.

        Raises:
            LabError: no such variant.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise LabError(f"{self.path}: there is no variant {name!r}{did_you_mean(name, self.variant_names)}")

    @property
    def variant_names(self) -> tuple[str, ...]:
        return tuple(variant.name for variant in self.variants)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Claim(_Strict):
    better: str
    worse: str


class _File(_Strict):
    """The file as written."""

    question: str
    notebook: str
    metric: Literal["JF", "J", "F"] = "JF"
    split: str | None = None
    preset: str | None = None
    paper_table: str | None = None
    seeds: list[int] = [0]
    fixed: dict[str, Any] = {}
    baseline: str
    variants: dict[str, dict[str, Any] | None]
    claims: list[_Claim] = []


def load_spec(path: Path | str) -> Spec:
    """Read an experiment file and check all of it against the notebook it runs and the configuration it means.

    Raises:
        LabError: one sentence for whatever is wrong first: an unknown key or parameter ("did you mean"), a value
            of another type, an unknown preset, two variants that are the same, a claim about a row that is not there.
    """
    path = Path(path)
    file = _read_file(path)
    where = str(path)
    notebook = (path.parent / file.notebook).resolve()
    parameters = read_parameters(notebook)
    table = _told(where, paper.table, file.paper_table) if file.paper_table is not None else None
    check_seeds(file.seeds, where=where)
    for name in ("seed", "folder"):
        if name not in parameters:
            raise LabError(f"{where}: the parameters cell of {notebook.name} must declare {name!r}")
    for name, value in (("preset", file.preset), ("split", file.split)):
        if value is not None:
            _check_parameter(where, name, value, parameters, notebook)
        elif name in parameters:
            raise LabError(f"{where}: {name!r} must be given, since {notebook.name} takes it")
    if not file.variants:
        raise LabError(f"{where}: variants must name at least one row")
    variants = tuple(
        _variant(where, name, settings or {}, file, parameters, notebook, table)
        for name, settings in file.variants.items()
    )
    _refuse_twins(where, variants)
    names = [variant.name for variant in variants]
    _check_row(where, "baseline", file.baseline, names)
    for claim in file.claims:
        _check_row(where, "claims: better", claim.better, names)
        _check_row(where, "claims: worse", claim.worse, names)
        if claim.better == claim.worse:
            raise LabError(f"{where}: a claim must compare two rows, got {claim.better!r} twice")
    return Spec(
        name=path.stem,
        path=path,
        question=file.question.strip(),
        notebook=notebook,
        metric=file.metric,
        split=file.split,
        preset=file.preset,
        seeds=tuple(file.seeds),
        baseline=file.baseline,
        variants=variants,
        claims=tuple(Claim(c.better, c.worse) for c in file.claims),
        paper_table=table,
    )


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as the command line writes them: `3` means the three seeds 0, 1, 2; `0,4` and `7,` mean themselves.

    Raises:
        LabError: anything else.
    """
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or (len(numbers) == 1 and "," not in text and numbers[0] < 1):
        raise LabError(f"seeds must be a number of seeds such as 3, or a list such as 0,1,2, got {text!r}")
    seeds = numbers if "," in text else list(range(numbers[0]))
    check_seeds(seeds, where="--seeds")
    return tuple(seeds)


def check_seeds(seeds: Iterable[int], *, where: str) -> None:
    """Raises LabError unless the seeds are distinct integers from 0 on, and at least one."""
    seeds = list(seeds)
    if not seeds or len(set(seeds)) != len(seeds) or any(type(s) is not int or s < 0 for s in seeds):
        raise LabError(f"{where}: seeds must be distinct integers from 0 on, got {seeds}")


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


def _variant(
    where: str,
    name: str,
    settings: dict[str, Any],
    file: _File,
    parameters: dict[str, Parameter],
    notebook: Path,
    table: paper.Table | None,
) -> Variant:
    if not NAME.fullmatch(name):
        raise LabError(f"{where}: a variant's name must be of a-z, 0-9 and single dashes, got {name!r}")
    settings = {**file.fixed, **settings}
    link = settings.pop("paper", None)
    if link is not None and table is None:
        raise LabError(f"{where}: variant {name!r} has a paper row {link!r}, but no paper_table is given")
    row = _told(where, table.row, str(link)) if link is not None and table is not None else None
    within = f"{where}, variant {name!r}"
    for key in settings:
        if key in TOP_LEVEL:
            raise LabError(f"{within}: {key!r} is set for the whole experiment, not for a variant")
    chosen = {key: _check_parameter(within, key, value, parameters, notebook) for key, value in settings.items()}
    resolved = {p.name: p.default for p in parameters.values() if p.name not in TOP_LEVEL} | chosen
    top = {key: value for key, value in (("preset", file.preset), ("split", file.split)) if value is not None}
    config = None
    if file.preset is not None:
        settable = {*configure(_told_preset(where, file.preset)).flat(), "root"}  # where data lie is no setting
        overrides = {key: value for key, value in resolved.items() if key in settable and value is not None}
        config = _told(within, configure, file.preset, **overrides)
        resolved = {key: value for key, value in resolved.items() if key not in settable} | config.flat()
    identity = json.dumps({**resolved, "split": file.split}, sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return Variant(name, row, {**top, **chosen}, config, digest)


def _told_preset(where: str, preset: str) -> str:
    _told(where, configure, preset)
    return preset


def _told(where: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """`function(...)`, its LabError with the place in front."""
    try:
        return function(*args, **kwargs)
    except LabError as error:
        raise LabError(f"{where}: {error}") from None


def _check_parameter(where: str, name: str, value: Any, parameters: dict[str, Parameter], notebook: Path) -> Any:
    if name not in parameters:
        raise LabError(
            f"{where}: {name!r} is no parameter of {notebook.name}{did_you_mean(name, set(parameters) - TOP_LEVEL)}"
        )
    return check_value(name, value, parameters[name].annotation, where=where)


def _check_row(where: str, key: str, name: str, names: list[str]) -> None:
    if name not in names:
        raise LabError(f"{where}: {key} names {name!r}, which is no variant{did_you_mean(name, names)}")


def _refuse_twins(where: str, variants: tuple[Variant, ...]) -> None:
    seen: dict[str, str] = {}
    for variant in variants:
        if variant.digest in seen:
            raise LabError(
                f"{where}: variants {seen[variant.digest]!r} and {variant.name!r} are the same configuration"
            )
        seen[variant.digest] = variant.name


class _Loader(yaml.SafeLoader):
    """YAML without its silent last-one-wins for a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read_file(path: Path) -> _File:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise LabError(f"there is no experiment file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LabError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise LabError(f"{path} must hold keys such as question and variants, got {type(content).__name__}")
    known = _File.model_fields
    for key in content:
        if key not in known:
            raise LabError(f"{path}: unknown key {key!r}{did_you_mean(str(key), known)}")
    for name in content["variants"] if isinstance(content.get("variants"), dict) else ():
        if not isinstance(name, str):
            raise LabError(f"{path}: a variant's name must be text, got {name!r}; put it in quotes")
    try:
        return _File.model_validate(content)
    except ValidationError as error:
        first = min(
            error.errors(), key=lambda e: e["type"] != "extra_forbidden"
        )  # a misspelt key explains a missing one
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise LabError(f"{path}: the key {key!r} is missing") from None
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(str(first["loc"][-1]), _Claim.model_fields)
            raise LabError(f"{path}: unknown key {key!r}{hint}") from None
        message = first["msg"].removeprefix("Input ").removeprefix("should ")
        raise LabError(f"{path}: {key} should {message}, got {first['input']!r}") from None
