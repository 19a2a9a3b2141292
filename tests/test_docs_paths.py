"""Paths and dotted names in backticks exist: in README, CONTRIBUTING, the notebooks' text, docstrings and comments."""

from __future__ import annotations

import importlib
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from feelvos_lab.files.notebooks import read_notebook, source

ROOT = Path(__file__).parents[1]
FOLDERS = (".ci", ".github", "experiments", "feelvos_lab", "notebooks", "tests", "docs")
EXISTING = sorted(
    f"/{path.relative_to(ROOT).as_posix()}"
    for path in (*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")))
)
QUOTED = re.compile(r"`([^`\n]+)`")
PATH = re.compile(
    r"[\w.-]+(/[\w.*-]+)*(\.(py|md|yml|ipynb|toml)|/)|(experiments|feelvos_lab|notebooks|tests)(/[\w.*-]+)+"
)
DOTTED = re.compile(r"feelvos_lab(\.\w+)+")
ELSEWHERE = ("networks/layers/matching.py",)  # in the official code
WRITTEN = ("experiments/runs/", "folder/", "tensorboard/", "trained/", "work/")  # by commands, or by an example

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(path for folder in FOLDERS[2:5] for path in sorted((ROOT / folder).rglob("README.md"))),
    ROOT / "notebooks/symbols.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    *sorted((ROOT / "feelvos_lab").rglob("*.py")),
]


def words(document: Path) -> list[str]:
    """The words in backticks of a document's text."""
    if document.suffix == ".ipynb":
        texts = [source(cell) for cell in read_notebook(document)["cells"] if cell["cell_type"] == "markdown"]
    else:
        texts = [document.read_text(encoding="utf-8")]
    return [word for text in texts for quoted in QUOTED.findall(text) for word in quoted.split()]


def exists(path: str) -> bool:
    pattern = f"*/{path.rstrip('/').removeprefix('../').replace('NAME', '*')}"
    return any(fnmatch(known, pattern) for known in EXISTING)


def resolves(name: str) -> bool:
    *parts, last = name.split(".")
    try:
        return hasattr(importlib.import_module(".".join(parts)), last) or bool(importlib.import_module(name))
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_and_dotted_name_in_backticks_exists(document: Path) -> None:
    found = words(document)
    paths = [word for word in found if PATH.fullmatch(word) and not word.startswith(WRITTEN) and word not in ELSEWHERE]
    assert [path for path in paths if not exists(path)] == []
    assert [name for name in found if DOTTED.fullmatch(name) and not exists(name) and not resolves(name)] == []


def test_a_path_and_a_name_that_are_not_there_are_noticed() -> None:
    assert exists("model/matching/naive.py") and exists("naive.py") and exists("experiments/NAME.yml")
    assert not exists("model/naive.py") and not exists("aive.py")
    assert resolves("feelvos_lab.config.configure") and resolves("feelvos_lab.config")
    assert not resolves("feelvos_lab.config.konfigure") and not resolves("feelvos_lab.viz.overlay")


def test_every_name_of_the_page_of_symbols_stands_in_the_library():
    lines = (ROOT / "notebooks/symbols.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| $")]
    names = [name for row in rows for name in re.findall(r"[A-Za-z_]{4,}", " ".join(QUOTED.findall(row[3])))]
    code = "\n".join(path.read_text() for path in (ROOT / "feelvos_lab").rglob("*.py"))
    assert len(rows) > 15 and [name for name in names if not re.search(rf"\b{name}\b", code)] == []
