"""A few kills of each kind by the soak, which does many (`make soak`); trainings are in test_killed.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from soak import soak


@pytest.mark.parametrize("kind", ["sweep", "segment", "figures"])
def test_nothing_is_lost_by_kills_at_random_moments(kind: str, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"the moments' seed is {seed}")
    tally = soak(kind, 2, tmp_path, seed=seed)
    assert tally.violations == []
    assert tally.kills == 2
