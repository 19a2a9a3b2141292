"""The lessons 01 to 05 and 10: they run as shipped and solved, keep their rules, and what their text claims is so."""

from __future__ import annotations

import ast
import json
import linecache
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ablate_standin import cell, notebook

from feelvos_lab import nbtools
from feelvos_lab.checkpoint import save_checkpoint
from feelvos_lab.config import configure
from feelvos_lab.exercise_checks import find_exercise
from feelvos_lab.lessons import count_code
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.shipped import sha256, why_not

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
LESSONS = (
    "01_the_task_and_the_score",
    "02_pixel_embeddings",
    "03_global_matching",
    "04_local_matching",
    "05_segmentation_head",
)
EXERCISES = {
    "01_the_task_and_the_score": ["region_similarity"],
    "02_pixel_embeddings": ["pairwise_sq_dist", "normalise_distance"],
    "03_global_matching": ["global_matching", "matching_memory"],
    "04_local_matching": ["local_matching"],
    "05_segmentation_head": ["stack_cues", "combine_objects"],
}
pytestmark = pytest.mark.skipif(bool(why_not(configure("reduced"), seed=0)), reason="the reduced model is not shipped")


FULL = "10_full_feelvos"  # has no exercises, and another network


def cells_of(name: str) -> list[dict[str, Any]]:
    return nbtools.read_notebook(NOTEBOOKS / f"{name}.ipynb")["cells"]


# as shipped: papermill, a kernel each, every exercise a stub


def join(names: tuple[str, ...], path: Path) -> None:
    """One notebook out of several, each of which begins without names: a kernel's imports take longer than a lesson."""
    joined = []
    for name in names:
        joined.append(cell(f"forget-{name[:2]}", "%reset -f"))
        joined += [c | {"id": f"{name[:2]}-{c['id']}", "metadata": {}} for c in cells_of(name)]
    path.write_text(notebook(*joined), encoding="utf-8")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The cells of each lesson after papermill has run them, and the figures' folder in the process."""

    def run(names: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
        desk = tmp_path_factory.mktemp("desk")
        join(names, desk / "lessons.ipynb")
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", str(desk)]
        command += [str(desk / "lessons.ipynb"), str(desk / "done.ipynb")]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        for name in names:
            assert {p.suffix for p in (desk / "figures").glob(f"{name[:2]}-*")} == {".png", ".pdf", ".json"}
        cells = json.loads((desk / "done.ipynb").read_text(encoding="utf-8"))["cells"]
        return {name: [c for c in cells if c["id"].startswith(f"{name[:2]}-")] for name in names}

    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(run, (LESSONS[:2], LESSONS[2:])))
    return {name: cells for half in halves for name, cells in half.items()}


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_as_shipped_and_uses_the_library_where_nothing_is_solved(name, shipped):
    outputs = [(c["id"], o) for c in shipped[name] for o in c.get("outputs", [])]
    assert not [(where, o) for where, o in outputs if o.get("name") == "stderr"]
    said = ["".join(o["text"]) for w, o in outputs if o.get("name") == "stdout" and w[3:].startswith("ex-")]
    assert [text.split(";")[0] for text in said] == [f"○ {e}: not attempted" for e in EXERCISES[name]]
    drawn = {where for where, o in outputs if "image/png" in o.get("data", {})}
    saved = {c["id"] for c in shipped[name] if "lab.save_figure" in nbtools.source(c)}
    assert len(drawn) >= 4 and saved <= drawn


# solved: the same cells, each exercise handed in as a call of the library


def solve(text: str) -> str:
    """The exercise's cell with a body that asks the library."""
    (function,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    library = find_exercise(function.name).library
    arguments = [a.arg for a in function.args.args] + [f"{a.arg}={a.arg}" for a in function.args.kwonlyargs]
    body = f"    import {library.__module__} as own\n    return own.{function.name}({', '.join(arguments)})\n"
    lines = text.splitlines()[: function.body[0].lineno - 1]
    return "\n".join(lines) + "\n" + body


def run_here(name: str, desk: Path, **given: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Run a solved lesson in this process, with some parameters given: its names, and what each cell printed."""
    scope: dict[str, Any] = {"__name__": "lesson"}
    printed = {}
    with chdir(desk):
        for c in cells_of(name):
            if c["cell_type"] != "code":
                continue
            text = solve(nbtools.source(c)) if c["id"].startswith("ex-") else nbtools.source(c)
            file = f"<{name}:{c['id']}>"
            linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
            with redirect_stdout(StringIO()) as out:
                exec(compile(text, file, "exec"), scope)
            if c["id"] == "parameters":
                assert given.keys() <= scope.keys()
                scope.update(given)
            printed[c["id"]] = out.getvalue()
    return scope, printed


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the frames are so small that a second one is only waited for
    try:
        return {name: run_here(name, tmp_path_factory.mktemp("solved")) for name in LESSONS}
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", LESSONS)
def test_a_solved_lesson_runs_with_the_students_own_functions(name, solved):
    scope, printed = solved[name]
    assert [t[: t.index(":")] for w, t in printed.items() if w.startswith("ex-")] == [f"✓ {e}" for e in EXERCISES[name]]
    for exercise in EXERCISES[name]:
        assert scope[exercise].__module__ == "lesson"


# what the texts claim


def test_01_a_third_a_fall_and_two_discs(solved):
    scope, _ = solved["01_the_task_and_the_score"]
    truth, prediction = scope["truth"], scope["prediction"]
    assert scope["region_similarity"](prediction, truth) == pytest.approx(1 / 3)
    small, large = scope["fall"]["side 6"], scope["fall"]["side 24"]
    assert small[6] == 0 and all(a < b - 0.15 for a, b in zip(small[1:], large[1:], strict=True))
    j = {
        n: scope["region_similarity"](m, scope["disc"])
        for n, m in (("a", scope["small"]), ("b", scope["disc"] & ~scope["middle"]))
    }
    f = [scope["contour_accuracy"](m, scope["disc"]) for m in (scope["small"], scope["disc"] & ~scope["middle"])]
    assert abs(j["a"] - j["b"]) < 0.02 and f[0] < 0.25 and f[1] > 0.7


def test_01_the_network_is_far_above_the_cheap_answers(solved):
    rows = solved["01_the_task_and_the_score"][0]["rows"]
    j = {name: float(row["J"]) for name, row in rows.items()}
    assert j["network"] > j["first mask, copied"] + 0.25
    assert j["first mask, copied"] > j["object everywhere"] + 0.05 > j["nothing"] + 0.05
    assert j["object everywhere"] < 0.15


def test_02_the_curve_is_flat_beyond_a_few_and_dead_beyond_18(solved):
    scope, _ = solved["02_pixel_embeddings"]
    slope = scope["lines"]["its slope"]
    at = {round(x, 2): s for x, s in zip(torch.linspace(0, 20, 401).tolist(), slope, strict=True)}
    assert at[0.0] == 0.5 and at[5.0] < 0.02 and all(s == 0 for x, s in at.items() if x > 18.1)
    assert at[17.0] > 0 and next(x for x, s in at.items() if s < 0.05) < 5


def test_02_training_keeps_things_apart(solved):
    right = solved["02_pixel_embeddings"][0]["right"]
    assert 0.45 < right["untrained"] < 0.8 and right["trained"] > 0.85 and right["trained"] > right["untrained"] + 0.1


def test_03_the_double_is_as_bright_as_the_object_and_no_threshold_helps(solved):
    scope, _ = solved["03_global_matching"]
    near, clip, who = scope["maps"][12][scope["object_id"]], scope["clip"], scope["object_id"]
    truth = scope["resize_labels"](clip.masks[12], near.shape) == who
    elsewhere = near[~truth]
    assert int((elsewhere < 0.3).sum()) >= 10  # a double's worth of cells, not noise
    assert float(near[truth].median()) < 0.3


def test_03_the_network_beats_the_smallest_distance(solved):
    scope, _ = solved["03_global_matching"]
    scores = {name: scope["frame_scores"](way, scope["clip"]) for name, way in scope["ways"].items()}
    means = {name: sum(r["J"] for r in rows) / len(rows) for name, rows in scores.items()}
    assert means["network"] > means["smallest distance"] + 0.05 > 0.45


def test_03_the_table_grows_with_the_fourth_power_of_the_height(solved):
    table = solved["03_global_matching"][0]["table"]
    grows = {way: sizes["480×854 (DAVIS)"] / sizes["240×427"] for way, sizes in table.items()}
    assert 15 < grows["all cells"] < 17 and 3.8 < grows["1024 of one object"] < 4.2
    assert table["all cells"]["480×854 (DAVIS)"] > 2000


def test_04_a_wider_window_only_finds_more_and_at_last_the_double(solved):
    scope, _ = solved["04_local_matching"]
    now, before, known = scope["e"][scope["frame"]], scope["e"][scope["frame"] - 1], scope["small"][scope["frame"] - 1]
    maps = [scope["local_matching"](now, before, known, num_objects=3, radius=r) for r in (0, 1, 4, 8, 40)]
    assert all((b <= a + 1e-6).all() for a, b in pairwise(maps))
    torch.testing.assert_close(maps[-1][scope["object_id"]], scope["everywhere"])
    elsewhere = scope["small"][scope["frame"]] != scope["object_id"]
    bright = [int((m[scope["object_id"]][elsewhere] < 0.3).sum()) for m in maps]
    assert bright[1] <= bright[2] < bright[4] / 3


def test_04_a_fast_object_outruns_a_narrow_window(solved):
    one, three = solved["04_local_matching"][0]["lost"].values()
    assert all(b <= a for lost in (one, three) for a, b in pairwise(lost))
    assert all(b >= a for a, b in zip(one, three, strict=True))
    assert 2 < one[1] < 30 and three[1] > 40 and one[4] == 0


def test_04_a_lost_half_is_near_to_the_background(solved):
    scope, _ = solved["04_local_matching"]
    frame, who, lost = scope["frame"], scope["object_id"], scope["lost_half"]
    known = scope["small"][frame - 1].clone()
    radius = scope["config"].model.radius
    maps = []
    for _ in range(2):
        near = scope["local_matching"](scope["e"][frame], scope["e"][frame - 1], known, num_objects=3, radius=radius)
        still = scope["small"][frame][lost[:, 0], lost[:, 1]] == who
        maps.append(float(near[0][lost[still, 0], lost[still, 1]].mean()))
        known[lost[:, 0], lost[:, 1]] = 0
    assert maps[1] < 0.3 and maps[1] < maps[0] - 0.2


def test_05_a_false_friend_loses_but_is_not_nothing_and_wins_with_one_more_cue(solved):
    scope, _ = solved["05_segmentation_head"]
    thing, friend = scope["thing"], scope["friend"]
    believed = []
    for also_near in (thing, thing + friend):
        g, near, before = ((x, 1 - x) for x in (thing + friend, also_near, 1 - thing))
        z = [-4 * g[o] - 4 * near[o] + 2 * before[o] for o in (0, 1)]
        believed.append(float(torch.stack(z).softmax(0)[1, 3, 0]))
    assert 0.05 < believed[0] < 0.2 and believed[1] > 0.9


def test_05_the_head_lives_on_the_maps_and_hardly_misses_the_mask(solved):
    score = solved["05_segmentation_head"][0]["score"]
    nothing, first, local, mask, every = score.values()
    assert every < 10
    assert local < first - 5 < mask - 15
    assert mask > nothing - 10


def test_05_a_logit_sees_the_square_that_the_text_counts(solved):
    scope, printed = solved["05_segmentation_head"]
    rows, columns = scope["reach"].nonzero().t()
    assert scope["side"] == 13 and "at most 13 cells" in printed["field"] and "25" in printed["field"]
    assert 9 <= int(rows.max() - rows.min()) + 1 <= 13 and 9 <= int(columns.max() - columns.min()) + 1 <= 13


@pytest.mark.skipif(bool(why_not(configure("real"), seed=0)), reason="the real model is not shipped")
def test_10_shows_the_shipped_network_for_film_and_says_that_the_clip_is_synthetic(tmp_path):
    scope, printed = run_here(FULL, tmp_path, frames=3)
    assert "preset real" in printed["setup"] and "is used instead" in printed["film"]
    assert scope["model"].config == configure("real").model and len(scope["labels"]) == 3
    wide, split = 7 * 7 * 256 * 256 + 256, sum(scope["layer"].values())
    assert 40 < wide / split < 42 and scope["layer"]["pointwise"] > 0.8 * split
    for share in (scope["sizes"]["this network, %"], scope["sizes"]["the paper's, %"]):
        assert share["backbone"] > 90 and 0.5 < share["head"] < 1.5
    four_kinds = {"radius", "freeze_backbone", "feedback", "middle_level", "cue_skip"}
    assert four_kinds <= scope["ours"].keys() and f"{len(scope['ours'])} of" in printed["settings"]
    drawn = {p.name for p in (tmp_path / "figures").glob("*.png")}
    assert drawn == {"10-film.png", "10-maps.png", "10-age.png", "10-score.png"}
    curves = scope["curves"].values()
    assert all(len(values) == 2 and 0 < min(values) <= max(values) < 1 for values in curves)


def test_10_takes_the_checkpoint_that_is_named(tmp_path):
    config = configure("smoke", radius=2)
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "imported.safetensors", Feelvos(config.model), config)
    scope, printed = run_here(FULL, tmp_path, checkpoint=str(tmp_path / "imported.safetensors"), frames=3)
    assert scope["model"].config == config.model and scope["ours"]["radius"] == 2
    assert "imported.safetensors" in printed["setup"] and "preset smoke" in printed["setup"]
    notes = json.loads((tmp_path / "figures" / "10-film.json").read_text(encoding="utf-8"))
    assert notes["preset"] == "smoke" and notes["checkpoint_sha256"] == sha256(tmp_path / "imported.safetensors")


@pytest.mark.shared
def test_a_lesson_takes_a_filmed_clip_where_the_parameter_says(tmp_path):
    root = os.environ.get("FEELVOS_SHARED")
    if not root or not (Path(root) / "data" / "davis16").is_dir():
        pytest.skip("FEELVOS_SHARED names no folder with data/davis16")
    from feelvos_lab import lab

    davis = str(Path(root) / "data" / "davis16")
    otherwise = lab.real_clip(davis, sequence="camel", otherwise=None)
    assert otherwise.name == "camel" and otherwise.frames[0].shape[1] == 240
    with pytest.raises(nbtools.LabError, match="no sequence 'camle'"):
        lab.real_clip(davis, sequence="camle", otherwise=otherwise)


def test_without_a_folder_the_clip_that_stands_in_is_named(capsys):
    from feelvos_lab import lab
    from feelvos_lab.data.shapes import make_clip

    clip = make_clip(1, height=32, width=32, frames=2)
    assert lab.real_clip("", sequence="camel", otherwise=clip) is clip
    assert "'shapes-1' is used instead" in capsys.readouterr().out


# the rules for lessons

HEADER = (
    "# One thing\n\n*In a sentence.*\n\n**You will be able to** see it · say it.\n\n"
    "Paper: §3. `Time: 5 min · 1 s compute on 2 cores`. Before this: nothing."
)
QUESTIONS = "## Say it in your own words\n\n" + "\n".join(f"{n}. Why?" for n in range(1, 6))
FURTHER = "## Go further\n\n- `experiments/a.yml`\n- `experiments/b.yml`"
ASKED = "### Exercise 1 · ●●○○ · 10 min\n\nWrite it."
STUB = '@exercise("stack_cues")\ndef stack_cues(global_map, local_map, previous_mask):\n    """Stack."""\n    ...'


def clean() -> list[dict[str, Any]]:
    return [
        cell("header", HEADER, kind="markdown"),
        cell("parameters", "seed: int = 0  # of everything", "parameters"),
        cell("setup", "from feelvos_lab import lab\n\nlab.begin(preset='smoke', seed=seed)"),
        cell("ask", "**Predict.** What?", kind="markdown"),
        cell("see", "1 + 1"),
        cell("told", "**What happened.** That.", kind="markdown"),
        cell("ask-stack", ASKED, kind="markdown"),
        cell("ex-stack", STUB),
        cell("questions", QUESTIONS, kind="markdown"),
        cell("further", FURTHER, kind="markdown"),
    ]


def lint(folder: Path, cells: list[dict[str, Any]], name: str = "01_lesson") -> list[str]:
    path = folder / f"{name}.ipynb"
    path.write_text(notebook(*cells))
    return nbtools.lint(path)


def replace(index: int, old: str, new: str):
    return lambda c: c[index].update(source=c[index]["source"].replace(old, new))


def test_a_clean_lesson_has_no_problems(tmp_path):
    assert lint(tmp_path, clean()) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c.insert(2, c.pop(0)), "a lesson begins with the cells header, parameters, setup"),
        (lambda c: c.pop(), "a lesson ends with the cells questions, further"),
        (replace(0, "Paper:", "See"), "the header must say 'Paper:'"),
        (replace(0, "Before this:", "After"), "the header must say 'Before this:'"),
        (replace(0, " · 1 s compute on 2 cores", ""), "in minutes and in compute"),
        (replace(0, "say it", "say it · write it · sing it"), "at most 3 things, it promises 4"),
        (replace(3, "**Predict.**", "Look."), "nobody was asked to predict it"),
        (lambda c: c.pop(4), "there must be code"),
        (lambda c: c.pop(5), "no **What happened.** follows"),
        (lambda c: c[4].update(source="x = 1\n" * 11), "at most 10 lines of code, it has 11"),
        (lambda c: c[7].update(id="stack"), "must begin with 'ex-'"),
        (replace(7, '"stack_cues"', '"stack_cue"'), "must ask for a known exercise"),
        (replace(7, "    ...", "    return 1"), "no body but a docstring"),
        (replace(6, "●●○○", "hard"), "there must be a contract"),
        (replace(6, "Exercise 1", "Exercise 2"), "numbered 1, 2, 3 in order, got [2]"),
        (replace(8, "5. Why?", ""), "with 5 questions, it has 4"),
        (replace(9, "- `experiments/b.yml`", ""), "with 2 pointers, it has 1"),
        (replace(9, "experiments/b.yml", "b.yml"), "must name a file in experiments/"),
    ],
)
def test_lint_names_what_a_lesson_lacks(tmp_path, spoil, words):
    cells = clean()
    spoil(cells)
    assert any(words in problem for problem in lint(tmp_path, cells)), lint(tmp_path, cells)


def test_four_exercises_are_too_many(tmp_path):
    cells = clean()
    for n in (2, 3, 4):
        contract = cell(f"ask-{'abcd'[n - 1]}", ASKED.replace("Exercise 1", f"Exercise {n}"), kind="markdown")
        cells[-2:-2] = [contract, cell(f"ex-{'abcd'[n - 1]}", STUB)]
    assert lint(tmp_path, cells) == ["a lesson has at most 3 exercises, this one has 4"]


def test_a_notebook_without_a_number_is_no_lesson(tmp_path):
    cells = clean()
    cells.pop()
    assert lint(tmp_path, cells, name="worker") == []


def test_imports_comments_and_closing_brackets_are_no_lines_of_code():
    assert count_code("import a\nfrom b import c\n\n# why\nf(\n    1,\n)\nx = 1  # here") == 3


@pytest.mark.parametrize("name", (*LESSONS, FULL))
def test_every_lesson_is_stripped_and_lints(name, tmp_path):
    copy = tmp_path / f"{name}.ipynb"
    copy.write_text((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"), encoding="utf-8")
    assert nbtools.lint(copy) == []
    assert not nbtools.strip(copy)


@pytest.mark.parametrize("name", LESSONS)
def test_the_equations_that_a_lesson_is_about_stand_in_it_with_their_numbers(name):
    text = "\n".join(nbtools.source(c) for c in cells_of(name) if c["cell_type"] == "markdown")
    wanted = {"02": ["(Eq. 1)"], "03": ["(Eq. 2)", "Eq. 3"], "04": ["(Eq. 4)"]}.get(name[:2], [])
    assert all(number in text for number in wanted)
    assert "$$" in text
