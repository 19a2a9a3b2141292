"""The list of sources that can change a number is complete."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from feelvos_lab import shipped
from feelvos_lab.ablate.fingerprint import PACKAGE, fingerprint, number_sources
from feelvos_lab.config import configure
from feelvos_lab.errors import LabError


def imports_of(path: Path) -> set[Path]:
    """The files of the library that one file imports anywhere, also inside functions; not as a command of its own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "__main__" in ast.unparse(node.test))]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    found = set()
    for name in names:
        if name.startswith("feelvos_lab."):
            base = PACKAGE.joinpath(*name.split(".")[1:])
            found |= {p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()}
    return found


def test_every_source_that_training_and_scoring_import_is_fingerprinted():
    todo = {PACKAGE / name for name in ("train.py", "evaluate.py", "checkpoint.py", "data/source.py")}
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        seen.add(path)
        todo |= imports_of(path) - seen
    assert len(seen) > 10
    lacking = seen - set(number_sources()) - {PACKAGE / "errors.py"}  # the exception alone changes no number
    assert not lacking


def test_nothing_that_only_draws_is_fingerprinted():
    names = {path.relative_to(PACKAGE).as_posix() for path in number_sources()}
    assert not names & {"viz.py", "style.py", "lab.py", "cli.py", "model/naive.py", "ablate/report.py"}


def test_weights_that_a_run_starts_from_are_fingerprinted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    worker = PACKAGE.parent / "notebooks" / "run_experiment.ipynb"
    started = {"preset": "reduced", "start": "trunk"}
    before = fingerprint(worker, started, "0")
    assert before == fingerprint(worker, started, "0")
    for name in ("reduced.safetensors", "reduced.json"):
        shutil.copy(shipped.FOLDER / name, tmp_path)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert fingerprint(worker, started, "0") == before
    other = tmp_path / "reduced.safetensors"
    other.write_bytes(other.read_bytes() + b"\0")
    with pytest.raises(LabError, match="must have sha256"):
        fingerprint(worker, started, "0")
    shipped.write_card(other, config=configure("reduced"), seed=0, command="")
    assert fingerprint(worker, started, "0") != before


@pytest.mark.parametrize(
    ("preset", "start", "sentence"), [("reduced", "trnk", "'trunk' or 'all'"), ("full", "all", "missing")]
)
def test_a_start_that_is_none_is_refused_before_the_runs(preset: str, start: str, sentence: str):
    with pytest.raises(LabError, match=sentence):
        fingerprint(PACKAGE.parent / "notebooks" / "run_experiment.ipynb", {"preset": preset, "start": start}, "0")
