"""Laws of the report: ours and the paper's stand apart, every number has its n, what is not ok is told."""

from __future__ import annotations

import csv
import re
import shutil

import pandas as pd
import pytest
from standin_experiment import EFFECT, SPEC, record_by_hand, write_spec

from feelvos_lab.ablation import fingerprint, report, tables
from feelvos_lab.ablation.record import RECORD, write_record
from feelvos_lab.ablation.results import read_published, read_results
from feelvos_lab.ablation.spec import load_spec, parse_seeds
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json, write_json


@pytest.fixture(autouse=True, scope="module")
def own_sources(tmp_path_factory):
    """A copy of the library's sources to fingerprint: nobody edits it while these tests run."""
    package = tmp_path_factory.mktemp("sources") / "feelvos_lab"
    shutil.copytree(fingerprint.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "PACKAGE", package)
        yield


def test_the_report_holds_scores_intervals_and_the_papers_numbers_apart(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec, seeds=(0, 1, 2))
    folder = report.write_report(read_results(spec, root=tmp_path, seeds=(0, 1, 2)))
    assert sorted(p.name for p in folder.iterdir()) == [
        "clips.png",
        "differences.png",
        "figure.png",
        "records.csv",
        "report.md",
        "table.csv",
        "table.md",
        "table.tex",
    ]
    text = (folder / "report.md").read_text()
    assert "| full   | 61.0 [60.0, 62.0] |" in text
    assert "| 3×6 | -10.0 [-10.0, -10.0] | 1.5 | 64.2" in text
    assert "Claim: full > narrow: supported, +10.0" in text
    assert "These are no DAVIS numbers." in text
    assert "Copying the first mask unchanged scores J&F 25.0 here." in text
    assert "--seeds 0,1,2" in text
    assert "| steps " in text and "| 200000 " in text  # how the preset differs from the paper
    assert "- `narrow`: 0" in text and "![Every row minus full" in text and "(table.tex)" in text
    spreads = text[text.index("## Seeds versus clips") :]  # seeds are 0.01 apart, clips alike in J&F
    assert re.search(r"\| narrow +\| 1\.0 +\| 0\.0 +\| 0\.0 +\| 0\.0 +\| 0\.0 +\| 0\.0 +\|", spreads)
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    with open(folder / "table.csv", newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert float(rows["narrow"]["seeds_t_df"]) == 2
    assert rows["narrow"]["paper_J_mark"] == "from memory" and rows["narrow"]["paper_JF_mark"] == "seen"
    assert len(pd.read_csv(folder / "records.csv")) == 3 * 3 * 6


def test_one_seed_is_marked_and_leaves_the_claims_undecided(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec)
    text = tables.table_text(read_results(spec, root=tmp_path))
    assert "60.0†" in text
    assert "Claim: full > narrow: undecided†" in text
    assert "Spearman): 1.00 over 3 rows" in text
    page = (report.write_report(read_results(spec, root=tmp_path)) / "report.md").read_text()
    assert "With one seed the two cannot be told apart" in page


def test_a_row_without_a_run_is_shown_as_missing_and_mixed_into_nothing(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec, leave_out=("narrow",))
    results = read_results(spec, root=tmp_path)
    report.write_report(results)
    text = tables.table_text(results)
    row = next(line for line in text.splitlines() if line.startswith("narrow"))
    assert "1 missing" in row and "64.2" in row  # the paper's number stays
    assert "undecided, one of them has no finished run" in text
    assert "missing: narrow seed 0" in text


def test_the_report_takes_every_seed_that_was_run(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec, seeds=(0, 3))
    assert sorted(read_results(spec, root=tmp_path).scores["seed"].unique()) == [0, 3]
    assert read_results(spec, root=tmp_path, seeds=[3]).scores["seed"].unique().tolist() == [3]


def test_without_a_finished_run_nothing_is_written(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    with pytest.raises(LabError, match="has no finished run to report"):
        report.write_report(read_results(spec, root=tmp_path))
    assert not (tmp_path / "results").exists() and not (tmp_path / "runs").exists()


def test_published_results_are_written_on_request_alone(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec, seeds=(0, 1))
    own = report.write_report(read_results(spec, root=tmp_path))
    assert own == tmp_path / "runs" / "demo" / "report" and not (tmp_path / "results").exists()
    made = report.publish(read_results(spec, root=tmp_path), root=tmp_path)
    assert made == tmp_path / "results" / "demo"
    assert {p.name: p.read_bytes() for p in made.iterdir()} == {p.name: p.read_bytes() for p in own.iterdir()}
    report.write_report(
        read_results(spec, root=tmp_path, seeds=(1,))
    )  # one's own single seed, after two were published
    assert read_published(own).scores["seed"].unique().tolist() == [1]
    assert read_published(made).scores["seed"].unique().tolist() == [0, 1]


def test_results_with_a_run_that_is_not_ok_are_not_published(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec, leave_out=("narrow",))
    with pytest.raises(LabError, match="published once every run is ok, but there are 2 ok, 0 failed, 0 stale, 1 miss"):
        report.publish(read_results(spec, root=tmp_path), root=tmp_path)
    assert not (tmp_path / "results").exists()


def test_the_table_needs_no_paper(tmp_path):
    text = SPEC.replace("paper_table: ablation\n", "")
    for number in (1, 2, 5):
        text = text.replace(f"paper: {number}", "").replace("{, ", "{")
    spec = load_spec(write_spec(tmp_path, text))
    record_by_hand(tmp_path, spec)
    results = read_results(spec, root=tmp_path)
    report.write_report(results)
    assert "paper" not in tables.table_text(results)


def test_runs_of_different_versions_are_told_apart(tmp_path, monkeypatch):
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec, leave_out=("narrow",))
    monkeypatch.setattr("feelvos_lab.files.provenance._version", lambda _package: "0.0")
    record_by_hand(tmp_path, spec, leave_out=("full", "blind"))
    text = tables.table_text(read_results(spec, root=tmp_path))
    assert "Mind: these runs were made with different versions of torch" in text


def test_runs_with_different_numbers_of_threads_are_told_apart(tmp_path):
    """Also runs that an earlier sweep made and this one kept."""
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec)
    results = read_results(spec, root=tmp_path)
    own = results.records[0]["threads"]
    assert "Mind" not in tables.table_text(results)
    path = results.runs[1].folder / RECORD
    write_json(path, read_json(path) | {"threads": own + 3})
    results = read_results(spec, root=tmp_path)
    expected = f"Mind: these runs were made with different numbers of threads, which alone can change a score: {own}, "
    assert f"\n{expected}{own + 3}.\n" in tables.table_text(results) + "\n"
    page = (report.write_report(results) / report.PAGE).read_text()
    assert f"- {expected}" in page and f"{own} or {own + 3} thread(s) a run" in page


def test_a_record_holds_the_search_that_was_chosen_and_the_table_says_where_runs_differ(tmp_path, monkeypatch):
    """Of equally near pixels another search may choose another."""
    spec = load_spec(write_spec(tmp_path))
    monkeypatch.setenv("FEELVOS_SEARCH", "triton")
    record_by_hand(tmp_path, spec)
    results = read_results(spec, root=tmp_path)
    assert {record["search"] for record in results.records} == {"triton"}
    assert "Mind" not in tables.table_text(results)
    path = results.runs[1].folder / RECORD
    write_json(path, {name: value for name, value in read_json(path).items() if name != "search"})  # an older one
    text = tables.table_text(read_results(spec, root=tmp_path))
    assert "\nMind: these runs were made with different settings of FEELVOS_SEARCH: None, triton." in text


@pytest.mark.parametrize("bad", [{"JF": 1.5}, {"J": float("nan")}])
def test_scores_outside_zero_to_one_are_not_recorded(tmp_path, bad):
    spec = load_spec(write_spec(tmp_path))
    row = {"clip": "a", "object": 1, "J": 0.5, "F": 0.5, "JF": 0.5} | bad
    with pytest.raises(LabError, match=r"must lie in \[0, 1\]"):
        write_record(
            tmp_path / "run",
            config=spec.variants[0].config,
            seed=0,
            split="test",
            scores=pd.DataFrame([row]),
            history=[],
            train_seconds=0,
            test_seconds=0,
        )
    assert not (tmp_path / "run").exists()


def test_the_command_in_the_report_means_the_seeds_that_it_reports(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    for seeds in ((3,), (0, 4)):
        record_by_hand(tmp_path, spec, seeds=seeds)
        text = (report.write_report(read_results(spec, root=tmp_path, seeds=seeds)) / "report.md").read_text()
        line = next(line for line in text.splitlines() if "ablate run" in line)
        assert parse_seeds(line.partition("--seeds ")[2]) == seeds


@pytest.mark.parametrize("name", ["null", "nan", "007", "1e3"])
def test_a_row_may_have_any_name_and_keeps_it(tmp_path, monkeypatch, name):
    """pandas would take the first two for nothing, and write the others another way."""
    monkeypatch.setitem(EFFECT, name, 0.5)
    text = SPEC.replace("narrow", f"'{name}'")
    spec = load_spec(write_spec(tmp_path, text.replace("full", "'1'")))
    monkeypatch.setitem(EFFECT, "1", EFFECT["full"])
    record_by_hand(tmp_path, spec)
    folder = report.write_report(read_results(spec, root=tmp_path))
    published = read_published(folder)
    assert published.variants == ["1", name, "blind"] == list(published.table.index)
    assert set(published.scores["variant"]) == {"1", name, "blind"}
    assert published.table.loc[name, "JF"] == 50.0
