"""From records to what is read: records.csv, table.md, table.csv, figure.png and report.md in results/<spec>/."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from feelvos_lab import paper
from feelvos_lab.ablate.records import write_text
from feelvos_lab.ablate.run import METRIC_NAMES, PlannedRun, count_states, plan
from feelvos_lab.ablate.spec import Spec, Variant
from feelvos_lab.ablate.stats import Difference, Estimate, difference, estimate, rank_correlation
from feelvos_lab.config import difference as preset_difference
from feelvos_lab.errors import LabError

DASH = "–"
SCORES = ("J", "F", "JF")


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's parts are."""

    table: Path
    figure: Path
    report: Path

    def __str__(self) -> str:
        return f"{self.report}, figure: {self.figure}"


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
    claims: tuple[tuple[str, str, Difference | None], ...]  # better, worse, the difference measured


def read_results(spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None) -> Results:
    """Read every run that is ok and compute all that is shown; the others are counted, never mixed in.

    Args:
        spec: the experiment.
        root: as for `run`.
        seeds: by default the file's and all others that its present variants were run with.

    Raises:
        LabError: runs of one variant that were scored on different clips.
    """
    runs = plan(spec, _seeds_there(spec, root) if seeds is None else seeds, root)
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
        if row.estimates and (number := _paper_number(row.variant, spec.metric)) is not None
    ]
    claims = tuple((c.better, c.worse, _compare(of[c.better], of[c.worse], spec.metric)) for c in spec.claims)
    correlation = rank_correlation([a for a, _ in pairs], [b for _, b in pairs])
    return Results(spec, tuple(runs), scores, tuple(r for _, r in done), rows, correlation, claims)


def write_report(spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None) -> ReportPaths:
    """Write table, figure and report to `root/results/<spec>/` from the runs that are ok.

    Raises:
        LabError: no run is ok, or a folder that cannot be written.
    """
    results = read_results(spec, root=root, seeds=seeds)
    if not results.records:
        found = count_states(results.runs)
        raise LabError(f"{spec.name} has no finished run to report, but {found}: `feelvos-lab ablate run {spec.path}`")
    folder = Path(root) / "results" / spec.name
    paths = ReportPaths(folder / "table.md", folder / "figure.png", folder / "report.md")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "records.csv", results.scores.round(4).to_csv(index=False, lineterminator="\n"))
        write_text(folder / "table.csv", _table_csv(results).to_csv(index=False, lineterminator="\n"))
        write_text(paths.table, "\n".join(_markdown(_cells(results))) + "\n")
        write_text(paths.report, _report(results, root))
        _save_figure(results, paths.figure)
    except OSError as error:
        raise LabError(f"the folder {folder} cannot be written: {error.strerror or error}") from None
    return paths


def table_text(spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None) -> str:
    """The table for a terminal, with the verdicts and what is not ok below it."""
    results = read_results(spec, root=root, seeds=seeds)
    cells = [row[:-1] if spec.paper_table is not None else row for row in _cells(results)]  # the label is too wide
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:], rule, *_notes(results), *_verdicts(results), *_not_ok(results)])


def _seeds_there(spec: Spec, root: Path) -> list[int]:
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


def _paper_number(variant: Variant, metric: str) -> paper.Number | None:
    return getattr(variant.paper_row, metric) if variant.paper_row is not None else None


def _interval(value: Estimate) -> str:
    return "" if math.isnan(value.low) else f" [{value.low:.1f}, {value.high:.1f}]"


def _signed(value: Estimate) -> str:
    mean, low, high = (f"{round(x, 1) + 0.0:+.1f}" for x in (value.mean, value.low, value.high))  # never -0.0
    return mean if math.isnan(value.low) else f"{mean} [{low}, {high}]"


def _cells(results: Results) -> list[list[str]]:
    """The table as text, header first: ours, then the paper's in columns of its own."""
    spec = results.spec
    metric = METRIC_NAMES[spec.metric]
    others = [column for column in SCORES if column != spec.metric]
    header = ["row", f"{metric} [95 %]", *(METRIC_NAMES[c] for c in others), "n", f"{metric} − {spec.baseline}", "min"]
    baseline = _paper_number(spec.variant(spec.baseline), spec.metric)
    if spec.paper_table is not None:
        header += [f"paper {metric}", f"paper − {spec.baseline}", "paper's row"]
    cells = [header]
    for row in results.rows:
        dagger = "†" if row.estimates and row.estimates[spec.metric].seeds == 1 else ""
        line = [row.variant.name]
        if row.estimates:
            main = row.estimates[spec.metric]
            line += [f"{main.mean:.1f}{dagger}{_interval(main)}", *(f"{row.estimates[c].mean:.1f}" for c in others)]
            line += [main.n, _signed(row.to_baseline.estimate) if row.to_baseline else DASH]
            line += [f"{(row.train_seconds + row.test_seconds) / 60:.1f}"]
        else:
            line += [row.lacking, *[DASH] * (len(others) + 3)]
        if spec.paper_table is not None:
            number = _paper_number(row.variant, spec.metric)
            gap = number.value - baseline.value if number and baseline and row.variant.name != spec.baseline else None
            line += [number.text() if number else DASH]
            line += [f"{gap:+.1f}" if gap is not None else DASH]
            line += [row.variant.paper_row.label if row.variant.paper_row else DASH]
        cells.append(line)
    return cells


def _markdown(cells: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _notes(results: Results) -> list[str]:
    """What is needed to read the table."""
    spec = results.spec
    shown = [row.estimates[spec.metric] for row in results.rows if row.estimates]
    notes = ["Percent. n is seeds × objects; every object counts once a seed, first and last frame left out."]
    notes += [f"[95 %]: bootstrap over seeds × clips; − {spec.baseline}: paired by seed, clip and object."]
    if any(e.seeds == 1 for e in shown):
        notes += ["† one seed: the interval is over clips alone, and no claim is decided. `--seeds 3` runs three."]
    if copied := _copied(results):
        notes += [copied]
    if spec.paper_table is not None:
        notes += [
            f"Paper: {spec.paper_table.title} ({spec.paper_table.where}); other data, other size: compare the order."
        ]
        numbers = [_paper_number(row.variant, spec.metric) for row in results.rows]
        if any(number is not None and not number.seen for number in numbers):
            notes += ["° from memory, not checked against the paper."]
        if not math.isnan(results.correlation):
            n = sum(1 for row, number in zip(results.rows, numbers, strict=True) if row.estimates and number)
            notes += [f"Rank correlation with the paper's column (Spearman): {results.correlation:.2f} over {n} rows."]
    return [*notes, *_mixtures(results)]


def _copied(results: Results) -> str:
    """What copying the first mask scores on the same clips: the floor below every row."""
    metric = results.spec.metric
    means = {}
    for record in results.records:
        if record["copied"]:
            means[record["seed"]] = _mean([100 * row[metric] for row in record["copied"]])
    if not means:
        return ""
    return f"Copying the first mask unchanged scores {METRIC_NAMES[metric]} {_mean(list(means.values())):.1f} here."


def _mixtures(results: Results) -> list[str]:
    """A sentence for whatever differed between runs that are shown side by side."""
    told = []
    for name in ("torch", "python"):
        values = sorted({str(record["versions"].get(name)) for record in results.records})
        if len(values) > 1:
            told.append(f"Mind: these runs were made with different versions of {name}: {', '.join(values)}.")
    for key in ("device", "threads"):
        values = sorted({str(record[key]) for record in results.records})
        if len(values) > 1:
            told.append(f"Mind: these runs were made with different {key}: {', '.join(values)}.")
    return told


def _verdicts(results: Results) -> list[str]:
    """One line a claim."""
    lines = []
    for better, worse, measured in results.claims:
        claim = f"Claim: {better} > {worse}:"
        if measured is None:
            lines.append(f"{claim} undecided, one of them has no finished run")
            continue
        dagger = "†" if measured.estimate.seeds == 1 else ""
        spread = {"seeds": "the spread between seeds decides", "clips": "the spread between clips decides"}
        which = f"; {spread[measured.spread]}" if measured.spread in spread and not dagger else ""
        n = f"n = {measured.estimate.n}"
        lines.append(f"{claim} {measured.verdict}{dagger}, {_signed(measured.estimate)}, {n}{which}")
    return lines


def _not_ok(results: Results) -> list[str]:
    return [
        f"{planned.state}: {planned.name}{': ' + planned.reason if planned.reason else ''}"
        + (f" (see {planned.notebook})" if planned.state == "failed" else "")
        for planned in results.runs
        if planned.state != "ok"
    ]


def _table_csv(results: Results) -> pd.DataFrame:
    """Everything about each row, unrounded where it is read by programs."""
    table = []
    for row in results.rows:
        line: dict[str, Any] = {"variant": row.variant.name, **row.states}
        line["parameters"] = _settings(row.variant)
        main = row.estimates.get(results.spec.metric)
        line |= {"seeds": main and main.seeds, "clips": main and main.clips, "objects": main and main.objects}
        for column in SCORES:
            value = row.estimates.get(column)
            line |= {column: value and value.mean, f"{column}_low": value and value.low}
            line |= {f"{column}_high": value and value.high}
        compared = row.to_baseline
        change = compared and compared.estimate
        line |= {"difference": change and change.mean, "difference_low": change and change.low}
        line |= {"difference_high": change and change.high, "difference_spread": compared and compared.spread}
        test = compared and compared.test
        for name in ("t", "df", "p", "low", "high"):
            line[f"seeds_t_{name}" if name != "t" else "seeds_t"] = getattr(test, name) if test else None
        line |= {"train_seconds": row.train_seconds, "test_seconds": row.test_seconds}
        for column in SCORES:
            number = _paper_number(row.variant, column)
            line |= {f"paper_{column}": number and number.value, f"paper_{column}_mark": number and number.mark}
        table.append(line)
    return pd.DataFrame(table).round(4)


def _settings(variant: Variant) -> str:
    """What a variant sets, such as `radius=4 previous_mask=False`."""
    return " ".join(f"{k}={v!r}" for k, v in variant.parameters.items() if k not in ("preset", "split"))


def _data(results: Results) -> tuple[str, str]:
    """What the scores were measured on: in two words, and in a sentence."""
    settings = [record["config"] for record in results.records]
    kinds = sorted({config["data"] for config in settings})
    clips = results.scores["clip"].nunique()
    if kinds == ["shapes"]:
        sizes = sorted({f"{c['frames']} frames of {c['height']}×{c['width']}" for c in settings})
        return "synthetic clips", (
            f"{clips} synthetic clips ({', '.join(sizes)}) that the project makes from seeds, split "
            f"{results.spec.split}; training and test clips never share a seed. These are no DAVIS numbers."
        )
    return ", ".join(kinds), (
        f"{clips} clips of {', '.join(kinds)}, split {results.spec.split}. A benchmark number only if these are all "
        "sequences of the published list at their own size."
    )


def _report(results: Results, root: Path) -> str:
    spec = results.spec
    record = results.records[0]
    command = f"feelvos-lab ablate run {shlex.quote(os.path.relpath(spec.path))}"
    seeds = sorted({planned.seed for planned in results.runs})
    if seeds != list(spec.seeds):
        command += " --seeds " + ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")  # 3 alone would be three
    commits = sorted({f"{r['commit']}{' with uncommitted changes' if r['dirty'] else ''}" for r in results.records})
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    parts = [f"# {spec.name}", "", f"**{spec.question}**", "", f"Measured on {_data(results)[1]}", ""]
    parts += [*_markdown(_cells(results)), "", *(f"- {note}" for note in _notes(results)), ""]
    parts += ["![Every row's score beside the paper's](figure.png)", "", "## Claims, written before the runs", ""]
    parts += [f"- {line}" for line in _verdicts(results)] or ["- none"]
    if troubles := _not_ok(results):
        parts += ["", "## Not ok, and not in any number above", "", *(f"- {line}" for line in troubles)]
    parts += ["", "## What each row sets", ""]
    parts += [f"- `{row.variant.name}`: {_settings(row.variant) or 'as the preset'}" for row in results.rows]
    if spec.preset is not None:
        parts += ["", f"## Preset {spec.preset} and the paper's settings (`full`)", ""]
        parts += _markdown(
            [["setting", spec.preset, "full"]]
            + [[name, str(a), str(b)] for name, (a, b) in preset_difference(spec.preset, "full").items()]
        )
    parts += ["", "## How to make it again", "", f"    {command}", ""]
    parts += [f"- code: {', '.join(commits)}", f"- versions: {versions}"]
    parts += [f"- machine: {record['device']}, {record['threads']} thread(s) a run"]
    total = sum(r["train_seconds"] + r["test_seconds"] for r in results.records)
    peak = max(r["peak_memory_mb"] for r in results.records)
    parts += [f"- {len(results.records)} runs, {total / 60:.1f} min of training and testing, at most {peak} MB each"]
    parts += [f"- each run's lab-book page: `{os.path.relpath(root)}/runs/{spec.name}/<row>-s<seed>-…/notebook.ipynb`"]
    return "\n".join(parts) + "\n"


def _save_figure(results: Results, path: Path) -> None:
    from feelvos_lab.ablate.figure import Dots, ablation_figure

    spec = results.spec
    rows = []
    for row in results.rows:
        number = _paper_number(row.variant, spec.metric)
        shown = row.estimates.get(spec.metric)
        rows.append(Dots(row.variant.name, shown, row.clips, number.value if number else None, row.lacking))
    figure = ablation_figure(
        rows,
        title=spec.question,
        metric=METRIC_NAMES[spec.metric],
        ours=_data(results)[0],
        paper="DAVIS 2017" if any(row.paper is not None for row in rows) else None,
    )
    unfinished = path.with_name(f".{path.name}.part")
    figure.savefig(unfinished, format="png", dpi=150)
    os.replace(unfinished, path)
