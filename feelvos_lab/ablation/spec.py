"""Read an experiment file, and check all of it before the first run.

`TEMPLATE` below shows every key with a comment. A claim may be restricted to the clips of one factor, or of one of its
levels: `{better: full, worse: narrow, factor: speed, level: 3}`; its rows must then be scored on `scenes: factors`.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from feelvos_lab.ablation import paper
from feelvos_lab.ablation.spec_yaml import Claim, Places, Written, check_value, expand, read_file
from feelvos_lab.config import WEIGHT_FILES, Config, configure
from feelvos_lab.data.difficulty_sweep import BASE, FACTOR_NAMES, FACTORS, PASTED
from feelvos_lab.errors import LabError, did_you_mean
from feelvos_lab.files.atomic import is_device, write_text
from feelvos_lab.files.notebooks import Parameter, read_parameters, require_executable
from feelvos_lab.files.project import project_folder

TOP_LEVEL = {"preset", "split", "seed", "folder", "checkpoint"}  # of the whole experiment, never of a variant

WORKER = project_folder() / "notebooks" / "run_experiment.ipynb"  # the notebook of a run, unless another is given

MOST_SEEDS = 1000

NAME, LONGEST = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*"), 100


@dataclass(frozen=True)
class Variant:
    """One row of the table. `parameters` are those that differ from the notebook's defaults."""

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
    sources: tuple[Path, ...] = ()  # files that count as the worker notebook does: when one changes, runs are stale

    def variant(self, name: str) -> Variant:
        """The variant of that name; LabError if there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise LabError(f"{self.path}: there is no variant {name!r}{did_you_mean(name, self.variant_names)}")

    @property
    def variant_names(self) -> tuple[str, ...]:
        return tuple(variant.name for variant in self.variants)


def load_spec(path: Path | str) -> Spec:
    """Read an experiment file and check it against the notebook that it runs and the configurations that it sets.

    LabError names what is wrong first, with its line.

    Example:
        >>> from feelvos_lab.files.project import project_folder
        >>> spec = load_spec(project_folder() / "experiments" / "components.yml")
        >>> spec.baseline, len(spec.variants), spec.variant("no-first").parameters["first_matching"]
        ('full', 6, 'none')
        >>> f"{spec.claims[0].better} > {spec.claims[0].worse}"  # written before the runs
        'full > previous-global'
    """
    path = Path(path)
    _check_name("an experiment file's name without .yml", path.stem.replace("_", "-"), place=path)
    file, where = read_file(path)
    notebook = (WORKER if file.notebook is None else path.parent / file.notebook).resolve()
    parameters = _with_place(where.at("notebook"), read_parameters, notebook)
    _with_place(where.at("notebook"), require_executable, notebook)
    table = None
    if file.paper_table is not None:
        table = _with_place(where.at("paper_table"), paper.table, file.paper_table)
    question = " ".join(file.question.split())
    if not question or not question.isprintable():
        raise LabError(f"{where.at('question')}: question must say what is asked, got {file.question!r}")
    check_seeds(file.seeds, where=where.at("seeds"))
    for name in ("seed", "folder"):
        if name not in parameters:
            raise LabError(f"{where.at('notebook')}: the parameters cell of {notebook.name} must declare {name!r}")
    for name, value in (("preset", file.preset), ("split", file.split)):
        if value is not None:
            _check_parameter(where.at(name), name, value, parameters, notebook)
        elif name in parameters:
            raise LabError(f"{path}: {name!r} must be given, since {notebook.name} takes it")
    variants = tuple(
        _variant(where, name, settings, file, parameters, notebook, table)
        for name, settings in expand(file, where).items()
    )
    seen: dict[str, str] = {}
    for variant in variants:
        if variant.digest in seen:
            place, names = where.at("variants", variant.name), f"{seen[variant.digest]!r} and {variant.name!r}"
            raise LabError(f"{place}: variants {names} are the same configuration")
        seen[variant.digest] = variant.name
    rows = {variant.name: variant for variant in variants}
    _check_row(where.at("baseline"), "baseline", file.baseline, rows)
    for number, claim in enumerate(file.claims):
        _check_claim(where, number, claim, rows)
    return Spec(
        name=path.stem,
        path=path,
        question=question,
        notebook=notebook,
        metric=file.metric,
        split=file.split,
        preset=file.preset,
        seeds=tuple(file.seeds),
        baseline=file.baseline,
        variants=variants,
        claims=tuple(file.claims),
        paper_table=table,
        sources=_sources(where, file.sources),
    )


def _sources(where: Places, patterns: Sequence[str]) -> tuple[Path, ...]:
    """The files that the patterns name, from the experiment file's folder; LabError for one that names none."""
    folder = where.path.resolve().parent
    found: set[Path] = set()
    for number, pattern in enumerate(patterns):
        files = {Path(folder, name) for name in glob.glob(pattern, root_dir=folder, recursive=True)}
        if not (named := {path for path in files if path.is_file()}):
            problem = f"sources names {pattern!r}, but no such file is in {folder}"
            if any(path.is_dir() for path in files):
                problem = f"sources names the folder {pattern!r}, expected files, such as {Path(pattern) / '**/*.py'}"
            raise LabError(f"{where.at('sources', number)}: {problem}")
        found |= named
    return tuple(sorted(found))


def _check_name(what: str, name: str, *, place: Path | str) -> None:
    """Raise LabError for a name that does not fit into the name of a folder of runs."""
    if len(name) > LONGEST:
        raise LabError(f"{place}: {what} must have at most {LONGEST} characters, got {len(name)}")
    if not NAME.fullmatch(name):
        raise LabError(f"{place}: {what} must be of a-z, 0-9 and single dashes, got {name!r}")
    if is_device(name):
        raise LabError(f"{place}: {what} must not be a device's on Windows, got {name!r}")


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
    _check_name("a variant's name", name, place=place)
    settings = {**file.fixed, **settings}
    row = None
    if (link := settings.pop("paper", None)) is not None:
        if table is None:
            raise LabError(f"{place}: variant {name!r} has a paper row {link!r}, but no paper_table is given")
        row = _with_place(where.setting(name, "paper"), table.row, str(link))
    chosen = {}
    for key, value in settings.items():
        at = where.setting(name, key)
        if key in TOP_LEVEL:
            raise LabError(f"{at}: {key!r} is set for the whole experiment, not for a variant")
        chosen[key] = _check_parameter(at, key, value, parameters, notebook)
        if key == "pretrained" and str(value).lower().endswith(WEIGHT_FILES):  # found from the experiment file's folder
            chosen[key] = str(where.path.resolve().parent / value)
            if not Path(chosen[key]).is_file():
                raise LabError(f"{at}: there is no file of weights {chosen[key]}")
    resolved = {p.name: p.default for p in parameters.values() if p.name not in TOP_LEVEL} | chosen
    top = {key: value for key, value in (("preset", file.preset), ("split", file.split)) if value is not None}
    config = None
    if file.preset is not None:
        settable = {*_with_place(where.at("preset"), configure, file.preset).flat(), "root"}  # flat() leaves root out
        overrides = {key: value for key, value in resolved.items() if key in settable and value is not None}
        config = _with_place(f"{place}, variant {name!r}", configure, file.preset, **overrides)
        _check_sense(f"{place}, variant {name!r}", config)
        resolved = {key: value for key, value in resolved.items() if key not in settable} | config.flat()
    identity = json.dumps({**resolved, "split": file.split}, sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return Variant(name, row, {**top, **chosen}, config, digest)


def _check_sense(place: str, config: Config) -> None:
    """Reject settings with which every run would fail or learn nothing."""
    if not config.train.learning_rate:
        raise LabError(f"{place}: learning_rate must be more than 0, got {config.train.learning_rate}")
    if config.data.data == "shapes":
        for key, least in (("height", 32), ("width", 32), ("frames", 2)):
            if (value := getattr(config.data, key)) < least:
                raise LabError(f"{place}: {key} of synthetic clips must be at least {least}, got {value}")


def _with_place(place: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """`function(...)`; a LabError gets the place in front."""
    try:
        return function(*args, **kwargs)
    except LabError as error:
        raise LabError(f"{place}: {error}") from None


def _check_parameter(place: str, name: str, value: Any, parameters: dict[str, Parameter], notebook: Path) -> Any:
    if name not in parameters:
        hint = did_you_mean(name, parameters.keys() - TOP_LEVEL)
        raise LabError(f"{place}: {name!r} is no parameter of {notebook.name}{hint}")
    return check_value(name, value, parameters[name].annotation, where=place)


def _check_row(place: str, key: str, name: str, rows: Iterable[str]) -> None:
    if name not in rows:
        raise LabError(f"{place}: {key} names {name!r}, which is no variant{did_you_mean(name, rows)}")


def _check_claim(where: Places, number: int, claim: Claim, rows: Mapping[str, Variant]) -> None:
    """Reject a claim about rows that are not there, or about clips that they are not scored on."""
    for side, row in (("better", claim.better), ("worse", claim.worse)):
        _check_row(where.at("claims", number, side), f"claims: {side}", row, rows)
    if claim.better == claim.worse:
        raise LabError(f"{where.at('claims', number)}: a claim must compare two rows, got {claim.better!r} twice")
    at_factor, at_level = where.at("claims", number, "factor"), where.at("claims", number, "level")
    if claim.factor is None:
        if claim.level is not None:
            raise LabError(f"{at_level}: a claim's level needs a factor")
        return
    known = (BASE, *FACTOR_NAMES)
    if claim.factor not in known:
        hint = did_you_mean(claim.factor, known)
        raise LabError(f"{at_factor}: a claim's factor must be one of {', '.join(known)}, got {claim.factor!r}{hint}")
    configs = (rows[claim.better].config, rows[claim.worse].config)
    if any(config is None or config.data.scenes != "factors" for config in configs):
        raise LabError(f"{at_factor}: a claim about {claim.factor!r} needs its rows scored on scenes 'factors'")
    own = "davis-2016" if claim.factor in {factor.name for factor in PASTED} else "shapes"
    if claim.factor != BASE and any(config.data.data != own for config in configs):
        raise LabError(f"{at_factor}: {claim.factor!r} is swept on data {own!r}, its rows are scored on other data")
    levels = next((len(factor.levels) for factor in FACTORS if factor.name == claim.factor), 0)
    if claim.level is not None and not 1 <= claim.level <= levels:
        expected = f"must lie in 1 … {levels}" if levels else "cannot be given: the base has none"
        raise LabError(f"{at_level}: the level of {claim.factor!r} {expected}, got {claim.level}")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as the command line writes them: `3` means 0, 1, 2; `0,4` and `7,` mean themselves. Else LabError."""
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or (len(numbers) == 1 and "," not in text and numbers[0] < 1):
        raise LabError(f"seeds must be a number of seeds such as 3, or a list such as 0,1,2, got {text!r}")
    seeds = numbers if "," in text else list(range(min(numbers[0], MOST_SEEDS + 1)))
    check_seeds(seeds, where="--seeds")
    return tuple(seeds)


def check_seeds(seeds: Iterable[int], *, where: str) -> None:
    """Raise LabError unless the seeds are distinct integers from 0 on, and at least one."""
    seeds = list(seeds)
    if not seeds or len(set(seeds)) != len(seeds) or any(type(s) is not int or s < 0 for s in seeds):
        raise LabError(f"{where}: seeds must be distinct integers from 0 on, got {seeds}")
    if len(seeds) > MOST_SEEDS or max(seeds) >= 2**31:
        raise LabError(
            f"{where}: at most {MOST_SEEDS:,} seeds below 2^31 are expected, got {len(seeds):,} up to {max(seeds):,}"
        )


# What `ablate new` writes. It is valid as it is.
TEMPLATE = """\
# What this experiment is for, in a sentence. Then: feelvos-lab ablate plan {path}
question: Does a wider window help?  # the report's headline; end it with a question mark
# notebook: mine.ipynb  # instead of feelvos_lab's run_experiment.ipynb; the parameters cell names all that can be set
preset: reduced  # smoke: does it run? · reduced: two cores, minutes a run · real: filmed video
split: validation  # try things here; `test` is for the table that is published in the end
metric: JF  # JF, J or F: the score by which rows are compared
seeds: [0, 1, 2]  # with one seed no claim is decided
# paper_table: ablation  # a table in feelvos_lab/ablation/paper.py; a row with `paper: 1` is then shown next to it
# sources: [my_losses.py, lib/*.py]  # your own files that count: runs are stale when one changes
# fixed: {{steps: 300}}  # settings of all rows that differ from the preset
baseline: full  # every other row is compared with this one, paired by seed, clip and object
variants:  # one row each: the settings that differ from the preset
  full: {{}}
  narrow: {{radius: 2}}
  no-window: {{previous_matching: global}}
# Instead of variants, every combination of some values; the rows are then called radius-0, radius-2, radius-4:
# grid: {{radius: [0, 2, 4]}}
# Written before the runs: which row should score higher. The report answers supported, contradicted or undecided.
claims:
  - {{better: full, worse: narrow}}
  - {{better: full, worse: no-window}}
"""


def write_template(name: str, *, root: Path) -> Path:
    """Write `TEMPLATE` to `root/<name>.yml`; LabError if the file exists already."""
    _check_name("an experiment's name", name.replace("_", "-"), place="ablate new")
    path = root / f"{name}.yml"
    if os.path.lexists(path):
        raise LabError(f"{path} exists already: choose another name")
    write_text(path, TEMPLATE.format(path=path))
    return path
