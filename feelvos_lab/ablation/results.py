"""From an experiment's runs to what they come to: scores, rows, claims; nothing is written.

An experiment's results read back from a folder, without its runs: the published ones, or a report of one's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from feelvos_lab.ablation import paper
from feelvos_lab.ablation.runs import PlannedRun, plan
from feelvos_lab.ablation.spec import Claim, Spec, Variant, load_spec
from feelvos_lab.ablation.statistics import Difference, Estimate, difference, estimate, rank_correlation
from feelvos_lab.errors import LabError

SCORES = ("J", "F", "JF")


@dataclass(frozen=True)
class TableRow:
    """One variant: its scores in percent over the runs that are ok, and the runs that are not."""

    variant: Variant
    estimates: dict[str, Estimate]  # of J, F and JF; empty without a run that is ok
    to_baseline: Difference | None  # None for the baseline, or where one of both is not there
    clips: tuple[float, ...]  # the metric of each clip, over seeds and objects
    states: dict[str, int]  # how many runs are ok, failed, stale, missing
    train_seconds: float
    test_seconds: float

    @property
    def lacking(self) -> str:
        return ", ".join(f"{count} {state}" for state, count in self.states.items() if count and state != "ok")


@dataclass(frozen=True)
class Results:
    """An experiment's runs and what they come to."""

    spec: Spec
    runs: tuple[PlannedRun, ...]
    scores: pd.DataFrame  # percent; variant, seed, clip, object, J, F, JF of all runs that are ok
    records: tuple[dict[str, Any], ...]  # of the same runs
    rows: tuple[TableRow, ...]
    correlation: float  # Spearman's, with the paper's column; nan where there is none
    claims: tuple[tuple[Claim, Difference | None], ...]  # with the difference measured


def read_results(spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None) -> Results:
    """Read every run that is ok and compute all that is shown; the others are counted, never mixed in.

    Args:
        spec: the experiment.
        root: as for `run`.
        seeds: by default the file's and all others that its present variants were run with.

    Raises:
        LabError: runs of one variant that were scored on different clips.
    """
    runs = plan(spec, seeds_there(spec, root) if seeds is None else seeds, root)
    done = [(planned, planned.record()) for planned in runs if planned.state == "ok"]
    scores = pd.DataFrame(
        [
            {"variant": p.variant.name, "seed": p.seed, "clip": s["clip"], "object": s["object"]}
            | {c: 100 * s[c] for c in SCORES}
            for p, record in done
            for s in record["scores"]
        ],
        columns=["variant", "seed", "clip", "object", *SCORES],
    )
    of = {name: scores[scores["variant"] == name] for name in spec.variant_names}
    rows = tuple(
        _row(spec, variant, runs, of, [r for p, r in done if p.variant == variant]) for variant in spec.variants
    )
    pairs = [
        (row.estimates[spec.metric].mean, number.value)
        for row in rows
        if row.estimates and (number := paper_number(row.variant, spec.metric)) is not None
    ]
    claims = tuple((c, _compare(c.clips(of[c.better]), c.clips(of[c.worse]), spec.metric)) for c in spec.claims)
    correlation = rank_correlation([a for a, _ in pairs], [b for _, b in pairs])
    return Results(spec, tuple(runs), scores, tuple(r for _, r in done), rows, correlation, claims)


def paper_number(variant: Variant, metric: str) -> paper.Number | None:
    """What the paper printed for the row, or None."""
    return getattr(variant.paper_row, metric) if variant.paper_row is not None else None


def settings_text(variant: Variant) -> str:
    """What a variant sets, such as `radius=4 previous_mask=False`."""
    return " ".join(f"{k}={v!r}" for k, v in variant.parameters.items() if k not in ("preset", "split"))


def data_text(results: Results) -> tuple[str, str]:
    """What the scores were measured on: in two words, and in a sentence."""
    settings = [record["config"] for record in results.records]
    kinds = sorted({config["data"] for config in settings})
    clips = results.scores["clip"].nunique()
    if kinds == ["shapes"]:
        sizes = sorted({f"{c['frames']} frames of {c['height']}×{c['width']}" for c in settings})
        swept = ", which sweep one difficulty at a time," if any(c.get("scenes") == "factors" for c in settings) else ""
        return "synthetic clips", (
            f"{clips} synthetic clips ({', '.join(sizes)}){swept} that the project makes from seeds, split "
            f"{results.spec.split}; training and test clips never share a seed. These are no DAVIS numbers."
        )
    return ", ".join(kinds), (
        f"{clips} clips of {', '.join(kinds)}, split {results.spec.split}. A benchmark number only if these are all "
        "sequences of the published list at their own size."
    )


def seeds_there(spec: Spec, root: Path) -> list[int]:
    """The file's seeds, and those of the runs on disk that belong to its present variants."""
    found = set(spec.seeds)
    for variant in spec.variants:
        pattern = re.compile(rf"{re.escape(variant.name)}-s([0-9]+)-{variant.digest}")
        folder = Path(root) / "runs" / spec.name
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        found |= {int(match[1]) for name in names if (match := pattern.fullmatch(name))}
    return sorted(found)


def _row(
    spec: Spec,
    variant: Variant,
    runs: Sequence[PlannedRun],
    of: dict[str, pd.DataFrame],
    records: Sequence[dict[str, Any]],
) -> TableRow:
    mine = of[variant.name]
    states = [planned.state for planned in runs if planned.variant == variant]
    compared = None if variant.name == spec.baseline else _compare(mine, of[spec.baseline], spec.metric)
    return TableRow(
        variant=variant,
        estimates={} if mine.empty else {column: estimate(mine, column) for column in SCORES},
        to_baseline=compared,
        clips=tuple(mine.groupby("clip")[spec.metric].mean()),
        states={state: states.count(state) for state in ("ok", "failed", "stale", "missing")},
        train_seconds=_mean([record["train_seconds"] for record in records]),
        test_seconds=_mean([record["test_seconds"] for record in records]),
    )


def _compare(a: pd.DataFrame, b: pd.DataFrame, column: str) -> Difference | None:
    return difference(a, b, column) if set(a["seed"]) & set(b["seed"]) else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


RECORDS, TABLE, REPORT = "records.csv", "table.csv", "report"

_NAMES = ("variant", "clip", "parameters")  # text, also where it looks like a number

RECORD_COLUMNS = ("variant", "seed", "clip", "object", "J", "F", "JF")


class Published(NamedTuple):
    """What `ablate report` or `ablate publish` left in a folder, and the experiment file it belongs to."""

    folder: Path
    spec: Spec
    scores: pd.DataFrame  # records.csv: variant, seed, clip, object, and J, F, JF in percent
    table: pd.DataFrame  # table.csv by variant: settings, means, intervals, seconds, and the paper's row

    def of(self, variant: str) -> pd.DataFrame:
        """The scores of one variant; no rows where it was not run."""
        return self.scores[self.scores["variant"] == variant]

    @property
    def variants(self) -> list[str]:
        """Those of the experiment's variants that have scores, in its order."""
        there = set(self.scores["variant"])
        return [name for name in self.spec.variant_names if name in there]


def results_folder(spec: Spec, root: Path) -> Path:
    """The published results of an experiment, tracked by git."""
    return Path(root) / "results" / spec.name


def report_folder(spec: Spec, root: Path) -> Path:
    """The report of the runs made here, beside them; ignored by git."""
    return Path(root) / "runs" / spec.name / REPORT


def read_published(folder: Path | str) -> Published:
    """The results in `experiments/results/<name>/` or `experiments/runs/<name>/report/`, with `experiments/<name>.yml`.

    Raises:
        LabError: a file that is missing, a table without the columns of a report, rows that the experiment file lacks
            or sets otherwise now, or an experiment file that `load_spec` refuses.
    """
    folder = Path(folder).resolve()
    scores = read_scores(folder)
    table = read_table(folder / TABLE, ("variant", "clips", "test_seconds"))
    named = folder.parent if folder.name == REPORT else folder
    spec = load_spec(named.parent.parent / f"{named.name}.yml")
    if unknown := set(scores["variant"]) - set(spec.variant_names):
        raise LabError(f"{folder}/records.csv has rows of {', '.join(sorted(unknown))}, which {spec.path} lacks")
    _refuse_changed_rows(folder, spec, table)
    return Published(folder, spec, scores, table.set_index("variant"))


def read_scores(folder: Path) -> pd.DataFrame:
    """The folder's records.csv: variant, seed, clip, object, and J, F, JF in percent.

    Raises:
        LabError: it is missing, lacks one of these columns, or holds what no run can score.
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
    """A CSV file that has these columns, and may have others.

    Raises:
        LabError: it is missing, no table, or lacks a column.
    """
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
    return found.apply(lambda column: column if column.name in _NAMES else _numbers(column))


def _numbers(column: pd.Series) -> pd.Series:
    """A column of numbers and empty cells, or its text where there is anything else in it."""
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def _refuse_changed_rows(folder: Path, spec: Spec, table: pd.DataFrame) -> None:
    """Raise where a row has other settings in the experiment file now than those that its numbers were made with."""
    for variant in spec.variants:
        made = table.loc[table["variant"] == variant.name, "parameters"] if "parameters" in table else ()
        if any(settings != settings_text(variant) for settings in made):
            raise LabError(
                f"{folder} is stale: {spec.path} sets row {variant.name!r} to {settings_text(variant)!r} now, its "
                f"numbers were made with {made.iloc[0]!r}"
            )
