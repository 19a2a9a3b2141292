"""What the texts of lessons 06 to 12 say of their figures is so, computed from what the notebooks show."""

from __future__ import annotations

import pytest
from lesson_runs import run_here, solve

from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import shipped_mismatch

pytestmark = pytest.mark.skipif(
    bool(shipped_mismatch(configure("reduced"), seed=0)), reason="the reduced model is not shipped"
)


def test_09_the_undecided_claim_has_the_smallest_difference_and_the_widest_interval_is_of_a_supported_one(solved):
    ours = solved["09_reading_an_ablation"][0]["ours"]
    found = [difference for _, difference in ours.claims]
    (open_one,) = (d for d in found if d.verdict == "undecided")
    width = {id(d): d.estimate.high - d.estimate.low for d in found}
    assert open_one is min(found, key=lambda d: abs(d.estimate.mean))
    assert sorted(width.values()).index(width[id(open_one)]) < 2
    assert max(found, key=lambda d: width[id(d)]).verdict == "supported"
    need = max(d.estimate.mean - d.estimate.low for d in found if d is open_one)
    assert need == pytest.approx(width[id(open_one)] / 2, rel=0.1)


def test_09_the_row_without_the_first_frame_falls_from_fourth_to_last_and_that_is_no_chance(solved):
    scope, _ = solved["09_reading_an_ablation"]
    ours, stats = scope["ours"], scope["statistics"]
    means = {name: ours.of(name)["JF"].mean() for name in ours.variants}
    theirs = {v.name: v.paper_row.JF.value for v in ours.spec.variants}
    here, there = (sorted(column, key=column.get, reverse=True) for column in (means, theirs))
    assert there.index("no-first") == 3 and here[-1] == "no-first" and there[-1] == "first-only"
    assert stats.difference(ours.of("previous-mask-only"), ours.of("no-first"), "JF").verdict == "supported"
    assert stats.difference(ours.of("first-only"), ours.of("no-first"), "JF").verdict == "undecided"
    ahead = [theirs["full"] - theirs[n] for n in ("previous-global", "no-previous-mask", "previous-mask-only")]
    assert [round(d) for d in ahead] == [5, 6, 14]


def test_09_seeds_count_next_to_clips_once_each_spread_is_over_its_root(solved):
    table = solved["09_reading_an_ablation"][0]["table"]
    seeds, clips, _ = table["over the root of their number"]
    assert clips / 3 < seeds < clips
    assert table["how many"].tolist() == [5, 128, 1450]


def test_09_an_interval_without_pairs_would_be_about_twice_as_wide(solved):
    one, two, paired = solved["09_reading_an_ablation"][0]["widths"]
    assert 1.6 < (one**2 + two**2) ** 0.5 / paired < 2.4


def test_09_a_row_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(LabError, match=r"there is no variant 'frist-only'.*first-only"):
        run_here("09_reading_an_ablation", tmp_path, change=solve, other="frist-only")
