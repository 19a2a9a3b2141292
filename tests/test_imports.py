"""The house has one direction: imports lead down, and never in a circle (`[tool.importlinter]` in pyproject.toml)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "feelvos_lab"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [program, "--no-cache", "--config", PROJECT / "pyproject.toml"]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)


def test_the_contracts_of_imports_are_kept() -> None:
    done = lint(PROJECT)
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("model/head.py", "from feelvos_lab.data.clip import Clip"),
        ("inference/propagation.py", "from feelvos_lab.training.loop import train"),
        ("ablation/report.py", "import feelvos_lab.lessons.rules"),
        ("model/backbone.py", "from feelvos_lab.model.decoder import Decoder"),
    ],
)
def test_an_import_that_leads_up_or_in_a_circle_breaks_them(file: str, line: str, tmp_path: Path) -> None:
    for path in PACKAGE.rglob("*.py"):
        (tmp_path / path.relative_to(PROJECT)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path.relative_to(PROJECT)).write_bytes(path.read_bytes())
    spoilt = tmp_path / "feelvos_lab" / file
    spoilt.write_text(spoilt.read_text() + f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1 and "broken" in done.stdout, done.stdout + done.stderr


def test_the_top_level_holds_six_files_beside_the_packages() -> None:
    names = {path.name for path in PACKAGE.glob("*.py")}
    assert names == {"__init__.py", "__main__.py", "config.py", "deterministic.py", "errors.py", "lab.py"}
    assert len(list((PACKAGE / "ablation").glob("*.py"))) - 1 <= 18  # without its face


def test_every_package_says_in_one_line_what_it_is_for() -> None:
    for face in PACKAGE.rglob("__init__.py"):
        described = ast.get_docstring(ast.parse(face.read_text()))
        assert described and described.splitlines()[0].endswith("."), face
