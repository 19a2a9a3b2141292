"""The command line does what it says, in the files that it says."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from feelvos_lab.cli import doctor, jupyter
from feelvos_lab.cli import main as cli
from feelvos_lab.cli import train as cli_train
from feelvos_lab.config import configure
from feelvos_lab.model.checkpoint import load_checkpoint, read_card


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(a) for a in arguments])
    return left.value.code


def test_help_does_not_wait_for_torch() -> None:
    script = "import sys, feelvos_lab.cli.main; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_train_writes_a_model_with_its_card_and_history(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run("train", "--preset", "smoke", "--seed", 3, "--set", "steps=2", "--set", "radius=3", "--out", out) == 0
    assert sorted(p.name for p in out.iterdir()) == ["history.csv", "model.json", "model.safetensors"]
    _, config = load_checkpoint(out / "model.safetensors")
    assert (config.train.steps, config.model.radius) == (2, 3)
    card = read_card(out / "model.safetensors")
    assert card["command"] == "feelvos-lab train --preset smoke --seed 3 --set steps=2 --set radius=3 --out DIR"
    assert (card["seed"], card["digest"]) == (3, config.digest())
    rows = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    assert list(rows[0]) == ["step", "loss", "learning_rate", "seconds"] and rows[-1]["step"] == "2"


def test_a_training_can_start_from_a_whole_checkpoint_or_from_its_backbone_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = ("--preset", "smoke", "--set", "steps=1", "--set", "learning_rate=0.0")
    assert _run("train", *still, "--seed", 1, "--out", tmp_path / "first") == 0
    start = tmp_path / "first" / "model.safetensors"
    first = dict(load_checkpoint(start)[0].named_parameters())
    for name, options, told in (("all", (), "nothing"), ("trunk", ("--trunk-only",), "decoder.context")):
        out = tmp_path / name
        assert _run("train", *still, "--seed", 2, "--initialise-from", start, *options, "--out", out) == 0
        assert told in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("starts from"))
        command = read_card(out / "model.safetensors")["command"]
        assert "--initialise-from model.safetensors" in command and ("--trunk-only" in command) == bool(options)
        trained = load_checkpoint(out / "model.safetensors")[0].named_parameters()
        same = {n: torch.equal(p, first[n]) for n, p in trained}
        assert all(equal for n, equal in same.items() if name == "all" or n.startswith("backbone."))
        assert same["embedding.pointwise.weight"] == (name == "all")


def test_trunk_only_needs_something_to_start_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("train", "--preset", "smoke", "--trunk-only", "--out", tmp_path / "out") == 2
    assert "--initialise-from, which is not given" in capsys.readouterr().err


def test_doctor_prints_the_parameters_of_a_preset_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("doctor", "--model", "full") == 0
    table = {line[:34].strip(): line[34:].split() for line in capsys.readouterr().out.splitlines()}
    assert table["backbone"] == ["37,867,312"] * 2 and table["in all"] == ["41,393,819"] * 2  # the official counts
    assert _run("doctor", "--model", "real") == 0
    frozen = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("backbone"))
    assert frozen.split()[-1] == "0"
    assert _run("doctor", "--model", "large") == 2
    assert "unknown preset 'large'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("learning_rate=1e-4", 1e-4),
        ("previous_mask=false", False),
        ("context_rates=1,2", (1, 2)),
        ("first_matching=none", "none"),
        ("backbone=resnet18", "resnet18"),
    ],
)
def test_settings_on_the_command_line_have_their_types(pair: str, value: object) -> None:
    settings = cli_train.settings_of([pair])
    assert configure("reduced", **settings).flat()[pair.split("=")[0]] == value


def test_doctor_says_one_line_a_part_and_finds_this_installation_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(doctor.CHECKS)
    assert any(line.startswith("ok      torch") for line in lines)


def test_doctor_reports_a_broken_package_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def _torch() -> doctor.Finding:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(doctor, "CHECKS", (_torch,))
    assert _run("doctor") == 1
    assert capsys.readouterr().out.startswith("missing torch         operator torchvision::nms does not exist: run")


def test_ablate_plan_shows_every_run_and_starts_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = jupyter.NOTEBOOKS.parent / "experiments" / "smoke.yml"
    assert _run("ablate", "plan", spec, "--seeds", "0,4", "--root", tmp_path / "experiments") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and all(line.startswith("missing ") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_start_copies_new_notebooks_and_keeps_a_students_work(tmp_path: Path) -> None:
    source, desk = tmp_path / "notebooks", tmp_path / "work"
    source.mkdir()
    for name in ("a", "b"):
        (source / f"{name}.ipynb").write_text("1")
    (source / "symbols.md").write_text("linked by the lessons")
    assert jupyter.copy_notebooks(source, desk) == [] and (desk / "symbols.md").exists()
    (desk / "a.ipynb").write_text("mine")
    for name in ("a", "b"):
        (source / f"{name}.ipynb").write_text("2")
    kept = jupyter.copy_notebooks(source, desk)
    assert [(desk / f"{name}.ipynb").read_text() for name in ("a", "b")] == ["mine", "2"]
    assert len(kept) == 1 and "a.ipynb: yours is kept" in kept[0]


def test_strip_and_lint_work_on_notebooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = json.loads((jupyter.NOTEBOOKS / "00_start_here.ipynb").read_text())
    next(c for c in book["cells"] if c["cell_type"] == "code")["execution_count"] = 4
    (tmp_path / "book.ipynb").write_text(json.dumps(book))
    assert _run("lint", tmp_path / "book.ipynb") == 1
    assert "has outputs" in capsys.readouterr().out
    assert _run("strip", tmp_path / "book.ipynb") == 0
    assert _run("lint", tmp_path / "book.ipynb") == 0


def test_memory_that_caches_hold_counts_as_available(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(total=4 * 2**30, free=2**20, available=3 * 2**30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: found)
    assert doctor._memory().line().endswith("4.0 GiB, 3.0 GiB available")
    found.total = 2**30
    assert not doctor._memory().ok
