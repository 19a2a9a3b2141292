"""Laws of what is printed: LaTeX holds table.csv's numbers, failures are named, one seed is marked everywhere."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from standin_experiment import write_spec

from feelvos_lab.ablation.figures import MOST, clips_figure, differences_figure, failures
from feelvos_lab.ablation.report import write_drawings
from feelvos_lab.ablation.results import Results, read_published
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.ablation.tables import latex_table, markdown, table_cells
from feelvos_lab.cli import main as cli
from feelvos_lab.figures import style

PUBLISHED = Path(__file__).parents[2] / "experiments" / "results" / "components"
MEANS = {"full": 60.0, "narrow": 50.0, "blind": 20.0}


def scores(*, seeds: int = 2, clips: int = 3) -> pd.DataFrame:
    """Two objects a clip; of row `narrow`, object 2 of clip-1 alone fails, of `blind` all do."""
    rows = [
        (variant, seed, f"clip-{c}", o, *[15.0 if (variant, c, o) == ("narrow", 1, 2) else mean + c + seed] * 3)
        for variant, mean in MEANS.items()
        for seed in range(seeds)
        for c in range(clips)
        for o in (1, 2)
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "clip", "object", "J", "F", "JF"])


def published(folder: Path, *, seeds: float = 3, missing: tuple[str, ...] = ()) -> Results:
    table = pd.DataFrame(
        [
            {"variant": v, "seeds": seeds, "objects": 6, "J": m, "F": m + 0.04, "JF": m, "JF_low": m - 1, "JF_high": m}
            | {"difference": None if v == "full" else m - 60, "difference_low": m - 61.26, "difference_high": 0.04}
            | {
                "train_seconds": 1.0,
                "test_seconds": 1.0,
                "paper_JF": 64.2,
                "paper_JF_mark": "seen" if v == "full" else "from memory",
            }
            for v, m in MEANS.items()
        ]
    ).set_index("variant")
    for name in missing:
        table.loc[name, ["seeds", "objects", "J", "F", "JF", "JF_low", "JF_high"]] = float("nan")
        table.loc[name, ["difference", "difference_low", "difference_high"]] = float("nan")
    return Results(folder, load_spec(write_spec(folder)), scores(), table)


def tabular(text: str) -> list[list[str]]:
    """The cells of the rows of a tabular."""
    inside = text[text.index("\\toprule") : text.index("\\bottomrule")]
    return [line.removesuffix(r" \\").split(" & ") for line in inside.splitlines() if line.endswith(r"\\")]


def test_the_latex_table_holds_the_numbers_of_the_csv():
    text = (latex_table(read_published(PUBLISHED))).replace(r"\times", "x")
    table = pd.read_csv(PUBLISHED / "table.csv").set_index("variant")
    rows = {cells[0]: cells for cells in tabular(text)[1:]}
    assert list(rows) == list(table.index)
    for name, line in table.iterrows():
        found = [float(x) for cell in rows[name][1:] for x in re.findall(r"[+-]?\d+\.\d", cell)]
        wanted = [line["JF"], line["JF_low"], line["JF_high"], line["J"], line["F"]]
        wanted += [] if name == "full" else [line["difference"], line["difference_low"], line["difference_high"]]
        assert found == [round(x, 1) for x in [*wanted, line["paper_JF"]]]
        assert rows[name][5] == f"${line['seeds']}x{line['objects']}$"


def test_the_latex_table_is_well_formed_and_needs_booktabs_alone(tmp_path):
    text = latex_table(published(tmp_path, seeds=1, missing=("blind",)))
    assert text.isascii()
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1]
    rows = tabular(text)
    assert {len(cells) for cells in rows} == {len(columns)}
    for kind in ("toprule", "midrule", "bottomrule", "end{tabular}"):
        assert text.count(f"\\{kind}") == 1
    commands = set(re.findall(r"\\([a-zA-Z]+)", "\n".join(line for line in text.splitlines() if line[0] != "%")))
    assert commands == {"begin", "end", "toprule", "midrule", "bottomrule", "times", "dagger", "circ"}
    assert rows[1][1] == r"60.0$^\dagger$" and rows[1][-1] == "64.2" and rows[2][-1] == r"64.2$^\circ$"
    assert rows[2][6:8] == ["$-10.0$", "$[-11.3, +0.0]$"]
    assert rows[3][1:-1] == ["--"] * 7
    assert "one seed" in text and "from memory" in text


def test_a_table_without_marks_explains_none(tmp_path):
    text = latex_table(published(tmp_path))
    assert "agger" not in text
    assert "one seed" not in text


def test_an_object_fails_where_its_mean_over_seeds_is_low():
    lost = failures(scores(), "JF")
    narrow = lost[lost["variant"] == "narrow"]
    assert narrow[["clip", "object"]].to_numpy().tolist() == [["clip-1", 2]]
    assert len(lost[lost["variant"] == "blind"]) == 6 and "full" not in set(lost["variant"])
    lucky = scores()
    lucky.loc[(lucky["variant"] == "narrow") & (lucky["seed"] == 1), "JF"] = 90.0
    assert "narrow" not in set(failures(lucky, "JF")["variant"])


def scored(folder: Path, **counts: int) -> Results:
    return Results(folder, load_spec(write_spec(folder)), scores(**counts))


def test_the_picture_by_clip_names_the_failures_in_their_cells(tmp_path):
    axes = clips_figure(scored(tmp_path)).axes[0]
    clips = [label.get_text() for label in axes.get_yticklabels()]
    assert clips == ["clip-0", "clip-1", "clip-2"]  # the baseline's hardest on top
    rows = [label.get_text() for label in axes.get_xticklabels()]
    written = {(rows[int(t.get_position()[0])], clips[int(t.get_position()[1])]): t.get_text() for t in axes.texts}
    assert written == {("narrow", "clip-1"): "2", **{("blind", clip): "1 2" for clip in clips}}
    assert axes.images[0].get_array()[0, 0] == 60.5


def test_more_clips_than_fit_are_told(tmp_path):
    figure = clips_figure(scored(tmp_path, clips=MOST + 5))
    assert len(figure.axes[0].get_yticklabels()) == MOST
    assert f"{MOST} of {MOST + 5} clips" in " ".join(figure.get_suptitle().split())


def faces(results: Results) -> tuple[list[str], list[str]]:
    """The faces of the means' dots, and the words beside them."""
    axes = differences_figure(results).axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o" and line.get_markersize() == 5]
    return [to_hex(dot.get_markerfacecolor()) for dot in dots], [t.get_text() for t in axes.texts]


def test_a_difference_of_one_seed_is_drawn_as_undecided_and_marked(tmp_path):
    assert faces(scored(tmp_path, seeds=2))[0][1] == style.LINE
    hollow, words = faces(scored(tmp_path, seeds=1))
    assert hollow == ["#ffffff", "#ffffff"]
    assert words[1].startswith("-40.0†")


def test_results_are_drawn_again_without_their_runs(tmp_path, capsys):
    folder = tmp_path / "results" / "demo"
    folder.mkdir(parents=True)
    for name in ("records.csv", "table.csv"):
        shutil.copy(PUBLISHED / name, folder)
    for name in ("components.yml", "../notebooks/run_experiment.ipynb"):
        source = PUBLISHED.parents[1] / name
        target = tmp_path / source.resolve().name
        target.write_text(source.read_text().replace("../notebooks/", ""))
    (tmp_path / "components.yml").rename(tmp_path / "demo.yml")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SystemExit) as left:
        cli.main(["ablate", "draw", str(folder)])
    assert left.value.code == 0
    assert capsys.readouterr().out.splitlines() == [
        str(folder / name) for name in ("table.tex", "clips.png", "differences.png")
    ]
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert (folder / "clips.png").read_bytes().startswith(b"\x89PNG")


def test_a_difference_that_is_no_longer_there_leaves_no_picture(tmp_path):
    results = published(tmp_path)
    (tmp_path / "differences.png").touch()
    alone = replace(results, scores=results.scores[results.scores["variant"] == "narrow"])
    assert [path.name for path in write_drawings(alone)] == ["table.tex", "clips.png"]
    assert not (tmp_path / "differences.png").exists()


@pytest.mark.parametrize("name", ["ancestors", "classroom", "components", "embedding_dim", "factors", "radius"])
def test_published_tables_hold_the_numbers_of_their_csv(name):
    folder = PUBLISHED.with_name(name)
    results = read_published(folder)
    assert "\n".join(markdown(table_cells(results))) + "\n" == (folder / "table.md").read_text(encoding="utf-8")
    assert latex_table(results) == (folder / "table.tex").read_text(encoding="utf-8")
