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

A claim may be about the clips of one factor, or of one of its levels: `{better: full, worse: first-only, factor: speed,
level: 3}`. Then its rows must be scored on the scenes that sweep it, `scenes: factors`.

In place of `variants` a file may hold a `grid`, of which every combination is a row: `grid: {radius: [0, 2, 4]}` gives
the rows radius-0, radius-2 and radius-4.

A new experiment file to fill in: it is valid as it is written, and says what each key means.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feelvos_lab.ablation import paper
from feelvos_lab.ablation.spec_yaml import Places, Written, WrittenClaim, check_value, expand, read_file
from feelvos_lab.config import Config, configure
from feelvos_lab.data.difficulty_sweep import BASE, FACTOR_NAMES, FACTORS, place_of
from feelvos_lab.errors import LabError, did_you_mean
from feelvos_lab.files.atomic import write_text
from feelvos_lab.files.notebooks import Parameter, read_parameters

if TYPE_CHECKING:
    import pandas as pd

TOP_LEVEL = {"preset", "split", "seed", "folder"}  # parameters that the plan sets, never a variant

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Claim:
    """Said before the runs: the row `better` scores higher than the row `worse`."""

    better: str
    worse: str
    factor: str | None = None  # only on the clips that sweep it, or on the base that they share
    level: int | None = None  # only at this level of it, from 1 on

    @property
    def where(self) -> str:
        """Such as `, speed at level 3`; empty: on all clips."""
        return (f", {self.factor}" if self.factor else "") + (f" at level {self.level}" if self.level else "")

    def clips(self, scores: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table with a column `clip` that the claim is about."""
        if self.factor is None:
            return scores
        places = {name: place_of(name) for name in scores["clip"].unique()}
        wanted = {
            name
            for name, place in places.items()
            if place and place.factor == self.factor and self.level in (None, place.level)
        }
        return scores[scores["clip"].isin(wanted)]


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


def load_spec(path: Path | str) -> Spec:
    """Read an experiment file and check all of it against the notebook it runs and the configuration it means.

    Raises:
        LabError: one sentence for whatever is wrong first: an unknown key or parameter ("did you mean"), a value
            of another type, an unknown preset, two variants that are the same, a claim about a row that is not there.
    """
    path = Path(path)
    file, where = read_file(path)
    notebook = (path.parent / file.notebook).resolve()
    parameters = _told(where.at("notebook"), read_parameters, notebook)
    table = _told(where.at("paper_table"), paper.table, file.paper_table) if file.paper_table is not None else None
    if not file.question.strip():
        raise LabError(f"{where.at('question')}: question must say what is asked, got {file.question!r}")
    check_seeds(file.seeds, where=where.at("seeds"))
    for name in ("seed", "folder"):
        if name not in parameters:
            raise LabError(f"{where.at('notebook')}: the parameters cell of {notebook.name} must declare {name!r}")
    for name, value in (("preset", file.preset), ("split", file.split)):
        if value is not None:
            _check_parameter(where.at(name), name, value, parameters, notebook)
        elif name in parameters:
            raise LabError(f"{where}: {name!r} must be given, since {notebook.name} takes it")
    variants = tuple(
        _variant(where, name, settings, file, parameters, notebook, table)
        for name, settings in expand(file, where).items()
    )
    _refuse_twins(where, variants)
    names = [variant.name for variant in variants]
    _check_row(where.at("baseline"), "baseline", file.baseline, names)
    for number, claim in enumerate(file.claims):
        for side, row in (("better", claim.better), ("worse", claim.worse)):
            _check_row(where.at("claims", number, side), f"claims: {side}", row, names)
        if claim.better == claim.worse:
            place = where.at("claims", number)
            raise LabError(f"{place}: a claim must compare two rows, got {claim.better!r} twice")
        _check_where(where, number, claim, [v for v in variants if v.name in (claim.better, claim.worse)])
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
        claims=tuple(Claim(c.better, c.worse, c.factor, c.level) for c in file.claims),
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


def _variant(
    where: Places,
    name: str,
    settings: dict[str, Any],
    file: Written,
    parameters: dict[str, Parameter],
    notebook: Path,
    table: paper.Table | None,
) -> Variant:
    place = where.at("variants", name) if file.variants is not None else where.at("grid")
    if not NAME.fullmatch(name):
        raise LabError(f"{place}: a variant's name must be of a-z, 0-9 and single dashes, got {name!r}")
    settings = {**file.fixed, **settings}
    link = settings.pop("paper", None)
    if link is not None and table is None:
        raise LabError(f"{place}: variant {name!r} has a paper row {link!r}, but no paper_table is given")
    row = _told(where.setting(name, "paper"), table.row, str(link)) if link is not None and table is not None else None
    for key in settings:
        if key in TOP_LEVEL:
            told = f"{key!r} is set for the whole experiment, not for a variant"
            raise LabError(f"{where.setting(name, key)}: {told}")
    chosen = {
        key: _check_parameter(where.setting(name, key), key, value, parameters, notebook)
        for key, value in settings.items()
    }
    resolved = {p.name: p.default for p in parameters.values() if p.name not in TOP_LEVEL} | chosen
    top = {key: value for key, value in (("preset", file.preset), ("split", file.split)) if value is not None}
    config = None
    if file.preset is not None:
        settable = {*_told(where.at("preset"), configure, file.preset).flat(), "root"}  # where data lie is no setting
        overrides = {key: value for key, value in resolved.items() if key in settable and value is not None}
        config = _told(f"{place}, variant {name!r}", configure, file.preset, **overrides)
        resolved = {key: value for key, value in resolved.items() if key not in settable} | config.flat()
    identity = json.dumps({**resolved, "split": file.split}, sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return Variant(name, row, {**top, **chosen}, config, digest)


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


def _check_where(where: Places, number: int, claim: WrittenClaim, rows: list[Variant]) -> None:
    """Refuse a claim about clips that are not scored."""
    if claim.factor is None:
        if claim.level is not None:
            raise LabError(f"{where.at('claims', number, 'level')}: a claim's level needs a factor")
        return
    place, known = where.at("claims", number, "factor"), (BASE, *FACTOR_NAMES)
    if claim.factor not in known:
        told = f"must be one of {', '.join(known)}, got {claim.factor!r}{did_you_mean(claim.factor, known)}"
        raise LabError(f"{place}: a claim's factor {told}")
    if any(row.config is None or row.config.data.scenes != "factors" for row in rows):
        raise LabError(f"{place}: a claim about {claim.factor!r} needs its rows scored on scenes 'factors'")
    levels = next((len(factor.levels) for factor in FACTORS if factor.name == claim.factor), 0)
    if claim.level is not None and not 1 <= claim.level <= levels:
        place = where.at("claims", number, "level")
        told = f"must lie in 1 … {levels}" if levels else "cannot be given: the base has none"
        raise LabError(f"{place}: the level of {claim.factor!r} {told}, got {claim.level}")


def _refuse_twins(where: Places, variants: tuple[Variant, ...]) -> None:
    seen: dict[str, str] = {}
    for variant in variants:
        if variant.digest in seen:
            raise LabError(
                f"{where.at('variants', variant.name)}: variants {seen[variant.digest]!r} and {variant.name!r} are the "
                "same configuration"
            )
        seen[variant.digest] = variant.name


TEMPLATE = """\
# What this experiment is for, in a sentence. Then: feelvos-lab ablate plan {path}
question: Does a wider window help?  # the report's headline; end it with a question mark
notebook: {notebook}  # from this file's folder; its parameters cell names all that a row may set
preset: reduced  # smoke: does it run? · reduced: two cores, minutes a run · real: film
split: validation  # try things here; `test` is for the table that is shown in the end
metric: JF  # JF, J or F: what rows are compared by
seeds: [0, 1, 2]  # with one seed no claim is decided
# paper_table: ablation  # a table in feelvos_lab/ablation/paper.py; then a row may say `paper: 1` to stand beside it
# fixed: {{steps: 300}}  # what all rows share and the preset has otherwise
baseline: full  # every other row is compared with this one, paired by seed, clip and object
variants:  # one row each: what it sets differently from the preset
  full: {{}}
  narrow: {{radius: 2}}
  no-window: {{previous_matching: global}}
# In place of variants, every combination of some values; the rows are then called radius-0, radius-2, radius-4:
# grid: {{radius: [0, 2, 4]}}
# Written before the runs: which row should score higher. The report answers supported, contradicted or undecided.
claims:
  - {{better: full, worse: narrow}}
  - {{better: full, worse: no-window}}
"""


def write_template(name: str, *, root: Path, notebook: Path) -> Path:
    """Write `root/<name>.yml` for the worker `notebook`, with a comment beside each key.

    Raises:
        LabError: a name that is not of a-z, 0-9 and dashes, a file that is there already, or one that cannot be
            written.
    """
    if not NAME.fullmatch(name.replace("_", "-")):
        raise LabError(f"an experiment's name must be of a-z, 0-9 and single dashes, got {name!r}")
    path = root / f"{name}.yml"
    if os.path.lexists(path):
        raise LabError(f"{path} exists already: choose another name")
    worker = Path(os.path.relpath(notebook.resolve(), root.resolve())).as_posix()
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_text(path, TEMPLATE.format(path=path, notebook=worker))
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror or error}") from None
    return path
