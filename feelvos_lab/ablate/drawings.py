"""What results/<name>/records.csv and table.csv can be drawn as, without the runs: table.tex and two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from feelvos_lab.ablate.clips_figure import clips_figure, differences_figure
from feelvos_lab.ablate.latex import latex_table
from feelvos_lab.ablate.plan import METRIC_NAMES
from feelvos_lab.ablate.published import Published
from feelvos_lab.ablate.records import write_text
from feelvos_lab.ablate.stats import difference
from feelvos_lab.data.writing import complete_file
from feelvos_lab.errors import LabError

TEX, CLIPS, DIFFERENCES = "table.tex", "clips.png", "differences.png"


def write_drawings(published: Published) -> list[Path]:
    """Write table.tex, clips.png and, where two rows can be compared, differences.png into the results' folder.

    Returns:
        The files written; a differences.png of earlier results is removed where there is nothing to compare now.

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
        if not compared:
            (folder / DIFFERENCES).unlink(missing_ok=True)
            return [folder / TEX, folder / CLIPS]
        theirs = _papers_differences(published, [name for name, _ in compared])
        drawn = differences_figure(scores, compared, baseline=spec.baseline, paper=theirs, **common)
        save_png(drawn, folder / DIFFERENCES)
    except OSError as error:
        raise LabError(f"the folder {folder} cannot be written: {error.strerror or error}") from None
    return [folder / TEX, folder / CLIPS, folder / DIFFERENCES]


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
