"""What YAML 1.1 would read otherwise than one means, and what it may hold: merged keys, and not without bound."""

from __future__ import annotations

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
