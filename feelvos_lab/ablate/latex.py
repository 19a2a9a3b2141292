"""The table as papers print it: `table.tex`, a tabular of booktabs, made from the numbers of table.csv."""

from __future__ import annotations

import math

import pandas as pd

from feelvos_lab.ablate.plan import METRIC_NAMES
from feelvos_lab.ablate.published import Published

DASH = "--"
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
        cells += [DASH] * (len(others) + 5)
    else:
        dagger = r"$^\dagger$" if line["seeds"] == 1 else ""
        cells += [f"{line[metric]:.1f}{dagger}", _interval(line[f"{metric}_low"], line[f"{metric}_high"])]
        cells += [f"{line[column]:.1f}" for column in others]
        cells += [rf"${line['seeds']:.0f}\times{line['objects']:.0f}$"]
        change = line["difference"]
        cells += [DASH, DASH] if pd.isna(change) else [_signed(change), _change(line)]
    if with_paper:
        number, mark = line[f"paper_{metric}"], line[f"paper_{metric}_mark"]
        cells += [DASH if pd.isna(number) else f"{number:.1f}" + ("" if mark == "seen" else r"$^\circ$")]
    return cells


def _change(line: pd.Series) -> str:
    low, high = line["difference_low"], line["difference_high"]
    return DASH if math.isnan(low) else f"$[{_number(low)}, {_number(high)}]$"


def _interval(low: float, high: float) -> str:
    return DASH if math.isnan(low) else f"[{low:.1f}, {high:.1f}]"


def _signed(value: float) -> str:
    return f"${_number(value)}$"


def _number(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # never -0.0
