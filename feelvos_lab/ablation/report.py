"""What records.csv and table.csv of a report can be drawn as, without the runs: table.tex and pictures.

From records to tables, figures and report.md: beside the runs, or on request among the published results.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from feelvos_lab.ablation.difficulty import (
    FACTORS_CSV,
    FACTORS_PNG,
    factors_frame,
    factors_section,
    frame_side,
    is_sweep,
    published_cells,
)
from feelvos_lab.ablation.figures import FAILS, clips_figure, differences_figure, factors_figure, failures
from feelvos_lab.ablation.results import (
    RECORDS,
    TABLE,
    Published,
    Results,
    data_text,
    paper_number,
    read_results,
    report_folder,
    results_folder,
    settings_text,
)
from feelvos_lab.ablation.runs import METRIC_NAMES, count_states
from feelvos_lab.ablation.spec import Spec, Variant
from feelvos_lab.ablation.statistics import difference, paired_difference, variance_components
from feelvos_lab.ablation.tables import (
    DASH,
    latex_table,
    markdown,
    not_ok_lines,
    notes,
    table_cells,
    table_frame,
    verdict_lines,
)
from feelvos_lab.config import difference as preset_difference
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file, write_text

TEX, CLIPS, DIFFERENCES = "table.tex", "clips.png", "differences.png"


def write_drawings(published: Published) -> list[Path]:
    """Write table.tex, clips.png and, where two rows can be compared, differences.png into the results' folder.

    Where the clips sweep one difficulty at a time, factors.png and factors.csv too.

    Returns:
        The files written; those of earlier results are removed where there is nothing to compare now.

    Raises:
        LabError: the folder cannot be written, or there are no scores.
    """
    spec, scores, folder = published.spec, published.scores, published.folder
    if scores.empty:
        raise LabError(f"{folder} holds no scores to draw")
    common = {"column": spec.metric, "metric": METRIC_NAMES[spec.metric], "title": spec.question}
    base = published.of(spec.baseline)
    compared = [
        (name, difference(published.of(name), base, spec.metric))
        for name in published.variants
        if name != spec.baseline and set(published.of(name)["seed"]) & set(base["seed"])
    ]
    try:
        write_text(folder / TEX, latex_table(published))
        clips = clips_figure(scores, variants=published.variants, baseline=spec.baseline, **common)
        save_png(clips, folder / CLIPS)
        factors = write_factors(published)
        if not compared:
            (folder / DIFFERENCES).unlink(missing_ok=True)
            return [folder / TEX, folder / CLIPS]
        theirs = _papers_differences(published, [name for name, _ in compared])
        drawn = differences_figure(scores, compared, baseline=spec.baseline, paper=theirs, **common)
        save_png(drawn, folder / DIFFERENCES)
    except OSError as error:
        raise LabError(f"the folder {folder} cannot be written: {error.strerror or error}") from None
    return [folder / TEX, folder / CLIPS, folder / DIFFERENCES, *factors]


def write_factors(published: Published) -> list[Path]:
    """Write factors.csv and factors.png where the clips sweep one difficulty at a time and two rows can be compared.

    Returns:
        The files written; those of earlier results are removed where there are none now.

    Raises:
        OSError: they cannot be written.
        LabError: rows that were scored on different clips.
    """
    table, picture = (published.folder / name for name in (FACTORS_CSV, FACTORS_PNG))
    cells = published_cells(published) if is_sweep(published) else []
    if not cells:
        for path in (table, picture):
            path.unlink(missing_ok=True)
        return []
    spec, side = published.spec, frame_side(published)
    write_text(table, factors_frame(cells, side=side).to_csv(index=False, lineterminator="\n"))
    base = spec.variant(spec.baseline)
    figure = factors_figure(
        cells,
        rows={name: _departure(spec.variant(name), base) for name in dict.fromkeys(cell.variant for cell in cells)},
        baseline=spec.baseline,
        metric=METRIC_NAMES[spec.metric],
        title=spec.question,
        side=side,
        radius=base.config.model.radius,
    )
    save_png(figure, picture)
    return [table, picture]


def _departure(variant: Variant, base: Variant) -> str:
    """What a row sets otherwise than the baseline, such as `previous_mask: False`."""
    return ", ".join(f"{k}: {v}" for k, v in variant.parameters.items() if base.parameters.get(k) != v)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure in one step, at 150 dpi."""
    with complete_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=150)


def _papers_differences(published: Published, names: Sequence[str]) -> list[float | None]:
    column = f"paper_{published.spec.metric}"
    if column not in published.table:
        return [None] * len(names)
    numbers = pd.to_numeric(published.table[column])
    gaps = [numbers.get(name, float("nan")) - numbers.get(published.spec.baseline, float("nan")) for name in names]
    return [None if pd.isna(gap) else float(gap) for gap in gaps]


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's parts are."""

    table: Path
    figure: Path
    report: Path

    def __str__(self) -> str:
        return f"{self.report}, figure: {self.figure}"


def write_report(spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None) -> ReportPaths:
    """Write table, figure and report to `root/runs/<spec>/report/` from the runs that are ok.

    Raises:
        LabError: no run is ok, or a folder that cannot be written.
    """
    return _write(read_results(spec, root=root, seeds=seeds), report_folder(spec, root), root)


def publish(spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None) -> ReportPaths:
    """Write the same report to `root/results/<spec>/`, in the place of the results published there before.

    Nothing else writes there: these are the tables that the README, the lessons and their tests quote.

    Raises:
        LabError: a run that is not ok, or a folder that cannot be written.
    """
    results = read_results(spec, root=root, seeds=seeds)
    if any(planned.state != "ok" for planned in results.runs):
        found = count_states(results.runs)
        raise LabError(f"{spec.name} is published once every run is ok, but there are {found}: see `ablate status`")
    return _write(results, results_folder(spec, root), root)


def _write(results: Results, folder: Path, root: Path) -> ReportPaths:
    spec = results.spec
    if not results.records:
        found = count_states(results.runs)
        raise LabError(f"{spec.name} has no finished run to report, but {found}: `feelvos-lab ablate run {spec.path}`")
    paths = ReportPaths(folder / "table.md", folder / "figure.png", folder / "report.md")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RECORDS, results.scores.round(4).to_csv(index=False, lineterminator="\n"))
        table = table_frame(results)
        write_text(folder / TABLE, table.to_csv(index=False, lineterminator="\n"))
        write_text(paths.table, "\n".join(markdown(table_cells(results))) + "\n")
        published = Published(folder, spec, results.scores, table.set_index("variant"))
        write_text(paths.report, _report(results, published, root))
        _save_figure(results, paths.figure)
        write_drawings(published)
    except OSError as error:
        raise LabError(f"the folder {folder} cannot be written: {error.strerror or error}") from None
    return paths


def _report(results: Results, published: Published, root: Path) -> str:
    spec = results.spec
    record = results.records[0]
    command = f"feelvos-lab ablate run {shlex.quote(os.path.relpath(spec.path))}"
    seeds = sorted({planned.seed for planned in results.runs})
    if seeds != list(spec.seeds):
        command += " --seeds " + ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")  # 3 alone would be three
    commits = sorted({f"{r['commit']}{' with uncommitted changes' if r['dirty'] else ''}" for r in results.records})
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    parts = [f"# {spec.name}", "", f"**{spec.question}**", "", f"Measured on {data_text(results)[1]}", ""]
    parts += [*markdown(table_cells(results)), "", *(f"- {note}" for note in notes(results)), ""]
    parts += ["![Every row's score beside the paper's](figure.png)", ""]
    if any(row.to_baseline for row in results.rows):
        parts += [f"![Every row minus {spec.baseline}, paired, with its clips]({DIFFERENCES})", ""]
    parts += [
        "The table for a paper: [table.tex](table.tex) (booktabs); for programs: [table.csv](table.csv); the scores of"
    ]
    parts += ["every object: [records.csv](records.csv).", "", "## Claims, written before the runs", ""]
    parts += [f"- {line}" for line in verdict_lines(results)] or ["- none"]
    if troubles := not_ok_lines(results):
        parts += ["", "## Not ok, and not in any number above", "", *(f"- {line}" for line in troubles)]
    if swept := factors_section(published):
        parts += ["", *swept]
    parts += ["", *_failures(results), "", *_spreads(results)]
    parts += ["", "## What each row sets", ""]
    parts += [f"- `{row.variant.name}`: {settings_text(row.variant) or 'as the preset'}" for row in results.rows]
    if spec.preset is not None:
        parts += ["", f"## Preset {spec.preset} and the paper's settings (`full`)", ""]
        parts += markdown(
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


def _failures(results: Results) -> list[str]:
    """Which objects each row loses, the worst five by name."""
    column = results.spec.metric
    lost = failures(results.scores, column)
    objects = len(results.scores[["clip", "object"]].drop_duplicates())
    parts = ["## Where rows fail", "", f"Objects below {METRIC_NAMES[column]} {FAILS:.0f} % in the mean over seeds,"]
    parts += [f"of {objects}; the worst five of each row, as clip/object (score).", ""]
    for row in results.rows:
        mine = lost[lost["variant"] == row.variant.name]
        names = [f"{r.clip}/{r.object} ({getattr(r, column):.0f})" for r in mine.head(5).itertuples()]
        if row.estimates:
            parts += [f"- `{row.variant.name}`: {len(mine)}{': ' if names else ''}{', '.join(names)}"]
    return [*parts, "", f"![Each clip's score in each row, failing objects by their ids]({CLIPS})"]


def _spreads(results: Results) -> list[str]:
    """How far scores spread between seeds and between clips, of each row and of its difference to the baseline."""
    spec = results.spec
    if results.scores["seed"].nunique() == 1:
        return ["## Seeds versus clips", "", "With one seed the two cannot be told apart: `--seeds 3` runs three."]
    of = {name: results.scores[results.scores["variant"] == name] for name in spec.variant_names}
    metric = METRIC_NAMES[spec.metric]
    cells = [["row", f"{metric}: seeds", "clips", "rest", f"{metric} − {spec.baseline}: seeds", "clips", "rest"]]
    for row in results.rows:
        if not row.estimates:
            continue
        whole = variance_components(of[row.variant.name], spec.metric)
        line = [row.variant.name, *map(_deviation, (whole.seeds, whole.clips, whole.rest))]
        if row.to_baseline is None:
            line += [DASH] * 3
        else:
            pairs = paired_difference(of[row.variant.name], of[spec.baseline], spec.metric)
            gap = variance_components(pairs, "difference")
            line += map(_deviation, (gap.seeds, gap.clips, gap.rest))
        cells.append(line)
    return [
        "## Seeds versus clips",
        "",
        "Standard deviations, in points. *seeds*: training again moves all clips together; *clips*: clips differ",
        "whatever the seed; *rest*: training again moves single clips. Where the first is large, more seeds help,",
        "where the others are, more clips.",
        "",
        *markdown(cells),
    ]


def _deviation(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.1f}"


def _save_figure(results: Results, path: Path) -> None:
    from feelvos_lab.ablation.figures import FigureRow, ablation_figure

    spec = results.spec
    rows = []
    for row in results.rows:
        number = paper_number(row.variant, spec.metric)
        shown = row.estimates.get(spec.metric)
        rows.append(FigureRow(row.variant.name, shown, row.clips, number.value if number else None, row.lacking))
    figure = ablation_figure(
        rows,
        title=spec.question,
        metric=METRIC_NAMES[spec.metric],
        ours=data_text(results)[0],
        paper="DAVIS 2017" if any(row.paper is not None for row in rows) else None,
    )
    save_png(figure, path)
