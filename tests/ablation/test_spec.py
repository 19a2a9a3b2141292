"""Laws of experiment files: whatever is wrong is refused in one sentence before the first run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from standin_experiment import PARAMETERS, SPEC, write_spec, write_worker

from feelvos_lab.ablation.spec import load_spec, parse_seeds, write_template
from feelvos_lab.ablation.spec_yaml import Written, check_value
from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.files.notebooks import read_parameters

PROJECT = Path(__file__).parents[2]


def edited(*changes: tuple[str, str]) -> str:
    text = SPEC
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_spec_is_read_with_its_configurations_and_paper_rows(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    assert spec.name == "demo"
    assert spec.variant_names == ("full", "narrow", "blind")
    assert spec.variant("narrow").config == configure("smoke", radius=1)
    assert spec.variant("full").paper_row.JF.value == 69.1
    assert dict(spec.variant("narrow").parameters) == {"preset": "smoke", "split": "test", "radius": 1}
    assert [(c.better, c.worse) for c in spec.claims] == [("full", "narrow")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seeds:", "sedes:"), ["unknown key 'sedes'", "did you mean 'seeds'"]),
        (("radius: 1", "raduis: 1"), ["'narrow'", "'raduis' is no parameter of worker.ipynb", "did you mean 'radius'"]),
        (("radius: 1", "radius: '1'"), ["radius must be int | None", "got str '1'"]),
        (("radius: 1", "radius: 1.0"), ["radius must be int | None", "got float 1.0"]),
        (("radius: 1", "radius: true"), ["radius must be int | None", "got bool True"]),
        (("radius: 1", "radius: -1"), ["radius must be greater than or equal to 0", "-1"]),
        (("radius: 1", "learning_rate: 1e-4"), ["learning_rate must be float | None", "write 1.0e-4"]),
        (("radius: 1", "context_rates: [1, a]"), ["context_rates must be list[int] | None"]),
        (("radius: 1", "previous_mask: 0"), ["previous_mask must be bool | None", "got int 0"]),
        (("radius: 1", "radius: 4"), ["variants 'full' and 'narrow' are the same configuration"]),
        (("radius: 1", "seed: 1"), ["'seed' is set for the whole experiment"]),
        (("radius: 1", "radius: 1, radius: 2"), ["'radius' is given twice"]),
        (("preset: smoke", "preset: smokey"), ["unknown preset 'smokey'", "did you mean 'smoke'"]),
        (("preset: smoke\n", ""), ["'preset' must be given"]),
        (("split: test", "split: 3"), ["split must be a valid string, got 3"]),
        (("seeds: [0]", "seeds: [0, 0]"), ["distinct integers"]),
        (("seeds: [0]", "seeds: []"), ["distinct integers"]),
        (("seeds: [0]", "seeds: [one]"), ["seeds.0 must be a valid integer, got 'one'"]),
        (("metric: JF", "metric: IoU"), ["metric must be", "'IoU'"]),
        (("baseline: full", "baseline: ful"), ["baseline names 'ful'", "did you mean 'full'"]),
        (("worse: narrow", "worse: norrow"), ["claims: worse names 'norrow'", "did you mean 'narrow'"]),
        (("worse: narrow", "worse: full"), ["must compare two rows"]),
        (("worse: narrow", "wurse: narrow"), ["unknown key", "did you mean 'worse'"]),
        (("paper: 2", "paper: 9"), ["has no row '9'"]),
        (("paper_table: ablation", "paper_table: ablations"), ["unknown paper_table 'ablations'"]),
        (("paper_table: ablation\n", ""), ["no paper_table is given"]),
        (("worker.ipynb", "walker.ipynb"), ["there is no", "walker.ipynb"]),
        (("  narrow:", "  Narrow_1:"), ["a variant's name must be", "'Narrow_1'"]),
        (("  narrow:", "  1:"), ["demo.yml:11: a key in variants must be text, got 1; put it in quotes"]),
        (("seeds:", "7:"), ["demo.yml:7: unknown key '7'"]),
        (("worse: narrow}", "worse: narrow, level: true}"), ["claims.0.level must be a valid integer, got True"]),
        (("question:", "question: ["), ["is not YAML"]),
        (("question: Does a wider window help?\n", ""), ["the key 'question' is missing"]),
    ],
)
def test_a_mistake_is_refused_in_one_sentence_that_names_it(tmp_path, change, words):
    path = write_spec(tmp_path, edited(change))
    with pytest.raises(LabError) as refusal:
        load_spec(path)
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert "demo.yml" in sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("seeds:", "sedes:"), 7),
        (("radius: 1", "raduis: 1"), 11),
        (("radius: 1", "learning_rate: 1e-4"), 11),
        (("radius: 1", "seed: 1"), 11),
        (("radius: 1", "radius: -1"), 11),
        (("radius: 1", "radius: 4"), 11),
        (("paper: 5", "paper: 9"), 12),
        (("preset: smoke", "preset: smokey"), 4),
        (("seeds: [0]", "seeds: [0, 0]"), 7),
        (("seeds: [0]", "seeds: [0,\n  one]"), 8),
        (("metric: JF", "metric: IoU"), 6),
        (("baseline: full", "baseline: ful"), 8),
        (("worse: narrow", "worse: norrow"), 14),
        (("worse: narrow", "wurse: narrow"), 14),
        (("metric: JF", "fixed: {raduis: 3}"), 6),
        (("worker.ipynb", "walker.ipynb"), 2),
    ],
)
def test_the_refusal_names_the_line(tmp_path, change, line):
    path = write_spec(tmp_path, edited(change))
    with pytest.raises(LabError) as refusal:
        load_spec(path)
    assert str(refusal.value).startswith(f"{path}:{line}")


GRID = edited((SPEC[SPEC.index("variants:") :], "grid: {radius: [1, 4], previous_mask: [true, false]}\n"))
GRID = GRID.replace("baseline: full", "baseline: radius-4-previous-mask-true")


def test_a_grid_is_every_combination_and_the_same_runs_as_if_written_out(tmp_path):
    grid = load_spec(write_spec(tmp_path, GRID))
    assert grid.variant_names == (
        "radius-1-previous-mask-true",
        "radius-1-previous-mask-false",
        "radius-4-previous-mask-true",
        "radius-4-previous-mask-false",
    )
    written = load_spec(write_spec(tmp_path, edited(("radius: 1", "radius: 1, previous_mask: true"))))
    assert grid.variants[0].digest == written.variant("narrow").digest
    assert grid.variants[0].config == written.variant("narrow").config


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("grid: {radius: [1, 2]}\nvariants: {full: {}}", ["one of variants and grid", "both are given"]),
        ("", ["one of variants and grid", "neither is given"]),
        ("grid: {}", [":9: grid must name at least one parameter"]),
        ("grid: {radius: []}", [":9: grid radius must list plain values, got []"]),
        ("grid: {radius: [[1]]}", ["plain values"]),
        ("grid: {radius: 1}", ["grid.radius must be a valid list"]),
        ("grid: {radius: [1, 1]}", ["row 'radius-1' twice"]),
        ("grid:\n  raduis: [1, 2]", [":10, variant 'raduis-1': 'raduis' is no parameter", "did you mean 'radius'"]),
        ("grid: {radius: [1, x]}", [":9, variant 'radius-x': radius must be int | None, got str 'x'"]),
        ("grid: {radius: [-1]}", [":9: a variant's name must be", "'radius--1'"]),
        ("grid: {radius: [1, 2]}", [":8: baseline names 'radius-4-previous-mask-true'"]),
    ],
)
def test_a_mistake_in_a_grid_is_refused_with_its_line(tmp_path, grid, words):
    path = write_spec(tmp_path, GRID[: GRID.index("grid:")] + grid + "\n")
    with pytest.raises(LabError) as refusal:
        load_spec(path)
    for word in words:
        assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_refers_to_itself_is_no_endless_loop(tmp_path):
    with pytest.raises(LabError):
        load_spec(write_spec(tmp_path, edited(("metric: JF", "fixed: &a {radius: *a}"))))


def test_an_overridden_default_counts_when_two_variants_are_compared(tmp_path):
    """`radius: 4` is what the preset says already, whether written or not."""
    path = write_spec(tmp_path, edited(("full: {paper: 1}", "full: {paper: 1, radius: 4}")))
    assert load_spec(path).variant("full").config == configure("smoke")


def test_two_variants_that_differ_in_where_their_data_lie_are_the_same(tmp_path):
    path = write_spec(tmp_path, edited(("radius: 1", "root: elsewhere")))
    write_worker(tmp_path, parameters=PARAMETERS + "root: str | None = None  # of the data\n")
    with pytest.raises(LabError, match="'full' and 'narrow' are the same configuration"):
        load_spec(path)


def test_a_notebook_must_take_a_seed_and_a_folder(tmp_path):
    path = write_spec(tmp_path)
    write_worker(tmp_path, parameters=PARAMETERS.replace("seed: int", "sead: int"))
    with pytest.raises(LabError, match="must declare 'seed'"):
        load_spec(path)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, "int"),
        (1.5, "float"),
        (None, "int | None"),
        ([1, 2], "list[int]"),
        ("a", 'Literal["a", "b"]'),
        (True, "bool"),
    ],
)
def test_a_value_of_its_type_is_taken_unchanged(value, annotation):
    assert check_value("x", value, annotation, where="here") == value


def test_an_integer_becomes_a_float_where_one_is_expected_and_nothing_else_is_bent():
    bent = check_value("x", 1, "float | None", where="here")
    assert (type(bent), bent) == (float, 1.0)
    for value, annotation in [
        ("1", "int"),
        (1.0, "int"),
        (True, "int"),
        (True, "float"),
        (10**400, "float"),
        ("c", 'Literal["a", "b"] | None'),
        (1, 'list["int"]'),  # text in an annotation is no type, and is not evaluated
        (1, "dict"),
        (None, "str"),
        (1, "bool"),
        ((1,), "list[int]"),
    ]:
        with pytest.raises(LabError, match="here: x must be"):
            check_value("x", value, annotation, where="here")


def test_a_number_means_so_many_seeds_and_a_list_means_itself():
    assert parse_seeds("3") == (0, 1, 2)
    assert parse_seeds("0,4") == (0, 4)
    assert parse_seeds("7,") == (7,)
    for text in ("", "0", "-1", "a", "1,1", "1.5"):
        with pytest.raises(LabError, match="seeds"):
            parse_seeds(text)


@pytest.mark.parametrize("path", sorted((PROJECT / "experiments").glob("*.yml")), ids=lambda p: p.stem)
def test_every_experiment_of_the_project_is_valid(path):
    assert load_spec(path).question.endswith("?")


def test_components_holds_the_papers_six_rows_and_smoke_the_same():
    components, smoke = (load_spec(PROJECT / "experiments" / name) for name in ("components.yml", "smoke.yml"))
    assert [v.paper_row.key for v in components.variants] == ["1", "2", "3", "4", "5", "6"]
    assert components.variant_names == smoke.variant_names
    for variant in components.variants:
        row, model = variant.paper_row.label, variant.config.model
        assert ("FF-GM" in row) == (model.first_matching == "global")
        assert ("PF-LM" in row) == (model.previous_matching == "local")
        assert ("PF-GM" in row) == (model.previous_matching == "global")
        assert ("PFP" in row) == model.previous_mask


def test_every_setting_the_worker_offers_is_a_setting_of_the_configuration():
    offered = read_parameters(PROJECT / "notebooks" / "run_experiment.ipynb")
    settings = configure("reduced").flat() | {"root": ""}
    for name in set(offered) - {"preset", "seed", "split", "folder", "checkpoint", "start"}:
        assert name in settings
        assert offered[name].default is None
        if settings[name] is not None:
            check_value(name, settings[name], offered[name].annotation, where="the worker")


def test_a_new_file_is_valid_as_it_is_written(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["ablate", "new", "my-idea", "--root", str(tmp_path)])
    assert left.value.code == 0
    path = tmp_path / "my-idea.yml"
    assert str(path) in capsys.readouterr().out
    spec = load_spec(path)
    assert spec.notebook == PROJECT / "notebooks" / "run_experiment.ipynb"
    assert spec.variant_names == ("full", "narrow", "no-window") and len(spec.claims) == 2
    for key in Written.model_fields:
        assert re.search(rf"^(# )?{key}:", path.read_text(), re.MULTILINE), f"the template does not show {key}"
    gridded = path.read_text().split("variants:")[0].replace("baseline: full", "baseline: radius-2")
    path.write_text(gridded + "grid: {radius: [0, 2, 4]}\n")
    assert load_spec(path).variant_names == ("radius-0", "radius-2", "radius-4")  # as its comment says


def test_a_new_file_overwrites_none(tmp_path):
    (tmp_path / "mine.yml").write_text("mine")
    for name, sentence in [
        ("mine", "exists already"),
        ("../mine", "must be of a-z"),
        ("Mine", "must be of a-z"),
        ("nul", "device's on Windows"),
    ]:
        with pytest.raises(LabError, match=sentence):
            write_template(name, root=tmp_path)
    assert (tmp_path / "mine.yml").read_text() == "mine"


def test_yaml_itself_would_keep_the_last_of_two_equal_keys():
    """Why the file is read with a loader of its own."""
    assert yaml.safe_load("a: 1\na: 2") == {"a": 2}
