"""The mutations fit the library as it is, and planting one is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutate import attempt, copy_project
from mutations import MUTATIONS, SURVIVORS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[s.name for s in MUTATIONS])
def test_a_mutation_changes_one_line_that_is_there_once(mutation):
    text = (ROOT / "feelvos_lab" / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.right) == 1 and mutation.right != mutation.wrong
    assert all((ROOT / path).is_file() for path in mutation.tests)


def test_there_are_forty_mutations_and_every_survivor_is_one_of_them():
    names = [s.name for s in MUTATIONS]
    assert len(set(names)) == len(names) >= 40
    assert set(SURVIVORS) <= set(names) and len(SURVIVORS) <= 0.05 * len(names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["absent-scores-nothing", "one-seed-decides"])
def test_a_planted_mutation_is_noticed_and_taken_out_again(name, tmp_path):
    mutation = next(s for s in MUTATIONS if s.name == name)
    root = copy_project(tmp_path / "copy")
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 50 * 2**20
    before = (root / "feelvos_lab" / mutation.file).read_bytes()
    found, _ = attempt(mutation, root)
    assert found is not None and found.startswith(tuple(Path(path).name for path in mutation.tests))
    assert (root / "feelvos_lab" / mutation.file).read_bytes() == before
