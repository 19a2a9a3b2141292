"""An experiment on a published data set that scores given networks instead of training its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_davis import HEIGHT, add_sequence

from feelvos_lab.ablation.execute import run
from feelvos_lab.ablation.results import read_results
from feelvos_lab.ablation.runs import plan
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.data.davis import read_davis
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation import evaluate
from feelvos_lab.model.build import build_model
from feelvos_lab.model.checkpoint import load_trained, save_checkpoint, sha256
from feelvos_lab.model.feelvos import Feelvos

WORKER = Path(__file__).parents[2] / "notebooks" / "run_experiment.ipynb"
SETTINGS = {"data": "davis-2016", "height": HEIGHT, "width": 40, "test_height": 12, "clips": 0, "test_clips": 0}


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("DAVIS")
    for name in ("bear", "boat"):
        add_sequence(root, name)
    (root / "ImageSets/2016").mkdir(parents=True)
    (root / "ImageSets/2016/train.txt").write_text("bear\n")
    (root / "ImageSets/2016/val.txt").write_text("boat\n")
    return root


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of each row; that of `no-first` was made with another learning rate than the file's."""
    folder = tmp_path_factory.mktemp("networks")
    for name, changes in (("full", {}), ("no-first", {"first_matching": "none", "learning_rate": 0.5})):
        config = configure("smoke", **SETTINGS, **changes)
        torch.manual_seed(0)
        save_checkpoint(folder / f"{name}-s0.safetensors", Feelvos(config.model).eval(), config)
    return folder


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "demo.yml"
    path.write_text(
        f"question: Does it run?\nnotebook: {WORKER}\npreset: smoke\nsplit: test\nbaseline: full\n"
        f"fixed: {json.dumps(SETTINGS)}\nvariants:\n  full: {{}}\n  no-first: {{first_matching: none}}\n"
    )
    return path


def test_given_networks_are_scored_at_the_published_size_and_a_wrong_one_fails(
    experiment: Path, davis: Path, networks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = experiment.parent
    arguments = [str(experiment), "--networks", str(networks), "--root", str(root)]
    with pytest.raises(SystemExit, match="1"):
        cli.main(["ablate", "run", *arguments, "--data-root", str(davis)])
    capsys.readouterr()
    spec = load_spec(experiment)
    full, no_first = plan(spec, root=root, networks=networks)
    assert full.state == "ok"
    assert no_first.state == "failed" and "trained with learning_rate = 0.5, expected 0.006" in no_first.reason
    assert len(full.measured["files"]) == 16
    assert full.measured["network"] == sha256(networks / "full-s0.safetensors")
    assert full.measured["train_seconds"] == 0 and full.measured["history"]["steps"] == 0
    model = load_trained(networks / "full-s0.safetensors", spec.variant("full").config)
    expected = evaluate(model, read_davis(davis, year=2016, split="val"), height=12)
    assert read_results(spec, root=root, networks=networks).scores["J"].iloc[0] == pytest.approx(100 * expected["J"][0])
    assert plan(spec, root=root)[0].state == "stale"  # a trained network would be another number


def test_a_data_set_that_is_missing_or_not_needed_is_told_before_any_run(experiment: Path, davis: Path) -> None:
    spec = load_spec(experiment)
    with pytest.raises(LabError, match="data 'davis-2016' needs its folder, got none: pass --data-root"):
        run(spec, root=experiment.parent / "elsewhere")
    with pytest.raises(LabError, match="no DAVIS-2016 root"):
        run(spec, root=experiment.parent / "elsewhere", data_root=davis / "ImageSets")
    smoke = load_spec(WORKER.parents[1] / "experiments" / "smoke.yml")
    with pytest.raises(LabError, match="its rows use synthetic clips, which have no folder"):
        run(smoke, root=experiment.parent / "elsewhere", data_root=davis)
    assert not (experiment.parent / "elsewhere").exists()


def test_plan_looks_at_the_data_set_if_its_folder_is_given(
    experiment: Path, davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ablate", "plan", str(experiment), "--root", str(tmp_path)]
    with pytest.raises(SystemExit, match="0"):
        cli.main([*arguments, "--data-root", str(davis)])
    assert capsys.readouterr().out.count("missing") == 2
    with pytest.raises(SystemExit, match="2"):
        cli.main([*arguments, "--data-root", str(davis / "ImageSets")])
    done = capsys.readouterr()
    assert "no DAVIS-2016 root" in done.err and not done.out and list(tmp_path.iterdir()) == []


def test_settings_that_say_what_is_scored_may_differ_from_those_of_the_training(tmp_path: Path) -> None:
    for data, other in (("shapes", {}), ("davis-2016", {"frames": 4})):
        trained = configure("smoke", data=data)
        path = tmp_path / f"{data}.safetensors"
        save_checkpoint(path, build_model(trained.model), trained)
        load_trained(path, configure("smoke", data=data, scenes="factors", **other))
    for setting, said in (({"scenes": "calibrated"}, "scenes = 'mixed'"), ({"frames": 4}, "frames = 6")):
        with pytest.raises(LabError, match=f"was trained with {said}"):
            load_trained(tmp_path / "shapes.safetensors", configure("smoke", data="shapes", **setting))
