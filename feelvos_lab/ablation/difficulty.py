"""When a cue helps: the baseline minus each row on the clips of one difficulty and level, as numbers and as text.

The clips of a scene differ in one difficulty alone (`data/difficulty_sweep.py`). So besides what a cue is worth at a
level, the change of that worth from the base to the level is measured, paired by seed, scene and object: of the
objects that the base has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from feelvos_lab.ablation.results import Results
from feelvos_lab.ablation.runs import METRIC_NAMES
from feelvos_lab.ablation.statistics import Difference, difference, paired_difference
from feelvos_lab.ablation.tables import DASH, markdown, signed_text
from feelvos_lab.data.difficulty_sweep import BASE, FACTORS, Factor, place_of
from feelvos_lab.errors import LabError

FACTORS_CSV, FACTORS_PNG = "factors.csv", "factors.png"

_FACTOR = {factor.name: factor for factor in FACTORS}
_PLACES = [(BASE, 0), *((f.name, level) for f in FACTORS for level in range(1, len(f.levels) + 1))]


@dataclass(frozen=True)
class Cell:
    """What the cue that a row lacks is worth on the clips of one factor and level, in points."""

    variant: str
    factor: str
    level: int  # 0: the base
    score: float  # of the baseline on these clips, in percent
    worth: Difference  # the baseline minus the row
    change: Difference | None  # worth here minus worth on the base, of its objects; None if there is none to compare

    @property
    def place(self) -> tuple[str, str, int]:
        return self.variant, self.factor, self.level


def factor_cells(scores: pd.DataFrame, *, variants: Sequence[str], baseline: str, column: str) -> list[Cell]:
    """The cells of each row in the table's order: the base, then each level of each factor that was scored.

    A row without a seed in common with the baseline cannot be paired and has no cell, nor has any row if no clip
    belongs to a sweep. LabError if the baseline and a row were scored on different clips.

    Args:
        scores: percent; columns variant, seed, clip, object and `column`.
        variants: the rows to compare; the baseline itself is skipped.
    """
    base = scores[scores["variant"] == baseline]
    cells = []
    for variant in variants:
        mine = scores[scores["variant"] == variant]
        seeds = set(mine["seed"]) & set(base["seed"])
        if variant == baseline or not seeds:
            continue
        ours, theirs = (_by_place(side[side["seed"].isin(seeds)]) for side in (base, mine))
        if ours.keys() != theirs.keys():
            factor, level = min(ours.keys() ^ theirs.keys())
            raise LabError(f"{baseline} and {variant} must be scored on the same clips, one lacks {factor} {level}")
        gaps = {key: paired_difference(ours[key], theirs[key], column) for key in ours}
        for key in (key for key in _PLACES if key in ours):
            change = None
            if key != (BASE, 0) and (BASE, 0) in gaps:
                there = gaps[BASE, 0]  # objects pasted in since then have nothing there to be paired with
                change = difference(gaps[key][gaps[key]["object"].isin(there["object"])], there, "difference")
            worth = difference(ours[key], theirs[key], column)
            cells.append(Cell(variant, *key, float(ours[key][column].mean()), worth, change))
    return cells


def _by_place(scores: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """The scores of each factor and level, with the scene as clip; clips that belong to no sweep are left out."""
    found: dict[tuple[str, int], list[pd.DataFrame]] = {}
    for name, part in scores.groupby("clip"):
        if place := place_of(name):
            found.setdefault((place.factor, place.level), []).append(part.assign(clip=f"scene-{place.scene}"))
    return {key: pd.concat(parts).sort_index() for key, parts in found.items()}


def is_sweep(results: Results) -> bool:
    """Whether clips that sweep one difficulty were scored."""
    swept = any(place_of(name) is not None for name in results.scores["clip"].unique())
    return swept and results.spec.variant(results.spec.baseline).config is not None


@lru_cache(maxsize=1)  # the report's text, factors.csv and factors.png show the same cells
def sweep_cells(results: Results) -> list[Cell]:
    """`factor_cells` of an experiment's results; none if no clip belongs to a sweep."""
    spec = results.spec
    if not is_sweep(results):
        return []
    return factor_cells(results.scores, variants=results.variants, baseline=spec.baseline, column=spec.metric)


def frame_side(results: Results) -> int:
    """The shorter side of the scored frames in pixels, by the baseline's settings."""
    data = results.spec.variant(results.spec.baseline).config.data
    return min(data.height, data.width)


def axis_number(factor: Factor, level: int, side: int) -> str:
    """A level's value on the factor's axis, such as `4.7`."""
    return f"{factor.shown(factor.levels[level - 1], side):.{factor.decimals}f}"


def factors_frame(cells: Sequence[Cell], *, side: int) -> pd.DataFrame:
    """One line a cell: what the heat map shows, and the change against the base."""
    lines = []
    for cell in cells:
        worth, change = cell.worth.estimate, cell.change and cell.change.estimate
        factor = _FACTOR.get(cell.factor)
        lines.append(
            {"variant": cell.variant, "factor": cell.factor, "level": cell.level}
            | {"value": axis_number(factor, cell.level, side) if factor else "", "unit": factor.unit if factor else ""}
            | {"baseline_score": cell.score, "worth": worth.mean, "low": worth.low, "high": worth.high}
            | {"verdict": cell.worth.verdict, "spread": cell.worth.spread}
            | {"seeds": worth.seeds, "clips": worth.clips, "objects": worth.objects}
            | {"change": change and change.mean, "change_low": change and change.low}
            | {"change_high": change and change.high, "change_verdict": cell.change.verdict if cell.change else ""}
        )
    return pd.DataFrame(lines).round(4)


def factors_section(results: Results) -> list[str]:
    """The report's section in Markdown, a table and a few sentences; empty if no clip belongs to a sweep."""
    spec = results.spec
    if not is_sweep(results):
        return []
    cells = sweep_cells(results)
    title = ["## When each cue helps", ""]
    shown = list(dict.fromkeys(cell.variant for cell in cells))
    lacking = [name for name in spec.variant_names if name != spec.baseline and name not in shown]
    missing = f"Not here, without a finished run of a seed that `{spec.baseline}` has: {', '.join(lacking)}."
    if not cells:
        return [*title, missing]
    n = cells[0].worth.estimate
    counts = [cell.worth.estimate.objects for cell in cells]
    objects = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(max(counts))
    by_chance = f"Of {len(cells)} cells about {round(len(cells) / 20)} would look decided by chance alone; the claims"
    units = "; ".join(f"{f.name}, {f.unit}" for f in FACTORS if f.name in {cell.factor for cell in cells})
    parts = [
        *title,
        f"{METRIC_NAMES[spec.metric]} of `{spec.baseline}` minus that of each row, in points, on the clips of one "
        "difficulty and level:",
        "above 0 what the row lacks helps there, below 0 it hurts. Bold is decided; all else is undecided, since the",
        "interval reaches 0, or that of the seeds' means where seeds spread more than scenes. Each cell is over",
        f"{n.clips} scenes with {objects} objects in all, {n.seeds} seed{'s' if n.seeds > 1 else ''}.",
        *([by_chance, "above were written before the runs."] if n.seeds > 1 else []),
        "",
        f"![What each cue is worth as one difficulty grows]({FACTORS_PNG})",
        "",
        *markdown(_table(cells, shown, spec.baseline, frame_side(results))),
        "",
        f"In brackets: {units}.",
        "",
        *(_summary(name, [cell for cell in cells if cell.variant == name]) for name in shown),
        "",
    ]
    if n.seeds == 1:
        parts += ["† one seed: the interval is over scenes alone, and nothing is decided.", ""]
    if lacking:
        parts += [missing, ""]
    return [*parts, f"The numbers for programs: [{FACTORS_CSV}]({FACTORS_CSV})."]


def _table(cells: Sequence[Cell], rows: Sequence[str], baseline: str, side: int) -> list[list[str]]:
    by_place = {cell.place: cell for cell in cells}
    lines = [["difficulty", "level", baseline, *(f"{baseline} − {name}" for name in rows)]]
    for factor, level in _PLACES:
        here = [by_place.get((name, factor, level)) for name in rows]
        if scored := [cell for cell in here if cell is not None]:
            text = f"{level} ({axis_number(_FACTOR[factor], level, side)})" if level else DASH
            line = [factor, text, f"{scored[0].score:.1f}"]
            lines.append(line + [DASH if cell is None else _cell_text(cell.worth) for cell in here])
    return lines


def _cell_text(worth: Difference) -> str:
    text = signed_text(worth.estimate) + worth.estimate.dagger
    return text if worth.verdict == "undecided" else f"**{text}**"


def _summary(name: str, cells: Sequence[Cell]) -> str:
    """Where the cue that a row lacks helps, where it hurts, and where it is worth more or less than on the base."""
    helps, hurts = (_where([c for c in cells if c.worth.verdict == v]) for v in ("supported", "contradicted"))
    undecided = sum(cell.worth.verdict == "undecided" for cell in cells)
    text = f"- What `{name}` lacks helps {helps}; hurts {hurts}; undecided in {undecided} of {len(cells)} cells."
    for verdict, word in (("supported", "more"), ("contradicted", "less")):
        if moved := [c for c in cells if c.change is not None and c.change.verdict == verdict]:
            text += f" It is worth {word} than on the base {_where(moved)}."
    return text


def _where(cells: Sequence[Cell]) -> str:
    """Such as `at speed 1, 2 and on the base`."""
    levels: dict[str, list[str]] = {}
    for cell in cells:
        levels.setdefault(cell.factor, []).append(str(cell.level))
    if not levels:
        return "nowhere"
    return "at " + "; ".join(name if name == BASE else f"{name} {', '.join(found)}" for name, found in levels.items())
