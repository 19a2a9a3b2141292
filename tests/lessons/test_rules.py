"""The rules for lessons: each is checked, and every lesson keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lesson_runs import LESSONS, NOTEBOOKS, cells_of, with_parameters
from standin_experiment import cell, notebook

from feelvos_lab.errors import LabError
from feelvos_lab.files import notebooks
from feelvos_lab.lessons import rules
from feelvos_lab.lessons.rules import NUMBERED, count_code

ALL = tuple(sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb") if NUMBERED.fullmatch(p.stem)))

HEADER = (
    "# One thing\n\n*In a sentence.*\n\n**You will be able to** see it · say it.\n\n"
    "Paper: §3. `Time: 5 min · 1 s compute on 2 cores`. Before this: nothing. Words: [symbols.md](symbols.md)."
)
QUESTIONS = "## Say it in your own words\n\n" + "\n".join(
    f"{n}. Why?\n   <details><summary>Answer</summary>So.</details>" for n in range(1, 6)
)
FURTHER = "## Go further\n\n- `experiments/a.yml`\n- `experiments/b.yml`"
ASKED = "### Exercise 1 · ●●○○ · 10 min\n\nWrite it."
STUB = '@exercise("stack_cues")\ndef stack_cues(global_map, local_map, previous_mask):\n    """Stack."""\n    ...'


def clean() -> list[dict[str, Any]]:
    return [
        cell("header", HEADER, kind="markdown"),
        cell("parameters", "seed: int = 0  # of everything", "parameters"),
        cell("setup", "from feelvos_lab import lab\n\nlab.begin(preset='smoke', seed=seed)"),
        cell("ask", "**Predict.** What?", kind="markdown"),
        cell("see", 'guess("n", ...)\nguess("m", ...)\nreveal("n", 2)'),
        cell("told", "**What happened.** That.", kind="markdown"),
        cell("ask-stack", ASKED, kind="markdown"),
        cell("ex-stack", STUB),
        cell("questions", QUESTIONS, kind="markdown"),
        cell("further", FURTHER, kind="markdown"),
    ]


def lint(folder: Path, cells: list[dict[str, Any]], name: str = "01_lesson") -> list[str]:
    path = folder / f"{name}.ipynb"
    path.write_text(notebook(*cells))
    return rules.lint(path)


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
        (replace(3, "**Predict.**", "Look."), "no cell asked for a prediction"),
        (lambda c: c.pop(4), "there must be code"),
        (lambda c: c.pop(5), "no **What happened.** follows"),
        (lambda c: c[4].update(source="x = 1\n" * 11), "at most 10 lines of code, it has 11"),
        (lambda c: c[7].update(id="stack"), "must begin with 'ex-'"),
        (replace(7, '"stack_cues"', '"stack_cue"'), "must ask for a known exercise"),
        (replace(7, "    ...", "    return 1"), "no body but a docstring"),
        (replace(7, "    ...", "    ..)"), "cell 'ex-stack' does not parse: unmatched ')' (ex-stack, line 4)"),
        (replace(7, "    ...", "    \0"), "cell 'ex-stack' does not parse: source code"),
        (replace(7, "    ...", f"    {'-' * 10_000}1"), "cell 'ex-stack' does not parse"),
        (replace(6, "●●○○", "hard"), "there must be a contract"),
        (replace(6, "Exercise 1", "Exercise 2"), "numbered 1, 2, 3 in order, got [2]"),
        (replace(8, "5. Why?", ""), "with 5 questions, it has 4"),
        (replace(8, "   <details><summary>Answer</summary>So.</details>\n5.", "5."), "of 5 questions, it has 4"),
        (replace(9, "- `experiments/b.yml`", ""), "with 2 pointers, it has 1"),
        (replace(0, "(symbols.md)", ""), "the header must say '(symbols.md)'"),
        (lambda c: c[4].update(source='guess("n", ...)\n1 + 1'), "no cell reveals what cell 'see' asks"),
        (replace(4, 'guess("m", ...)', ""), "must ask 2 questions that check themselves, with `guess`, it asks 1"),
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


@pytest.mark.parametrize("name", ALL)
def test_every_lesson_is_stripped_and_lints(name, tmp_path):
    copy = tmp_path / f"{name}.ipynb"
    copy.write_text((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"), encoding="utf-8")
    assert rules.lint(copy) == []
    assert not notebooks.strip(copy)


@pytest.mark.parametrize("name", LESSONS)
def test_the_equations_that_a_lesson_is_about_stand_in_it_with_their_numbers(name):
    text = "\n".join(notebooks.source(c) for c in cells_of(name) if c["cell_type"] == "markdown")
    wanted = {
        "02": ["(Eq. 1)"],
        "03": ["(Eq. 2)", "Eq. 3"],
        "04": ["(Eq. 4)"],
        "06": ["Eq. 1 and Eq. 2"],
        "07": ["(Eq. 2)", "(Eq. 4)"],
    }.get(name[:2], [])
    assert all(number in text for number in wanted)
    assert "$$" in text


BAD = {"preset": "full", "clip_seed": -1, "object_id": 3, "frame": 0, "video_frames": 8}


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        (name, parameter)
        for name in ALL[:6]
        for parameter in notebooks.read_parameters(NOTEBOOKS / f"{name}.ipynb")
        if parameter in BAD
    ],
)
def test_a_parameter_out_of_range_is_rejected_by_name_before_a_network_is_loaded(name, parameter, capsys):
    cells = {c["id"]: notebooks.source(c) for c in cells_of(name)}
    scope: dict[str, Any] = {}
    exec(with_parameters(cells["parameters"], {parameter: BAD[parameter]}), scope)
    with pytest.raises(LabError, match=rf"^{parameter} must be .*, got {BAD[parameter]!r}"):
        exec(cells["setup"], scope)
    assert capsys.readouterr().out == ""
