"""Laws of the sweep's report: cells pair scenes, one seed decides nothing, claims may name a factor and a level."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from standin_experiment import PARAMETERS, SPEC, write_spec, write_worker

from feelvos_lab.ablation.difficulty import factor_cells, factors_frame, factors_section
from feelvos_lab.ablation.figures import factors_figure
from feelvos_lab.ablation.report import write_factors
from feelvos_lab.ablation.results import Results
from feelvos_lab.ablation.spec import Claim, load_spec
from feelvos_lab.ablation.statistics import difference
from feelvos_lab.data.difficulty_sweep import BASE, PASTED, SYNTHETIC, Place, clip_name
from feelvos_lab.errors import LabError

PLACES = [(BASE, 0), *((f.name, level) for f in SYNTHETIC for level in range(1, len(f.levels) + 1))]
SWEPT = SPEC.replace("radius: 1", "radius: 1, scenes: factors").replace("full: {paper: 1}", "full: {scenes: factors}")
SWEPT = SWEPT.replace("previous_mask: false", "previous_mask: false, scenes: factors")
SHARED = 3.0  # points that `narrow` loses everywhere


def worth(variant: str, factor: str, level: int) -> float:
    """What the stand-in rows lack is worth: at speed ever less, and below 0 at its highest level."""
    if variant == "full":
        return 0.0
    return SHARED + {1: 4.0, 2: 0.0, 3: -11.0}[level] * (factor == "speed") if level else SHARED


def scores(*, seeds: int = 3, scenes: int = 4, variants: tuple[str, ...] = ("full", "narrow", "blind")) -> pd.DataFrame:
    """Two objects a clip; a scene's own level of difficulty is the same everywhere, and noise is small."""
    rows = []
    for variant in variants:
        for seed in range(seeds):
            for factor, level in PLACES:
                for scene in range(scenes):
                    for o in (1, 2):
                        wiggle = 0.1 * ((seed + 2 * scene + o) % 3 - 1) * (variant != "full")
                        value = 70 + 5 * scene + o - worth(variant, factor, level) + wiggle
                        rows.append(
                            (variant, seed, clip_name(Place(factor, level, str(scene))), o, value, value, value)
                        )
    return pd.DataFrame(rows, columns=["variant", "seed", "clip", "object", "J", "F", "JF"])


def cells_of(table: pd.DataFrame) -> dict:
    names = {"variants": ("full", "narrow", "blind"), "baseline": "full", "column": "JF"}
    return {(c.variant, c.factor, c.level): c for c in factor_cells(table, **names)}


def swept(folder: Path, text: str = SWEPT):
    path = write_spec(folder, text)
    write_worker(folder, parameters=PARAMETERS + "scenes: str | None = None  # scored\n")
    return load_spec(path)


def published(folder: Path, table: pd.DataFrame) -> Results:
    return Results(folder, swept(folder), table)


def test_a_cell_is_the_paired_difference_on_its_clips_alone() -> None:
    table = scores()
    cells = cells_of(table)
    assert list(cells) == [(v, *place) for v in ("narrow", "blind") for place in PLACES]
    here = table[table["clip"].str.startswith("speed-3-")]
    wanted = difference(here[here["variant"] == "full"], here[here["variant"] == "narrow"], "JF")
    assert cells["narrow", "speed", 3].worth == wanted
    assert cells["narrow", "speed", 3].score == pytest.approx(here[here["variant"] == "full"]["JF"].mean())
    assert (wanted.estimate.seeds, wanted.estimate.clips, wanted.estimate.objects) == (3, 4, 8)


def test_the_sign_says_whether_the_cue_helps() -> None:
    cells = cells_of(scores())
    for key, cell in cells.items():
        assert cell.worth.estimate.mean == pytest.approx(worth(*key), abs=0.1)
    assert cells["narrow", "speed", 1].worth.verdict == "supported"
    assert cells["narrow", "speed", 3].worth.verdict == "contradicted"


def test_a_change_against_the_base_is_paired_by_scene() -> None:
    """Scenes differ by 15 points, and the change's interval by nothing of it."""
    cells = cells_of(scores())
    change = cells["narrow", "speed", 3].change
    assert change.estimate.mean == pytest.approx(-11.0, abs=1e-9)
    assert change.estimate.high - change.estimate.low < 1e-9
    assert change.estimate.clips == 4
    assert cells["narrow", "drift", 2].change.estimate.mean == pytest.approx(0.0, abs=1e-9)
    assert cells["narrow", BASE, 0].change is None


def test_one_seed_decides_nothing_and_is_marked(tmp_path: Path) -> None:
    table = scores(seeds=1)
    assert {cell.worth.verdict for cell in cells_of(table).values()} == {"undecided"}
    text = "\n".join(factors_section(published(tmp_path, table)))
    assert "**" not in text and "-8.0 [" in text and "]† |" in text and "† one seed" in text


def crowds() -> pd.DataFrame:
    """One object on the base, more at each level; what `narrow` lacks is worth 2 points more for each further one."""
    rows = []
    for variant in ("full", "narrow"):
        for factor, level, count in [(BASE, 0, 1), *((f.name, i, n) for f in PASTED for i, n in ((1, 2), (2, 4)))]:
            for seed in range(3):
                for scene, o in ((s, o) for s in ("cows", "dog", "goat") for o in range(1, count + 1)):
                    lost = (variant == "narrow") * (5 + 2 * (count - 1) + 10 * (o > 1) + 0.1 * seed)
                    name = clip_name(Place(factor, level, scene))
                    rows.append((variant, seed, name, o, *[80 - lost] * 3))
    return pd.DataFrame(rows, columns=["variant", "seed", "clip", "object", "J", "F", "JF"])


def test_a_change_is_that_of_the_objects_which_the_base_has(tmp_path: Path) -> None:
    """Objects that are pasted in count in a cell's worth, but cannot be compared with a base without them."""
    cells = {c.place: c for c in factor_cells(crowds(), variants=["full", "narrow"], baseline="full", column="JF")}
    four = cells["narrow", "alike", 2]
    assert four.worth.estimate.mean == pytest.approx(5 + 6 + 10 * 3 / 4 + 0.1)
    assert four.change.estimate.mean == pytest.approx(6)
    assert (four.worth.estimate.objects, four.change.estimate.objects) == (12, 3)
    text = "\n".join(factors_section(published(tmp_path, crowds())))
    assert "3 scenes with 3 to 12 objects in all, 3 seeds." in text
    assert "| alike      | 2 (4) |" in text


def test_the_heat_map_of_pasted_objects_shows_how_many_a_clip_has() -> None:
    figure = drawn(crowds())
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words.count("2") == words.count("4") == 2 and "objects" in words and "alike" in words
    assert "one object" in words and "easy" not in words
    assert figure.axes[0].get_xlim()[1] < 6 < drawn(scores()).axes[0].get_xlim()[1]  # no empty space
    assert "easy" in [text.get_text() for text in drawn(scores()).axes[0].texts]


def test_rows_that_share_no_seed_are_named_and_without_any_nothing_is_drawn(tmp_path: Path) -> None:
    table = scores()
    table.loc[table["variant"] == "blind", "seed"] += 10
    assert {variant for variant, *_ in cells_of(table)} == {"narrow"}
    assert "a seed that `full` has: blind." in "\n".join(factors_section(published(tmp_path, table)))
    alone = published(tmp_path, scores(variants=("full",)))
    (tmp_path / "factors.png").touch()
    (tmp_path / "factors.csv").touch()
    assert write_factors(alone) == []
    assert not (tmp_path / "factors.png").exists() and not (tmp_path / "factors.csv").exists()
    assert "has: narrow, blind." in "\n".join(factors_section(alone))


def test_rows_scored_on_different_clips_are_refused() -> None:
    table = scores()
    for gone in ("drift-2-scene-", "drift-2-scene-1"):
        lost = table["clip"].str.startswith(gone) & (table["variant"] == "narrow")
        with pytest.raises(LabError, match="scored on the same clips"):
            cells_of(table[~lost])


def test_other_clips_have_no_heat_map(tmp_path: Path) -> None:
    table = scores()
    mixed = published(tmp_path, table.assign(clip=table["clip"].str.replace("scene", "shape")))
    assert factors_section(mixed) == [] and write_factors(mixed) == []


def drawn(table: pd.DataFrame, *, radius: int = 4):
    rows = {"narrow": "radius: 1", "blind": ""}
    names = {"baseline": "full", "metric": "J&F", "title": "When?", "side": 96, "radius": radius}
    return factors_figure(list(cells_of(table).values()), rows=rows, **names)


def test_the_picture_has_a_box_and_a_number_for_each_cell_and_marks_the_undecided() -> None:
    figure = drawn(scores())
    panels = figure.axes[:2]
    boxes = [patch for axes in panels for patch in axes.patches if isinstance(patch, Rectangle)]
    cells = list(cells_of(scores()).values())
    assert len(boxes) == len(cells) + 2  # the base is in both panels
    undecided = sum(cell.worth.verdict == "undecided" for cell in cells)
    assert sum(bool(box.get_hatch()) for box in boxes) == undecided
    assert all(box.get_hatch() for axes in drawn(scores(seeds=1)).axes[:2] for box in axes.patches)
    words = [text.get_text() for axes in panels for text in axes.texts]
    assert "-8.0" in words and "2.4" in words and "9.2" in words
    assert not [w for w in words if w.startswith("-0.0")]
    colours = figure.axes[2].get_xlim()
    assert colours[0] == -colours[1]


@pytest.mark.parametrize(("radius", "at", "told"), [(4, 1, "┆ window reaches 4"), (5, 2, "5"), (15, None, "within")])
def test_the_window_is_marked_where_speed_passes_it(radius: int, at: int | None, told: str) -> None:
    axes = drawn(scores(), radius=radius).axes[0]
    start = next(text.get_position()[0] for text in axes.texts if text.get_text() == "speed")
    assert [round(line.get_xdata()[0] - start) for line in axes.lines] == ([] if at is None else [at])
    assert any(told in text.get_text() for text in axes.texts)


def test_the_csv_holds_what_the_picture_shows(tmp_path: Path) -> None:
    results = published(tmp_path, scores())
    assert [path.name for path in write_factors(results)] == ["factors.csv", "factors.png"]
    assert (tmp_path / "factors.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(tmp_path / "factors.csv").set_index(["variant", "factor", "level"])
    cells = cells_of(scores())
    assert set(table.index) == set(cells)
    for key, cell in cells.items():
        line, value = table.loc[key], cell.worth.estimate
        assert line[["worth", "low", "high"]].tolist() == [round(x, 4) for x in (value.mean, value.low, value.high)]
        assert (line["verdict"], line["seeds"], line["clips"]) == (cell.worth.verdict, 3, 4)
    side64 = factors_frame(list(cells.values()), side=64).set_index(["variant", "factor", "level"])
    assert side64.loc[("narrow", "speed", 1), "value"] == "1.6"  # 0.1 of 64 pixels, in cells of 4


def test_a_claim_is_about_the_clips_it_names() -> None:
    table = scores(seeds=1, scenes=2, variants=("full",))
    assert Claim("a", "b").clips(table) is table
    assert set(Claim("a", "b", "speed").clips(table)["clip"]) == {
        f"speed-{level}-scene-{s}" for level in (1, 2, 3) for s in (0, 1)
    }
    assert set(Claim("a", "b", "speed", 3).clips(table)["clip"]) == {"speed-3-scene-0", "speed-3-scene-1"}
    assert set(Claim("a", "b", BASE).clips(table)["clip"]) == {"base-scene-0", "base-scene-1"}
    assert Claim("a", "b", "speed", 3).where == ", speed at level 3"


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ("factor: sped, level: 1", r":14: a claim's factor must be one of base, .* \(did you mean 'speed'\?\)"),
        ("factor: speed, level: 4", r":14: the level of 'speed' must lie in 1 … 3, got 4"),
        ("factor: speed, level: 0", r":14: the level of 'speed' must lie in 1 … 3, got 0"),
        ("factor: base, level: 1", r":14: the level of 'base' cannot be given: the base has none, got 1"),
        ("level: 1", r":14: a claim's level needs a factor"),
        ("factor: speed, level: high", r":14: claims.0.level must be a valid integer, got 'high'"),
        ("factor: speed, levle: 1", r":14: unknown key .* \(did you mean 'level'\?\)"),
    ],
)
def test_a_claim_about_clips_that_are_not_there_is_refused_with_its_line(
    tmp_path: Path, claim: str, sentence: str
) -> None:
    with pytest.raises(LabError, match=sentence):
        swept(tmp_path, SWEPT.replace("worse: narrow}", f"worse: narrow, {claim}}}"))


def test_a_claim_about_a_factor_needs_rows_scored_on_it(tmp_path: Path) -> None:
    said = ("worse: narrow}", "worse: narrow, factor: speed, level: 3}")
    assert swept(tmp_path, SWEPT.replace(*said)).claims == (Claim("full", "narrow", "speed", 3),)
    with pytest.raises(LabError, match="needs its rows scored on scenes 'factors'"):
        swept(tmp_path, SPEC.replace(*said))


def test_a_claim_about_a_factor_of_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="'objects' is swept on data 'davis-2016', its rows are scored on other data"):
        swept(tmp_path, SWEPT.replace("worse: narrow}", "worse: narrow, factor: objects, level: 1}"))
