"""Notebooks as committed keep the rules of the house."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from standin_experiment import cell, notebook

from feelvos_lab.cli.main import main
from feelvos_lab.errors import LabError
from feelvos_lab.files import notebooks
from feelvos_lab.lessons import rules

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
HEADER = "# One thing\n\nYou will be able to see it.\n\n`Time: 1 min`"


def write(folder: Path, *cells: dict) -> Path:
    path = folder / "book.ipynb"
    path.write_text(notebook(*cells))
    return path


def clean() -> list[dict]:
    return [
        cell("header", HEADER, kind="markdown"),
        cell("parameters", "seed: int = 0  # of everything", "parameters"),
        cell("setup", "from feelvos_lab import lab\n\nlab.begin(preset='smoke', seed=seed)"),
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_notebook_of_the_project_is_clean(path):
    assert rules.lint(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_notebook_of_the_project_is_valid_nbformat(path):
    sys.modules.setdefault("rfc3987_syntax", None)  # jsonschema does without it, and imports two seconds faster
    import nbformat

    nbformat.validate(nbformat.read(path, as_version=4))


def test_a_clean_notebook_has_no_problems(tmp_path):
    assert rules.lint(write(tmp_path, *clean())) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c[2].update(id="3f2a90bc"), "cell id '3f2a90bc' must be words"),
        (lambda c: c[2].update(id="Set_Up"), "cell id 'Set_Up' must be words"),
        (lambda c: c[2].update(id="parameters"), "cell id 'parameters' occurs twice"),
        (lambda c: c[2].update(execution_count=3), "cell 'setup' has outputs"),
        (lambda c: c[2]["outputs"].append({"output_type": "stream"}), "cell 'setup' has outputs"),
        (lambda c: c[2].update(source="a = 1\n" * 5), "at most 4 lines, it has 5"),
        (lambda c: c.pop(2), "one cell 'setup', found 0"),
        (lambda c: c.pop(0), "first cell must be a markdown header"),
        (lambda c: c[0].update(source="# Title\n\nTime: 1 min"), "must say 'You will be able to'"),
        (lambda c: c[1].update(metadata={}), "must have one cell tagged 'parameters', it has 0"),
        (lambda c: c[1].update(source="seed: int = 1 + int('2')  # no"), "seed in the parameters cell"),
        (lambda c: c[1].update(source="seed = 0  # untyped"), "must hold `name: type = literal` only"),
        (lambda c: c[1].update(source="import os"), "must hold `name: type = literal` only"),
        (lambda c: c[1].update(source="seed: int = 0"), "parameter seed needs a `# help` comment"),
        (lambda c: c[1].update(source="a: int = 0  # x\na: int = 1  # y"), "declares a twice"),
        (lambda c: c[1].update(source="seed: int ="), "does not parse"),
    ],
)
def test_lint_names_what_is_wrong(tmp_path, spoil, words):
    cells = clean()
    spoil(cells)
    assert any(words in problem for problem in rules.lint(write(tmp_path, *cells)))


def test_parameters_are_read_without_being_executed(tmp_path):
    text = "rate: float | None = 0.5  # how fast\nsizes: list[int] = [1, -2]  # of what\nname: str = '#'  # a # sign"
    cells = clean()
    cells[1]["source"] = text
    found = notebooks.read_parameters(write(tmp_path, *cells))
    assert found["rate"] == notebooks.Parameter("rate", "float | None", 0.5, "how fast")
    assert found["sizes"].default == [1, -2]
    assert (found["name"].default, found["name"].help) == ("#", "a # sign")


def test_stripping_leaves_code_and_tags_and_nothing_of_the_run(tmp_path):
    cells = clean()
    cells[2] |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}], "execution_count": 7}
    cells[1]["metadata"] = {"tags": ["parameters"], "collapsed": True}
    path = write(tmp_path, *cells)
    assert notebooks.strip(path)
    assert rules.lint(path) == []
    book = json.loads(path.read_text())
    assert [notebooks.source(c) for c in book["cells"]] == [c["source"] for c in cells]
    assert book["cells"][1]["metadata"] == {"tags": ["parameters"]}
    assert not notebooks.strip(path)  # a second time changes nothing


def test_the_commands_say_what_is_wrong_and_fail(tmp_path, capsys):
    cells = clean()
    cells[2]["execution_count"] = 1
    path = str(write(tmp_path, *cells))
    for command, status in (("lint", 1), ("strip", 0), ("lint", 0)):
        with pytest.raises(SystemExit) as left:
            main([command, path])
        assert left.value.code == status
        assert ("has outputs" in "".join(capsys.readouterr())) == (status == 1)


def test_what_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "a.ipynb").write_text("{")
    (tmp_path / "b.ipynb").write_text('{"nbformat": 3}')
    for name, words in [("a", "cannot be read as JSON"), ("b", "nbformat 4"), ("c", "there is no .*c.ipynb")]:
        with pytest.raises(LabError, match=words):
            notebooks.read_notebook(tmp_path / f"{name}.ipynb")
