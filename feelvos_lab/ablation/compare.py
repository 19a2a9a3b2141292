"""Compare two results scored on the same clips, row by row: before and after a change, or from two machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from feelvos_lab.ablation.results import read_scores
from feelvos_lab.ablation.statistics import Difference, Estimate, difference, estimate
from feelvos_lab.ablation.tables import DASH, aligned, interval_text, signed_text
from feelvos_lab.errors import LabError


@dataclass(frozen=True)
class ComparedRow:
    """One row of both results, in percent."""

    variant: str
    a: Estimate | None  # None if A has no such row
    b: Estimate | None
    change: Difference | None  # B − A; None if one side has no such row
    by_seed: bool  # paired by seed too; else each side is the mean over its own seeds


def compare(a: pd.DataFrame, b: pd.DataFrame, *, column: str) -> list[ComparedRow]:
    """The rows of A, then those of B alone, paired by clip and object, and by seed where a row has common seeds.

    Without a common seed each side is averaged over its own seeds first; the interval is then over clips alone.

    LabError if the two were not scored on the same clips and objects, or share no row.

    Args:
        a, b: columns variant, seed, clip, object and `column`, in percent.
    """
    _check_same_clips(a, b)
    rows = []
    for variant in dict.fromkeys([*a["variant"], *b["variant"]]):
        left, right = a[a["variant"] == variant], b[b["variant"] == variant]
        common = bool(set(left["seed"]) & set(right["seed"]))
        change = None
        if not left.empty and not right.empty:
            change = difference(right, left, column) if common else difference(*map(_over_seeds, (right, left)), column)
        ours, theirs = (None if side.empty else estimate(side, column) for side in (left, right))
        rows.append(ComparedRow(variant, ours, theirs, change, common))
    if not any(row.change for row in rows):
        raise LabError(f"the two results share no row: {', '.join(row.variant for row in rows)}")
    return rows


def compared_text(a: Path, b: Path, *, column: str, metric: str) -> str:
    """The comparison of two results folders, read from records.csv, as a table for a terminal."""
    rows = compare(read_scores(a), read_scores(b), column=column)
    header = ["row", f"A {metric} [95 %]", "n", f"B {metric} [95 %]", "n", "B − A [95 %]", "n", ""]
    lines = [
        f"A: {a}",
        f"B: {b}",
        "",
        *aligned([header, *map(_cells, rows)]),
        "",
        "Percent; n is seeds × objects. B − A is paired by seed, clip and object, over the seeds that both have.",
    ]
    if any(row.change and not row.by_seed for row in rows):
        lines += ["‡ no common seed: paired by clip and object, each side the mean of its own seeds."]
    if any(e and e.seeds == 1 for row in rows for e in (row.a, row.b, row.change and row.change.estimate)):
        lines += ["† the interval is over clips alone, and nothing is decided."]
    return "\n".join(lines)


def _cells(row: ComparedRow) -> list[str]:
    cells = [row.variant]
    for side in (row.a, row.b):
        text = f"{side.mean:.1f}{side.dagger}{interval_text(side.low, side.high)}" if side else DASH
        cells += [text, side.n if side else DASH]
    if row.change is None:
        return [*cells, DASH, DASH, f"only in {'A' if row.a else 'B'}"]
    change = row.change.estimate
    outcomes = {"supported": "B is higher", "contradicted": "A is higher", "undecided": "undecided"}
    outcome = f"{outcomes[row.change.verdict]}{change.dagger}{'' if row.by_seed else '‡'}"
    return [*cells, signed_text(change), change.n, outcome]


def _over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, as one seed."""
    columns = scores.columns.intersection(["J", "F", "JF"])
    return scores.groupby(["clip", "object"], as_index=False)[list(columns)].mean().assign(seed=0)


def _check_same_clips(a: pd.DataFrame, b: pd.DataFrame) -> None:
    ours, theirs = (set(map(tuple, side[["clip", "object"]].to_numpy())) for side in (a, b))
    if ours != theirs:
        clip, number = min(ours ^ theirs)
        raise LabError(
            f"the two results must be scored on the same clips and objects, but object {number} of {clip} is in "
            f"{'the first' if (clip, number) in ours else 'the second'} alone ({len(ours)} and {len(theirs)} objects, "
            f"{len(ours & theirs)} common)"
        )
