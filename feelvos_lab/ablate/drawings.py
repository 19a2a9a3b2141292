"""What records.csv and table.csv of a report can be drawn as, without the runs: table.tex and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from feelvos_lab.ablate.clips_figure import clips_figure, differences_figure
from feelvos_lab.ablate.factors import (
    FACTORS_CSV,
    FACTORS_PNG,
    factors_frame,
    frame_side,
    is_sweep,
    published_cells,
)
from feelvos_lab.ablate.factors_figure import factors_figure
from feelvos_lab.ablate.latex import latex_table
from feelvos_lab.ablate.plan import METRIC_NAMES
from feelvos_lab.ablate.published import Published
from feelvos_lab.ablate.records import write_text
from feelvos_lab.ablate.spec import Variant
from feelvos_lab.ablate.stats import difference
from feelvos_lab.data.writing import complete_file
from feelvos_lab.errors import LabError

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
