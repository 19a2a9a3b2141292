"""The paper's numbers agree with one another."""

from __future__ import annotations

import pytest

from feelvos_lab.ablation import paper
from feelvos_lab.errors import LabError

ROWS = [(table, row) for table in paper.TABLES.values() for row in table.rows]


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{t.key}-{r.key}" for t, r in ROWS])
def test_jf_is_the_mean_of_j_and_f(table, row):
    if row.J and row.F and row.JF:
        assert row.JF.value == pytest.approx((row.J.value + row.F.value) / 2, abs=0.11)


def test_the_readings_of_the_ablation_follow_from_its_rows():
    full, previous_global, mask_only, first_only, no_mask, no_first = (row.JF.value for row in paper.ABLATION.rows)
    assert full - previous_global == pytest.approx(4.9)
    assert full - mask_only == pytest.approx(14.2)
    assert full - first_only == pytest.approx(16.5)
    assert full - no_mask == pytest.approx(5.8)
    assert full - no_first == pytest.approx(13.0)


def test_the_ablations_scores_are_seen_and_their_parts_are_from_memory():
    for row in paper.ABLATION.rows:
        assert row.JF.mark == "seen"
        assert row.J.mark == row.F.mark == "from memory"


def test_the_ablations_first_row_is_the_davis_only_model():
    davis_only = paper.DAVIS_2017_VAL.row("feelvos-davis")
    assert paper.ABLATION.row("1").JF.value == davis_only.JF.value == 69.1
    assert paper.DAVIS_2017_VAL.row("feelvos").JF.value == 71.5


def test_an_unknown_table_or_row_is_refused_with_those_there_are():
    with pytest.raises(LabError, match="unknown paper_table 'x'; there are: ablation"):
        paper.table("x")
    with pytest.raises(LabError, match="has no row '7'; there are: 1, 2"):
        paper.table("ablation").row("7")


def test_keys_are_distinct():
    for table in paper.TABLES.values():
        keys = [row.key for row in table.rows]
        assert len(set(keys)) == len(keys)


def test_the_text_of_a_number_says_whether_it_was_seen():
    davis = paper.DAVIS_2017_VAL
    assert davis.row("feelvos").JF.text() == "71.5" and davis.row("onavos").JF.text() == "63.6°"
    assert davis.row("feelvos").seconds.text(2) == "0.51"


def test_feelvos_alone_meets_all_four_goals_and_passes_the_limit_of_the_last_one():
    assert [g.key for g in paper.GOALS] == ["simple", "fast", "end-to-end", "strong"]
    assert [m.key for m in paper.DESIGN_GOALS if m.all_four] == ["feelvos"]
    assert paper.DAVIS_2017_VAL.row("feelvos").JF.value > paper.STRONG > paper.DAVIS_2017_VAL.row("onavos").JF.value


def test_what_was_not_seen_of_the_goals_is_marked():
    assert {m.key for m in paper.DESIGN_GOALS if not m.seen} == {"premvos", "onavos", "osvos", "masktrack"}
    assert all(m.fine_tunes != m.seen for m in paper.DESIGN_GOALS)


@pytest.mark.parametrize("method", paper.DESIGN_GOALS, ids=lambda m: m.key)
def test_a_method_has_one_name_in_every_table(method):
    labels = {row.label for table in paper.TABLES.values() for row in table.rows if row.key == method.key}
    assert labels <= {method.label}
