"""The table as people read it: in a terminal and in Markdown, with what is needed to read it.

The table as programs read it: `table.csv`, everything about each row.

The table as papers print it: `table.tex`, a tabular of booktabs, made from the numbers of table.csv.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from feelvos_lab.ablation.results import SCORES, Published, Results, paper_number, read_results, settings_text
from feelvos_lab.ablation.runs import METRIC_NAMES
from feelvos_lab.ablation.spec import Spec
from feelvos_lab.ablation.statistics import Estimate

DASH = "–"


def table_text(spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None) -> str:
    """The table for a terminal, with the verdicts and what is not ok below it."""
    results = read_results(spec, root=root, seeds=seeds)
    cells = [row[:-1] if spec.paper_table is not None else row for row in table_cells(results)]  # the label is too wide
    lines = aligned(cells)
    rule = "-" * max(map(len, lines))
    told = [*notes(results), *verdict_lines(results), *not_ok_lines(results)]
    return "\n".join([lines[0], rule, *lines[1:], rule, *told])


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns under each other."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def table_cells(results: Results) -> list[list[str]]:
    """The table as text, header first: ours, then the paper's in columns of its own."""
    spec = results.spec
    metric = METRIC_NAMES[spec.metric]
    others = [column for column in SCORES if column != spec.metric]
    header = ["row", f"{metric} [95 %]", *(METRIC_NAMES[c] for c in others), "n", f"{metric} − {spec.baseline}", "min"]
    baseline = paper_number(spec.variant(spec.baseline), spec.metric)
    if spec.paper_table is not None:
        header += [f"paper {metric}", f"paper − {spec.baseline}", "paper's row"]
    cells = [header]
    for row in results.rows:
        dagger = "†" if row.estimates and row.estimates[spec.metric].seeds == 1 else ""
        line = [row.variant.name]
        if row.estimates:
            main = row.estimates[spec.metric]
            line += [f"{main.mean:.1f}{dagger}{interval_text(main)}", *(f"{row.estimates[c].mean:.1f}" for c in others)]
            line += [main.n, signed_text(row.to_baseline.estimate) if row.to_baseline else DASH]
            line += [f"{(row.train_seconds + row.test_seconds) / 60:.1f}"]
        else:
            line += [row.lacking, *[DASH] * (len(others) + 3)]
        if spec.paper_table is not None:
            number = paper_number(row.variant, spec.metric)
            gap = number.value - baseline.value if number and baseline and row.variant.name != spec.baseline else None
            line += [number.text() if number else DASH]
            line += [f"{gap:+.1f}" if gap is not None else DASH]
            line += [row.variant.paper_row.label if row.variant.paper_row else DASH]
        cells.append(line)
    return cells


def markdown(cells: list[list[str]]) -> list[str]:
    """The lines of a Markdown table, its header first."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def notes(results: Results) -> list[str]:
    """What is needed to read the table."""
    spec = results.spec
    shown = [row.estimates[spec.metric] for row in results.rows if row.estimates]
    told = ["Percent. n is seeds × objects; every object counts once a seed, first and last frame left out."]
    told += [f"[95 %]: bootstrap over seeds × clips; − {spec.baseline}: paired by seed, clip and object."]
    if any(e.seeds == 1 for e in shown):
        told += ["† one seed: the interval is over clips alone, and no claim is decided. `--seeds 3` runs three."]
    if copied := _copied(results):
        told += [copied]
    if spec.paper_table is not None:
        told += [
            f"Paper: {spec.paper_table.title} ({spec.paper_table.where}); other data, other size: compare the order."
        ]
        numbers = [paper_number(row.variant, spec.metric) for row in results.rows]
        if any(number is not None and not number.seen for number in numbers):
            told += ["° from memory, not checked against the paper."]
        if not math.isnan(results.correlation):
            n = sum(1 for row, number in zip(results.rows, numbers, strict=True) if row.estimates and number)
            told += [f"Rank correlation with the paper's column (Spearman): {results.correlation:.2f} over {n} rows."]
    return [*told, *_mixtures(results)]


def verdict_lines(results: Results) -> list[str]:
    """One line a claim."""
    lines = []
    for said, measured in results.claims:
        claim = f"Claim: {said.better} > {said.worse}{said.where}:"
        if measured is None:
            lines.append(f"{claim} undecided, one of them has no finished run")
            continue
        dagger = "†" if measured.estimate.seeds == 1 else ""
        spread = {"seeds": "the spread between seeds decides", "clips": "the spread between clips decides"}
        which = f"; {spread[measured.spread]}" if measured.spread in spread and not dagger else ""
        n = f"n = {measured.estimate.n}"
        lines.append(f"{claim} {measured.verdict}{dagger}, {signed_text(measured.estimate)}, {n}{which}")
    return lines


def not_ok_lines(results: Results) -> list[str]:
    """One line a run that is not ok, with its reason."""
    return [
        f"{planned.state}: {planned.name}{': ' + planned.reason if planned.reason else ''}"
        + (f" (see {planned.notebook})" if planned.state == "failed" else "")
        for planned in results.runs
        if planned.state != "ok"
    ]


def _copied(results: Results) -> str:
    """What copying the first mask scores on the same clips: the floor below every row."""
    metric = results.spec.metric
    means = {}
    for record in results.records:
        if record["copied"]:
            means[record["seed"]] = fmean(100 * row[metric] for row in record["copied"])
    if not means:
        return ""
    return f"Copying the first mask unchanged scores {METRIC_NAMES[metric]} {fmean(means.values()):.1f} here."


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


def interval_text(value: Estimate) -> str:
    """Such as ` [60.0, 62.0]`, or nothing where there is no interval."""
    return "" if math.isnan(value.low) else f" [{value.low:.1f}, {value.high:.1f}]"


def signed_text(value: Estimate) -> str:
    """A difference with its interval, such as `-2.6 [-5.1, +0.1]`."""
    mean, low, high = (f"{round(x, 1) + 0.0:+.1f}" for x in (value.mean, value.low, value.high))  # never -0.0
    return mean if math.isnan(value.low) else f"{mean} [{low}, {high}]"


def table_frame(results: Results) -> pd.DataFrame:
    """One line a row, in percent and seconds, rounded to four digits."""
    table = []
    for row in results.rows:
        line: dict[str, Any] = {"variant": row.variant.name, **row.states}
        line["parameters"] = settings_text(row.variant)
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
            number = paper_number(row.variant, column)
            line |= {f"paper_{column}": number and number.value, f"paper_{column}_mark": number and number.mark}
        table.append(line)
    return pd.DataFrame(table).round(4)


LATEX_DASH = "--"

_ESCAPED = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def escape(text: str) -> str:
    """Plain text as LaTeX takes it."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def latex_table(published: Published) -> str:
    """A tabular for `\\input`: ours with intervals and n, the difference to the baseline, the paper's number.

    It needs `\\usepackage{booktabs}` and nothing else. Numbers are those of table.csv, with one decimal.
    """
    spec, table = published.spec, published.table
    metric = spec.metric
    others = [column for column in ("J", "F", "JF") if column != metric]
    with_paper = f"paper_{metric}" in table and table[f"paper_{metric}"].notna().any()
    name = escape(METRIC_NAMES[metric])
    header = ["", name, r"95\,\%", *(escape(METRIC_NAMES[c]) for c in others), "$n$"]
    header += [f"{name} $-$ {escape(spec.baseline)}", r"95\,\%", *(["paper"] if with_paper else [])]
    lines = [
        _cells(line, variant=str(variant), metric=metric, others=others, with_paper=with_paper)
        for variant, line in table.iterrows()
    ]
    comment = [
        f"% {spec.name}: {' '.join(spec.question.split())}",
        "% Needs \\usepackage{booktabs}. Percent; n is seeds x objects. 95 %: bootstrap over seeds x clips;",
        "% differences are paired by seed, clip and object. Wider than a column: table*, or \\small.",
    ]
    if any("dagger" in cell for line in lines for cell in line):
        comment += ["% The dagger: one seed, the interval is over clips alone, and no claim is decided."]
    if any("circ" in cell for line in lines for cell in line):
        comment += ["% The circle: the paper's number is from memory, not checked against the paper."]
    if with_paper:
        comment += ["% The paper's column was measured on other data: compare the order, not the numbers."]
    columns = "lrl" + "r" * len(others) + "rrl" + ("r" if with_paper else "")
    body = [" & ".join(line) + r" \\" for line in (header, *lines)]
    opening = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule"]
    return "\n".join([*comment, *opening, *body[1:], r"\bottomrule", r"\end{tabular}", ""])


def _cells(line: pd.Series, *, variant: str, metric: str, others: list[str], with_paper: bool) -> list[str]:
    cells = [escape(variant)]
    if pd.isna(line[metric]):
        cells += [LATEX_DASH] * (len(others) + 5)
    else:
        dagger = r"$^\dagger$" if line["seeds"] == 1 else ""
        cells += [f"{line[metric]:.1f}{dagger}", _interval(line[f"{metric}_low"], line[f"{metric}_high"])]
        cells += [f"{line[column]:.1f}" for column in others]
        cells += [rf"${line['seeds']:.0f}\times{line['objects']:.0f}$"]
        change = line["difference"]
        cells += [LATEX_DASH, LATEX_DASH] if pd.isna(change) else [_signed(change), _change(line)]
    if with_paper:
        number, mark = line[f"paper_{metric}"], line[f"paper_{metric}_mark"]
        cells += [LATEX_DASH if pd.isna(number) else f"{number:.1f}" + ("" if mark == "seen" else r"$^\circ$")]
    return cells


def _change(line: pd.Series) -> str:
    low, high = line["difference_low"], line["difference_high"]
    return LATEX_DASH if math.isnan(low) else f"$[{_number(low)}, {_number(high)}]$"


def _interval(low: float, high: float) -> str:
    return LATEX_DASH if math.isnan(low) else f"[{low:.1f}, {high:.1f}]"


def _signed(value: float) -> str:
    return f"${_number(value)}$"


def _number(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # never -0.0
