"""Laws of the statistics: pairs are pairs, one seed decides nothing, intervals cover what they say."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from feelvos_lab.ablation import statistics
from feelvos_lab.ablation.statistics import difference, estimate, rank_correlation, variance_components
from feelvos_lab.errors import LabError


def scores(seeds: int, clips: int, value, objects: int = 2) -> pd.DataFrame:
    """One row per seed, clip and object; `value(seed, clip, object)` is the score."""
    rows = [
        (s, f"clip-{c}", o, value(s, c, o)) for s in range(seeds) for c in range(clips) for o in range(1, objects + 1)
    ]
    return pd.DataFrame(rows, columns=["seed", "clip", "object", "JF"])


def test_every_object_counts_once():
    lone = scores(1, 1, lambda s, c, o: 0.0, objects=1)
    crowd = scores(1, 2, lambda s, c, o: 100.0, objects=3).query("clip == 'clip-1'")
    both = estimate(pd.concat([lone, crowd]), "JF")
    assert both.mean == 75.0
    assert (both.seeds, both.clips, both.objects, both.rows, both.n) == (1, 2, 4, 4, "1×4")


def test_a_difference_is_paired_so_what_is_common_to_both_rows_cancels():
    rng = np.random.default_rng(3)
    common = rng.normal(50, 20, size=(3, 8))
    a = scores(3, 8, lambda s, c, o: common[s, c] + 2)
    b = scores(3, 8, lambda s, c, o: common[s, c])
    measured = difference(a, b.sample(frac=1, random_state=0), "JF")  # the order of rows does not matter
    assert measured.estimate.mean == pytest.approx(2)
    assert measured.estimate.low == pytest.approx(2) and measured.estimate.high == pytest.approx(2)
    assert estimate(a, "JF").high - estimate(a, "JF").low > 5
    assert measured.verdict == "supported"
    assert difference(b, a, "JF").verdict == "contradicted"


def test_the_interval_of_a_minus_b_mirrors_that_of_b_minus_a():
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(2, 3, 6))
    a, b = (scores(3, 6, lambda s, c, o, side=side: noise[side, s, c] + o) for side in (0, 1))
    forth, back = difference(a, b, "JF"), difference(b, a, "JF")
    assert forth.estimate.low == pytest.approx(-back.estimate.high)
    assert forth.test.t == pytest.approx(-back.test.t)
    assert forth.test.p == pytest.approx(back.test.p)


def test_one_seed_decides_nothing_however_clear_it_looks():
    measured = difference(scores(1, 8, lambda *_: 90.0), scores(1, 8, lambda *_: 10.0), "JF")
    assert measured.estimate.mean == 80
    assert measured.test is None
    assert measured.verdict == "undecided"


def test_where_the_seeds_disagree_more_than_the_clips_they_decide():
    by_seed = [9.0, 1.0, 0.5]
    measured = difference(scores(3, 10, lambda s, c, o: by_seed[s]), scores(3, 10, lambda *_: 0.0), "JF")
    assert measured.spread == "seeds"
    assert measured.estimate.low > 0 > measured.test.low
    assert measured.verdict == "undecided"
    by_clip = scores(3, 10, lambda s, c, o: 1.0 + c)
    assert difference(by_clip, scores(3, 10, lambda *_: 0.0), "JF").spread == "clips"


def test_the_seeds_test_is_students():
    by_seed = [1.0, 2.0, 4.0]
    test = difference(scores(3, 2, lambda s, c, o: by_seed[s]), scores(3, 2, lambda *_: 0.0), "JF").test
    mean, error = 7 / 3, math.sqrt(7 / 3) / math.sqrt(3)  # the variance of 1, 2, 4 is 7/3
    assert test.df == 2
    assert test.t == pytest.approx(mean / error)
    assert test.p == pytest.approx(1 - test.t / math.sqrt(test.t**2 + 2))  # closed form for 2 degrees of freedom
    assert test.high - mean == pytest.approx(4.302653 * error, rel=1e-5)


def test_the_same_records_give_the_same_interval():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(3, 8))
    table = scores(3, 8, lambda s, c, o: noise[s, c])
    assert estimate(table, "JF") == estimate(table.sample(frac=1, random_state=1), "JF")


def simulated(count: int, *, seed_sd: float, clip_sd: float, clips: int, truth: float = 1.0):
    """Differences between two rows of known truth: 3 seeds, some clips of one to four objects each."""
    rng = np.random.default_rng(6)
    objects = rng.integers(1, 5, size=clips)
    where = [(s, f"clip-{c}", o) for s in range(3) for c in range(clips) for o in range(objects[c])]
    keys = pd.DataFrame(where, columns=["seed", "clip", "object"])
    number = keys["clip"].str.removeprefix("clip-").astype(int).to_numpy()
    seed = keys["seed"].to_numpy()
    for _ in range(count):
        values = truth + seed_sd * rng.normal(size=3)[seed] + clip_sd * rng.normal(size=clips)[number]
        values += clip_sd * rng.normal(size=(3, clips))[seed, number] + rng.normal(size=len(keys))
        yield keys.assign(JF=values), keys.assign(JF=0.0)


@pytest.mark.parametrize(
    ("seed_sd", "clip_sd", "band", "decided_band"),
    [
        (1.0, 4.0, (0.88, 0.99), (0.88, 0.99)),  # the clips' spread decides
        (4.0, 1.0, (0.70, 0.90), (0.90, 1.00)),  # the seeds' does: the bootstrap alone falls short, with the t it holds
    ],
)
def test_the_interval_covers_the_truth_about_as_often_as_it_says(monkeypatch, seed_sd, clip_sd, band, decided_band):
    """Whole experiments are simulated; the second band is of the interval that a verdict asks for."""
    monkeypatch.setattr(statistics, "DRAWS", 400)
    hits = held = 0
    for a, b in simulated(200, seed_sd=seed_sd, clip_sd=clip_sd, clips=16):
        measured = difference(a, b, "JF")
        low, high = measured.estimate.low, measured.estimate.high
        hits += low <= 1 <= high
        if measured.spread == "seeds":
            low, high = min(low, measured.test.low), max(high, measured.test.high)
        held += low <= 1 <= high
    assert band[0] <= hits / 200 <= band[1]
    assert decided_band[0] <= held / 200 <= decided_band[1]


@pytest.mark.parametrize(("seed_sd", "clip_sd"), [(1.0, 4.0), (4.0, 1.0)])
def test_where_nothing_differs_a_claim_is_seldom_decided(monkeypatch, seed_sd, clip_sd):
    monkeypatch.setattr(statistics, "DRAWS", 400)
    runs = simulated(200, seed_sd=seed_sd, clip_sd=clip_sd, clips=16, truth=0.0)
    decided = sum(difference(a, b, "JF").verdict != "undecided" for a, b in runs)
    assert decided / 200 <= 0.10


def test_rows_that_saw_different_clips_are_not_compared():
    with pytest.raises(LabError, match="same clips and objects"):
        difference(scores(1, 3, lambda *_: 1.0), scores(1, 2, lambda *_: 1.0), "JF")
    with pytest.raises(LabError, match="common seeds"):
        difference(scores(1, 2, lambda *_: 1.0), scores(1, 2, lambda *_: 1.0).assign(seed=5), "JF")


def test_a_score_that_occurs_twice_is_refused():
    table = scores(1, 2, lambda *_: 1.0)
    with pytest.raises(LabError, match="occurs again"):
        estimate(pd.concat([table, table]), "JF")


def test_only_seeds_that_both_rows_have_are_compared():
    measured = difference(scores(3, 2, lambda s, c, o: 10.0 * s), scores(2, 2, lambda *_: 0.0), "JF")
    assert measured.estimate.seeds == 2
    assert measured.estimate.mean == 5


def test_the_spreads_of_seeds_and_clips_are_found_apart():
    rng = np.random.default_rng(8)
    seed, clip, rest = rng.normal(0, 3, 40), rng.normal(0, 8, 60), rng.normal(0, 1, (40, 60))
    spreads = variance_components(scores(40, 60, lambda s, c, o: seed[s] + clip[c] + rest[s, c] + o), "JF")
    assert spreads.seeds == pytest.approx(seed.std(ddof=1), rel=0.02)
    assert spreads.clips == pytest.approx(clip.std(ddof=1), rel=0.02)
    assert spreads.rest == pytest.approx(1, rel=0.05)


def test_a_pure_effect_of_seeds_is_no_effect_of_clips():
    spreads = variance_components(scores(3, 4, lambda s, c, o: 10.0 * s), "JF")
    assert (spreads.seeds, spreads.clips, spreads.rest) == (pytest.approx(10), 0, pytest.approx(0, abs=1e-9))


def test_one_seed_tells_no_spread_of_seeds():
    assert math.isnan(variance_components(scores(1, 4, lambda s, c, o: c), "JF").clips)


def test_spreads_need_the_same_clips_for_every_seed():
    table = scores(2, 3, lambda *_: 1.0)
    with pytest.raises(LabError, match="the same clips for every seed"):
        variance_components(table[(table["seed"] == 0) | (table["clip"] != "clip-2")], "JF")


def test_rank_correlation_looks_at_the_order_alone():
    assert rank_correlation([1, 2, 30], [7, 8, 9]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [9, 8, 7]) == pytest.approx(-1)
    assert math.isnan(rank_correlation([1, 2], [1, 2]))
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
