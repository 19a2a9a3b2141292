"""What notebooks call: where numbers and figures come from is always said, and checked."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import feelvos_lab
from feelvos_lab import lab
from feelvos_lab.config import Config, configure
from feelvos_lab.errors import LabError
from feelvos_lab.figures import basic
from feelvos_lab.files.atomic import read_json, write_text
from feelvos_lab.files.lock import holder, locked
from feelvos_lab.model import checkpoint
from feelvos_lab.model.checkpoint import save_checkpoint, save_part
from feelvos_lab.model.feelvos import Feelvos


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook's folder, and an empty folder in place of the shipped checkpoints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "FOLDER", tmp_path / "checkpoints")
    return tmp_path


def _ship(config: Config, *, seed: int = 0) -> Path:
    path = checkpoint.shipped_path(config.preset)
    torch.manual_seed(1)
    save_checkpoint(path, Feelvos(config.model).eval(), config)
    checkpoint.write_card(path, config=config, seed=seed, command="feelvos-lab train --preset smoke --out DIR")
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts trainings, which end after one step here."""
    seeds: list[int] = []
    real = lab.train

    def short(config: Config, *, seed: int, **named: object):
        seeds.append(seed)
        return real(config, seed=seed, stop_after=1, **{**named, "progress": None})

    monkeypatch.setattr(lab, "train", short)
    return seeds


def test_begin_says_versions_device_and_data_in_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    config = lab.begin(preset="smoke", seed=3)
    lines = capsys.readouterr().out.splitlines()
    assert config == configure("smoke")
    assert len(lines) == 3
    assert torch.__version__ in lines[0] and config.digest() in lines[1] and "seed 3" in lines[1]
    assert lines[2].startswith("data: synthetic clips")


def test_small_presets_use_one_thread_unless_the_environment_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        for given, preset, threads in (("2", "smoke", 2), (None, "real", 2), (None, "reduced", 1), (None, "smoke", 1)):
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
            if given:
                monkeypatch.setenv("OMP_NUM_THREADS", given)
            torch.set_num_threads(2)
            lab.begin(preset=preset, seed=0)
            assert torch.get_num_threads() == threads, (given, preset)
    finally:
        torch.set_num_threads(before)


def test_begin_seeds_every_generator() -> None:
    drawn = []
    for _ in range(2):
        lab.begin(preset="smoke", seed=5)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    lab.begin(preset="smoke", seed=6)
    other = (random.random(), np.random.rand(), torch.rand(1).item())
    assert drawn[0] == drawn[1]
    assert all(a != b for a, b in zip(drawn[0], other, strict=True))


@pytest.mark.parametrize(("preset", "seed"), [("smok", 0), ("smoke", -1)])
def test_begin_refuses_what_it_does_not_know(preset: str, seed: int) -> None:
    with pytest.raises(LabError, match=r"did you mean 'smoke'|seed must not be negative"):
        lab.begin(preset=preset, seed=seed)


def test_the_shipped_checkpoint_stands_for_its_training(trained: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    path = _ship(configure("smoke"))
    model = lab.train_or_load("smoke", seed=0)
    torch.manual_seed(1)
    expected = Feelvos(configure("smoke").model).state_dict()
    assert trained == []
    assert not model.training
    assert all(torch.equal(v.cpu(), expected[n]) for n, v in model.state_dict().items())
    assert checkpoint.sha256(path)[:12] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "smoke.safetensors is missing"),
        (lambda path: path.with_suffix(".json").unlink(), "checkpoints/smoke.json"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "must have sha256"),
        (lambda path: path.with_suffix(".json").write_text("{}"), "must hold command, digest"),
        (lambda path: _edit(path, digest="00000000"), "has configuration 00000000"),
        (lambda path: _edit(path, seed=7), "has seed 7, this is 0"),
    ],
    ids=["no checkpoint", "no card", "another file", "no card in it", "another configuration", "another seed"],
)
def test_a_shipped_checkpoint_that_is_not_that_model_is_named_and_not_used(
    spoil, reason: str, trained: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(_ship(configure("smoke")))
    lab.train_or_load("smoke", seed=0)
    assert trained == [0]
    assert reason in capsys.readouterr().out


def test_what_was_trained_here_is_not_trained_again(trained: list[int]) -> None:
    first, second = lab.train_or_load("smoke", seed=2), lab.train_or_load("smoke", seed=2)
    assert trained == [2]
    assert all(torch.equal(v, second.state_dict()[n]) for n, v in first.state_dict().items())


def test_a_checkpoint_that_is_named_is_taken_and_one_that_is_none_refused(
    own_folder: Path, trained: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    path, config = own_folder / "mine.safetensors", configure("smoke", radius=2)
    save_checkpoint(path, Feelvos(config.model), config)
    lab.begin(preset="reduced", seed=0)
    assert lab.train_or_load("reduced", seed=0, checkpoint=str(path)).config.radius == 2
    assert trained == [] and "mine.safetensors" in capsys.readouterr().out
    lab.save_figure(basic.loss_curve([{"step": 1, "loss": 0.5}]), "curve")
    assert json.loads((own_folder / "figures" / "curve.json").read_text())["preset"] == "smoke"
    save_part(path, {"backbone.x": torch.zeros(1)}, part="trunk", source="model.ckpt")
    for name, words in ((path, "must be a 'feelvos_lab checkpoint 2'"), (own_folder / "none", "no checkpoint at")):
        with pytest.raises(LabError, match=words):
            lab.train_or_load("reduced", seed=0, checkpoint=str(name))


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_may_be_text_or_a_path(kind: type, own_folder: Path) -> None:
    path, config = own_folder / "mine.safetensors", configure("smoke")
    save_checkpoint(path, Feelvos(config.model), config)
    assert lab.load(kind(path))[1] == config
    assert lab.train_or_load("reduced", checkpoint=kind(path)).config == config.model
    results = Path(feelvos_lab.__file__).parents[1] / "experiments" / "results" / "components"
    assert lab.published(kind(results)).spec.name == "components"
    write_text(kind(own_folder / "notes.json"), "{}")
    assert read_json(kind(own_folder / "notes.json")) == {}
    with locked(kind(own_folder / ".lock"), "testing"):
        assert holder(kind(own_folder / ".lock"))["pid"] == os.getpid()


def test_a_saved_figure_knows_how_it_was_made(own_folder: Path) -> None:
    path = _ship(configure("smoke"))
    lab.begin(preset="smoke", seed=0)
    lab.train_or_load("smoke", seed=0)
    figure = basic.loss_curve([{"step": 1, "loss": 0.5}])
    assert lab.save_figure(figure, "03-global-map", radius=4) is figure
    notes = json.loads((own_folder / "figures" / "03-global-map.json").read_text())
    assert notes["parameters"] == {"radius": 4}
    assert (notes["preset"], notes["seed"], notes["checkpoint_sha256"]) == ("smoke", 0, checkpoint.sha256(path))
    assert "commit" in notes and "torch" in notes["versions"]
    assert (own_folder / "figures" / "03-global-map.pdf").read_bytes().startswith(b"%PDF")


def test_a_saved_figure_has_150_dots_an_inch(own_folder: Path) -> None:
    from PIL import Image

    lab.save_figure(basic.loss_curve([{"step": 1, "loss": 0.5}]), "curve")
    with Image.open(own_folder / "figures" / "curve.png") as image:
        assert image.size == (502, 330)


def test_a_figure_without_a_model_says_that_there_was_none(own_folder: Path) -> None:
    lab.begin(preset="smoke", seed=0)
    lab.save_figure(basic.loss_curve([{"step": 1, "loss": 0.5}]), "curve")
    assert json.loads((own_folder / "figures" / "curve.json").read_text())["checkpoint_sha256"] is None


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden"])
def test_a_figure_is_not_saved_outside_its_folder(name: str) -> None:
    with pytest.raises(LabError, match="name must be such as"):
        lab.save_figure(basic.loss_curve([{"step": 1, "loss": 0.5}]), name)


@pytest.mark.parametrize("name", ["aux", "NUL.old"])
def test_a_figure_has_no_name_that_windows_takes_for_a_device(name: str) -> None:
    with pytest.raises(LabError, match="must not be a device's on Windows"):
        lab.save_figure(basic.loss_curve([{"step": 1, "loss": 0.5}]), name)


def _edit(path: Path, **entries: object) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **entries}))


def test_what_was_trained_here_is_loaded_the_next_time_with_its_history(capsys: pytest.CaptureFixture[str]) -> None:
    config = configure("smoke", steps=2, hard_anneal_steps=1)
    once = lab.train_here(config, seed=3)
    assert f"training 2 steps into trained/smoke-s3-{config.digest()}/" in capsys.readouterr().out
    before = (Path("trained") / f"smoke-s3-{config.digest()}" / "model.safetensors").read_bytes()
    again = lab.train_here(config, seed=3)
    said = capsys.readouterr().out
    assert "is there: loaded" in said and "step" not in said
    assert again.history == once.history and [row["step"] for row in once.history] == [2]
    weights = zip(once.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    lab.save_figure(basic.loss_curve(again.history), "loss")
    notes = json.loads(Path("figures/loss.json").read_text())
    assert notes["preset"] == "smoke" and notes["checkpoint_sha256"] == hashlib.sha256(before).hexdigest()


def test_the_projects_results_are_found_from_any_folder_and_what_they_lack_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = lab.published()
    said = capsys.readouterr().out
    assert found.spec.name == "components" and found.variants == list(found.spec.variant_names)
    assert f"components: {len(found.variants)} rows, seeds 0" in said and "without results" not in said
    assert found.of("no such row").empty and len(found.of("full")) > 0


@pytest.mark.parametrize(
    ("allowed", "good", "bad", "words"),
    [
        (range(1, 16), (1, 15), (0, 16, -1, 1.0, True, "1", None), "x must be a whole number from 1 to 15, got "),
        (("smoke", "reduced"), ("smoke",), ("full", "", 1), "x must be 'smoke' or 'reduced', got "),
    ],
)
def test_a_parameter_out_of_range_is_rejected_by_name(allowed, good, bad, words: str) -> None:
    for value in good:
        lab.check(x=(value, allowed))
    for value in bad:
        with pytest.raises(LabError, match=f"^{words}{value!r}"):
            lab.check(ok=(1, range(2)), x=(value, allowed))


def test_davis_is_named_as_data_only_where_its_folder_is(capsys: pytest.CaptureFixture[str]) -> None:
    lab.begin(preset="real", seed=0)
    line = capsys.readouterr().out.splitlines()[2]
    assert line == "the preset trains on DAVIS-2016: read only where a parameter names its folder"
