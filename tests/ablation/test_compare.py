"""Laws of comparing two results: pairs are pairs, other clips are refused, seeds that differ are told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from feelvos_lab.ablation.compare import compare, compared_text
from feelvos_lab.cli import main as cli
from feelvos_lab.errors import LabError

PUBLISHED = Path(__file__).parents[2] / "experiments" / "results" / "components"


def scores(gain: float = 0.0, *, seeds=(0, 1, 2), variants=("full", "narrow"), clips: int = 5) -> pd.DataFrame:
    rows = [
        (v, s, f"clip-{c}", o, *[40.0 + 7 * c + s + o + gain + (v == "full")] * 3)
        for v in variants
        for s in seeds
        for c in range(clips)
        for o in (1, 2)
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "clip", "object", "J", "F", "JF"])


def folder(root: Path, table: pd.DataFrame) -> Path:
    root.mkdir()
    table.to_csv(root / "records.csv", index=False)
    means = table.groupby("variant", as_index=False)[["J", "F", "JF"]].mean()
    means.to_csv(root / "table.csv", index=False)
    return root


def test_a_change_is_paired_so_what_both_have_in_common_cancels():
    rows = compare(scores(), scores(gain=2).sample(frac=1, random_state=0), column="JF")
    assert [row.variant for row in rows] == ["full", "narrow"]
    for row in rows:
        assert row.by_seed
        assert row.change.estimate.low == pytest.approx(2) and row.change.estimate.high == pytest.approx(2)
        assert row.change.verdict == "supported"
        assert row.a.high - row.a.low > 5


def test_results_without_a_common_seed_are_paired_by_clip_and_left_undecided(tmp_path):
    a, b = scores(), scores(gain=2, seeds=(3, 4))
    row = compare(a, b, column="JF")[0]
    assert not row.by_seed
    assert row.change.estimate.mean == pytest.approx(4.5)  # the seeds' own means are 1 and 3.5
    assert row.change.estimate.seeds == 1 and row.change.verdict == "undecided"
    text = compared_text(folder(tmp_path / "a", a), folder(tmp_path / "b", b), column="JF", metric="J&F")
    assert "undecided†‡" in text and "no common seed" in text


def test_only_common_seeds_enter_a_paired_change():
    row = compare(scores(seeds=(0, 1)), scores(gain=3, seeds=(1, 2)), column="JF")[0]
    assert row.change.estimate.seeds == 1 and row.change.estimate.mean == pytest.approx(3)
    assert (row.a.seeds, row.b.seeds) == (2, 2)


def test_a_row_that_one_side_lacks_is_shown_without_a_difference(tmp_path):
    a, b = scores(variants=("full", "old")), scores(variants=("full", "new"))
    assert [row.variant for row in compare(a, b, column="JF")] == ["full", "old", "new"]
    text = compared_text(folder(tmp_path / "a", a), folder(tmp_path / "b", b), column="JF", metric="J&F")
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith(("old", "new", "full"))}
    assert lines["old"].endswith("only in A") and lines["new"].endswith("only in B")
    assert "+0.0 [+0.0, +0.0]" in lines["full"] and "undecided" in lines["full"]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (scores(clips=4), "object 1 of clip-4 is in the first alone"),
        (scores().replace("clip-4", "clip-9"), "object 1 of clip-4 is in the first alone"),
        (scores().query("clip != 'clip-2' or object != 2"), "object 2 of clip-2 is in the first alone"),
        (scores(variants=("else",)), "share no row"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(other, sentence):
    with pytest.raises(LabError, match=sentence):
        compare(scores(), other, column="JF")


def test_the_command_compares_folders_and_refuses_one_without_records(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["ablate", "compare", str(PUBLISHED), str(PUBLISHED), "--metric", "J"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "A J [95 %]" in shown and shown.count("+0.0 [+0.0, +0.0]") == 6
    with pytest.raises(SystemExit) as left:
        cli.main(["ablate", "compare", str(PUBLISHED), str(tmp_path)])
    assert left.value.code == 2
    refusal = capsys.readouterr().err
    assert refusal.count("\n") == 1 and "there is no" in refusal and "records.csv" in refusal
