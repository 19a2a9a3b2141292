"""From an experiment's runs to what they come to: scores, rows, claims; nothing is written."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from feelvos_lab import paper
from feelvos_lab.ablate.plan import PlannedRun, plan
from feelvos_lab.ablate.spec import Claim, Spec, Variant
from feelvos_lab.ablate.stats import Difference, Estimate, difference, estimate, rank_correlation

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
