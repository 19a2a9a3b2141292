"""What YAML 1.1 would read otherwise than one means, and what it may hold: merged keys, and not without bound."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from standin_experiment import SPEC, write_spec

from feelvos_lab.ablation.spec import load_spec, parse_seeds
from feelvos_lab.errors import LabError

MERGED = SPEC.replace("  narrow: {paper: 2, radius: 1}", "  narrow: &n {paper: 2, radius: 1}").replace(
    "  blind: {paper: 5, previous_mask: false}", "  blind:\n    <<: *n\n    paper: 5\n    previous_mask: false"
)


def test_keys_are_merged_and_one_s_own_come_first(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path, MERGED))
    blind = spec.variant("blind")
    assert blind.parameters["radius"] == 1 and blind.parameters["previous_mask"] is False
    assert blind.paper_row.key == "5"


def test_a_merged_mistake_is_told_with_the_line_on_which_it_stands(tmp_path: Path) -> None:
    path = write_spec(tmp_path)
    path.write_text(
        SPEC.split("variants:")[0] + "variants:\n  full: &f\n    raduis: 1\n  narrow:\n    <<: *f\n    radius: 1\n"
    )
    with pytest.raises(LabError, match=r"demo\.yml:11, variant 'full': 'raduis'"):
        load_spec(path)
    path.write_text(
        SPEC.split("variants:")[0]
        + "claims: []\nvariants:\n  full: {}\n  narrow:\n    <<: [{radius: 2}, {radius: -1}]\n  blind:\n"
        "    <<: [{radius: -1}, {radius: 2}]\n"
    )
    with pytest.raises(LabError, match=r"demo\.yml:1[0-9], variant 'blind': radius must be greater"):
        load_spec(path)


TENFOLD = "".join(f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 10)}]}}\n" for n in range(1, 9))


@pytest.mark.parametrize("merges", ["fixed: &a {<<: *a}", f"x0: &x0 {{}}\n{TENFOLD}"])
def test_merges_of_merges_end(merges: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"demo\.yml:[0-9]+ is not YAML"):
        load_spec(write_spec(tmp_path, f"{merges}\n{SPEC}"))


@pytest.mark.parametrize(
    ("written", "read"), [("010", "8"), ("1:30", "90"), ("-1:30", "-90"), ("1:30.5", "90.5"), ("0_7", "7")]
)
def test_a_number_that_yaml_reads_otherwise_is_refused_with_its_line(written: str, read: str, tmp_path: Path) -> None:
    path = write_spec(tmp_path, SPEC.replace("radius: 1", f"radius: {written}"))
    with pytest.raises(LabError, match=f"demo.yml:11 is not YAML: {written} would be read as {read}; write that"):
        load_spec(path)


@pytest.mark.parametrize(
    ("written", "expected"), [("1e5", "1.0e+5"), ("1.5e3", "1.5e+3"), ("2.E4", "2.e+4"), ("1e-4", "1.0e-4")]
)
def test_a_number_that_yaml_reads_as_text_is_told_how_to_write_it(written: str, expected: str, tmp_path: Path) -> None:
    path = write_spec(tmp_path, SPEC.replace("radius: 1", f"learning_rate: {written}"))
    with pytest.raises(LabError, match=re.escape(f"YAML reads {written} as text, write {expected}")):
        load_spec(path)
    path.write_text(SPEC.replace("radius: 1", f"learning_rate: {expected}"))
    assert load_spec(path).variant("narrow").parameters["learning_rate"] == float(written)


@pytest.mark.parametrize("row", ["{<<: *n, <<: *n}", "{radius: 1, radius: 2}"])
def test_a_key_that_is_given_twice_is_refused(row: str, tmp_path: Path) -> None:
    path = write_spec(tmp_path, MERGED.replace("  blind:\n", f"  twice: {row}\n  blind:\n"))
    with pytest.raises(LabError, match=r"demo\.yml:1[0-9] is not YAML: '(<<|radius)' is given twice"):
        load_spec(path)


@pytest.mark.parametrize("question", ['"a\\0b"', '"\\ud800"', '"\\e[2J"', '" \\n "'])
def test_a_question_that_no_report_can_print_is_refused(question: str, tmp_path: Path) -> None:
    path = write_spec(tmp_path, SPEC.replace("Does a wider window help?", question))
    with pytest.raises(LabError, match=r"demo\.yml:1: question must say what is asked, got '.*'$"):
        load_spec(path)
    path.write_text(SPEC.replace("Does a wider window help?", '"Does it\\n help?"'))
    assert load_spec(path).question == "Does it help?"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_no_experiment_and_no_notebook_to_wait_for(tmp_path: Path) -> None:
    path = write_spec(tmp_path)
    (tmp_path / "worker.ipynb").unlink()
    os.mkfifo(tmp_path / "worker.ipynb")
    with pytest.raises(LabError, match=r"worker\.ipynb is no regular file: a JSON file was expected"):
        load_spec(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LabError, match=r"demo\.yml is no regular file: an experiment file was expected"):
        load_spec(path)


def test_other_numbers_are_read(tmp_path: Path) -> None:
    path = write_spec(tmp_path, SPEC.replace("radius: 1", "radius: 0x10, learning_rate: 0.5"))
    assert load_spec(path).variant("narrow").parameters["radius"] == 16


def test_a_grid_of_millions_is_refused_before_it_is_written_out(tmp_path: Path) -> None:
    values = ", ".join(map(str, range(1, 101)))
    grid = f"grid: {{radius: [{values}], head_dim: [{values}], steps: [{values}], embedding_dim: [{values}]}}"
    path = write_spec(tmp_path, SPEC.split("variants:")[0] + grid)
    with pytest.raises(LabError, match=r"demo.yml:9: grid must give at most 1,000 rows, gives 100,000,000"):
        load_spec(path)


@pytest.mark.parametrize("text", [f"{2**64},", f"{10**30}", "1001", f"{2**31},0"])
def test_seeds_that_no_generator_takes_or_nobody_runs_are_refused(text: str) -> None:
    with pytest.raises(LabError, match=r"--seeds: at most 1,000 seeds below 2\^31 are expected"):
        parse_seeds(text)
