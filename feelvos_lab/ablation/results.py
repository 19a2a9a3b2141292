"""An experiment's results: scores, table, paired differences and verdicts, from its runs or from a results folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from feelvos_lab.ablation.runs import PlannedRun, State, plan
from feelvos_lab.ablation.spec import Claim, Spec, Variant, load_spec
from feelvos_lab.ablation.statistics import Difference, difference, estimate
from feelvos_lab.errors import LabError
from feelvos_lab.files.project import project_folder

SCORES = ("J", "F", "JF")
RECORDS, TABLE, REPORT = "records.csv", "table.csv", "report"
RECORD_COLUMNS = ("variant", "seed", "clip", "object", *SCORES)

_TEXT_COLUMNS = ("variant", "clip", "parameters")  # text, also where it looks like a number


@dataclass(frozen=True, eq=False)
class Results:
    """An experiment's scores and what follows from them; each statistic is computed once, when first asked for."""

    folder: Path  # of the report
    spec: Spec
    scores: pd.DataFrame  # percent; columns variant, seed, clip, object, J, F, JF
    stored: pd.DataFrame | None = None  # table.csv, if the results were read from a folder
    runs: tuple[PlannedRun, ...] = ()  # empty if the results were read from a folder
    records: tuple[dict[str, Any], ...] = ()  # of the runs that are ok

    def of(self, variant: str) -> pd.DataFrame:
        """The scores of one variant; no rows if it was not run."""
        return self.scores[self.scores["variant"] == variant]

    @property
    def variants(self) -> list[str]:
        """The variants that have scores, in the experiment's order."""
        scored = set(self.scores["variant"])
        return [name for name in self.spec.variant_names if name in scored]

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """Each variant minus the baseline, where the two have a seed in common."""
        others = [name for name in self.variants if name != self.spec.baseline]
        return {name: found for name in others if (found := self._compare(Claim(name, self.spec.baseline)))}

    @cached_property
    def claims(self) -> list[tuple[Claim, Difference | None]]:
        """Each claim with better − worse; None without a seed in common."""
        return [(claim, self._compare(claim)) for claim in self.spec.claims]

    @cached_property
    def table(self) -> pd.DataFrame:
        """table.csv, indexed by variant: settings, counts, means with intervals, seconds, and the paper's numbers."""
        if self.stored is not None:
            return self.stored
        return pd.DataFrame([self._row(variant) for variant in self.spec.variants]).round(4).set_index("variant")

    @property
    def paper_gaps(self) -> pd.Series:
        """The paper's value of each variant minus its value of the baseline; nan for the baseline itself."""
        numbers = pd.to_numeric(self.table[f"paper_{self.spec.metric}"])
        gaps = numbers - numbers.get(self.spec.baseline, float("nan"))
        return gaps.where(gaps.index != self.spec.baseline)

    def lacking(self, variant: str) -> str:
        """The variant's runs that are not ok, such as `1 failed, 2 missing`."""
        counts = self.table.loc[variant, [state for state in get_args(State) if state != "ok"]]
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count)

    def _compare(self, claim: Claim) -> Difference | None:
        a, b = (claim.clips(self.of(name)) for name in (claim.better, claim.worse))
        return difference(a, b, self.spec.metric) if set(a["seed"]) & set(b["seed"]) else None

    def _row(self, variant: Variant) -> dict[str, Any]:
        scores, measured = self.of(variant.name), self.differences.get(variant.name)
        estimates = {} if scores.empty else {column: estimate(scores, column) for column in SCORES}
        states = [run.state for run in self.runs if run.variant == variant]
        row = {"variant": variant.name, **{state: states.count(state) for state in get_args(State)}}
        row |= {"parameters": settings_text(variant)}
        row |= {n: getattr(estimates.get(self.spec.metric), n, None) for n in ("seeds", "clips", "objects")}
        for column in SCORES:
            row |= _fields(column, estimates.get(column), "mean", "low", "high")
        row |= _fields("difference", measured and measured.estimate, "mean", "low", "high")
        row |= {"difference_spread": measured and measured.spread}
        row |= _fields("seeds_t", measured and measured.test, "t", "df", "p", "low", "high")
        owners = [run.variant for run in self.runs if run.state == "ok"]
        records = [record for owner, record in zip(owners, self.records, strict=True) if owner == variant]
        row |= {n: pd.Series([r[n] for r in records], dtype=float).mean() for n in ("train_seconds", "test_seconds")}
        for column in SCORES:
            row |= _fields(f"paper_{column}", getattr(variant.paper_row, column, None), "value", "mark")
        return row


def _fields(prefix: str, value: object, first: str, *others: str) -> dict[str, Any]:
    """Attributes as columns `prefix`, `prefix_other`, …; None where there is no value."""
    return {prefix: getattr(value, first, None)} | {f"{prefix}_{n}": getattr(value, n, None) for n in others}


def read_results(
    spec: Spec,
    *,
    root: Path = Path("experiments"),
    seeds: Sequence[int] | None = None,
    networks: Path | None = None,
) -> Results:
    """Read the records of all runs that are ok; runs in another state are counted, but enter no number.

    `seeds` are by default the file's, and all others that its present variants were run with; `networks` is the folder
    of checkpoints, if the runs scored given ones.

    Example:
        >>> from feelvos_lab.files.project import project_folder
        >>> components = project_folder() / "experiments" / "components.yml"
        >>> results = read_results(load_spec(components), root=Path("nothing-run-yet"), seeds=[0, 1])
        >>> len(results.scores), results.variants, results.lacking("full")
        (0, [], '2 missing')
    """
    runs = plan(spec, seeds_there(spec, root) if seeds is None else seeds, root, networks=networks)
    done = [(planned, planned.record()) for planned in runs if planned.state == "ok"]
    scores = pd.DataFrame(
        [
            {"variant": p.variant.name, "seed": p.seed, "clip": s["clip"], "object": s["object"]}
            | {c: 100 * s[c] for c in SCORES}
            for p, record in done
            for s in record["scores"]
        ],
        columns=RECORD_COLUMNS,
    )
    folder = Path(root) / "runs" / spec.name / REPORT
    return Results(folder, spec, scores, runs=tuple(runs), records=tuple(record for _, record in done))


def read_published(folder: Path | str) -> Results:
    """Read the results in `experiments/results/<name>/` or `experiments/runs/<name>/report/`, without the runs.

    Args:
        folder: holds records.csv and table.csv; the experiment file is `experiments/<name>.yml`, or the project's of
            that name where there is none.

    Raises:
        LabError: a file is missing or no table, or the experiment file lacks a row or sets it otherwise now.

    Example:
        >>> from feelvos_lab.files.project import project_folder
        >>> results = read_published(project_folder() / "experiments" / "results" / "components")
        >>> worse = results.differences["first-only"]  # first-only minus full, paired by seed, clip and object
        >>> worse.estimate.mean < 0, worse.verdict
        (True, 'contradicted')
    """
    folder = Path(folder).resolve()
    scores = read_scores(folder)
    table = read_table(folder / TABLE, ("variant", "clips", "test_seconds"))
    named = folder.parent if folder.name == REPORT else folder
    own, shipped = (place / f"{named.name}.yml" for place in (named.parent.parent, project_folder() / "experiments"))
    spec = load_spec(shipped if shipped.is_file() and not own.is_file() else own)
    if unknown := set(scores["variant"]) - set(spec.variant_names):
        raise LabError(f"{folder}/records.csv has rows of {', '.join(sorted(unknown))}, which {spec.path} lacks")
    _check_settings(folder, spec, table)
    return Results(folder, spec, scores, stored=table.set_index("variant"))


def read_scores(folder: Path) -> pd.DataFrame:
    """The folder's records.csv: columns variant, seed, clip, object, and J, F, JF in percent.

    LabError if `read_table` raises it, a score lies outside 0…100, or an object occurs twice.
    """
    path = folder / RECORDS
    scores = read_table(path, RECORD_COLUMNS)
    for column in SCORES:
        wrong = ~pd.to_numeric(scores[column], errors="coerce").between(0, 100)
        if wrong.any():
            raise LabError(f"{path} must hold {column} in percent, got {scores[column][wrong].iloc[0]}")
    if (twice := scores.duplicated(["variant", "seed", "clip", "object"])).any():
        variant, seed, clip, number = scores[twice].iloc[0][["variant", "seed", "clip", "object"]]
        raise LabError(f"{path} holds object {number} of {clip} twice, in {variant} seed {seed}")
    return scores


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A CSV file that has at least these columns; LabError if it is missing, no table, or lacks one."""
    try:
        found = pd.read_csv(path, dtype=str, keep_default_na=False)  # else a row named null would be none, 007 be 7
    except FileNotFoundError:
        raise LabError(f"there is no {path}: `feelvos-lab ablate run` writes it") from None
    except (ValueError, OverflowError) as error:  # pandas' errors of parsing are ValueErrors
        raise LabError(f"{path} is no table: {error}") from None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror or error}") from None
    if missing := [c for c in columns if c not in found]:
        raise LabError(f"{path} must have the columns {', '.join(columns)}; missing: {', '.join(missing)}")
    return found.apply(lambda column: column if column.name in _TEXT_COLUMNS else _numbers(column))


def _numbers(column: pd.Series) -> pd.Series:
    """A column of numbers and empty cells as numbers; any other column as it is."""
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def _check_settings(folder: Path, spec: Spec, table: pd.DataFrame) -> None:
    """Raise if the experiment file sets a row otherwise now than when its numbers were measured."""
    for variant in spec.variants:
        made = table.loc[table["variant"] == variant.name, "parameters"] if "parameters" in table else ()
        if any(settings != settings_text(variant) for settings in made):
            raise LabError(
                f"{folder} is stale: {spec.path} sets row {variant.name!r} to {settings_text(variant)!r} now, its "
                f"numbers were made with {made.iloc[0]!r}"
            )


def settings_text(variant: Variant) -> str:
    """What a variant sets, such as `radius=4 previous_mask=False`."""
    return " ".join(f"{k}={v!r}" for k, v in variant.parameters.items() if k not in ("preset", "split"))


def seeds_there(spec: Spec, root: Path) -> list[int]:
    """The file's seeds, and those of the runs on disk that belong to its present variants."""
    found = set(spec.seeds)
    for variant in spec.variants:
        pattern = re.compile(rf"{re.escape(variant.name)}-s([0-9]+)-{variant.digest}")
        folder = Path(root) / "runs" / spec.name
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        found |= {int(match[1]) for name in names if (match := pattern.fullmatch(name))}
    return sorted(found)
