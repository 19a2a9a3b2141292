"""Write an experiment's report: tables, figures and report.md, next to its runs or as published results."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from feelvos_lab.ablation.difficulty import (
    FACTORS_CSV,
    FACTORS_PNG,
    factors_frame,
    factors_section,
    frame_side,
    sweep_cells,
)
from feelvos_lab.ablation.figures import (
    FAILS,
    ablation_figure,
    clips_figure,
    differences_figure,
    factors_figure,
    failures,
)
from feelvos_lab.ablation.results import RECORDS, TABLE, Results, settings_text
from feelvos_lab.ablation.runs import METRIC_NAMES, count_states
from feelvos_lab.ablation.spec import Variant
from feelvos_lab.ablation.statistics import paired_difference, variance_components
from feelvos_lab.ablation.tables import DASH, latex_table, markdown, not_ok_lines, notes, table_cells, verdict_lines
from feelvos_lab.config import difference as preset_difference
from feelvos_lab.errors import LabError
from feelvos_lab.figures.style import in_house_style
from feelvos_lab.files.atomic import complete_file, write_text
from feelvos_lab.files.project import is_installed, project_folder, relative_path

TEX, CLIPS, DIFFERENCES, FIGURE, PAGE = "table.tex", "clips.png", "differences.png", "figure.png", "report.md"


def write_report(results: Results) -> Path:
    """Write tables, figures and report.md from the runs that are ok; returns the folder. LabError if none is ok."""
    spec, folder = results.spec, results.folder
    if not results.records:
        found = count_states(results.runs)
        raise LabError(f"{spec.name} has no finished run to report, but {found}: `feelvos-lab ablate run {spec.path}`")
    write_text(folder / RECORDS, results.scores.round(4).to_csv(index=False, lineterminator="\n"))
    write_text(folder / TABLE, results.table.to_csv(lineterminator="\n"))
    write_text(folder / "table.md", "\n".join(markdown(table_cells(results))) + "\n")
    write_text(folder / PAGE, _report(results))
    save_png(ablation_figure(results, measured_on=_data_text(results)[0]), folder / FIGURE)
    write_drawings(results)
    return folder


def publish(results: Results, *, root: Path = Path("experiments")) -> Path:
    """Write the same report to `root/results/<name>/`, replacing the one before; returns the folder.

    Nothing else writes there: the README, the lessons and their tests quote these tables. LabError if a run is not ok.
    """
    spec = results.spec
    if any(run.state != "ok" for run in results.runs):
        found = count_states(results.runs)
        raise LabError(f"{spec.name} is published once every run is ok, but there are {found}: see `ablate status`")
    return write_report(replace(results, folder=Path(root) / "results" / spec.name))


def write_drawings(results: Results) -> list[Path]:
    """Write table.tex and the figures by clip into the results' folder, without the runs; returns the files written.

    differences.png is written where two rows can be compared, and removed where not; `write_factors` says when
    factors.csv and factors.png are. LabError if there are no scores.
    """
    folder = results.folder
    if results.scores.empty:
        raise LabError(f"{folder} holds no scores to draw")
    write_text(folder / TEX, latex_table(results))
    save_png(clips_figure(results), folder / CLIPS)
    factors = write_factors(results)
    if not results.differences:
        (folder / DIFFERENCES).unlink(missing_ok=True)
        return [folder / TEX, folder / CLIPS]
    save_png(differences_figure(results), folder / DIFFERENCES)
    return [folder / TEX, folder / CLIPS, folder / DIFFERENCES, *factors]


def write_factors(results: Results) -> list[Path]:
    """Write factors.csv and factors.png where the clips sweep one difficulty at a time and two rows can be compared.

    Returns the files written; where there are none, those of earlier results are removed.
    """
    table, picture = (results.folder / name for name in (FACTORS_CSV, FACTORS_PNG))
    if not (cells := sweep_cells(results)):
        table.unlink(missing_ok=True)
        picture.unlink(missing_ok=True)
        return []
    spec, side = results.spec, frame_side(results)
    base = spec.variant(spec.baseline)
    write_text(table, factors_frame(cells, side=side).to_csv(index=False, lineterminator="\n"))
    figure = factors_figure(
        cells,
        rows={name: _changed(spec.variant(name), base) for name in dict.fromkeys(cell.variant for cell in cells)},
        baseline=spec.baseline,
        metric=METRIC_NAMES[spec.metric],
        title=spec.question,
        side=side,
        radius=base.config.model.radius,
    )
    save_png(figure, picture)
    return [table, picture]


def _changed(variant: Variant, base: Variant) -> str:
    """What a row sets otherwise than the baseline, such as `previous_mask: False`."""
    return ", ".join(f"{k}: {v}" for k, v in variant.parameters.items() if base.parameters.get(k) != v)


@in_house_style  # tick labels are made when a figure is saved
def save_png(figure: Figure, path: Path) -> Figure:
    """Write a figure in one step, at 150 dpi; returns it."""
    with complete_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=150)
    return figure


def _report(results: Results) -> str:
    spec, records = results.spec, results.records
    parts = [f"# {spec.name}", "", f"**{spec.question}**", "", f"Measured on {_data_text(results)[1]}", ""]
    parts += [*markdown(table_cells(results)), "", *(f"- {note}" for note in notes(results)), ""]
    beside = " beside the paper's" if spec.paper_table else ""
    parts += [f"![Every row's score{beside}]({FIGURE})", ""]
    if results.differences:
        parts += [f"![Every row minus {spec.baseline}, paired, with its clips]({DIFFERENCES})", ""]
    parts += [
        "The table for a paper: [table.tex](table.tex) (booktabs); for programs: [table.csv](table.csv); the scores of",
        "every object: [records.csv](records.csv).",
        "",
        "## Claims, written before the runs",
        "",
        *([f"- {line}" for line in verdict_lines(results)] or ["- none"]),
    ]
    if troubles := not_ok_lines(results):
        parts += ["", "## Not ok, and not in any number above", "", *(f"- {line}" for line in troubles)]
    if swept := factors_section(results):
        parts += ["", *swept]
    parts += ["", *_failures(results), "", *_spreads(results), "", "## What each row sets", ""]
    parts += [f"- `{variant.name}`: {settings_text(variant) or 'as the preset'}" for variant in spec.variants]
    if spec.preset is not None:
        settings = preset_difference(spec.preset, "full")
        cells = [["setting", spec.preset, "full"], *([name, str(a), str(b)] for name, (a, b) in settings.items())]
        parts += ["", f"## Preset {spec.preset} and the paper's settings (`full`)", "", *markdown(cells)]
    commits = sorted({f"{_code(r)}{' with uncommitted changes' if r['dirty'] else ''}" for r in records})
    versions = ", ".join(f"{name} {version}" for name, version in records[0]["versions"].items() if version)
    total = sum(r["train_seconds"] + r["test_seconds"] for r in records)
    peak = max(r["peak_memory_mb"] for r in records)
    pages = relative_path(results.runs[0].folder.parent)
    parts += [
        "",
        "## How to make it again",
        "",
        f"    {_command(results)}",
        "",
        *_given_networks(results),
        f"- code: {', '.join(commits)}",
        f"- versions: {versions}",
        f"- machine: {_found(records, 'device')}, {_found(records, 'threads')} thread(s) a run",
        "- a run is stale when its settings change, or the code of: its notebook, modules that this imports from its "
        "folder or the experiment file's, files named under `sources`, the library. Not tracked: torch, other "
        "packages, and the data; where torch, Python or the scored files differ between runs, a line above says so",
        f"- {len(records)} runs, {total / 60:.1f} min of training and testing, at most {peak} MB each",
        f"- each run's lab-book page: `{pages}/<row>-s<seed>-…/notebook.ipynb`",
    ]
    return "\n".join(parts) + "\n"


def _code(record: Mapping[str, Any]) -> str:
    """The commit, or the version where the package was not used from a clone."""
    return record["commit"] or f"feelvos_lab {record['versions'].get('feelvos_lab')}"


def _found(records: Sequence[Mapping[str, Any]], key: str) -> str:
    """What the records hold under the key, such as `2`, or `1 or 2` where they differ."""
    return " or ".join(map(str, sorted({record[key] for record in records}, key=str)))


def _command(results: Results) -> str:
    """The command that makes these runs, with their seeds where they are not the experiment file's."""
    path = results.spec.path
    published = is_installed() and path.resolve().is_relative_to(project_folder().resolve())  # then its name is enough
    command = f"feelvos-lab ablate run {path.stem if published else shlex.quote(relative_path(path))}"
    seeds = sorted({run.seed for run in results.runs})
    if seeds != list(results.spec.seeds):
        command += f" --seeds {','.join(map(str, seeds))}{',' * (len(seeds) == 1)}"  # 3 alone would mean three seeds
    if any(record["config"]["data"] != "shapes" for record in results.records):
        command += " --data-root DATA"
    return command


def _given_networks(results: Results) -> list[str]:
    """What was scored and not trained here, with the checksum of each network."""
    given = [(run.name, run.measured["network"]) for run in results.runs if run.measured.get("network")]
    if not given:
        return []
    listed = ", ".join(f"{name} {checksum[:12]}…" for name, checksum in given)
    return [
        "- that command trains the networks; here given ones, trained with these settings, were scored "
        f"(`--networks DIR`), so the time is that of scoring. SHA-256: {listed}"
    ]


def _data_text(results: Results) -> tuple[str, str]:
    """What the scores were measured on: in two words, and in a sentence."""
    settings = [record["config"] for record in results.records]
    kinds = ", ".join(sorted({config["data"] for config in settings}))
    clips = results.scores["clip"].nunique()
    if kinds == "shapes":
        sizes = sorted({f"{c['frames']} frames of {c['height']}×{c['width']}" for c in settings})
        swept = ", which sweep one difficulty at a time," if any(c.get("scenes") == "factors" for c in settings) else ""
        return "synthetic clips", (
            f"{clips} synthetic clips ({', '.join(sizes)}){swept} that the project makes from seeds, split "
            f"{results.spec.split}; training and test clips never share a seed. These are no DAVIS numbers."
        )
    from feelvos_lab.evaluation.scoring import OFFICIAL_VAL  # imports torch: seconds

    seen = ", ".join(sorted({str(c["test_height"]) if c["test_height"] else "all" for c in settings}))
    heights = {c.get("scored_height", 0) for c in settings}
    scored = "at the published size" if heights == {0} else f"scaled to {', '.join(map(str, sorted(heights)))} rows"
    pasted = {c.get("scenes") for c in settings} == {"factors"}
    shown = "clips, each sequence as it is and with objects pasted in," if pasted else "sequences"
    text = f"{clips} {shown} of {kinds}, split {results.spec.split}; the network sees {seen} rows, scored {scored}."
    if results.spec.split == "test" and heights == {0} and clips == OFFICIAL_VAL.get(kinds):
        return kinds, f"{text} These are all sequences of the published val list."
    return kinds, f"{text} This is no benchmark number: that needs all of the published val list at its own size."


def _failures(results: Results) -> list[str]:
    """The objects that each row loses, the worst five by name."""
    column = results.spec.metric
    lost = failures(results.scores, column)
    objects = len(results.scores[["clip", "object"]].drop_duplicates())
    parts = ["## Where rows fail", "", f"Objects below {METRIC_NAMES[column]} {FAILS:.0f} % in the mean over seeds,"]
    parts += [f"of {objects}; the worst five of each row, as clip/object (score).", ""]
    for name in results.variants:
        mine = lost[lost["variant"] == name]
        worst = ", ".join(f"{r.clip}/{r.object} ({getattr(r, column):.0f})" for r in mine.head(5).itertuples())
        parts += [f"- `{name}`: {len(mine)}{': ' if worst else ''}{worst}"]
    return [*parts, "", f"![Each clip's score in each row, failing objects by their ids]({CLIPS})"]


def _spreads(results: Results) -> list[str]:
    """How far scores spread between seeds and between clips, for each row and for its difference to the baseline."""
    spec = results.spec
    if results.scores["seed"].nunique() == 1:
        return ["## Seeds versus clips", "", "With one seed the two cannot be told apart: `--seeds 3` runs three."]
    metric = METRIC_NAMES[spec.metric]
    cells = [["row", f"{metric}: seeds", "clips", "rest", f"{metric} − {spec.baseline}: seeds", "clips", "rest"]]
    for name in results.variants:
        scores = results.of(name)
        line = [name, *_deviations(scores, spec.metric)]
        if name in results.differences:
            pairs = paired_difference(scores, results.of(spec.baseline), spec.metric)
            line += _deviations(pairs, "difference")
        else:
            line += [DASH] * 3
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


def _deviations(scores: pd.DataFrame, column: str) -> list[str]:
    parts = variance_components(scores, column)
    return [DASH if math.isnan(value) else f"{value:.1f}" for value in (parts.seeds, parts.clips, parts.rest)]
