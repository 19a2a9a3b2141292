"""When a cue helps: the baseline minus each row on the clips of one difficulty and level, as cells, a table and words.

A scene's clips differ in nothing but the difficulty (`data/difficulty_sweep.py`), so besides the cue's worth at a level
its change against the base is measured, paired by seed, scene and object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from feelvos_lab.ablation.results import Published
from feelvos_lab.ablation.runs import METRIC_NAMES
from feelvos_lab.ablation.statistics import Difference, difference, paired_difference
from feelvos_lab.ablation.tables import DASH, markdown, signed_text
from feelvos_lab.data.difficulty_sweep import BASE, FACTORS, Factor, place_of
from feelvos_lab.errors import LabError

FACTORS_CSV, FACTORS_PNG = "factors.csv", "factors.png"


@dataclass(frozen=True)
class Cell:
    """What a row's missing cue is worth on the clips of one factor and level, in points."""

    variant: str
    factor: str
    level: int  # 0: the base
    score: float  # of the baseline on these clips, in percent
    worth: Difference  # the baseline minus the row
    change: Difference | None  # that, minus the same on the base's clips; None for the base, or without its clips


def factor_cells(scores: pd.DataFrame, *, variants: Sequence[str], baseline: str, column: str) -> list[Cell]:
    """Each row in the table's order, at the base and then at each level of each factor that was scored.

    A row without a seed in common with the baseline, which cannot be paired, has no cell; neither has any row where
    no clip is of a sweep.

    Args:
        scores: percent; columns variant, seed, clip, object and `column`.
        variants: those to compare; the baseline is passed over.

    Raises:
        LabError: rows that were scored on different clips.
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
        for key in _columns():
            if key in ours:
                change = None
                if key != (BASE, 0) and (BASE, 0) in gaps:
                    change = difference(gaps[key], gaps[BASE, 0], "difference")
                worth = difference(ours[key], theirs[key], column)
                cells.append(Cell(variant, *key, float(ours[key][column].mean()), worth, change))
    return cells


def _by_place(scores: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """The scores of each factor and level, their clips called by the scene alone; those of no sweep are left out."""
    places = {name: place_of(name) for name in scores["clip"].unique()}
    found: dict[tuple[str, int], list[str]] = {}
    for name, place in places.items():
        if place is not None:
            found.setdefault((place.factor, place.level), []).append(name)
    scenes = {name: f"scene-{place.scene}" for name, place in places.items() if place is not None}
    return {
        key: scores[scores["clip"].isin(names)].assign(clip=lambda part: part["clip"].map(scenes))
        for key, names in found.items()
    }


def _columns() -> list[tuple[str, int]]:
    """The base, then every factor's levels."""
    return [(BASE, 0), *((f.name, level) for f in FACTORS for level in range(1, len(f.levels) + 1))]


def is_sweep(published: Published) -> bool:
    """Whether clips that sweep one difficulty were scored."""
    swept = any(place_of(name) is not None for name in published.scores["clip"].unique())
    return swept and published.spec.variant(published.spec.baseline).config is not None


def published_cells(published: Published) -> list[Cell]:
    """`factor_cells` of an experiment's results."""
    spec = published.spec
    return factor_cells(published.scores, variants=published.variants, baseline=spec.baseline, column=spec.metric)


def frame_side(published: Published) -> int:
    """The shorter side of the scored frames in pixels, by the baseline's settings."""
    data = published.spec.variant(published.spec.baseline).config.data
    return min(data.height, data.width)


def axis_number(factor: Factor, level: int, side: int) -> str:
    """What stands at a level on the factor's axis, such as `4.7`."""
    return f"{factor.shown(factor.levels[level - 1], side):.{factor.decimals}f}"


def factors_frame(cells: Sequence[Cell], *, side: int) -> pd.DataFrame:
    """The cells for programs, one a line: all that the heat map shows, and each cell's change against the base."""
    named = {factor.name: factor for factor in FACTORS}
    lines = []
    for cell in cells:
        worth, change = cell.worth.estimate, cell.change.estimate if cell.change else None
        factor = named.get(cell.factor)
        lines.append(
            {
                "variant": cell.variant,
                "factor": cell.factor,
                "level": cell.level,
                "value": axis_number(factor, cell.level, side) if factor else "",
                "unit": factor.unit if factor else "",
                "baseline_score": cell.score,
                "worth": worth.mean,
                "low": worth.low,
                "high": worth.high,
                "verdict": cell.worth.verdict,
                "spread": cell.worth.spread,
                "seeds": worth.seeds,
                "clips": worth.clips,
                "objects": worth.objects,
                "change": change.mean if change else None,
                "change_low": change.low if change else None,
                "change_high": change.high if change else None,
                "change_verdict": cell.change.verdict if cell.change else "",
            }
        )
    return pd.DataFrame(lines).round(4)


def factors_section(published: Published) -> list[str]:
    """The part of the report, in Markdown: a table and a few sentences; nothing where no clip is of a sweep."""
    spec = published.spec
    if not is_sweep(published):
        return []
    metric = METRIC_NAMES[spec.metric]
    cells = published_cells(published)
    parts = ["## When each cue helps", ""]
    shown = list(dict.fromkeys(cell.variant for cell in cells))
    lacking = [name for name in spec.variant_names if name != spec.baseline and name not in shown]
    untold = [f"Not here, without a finished run of a seed that `{spec.baseline}` has: {', '.join(lacking)}.", ""]
    if not cells:
        return [*parts, *untold[:1]]
    n = cells[0].worth.estimate
    by_chance = f"Of {len(cells)} cells about {round(len(cells) / 20)} would look decided by chance alone; the claims"
    chance = [by_chance, "above were written before the runs."] if n.seeds > 1 else []
    units = "; ".join(f"{f.name}, {f.unit}" for f in FACTORS if f.name in {cell.factor for cell in cells})
    parts += [
        f"{metric} of `{spec.baseline}` minus that of each row, in points, on the clips of one difficulty and level:",
        "above 0 what the row lacks helps there, below 0 it hurts. Bold is decided; all else is undecided, since the",
        "interval reaches 0, or that of the seeds' means where seeds spread more than scenes. Each cell is over",
        f"{n.clips} scenes with {n.objects} objects in all, {n.seeds} seed{'s' if n.seeds > 1 else ''}.",
        *chance,
        "",
        f"![What each cue is worth as one difficulty grows]({FACTORS_PNG})",
        "",
        *markdown(_table(cells, shown, spec.baseline, frame_side(published))),
        "",
        f"In brackets: {units}.",
        "",
        *(_words(name, [cell for cell in cells if cell.variant == name]) for name in shown),
        "",
    ]
    if n.seeds == 1:
        parts += ["† one seed: the interval is over scenes alone, and nothing is decided.", ""]
    return [*parts, *(untold if lacking else []), f"The numbers for programs: [{FACTORS_CSV}]({FACTORS_CSV})."]


def _table(cells: Sequence[Cell], rows: Sequence[str], baseline: str, side: int) -> list[list[str]]:
    at = {(cell.variant, cell.factor, cell.level): cell for cell in cells}
    named = {factor.name: factor for factor in FACTORS}
    lines = [["difficulty", "level", baseline, *(f"{baseline} − {name}" for name in rows)]]
    for factor, level in _columns():
        here = [at.get((name, factor, level)) for name in rows]
        there = [cell for cell in here if cell is not None]
        if there:
            value = f" ({axis_number(named[factor], level, side)})" if level else ""
            line = [factor, f"{level}{value}" if level else DASH, f"{there[0].score:.1f}"]
            lines.append(line + [DASH if cell is None else _cell_text(cell.worth) for cell in here])
    return lines


def _cell_text(worth: Difference) -> str:
    text = signed_text(worth.estimate) + ("†" if worth.estimate.seeds == 1 else "")
    return text if worth.verdict == "undecided" else f"**{text}**"


def _words(name: str, cells: Sequence[Cell]) -> str:
    """One sentence a row: where its missing cue helps, where it hurts, and where more than at the base."""
    told = []
    for verdict, word in (("supported", "helps"), ("contradicted", "hurts")):
        told.append(f"{word} {_where([c for c in cells if c.worth.verdict == verdict])}")
    undecided = sum(cell.worth.verdict == "undecided" for cell in cells)
    text = f"- What `{name}` lacks {told[0]}; {told[1]}; undecided in {undecided} of {len(cells)} cells."
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
