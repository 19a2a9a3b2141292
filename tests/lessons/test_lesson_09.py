"""Lesson 09, reading an ablation: what its text claims is so, and it reads a student's own runs."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
from lesson_runs import NOTEBOOKS, run_here, solve

from feelvos_lab.ablation.results import read_published
from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import shipped_mismatch

pytestmark = pytest.mark.skipif(
    bool(shipped_mismatch(configure("reduced"), seed=0)), reason="the reduced model is not shipped"
)
NAME = "09_reading_an_ablation"
EXPERIMENTS = NOTEBOOKS.parent / "experiments"


def test_09_pairing_leaves_the_mean_and_takes_the_spread(solved):
    scope, printed = solved[NAME]
    assert "difference of the means: 3.75, mean difference: 3.75" in printed["paper"]
    assert scope["one_error"] > 20 * scope["paired_error"]


def test_09_the_guesses_are_revealed_as_the_text_says(solved):
    printed = solved[NAME][1]
    assert "mean of a − b, in points: it is 3.75;" in printed["paper"]
    assert "next to those of the two rows: it is narrower than both;" in printed["intervals"]
    assert "over three trainings that hold the truth: it is 7" in printed["coverage"]  # three times in four


def test_09_the_lines_rise_though_other_seeds_sort_the_clips(solved):
    scope, _ = solved[NAME]
    assert list(scope["drawn"]) == [0, 1, 2] and list(scope["others"]) == [3, 4]
    third = len(scope["by_clip"]) // 3
    for seed in scope["drawn"]:
        line = scope["by_clip"][seed]
        assert line[-third:].mean() > line[:third].mean() + 8
    assert scope["by_clip"][scope["others"]].mean(axis=1).is_monotonic_increasing


def test_09_clips_differ_more_than_seeds_and_pairs_narrow_the_interval(solved):
    scope, _ = solved[NAME]
    seeds, clips, _ = (spread for _, spread in scope["spreads"].values())
    assert clips > 3 * seeds
    one, two, paired = scope["widths"]
    assert paired < min(one, two) and paired < 0.7 * (one**2 + two**2) ** 0.5
    by_clip = scope["by_clip"]
    assert by_clip.corr().to_numpy().min() > 0.2 and 0 < int((by_clip < 0).any(axis=1).sum()) < len(by_clip) / 2
    close = scope["statistics"].difference(scope["base"], scope["ours"].of("previous-global"), "JF")
    alone = [scope["statistics"].estimate(scope["ours"].of(n), "JF") for n in ("previous-global", "full")]
    assert alone[0].high > alone[1].low and close.verdict == "supported"


def test_09_a_bootstrap_of_three_seeds_is_wrong_one_time_in_four(solved):
    scope, _ = solved[NAME]
    bootstrap, student, _ = scope["covered"].values()
    at = dict(zip(scope["numbers"], bootstrap, strict=True))
    assert 70 < at[3] < 80 and at[2] < at[3] < at[5] < at[20] < 95
    assert all(92 < value < 98 for value in student)


def test_09_ours_and_the_papers_agree_on_the_three_rows_that_lead_and_not_on_their_order(solved):
    ours = solved[NAME][0]["ours"]
    means = {name: ours.of(name)["JF"].mean() for name in ours.variants}
    theirs = {v.name: v.paper_row.JF.value for v in ours.spec.variants}
    here, there = (sorted(column, key=column.get) for column in (means, theirs))
    leading = {"full", "previous-global", "no-previous-mask"}
    assert set(here[3:]) == set(there[3:]) == leading and there[-1] == "full"
    assert here[:2] == ["no-first", "first-only"] and there[0] == "first-only"
    stats = solved[NAME][0]["statistics"]
    ahead = [stats.difference(ours.of("full"), ours.of(n), "JF") for n in ("previous-global", "no-previous-mask")]
    assert [difference.verdict for difference in ahead] == ["supported", "undecided"]
    assert 2 < ahead[0].estimate.mean < 3


def test_09_no_column_mixes_the_papers_numbers_with_ours(solved):
    scope, _ = solved[NAME]
    for rows in (scope["beside_rows"], scope["result_rows"]):
        assert {side for row in rows.values() for side, _ in row} == {scope["here"], scope["there"]}
        for row in rows.values():
            assert not {v for (side, _), v in row.items() if side == scope["here"] and "°" in v}
    assert scope["result_rows"]["FEELVOS"][scope["there"], "J"] == "69.1"
    assert scope["result_rows"]["FEELVOS without YouTube-VOS"][scope["there"], "J&F"] == "69.1"


def test_09_three_methods_pass_the_limit_and_one_pays_with_seventy_times_the_seconds(solved):
    rows = solved[NAME][0]["goal_rows"]
    passed = [name for name, row in rows.items() if row["> 65"] == "yes"]
    assert passed == ["PReMVOS", "RGMP", "FEELVOS"]
    seconds = [float(rows[name]["s a frame"]) for name in ("PReMVOS", "FEELVOS")]
    assert 65 < seconds[0] / seconds[1] < 80
    assert [name for name, row in rows.items() if row["all four goals"] == "yes"] == ["FEELVOS"]


@pytest.mark.parametrize("lacking", [[], ["no-first", "first-only"], ["full"]])
def test_09_reads_a_students_own_runs_of_one_seed_and_decides_nothing(lacking, tmp_path):
    own = tmp_path / "experiments"
    folder = own / "runs" / "components" / "report"
    folder.mkdir(parents=True)
    shutil.copyfile(EXPERIMENTS / "components.yml", own / "components.yml")
    for name in ("records.csv", "table.csv"):
        shutil.copyfile(EXPERIMENTS / "results" / "components" / name, folder / name)
    (tmp_path / "notebooks").symlink_to(NOTEBOOKS)
    records, table = (pd.read_csv(folder / name) for name in ("records.csv", "table.csv"))
    records = records[~records["variant"].isin(lacking) & (records["seed"] == 0)]
    table = table[~table["variant"].isin(lacking)].set_index("variant")
    table.update(records.groupby("variant")[["J", "F", "JF"]].mean())
    records.to_csv(folder / "records.csv", index=False)
    table.to_csv(folder / "table.csv")
    scope, printed = run_here(NAME, tmp_path, change=solve, results=str(folder))
    assert f"{6 - len(lacking)} rows, seeds 0, 128 clips" in printed["setup"]
    assert "one seed: intervals are over clips alone, and no claim is decided" in printed["setup"]
    verdicts = [scope["judged"](claim) for claim in scope["ours"].spec.claims]
    assert {row["verdict"] for row in verdicts} <= {"undecided", "not run"}
    assert all("†" in row["difference"] for row in verdicts if row["verdict"] == "undecided")
    measured = [row[scope["here"], "J&F"] for row in scope["beside_rows"].values()]
    assert measured.count("not run") == len(lacking) and sum("†" in m for m in measured) == 6 - len(lacking)


def test_results_that_are_not_there_or_of_another_experiment_are_refused(tmp_path):
    folder = tmp_path / "experiments" / "results" / "components"
    with pytest.raises(LabError, match=r"there is no .*records\.csv: `feelvos-lab ablate run` writes it"):
        read_published(folder)
    folder.mkdir(parents=True)
    (folder / "records.csv").write_text("variant,seed\nfull,0\n")
    with pytest.raises(LabError, match="missing: clip, object, J, F, JF"):
        read_published(folder)
    (folder / "records.csv").write_text("variant,seed,clip,object,J,F,JF\nfull,0,a,1,1,1,1\nextra,0,a,1,1,1,1\n")
    (folder / "table.csv").write_text("variant,clips,test_seconds,J,F,JF\nfull,1,1,1,1,1\nextra,1,1,1,1,1\n")
    shutil.copyfile(EXPERIMENTS / "smoke.yml", tmp_path / "experiments" / "components.yml")
    (tmp_path / "notebooks").symlink_to(NOTEBOOKS)
    with pytest.raises(LabError, match=r"has rows of extra, which .*components\.yml lacks"):
        read_published(folder)


def test_09_the_undecided_claim_has_the_smallest_difference_and_the_widest_interval_is_of_a_supported_one(solved):
    ours = solved[NAME][0]["ours"]
    found = [difference for _, difference in ours.claims]
    (open_one,) = (d for d in found if d.verdict == "undecided")
    width = {id(d): d.estimate.high - d.estimate.low for d in found}
    assert open_one is min(found, key=lambda d: abs(d.estimate.mean))
    assert sorted(width.values()).index(width[id(open_one)]) < 2
    assert max(found, key=lambda d: width[id(d)]).verdict == "supported"
    need = max(d.estimate.mean - d.estimate.low for d in found if d is open_one)
    assert need == pytest.approx(width[id(open_one)] / 2, rel=0.1)


def test_09_the_row_without_the_first_frame_falls_from_fourth_to_last_and_that_is_no_chance(solved):
    scope, _ = solved[NAME]
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
    table = solved[NAME][0]["table"]
    seeds, clips, _ = table["over the root of their number"]
    assert clips / 3 < seeds < clips
    assert table["how many"].tolist() == [5, 128, 1450]


def test_09_an_interval_without_pairs_would_be_about_twice_as_wide(solved):
    one, two, paired = solved[NAME][0]["widths"]
    assert 1.6 < (one**2 + two**2) ** 0.5 / paired < 2.4


def test_09_a_row_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(LabError, match=r"there is no variant 'frist-only'.*first-only"):
        run_here(NAME, tmp_path, change=solve, other="frist-only")
