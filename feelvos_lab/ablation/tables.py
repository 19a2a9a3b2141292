"""The table of results as text: for a terminal, in Markdown and in LaTeX, with the notes needed to read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
import pandas as pd

from feelvos_lab.ablation.results import SCORES, Results
from feelvos_lab.ablation.runs import METRIC_NAMES
from feelvos_lab.ablation.statistics import Estimate, rank_correlation

DASH = "–"

_LATEX = str.maketrans({"†": r"$^\dagger$", "°": r"$^\circ$", "×": r"\times", DASH: "--"})


def table_text(results: Results) -> str:
    """The table for a terminal, followed by notes, verdicts and the runs that are not ok."""
    cells = table_cells(results)
    if results.spec.paper_table is not None:
        cells = [row[:-1] for row in cells]  # the paper's label is too wide
    lines = aligned(cells)
    rule = "-" * max(map(len, lines))
    below = [*notes(results), *verdict_lines(results), *not_ok_lines(results)]
    return "\n".join([lines[0], rule, *lines[1:], rule, *below])


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table for a terminal, its header first; columns are aligned on the left."""
    return ["  ".join(row).rstrip() for row in _padded(cells)]


def markdown(cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, its header first."""
    header, *lines = ["| " + " | ".join(row) + " |" for row in _padded(cells)]
    return [header, "".join("|" if character == "|" else "-" for character in header), *lines]


def _padded(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]


def table_cells(results: Results) -> list[list[str]]:
    """The table as text, header first: our numbers, then the paper's in columns of their own."""
    spec, shown = results.spec, _shown(results)
    metric = METRIC_NAMES[spec.metric]
    means = shown["mean"].where(shown["mean"] != DASH, [results.lacking(name) for name in shown.index])
    columns = {"row": shown.index, f"{metric} [95 %]": means + shown["interval"]}
    columns |= {METRIC_NAMES[c]: shown[c] for c in SCORES if c != spec.metric}
    columns |= {"n": shown["n"], f"{metric} − {spec.baseline}": shown["difference"] + shown["difference_interval"]}
    columns |= {"min": shown["minutes"]}
    if spec.paper_table is not None:
        labels = [row.label if (row := spec.variant(name).paper_row) else DASH for name in shown.index]
        columns |= {f"paper {metric}": shown["paper"], f"paper − {spec.baseline}": shown["gap"], "paper's row": labels}
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def latex_table(results: Results) -> str:
    r"""A tabular for `\input`: our means with intervals and n, the difference to the baseline, the paper's number.

    It needs `\usepackage{booktabs}` and nothing else. Numbers are those of table.csv, with one decimal.
    """
    spec, shown = results.spec, _shown(results)
    metric = METRIC_NAMES[spec.metric]
    header = {"mean": metric, "interval": "95 %", **{c: METRIC_NAMES[c] for c in SCORES if c != spec.metric}}
    header |= {"n": "$n$", "difference": f"{metric} $-$ {spec.baseline}", "difference_interval": "95 %"}
    if with_paper := set(shown["paper"]) != {DASH}:
        header |= {"paper": "paper"}
    for column in ("n", "difference", "difference_interval"):
        shown[column] = [text if text in ("", DASH) else f"${text.strip()}$" for text in shown[column]]
    cells = shown[list(header)].apply(lambda column: column.str.strip()).replace("", DASH)
    cells = cells.set_axis(list(header.values()), axis=1).rename_axis(None)
    styler = cells.style.format_index(escape="latex").format_index(escape="latex-math", axis=1)
    layout = "lrl" + "r" * (len(SCORES) - 1) + "rrl" + "r" * with_paper
    tabular = styler.to_latex(hrules=True, column_format=layout).translate(_LATEX)
    comment = [
        f"% {spec.name}: {' '.join(spec.question.split())}",
        "% Needs \\usepackage{booktabs}. Percent; n is seeds x objects. 95 %: bootstrap over seeds x clips;",
        "% differences are paired by seed, clip and object. Wider than a column: table*, or \\small.",
    ]
    if "dagger" in tabular:
        comment += ["% The dagger: one seed, the interval is over clips alone, and no claim is decided."]
    if "circ" in tabular:
        comment += ["% The circle: the paper's number is from memory, not checked against the paper."]
    if with_paper:
        comment += ["% The paper's column was measured on other data: compare the order, not the numbers."]
    return "\n".join([*comment, tabular])


def _shown(results: Results) -> pd.DataFrame:
    """The table's numbers as text, one column for each value and each interval; a dash where there is no value."""
    table, metric = results.table, results.spec.metric
    seconds = table["train_seconds"] + table["test_seconds"]
    values = {"mean": table[metric], **{c: table[c] for c in SCORES if c != metric}, "minutes": seconds / 60}
    values |= {"paper": table[f"paper_{metric}"]}
    shown = pd.DataFrame({name: _texts(column, "{:.1f}".format) for name, column in values.items()}, index=table.index)
    shown["difference"] = _texts(table["difference"], signed)
    shown["gap"] = _texts(results.paper_gaps, signed)
    counts = zip(table["seeds"], table["objects"], strict=True)
    shown["n"] = [DASH if pd.isna(seeds) else f"{seeds:.0f}×{objects:.0f}" for seeds, objects in counts]
    for column, name, form in ((metric, "interval", "{:.1f}".format), ("difference", "difference_interval", signed)):
        ends = zip(table[f"{column}_low"], table[f"{column}_high"], strict=True)
        shown[name] = [interval_text(low, high, form) for low, high in ends]
    shown["mean"] += np.where(table["seeds"] == 1, "†", "")
    shown["paper"] += np.where(table[f"paper_{metric}_mark"] == "from memory", "°", "")
    return shown


def _texts(column: pd.Series, form: Callable[[float], str]) -> list[str]:
    return [DASH if pd.isna(value) else form(value) for value in column]


def signed(value: float) -> str:
    """One decimal and a sign, never -0.0."""
    return f"{round(value, 1) + 0.0:+.1f}"


def interval_text(low: float, high: float, form: Callable[[float], str] = "{:.1f}".format) -> str:
    """Such as ` [60.0, 62.0]`, or nothing where there is no interval."""
    return "" if pd.isna(low) else f" [{form(low)}, {form(high)}]"


def signed_text(value: Estimate) -> str:
    """A difference with its interval, such as `-2.6 [-5.1, +0.1]`."""
    return signed(value.mean) + interval_text(value.low, value.high, signed)


def notes(results: Results) -> list[str]:
    """What is needed to read the table."""
    spec, table = results.spec, results.table
    lines = ["Percent. n is seeds × objects; every object counts once a seed, first and last frame left out."]
    lines += [f"[95 %]: bootstrap over seeds × clips; − {spec.baseline}: paired by seed, clip and object."]
    if (table["seeds"] == 1).any():
        lines += ["† one seed: the interval is over clips alone, and no claim is decided. `--seeds 3` runs three."]
    lines += _copied(results)
    if spec.paper_table is not None:
        lines += [
            f"Paper: {spec.paper_table.title} ({spec.paper_table.where}); other data, other size: compare the order."
        ]
        if (table[f"paper_{spec.metric}_mark"] == "from memory").any():
            lines += ["° from memory, not checked against the paper."]
        both = table[[spec.metric, f"paper_{spec.metric}"]].dropna()
        correlation = rank_correlation(*(both[column].tolist() for column in both))
        if not math.isnan(correlation):
            lines += [f"Rank correlation with the paper's column (Spearman): {correlation:.2f} over {len(both)} rows."]
    return [*lines, *_mixtures(results)]


def verdict_lines(results: Results) -> list[str]:
    """One line a claim."""
    lines = []
    for claim, measured in results.claims:
        line = f"Claim: {claim.better} > {claim.worse}{claim.where}: "
        if measured is None:
            lines.append(f"{line}undecided, one of them has no finished run")
            continue
        value, spread = measured.estimate, measured.spread
        decides = f"; the spread between {spread} decides" if spread != "neither" and value.seeds > 1 else ""
        lines.append(f"{line}{measured.verdict}{value.dagger}, {signed_text(value)}, n = {value.n}{decides}")
    return lines


def not_ok_lines(results: Results) -> list[str]:
    """One line a run that is not ok, with its reason."""
    return [
        f"{run.state}: {run.name}{': ' + run.reason if run.reason else ''}"
        + (f" (see {run.evidence})" if run.state == "failed" else "")
        for run in results.runs
        if run.state != "ok"
    ]


def _copied(results: Results) -> list[str]:
    """What copying the first mask scores on the same clips: the floor below every row."""
    metric = results.spec.metric
    means = {r["seed"]: fmean(100 * row[metric] for row in r["copied"]) for r in results.records if r["copied"]}
    if not means:
        return []
    return [f"Copying the first mask unchanged scores {METRIC_NAMES[metric]} {fmean(means.values()):.1f} here."]


def _mixtures(results: Results) -> list[str]:
    """A warning for whatever differs between runs that are shown in one table."""
    made = {f"versions of {name}": [r["versions"].get(name) for r in results.records] for name in ("torch", "python")}
    made |= {"devices": [r["device"] for r in results.records]}
    made |= {"numbers of threads, which alone can change a score": [r["threads"] for r in results.records]}
    made |= {"settings of FEELVOS_SEARCH": [r.get("search") for r in results.records]}
    made |= {"files of the scored clips, by name or size": [r.get("files") for r in results.records]}
    return [
        f"Mind: these runs were made with different {what}: {', '.join(values)}."
        for what, found in made.items()
        if len(values := sorted(set(map(str, found)))) > 1
    ]
