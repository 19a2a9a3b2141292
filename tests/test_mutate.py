"""The sabotages fit the library as it is, and planting one is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutate import attempt, copy_project
from sabotages import SABOTAGES, SURVIVORS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=[s.name for s in SABOTAGES])
def test_a_sabotage_changes_one_line_that_is_there_once(sabotage):
    text = (ROOT / "feelvos_lab" / sabotage.file).read_text(encoding="utf-8")
    assert text.count(sabotage.right) == 1 and sabotage.right != sabotage.wrong
    assert all((ROOT / "tests" / f"test_{name}.py").is_file() for name in sabotage.near)


def test_there_are_forty_sabotages_and_every_survivor_is_one_of_them():
    names = [s.name for s in SABOTAGES]
    assert len(set(names)) == len(names) >= 40
    assert set(SURVIVORS) <= set(names) and len(SURVIVORS) <= 0.05 * len(names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["absent-scores-nothing", "one-seed-decides"])
def test_a_planted_sabotage_is_noticed_and_taken_out_again(name, tmp_path):
    sabotage = next(s for s in SABOTAGES if s.name == name)
    root = copy_project(tmp_path / "copy")
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 50 * 2**20
    before = (root / "feelvos_lab" / sabotage.file).read_bytes()
    found, _ = attempt(sabotage, root)
    assert found is not None and found.startswith(tuple(f"test_{near}.py" for near in sabotage.near))
    assert (root / "feelvos_lab" / sabotage.file).read_bytes() == before
