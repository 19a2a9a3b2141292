"""Laws of a backbone's weights from a local file: they arrive, are checked, and nothing but tensors is unpickled."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from standin_experiment import PARAMETERS, SPEC, write_spec, write_worker
from torch import Tensor

from feelvos_lab.ablation.runs import plan
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import load_checkpoint, save_checkpoint
from feelvos_lab.model.weight_file import read_weight_file
from feelvos_lab.training.loop import train

NAME = "test_byobnet"  # of preset smoke

CLIPS = make_clips("train", count=1, height=32, width=32, frames=4)

pytestmark = pytest.mark.usefixtures("one_thread")


def weights(name: str = NAME) -> dict[str, Tensor]:
    torch.manual_seed(5)
    return timm.create_model(name, pretrained=False).state_dict()


def body(name: str) -> torch.nn.Module:
    return timm.create_model(name, pretrained=False, features_only=True)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_training_begins_with_the_weights_of_the_file(tmp_path: Path, frozen: bool) -> None:
    torch.save(weights(), tmp_path / "net.pth")
    config = configure("smoke", steps=1, pretrained=str(tmp_path / "net.pth"), freeze_backbone=frozen)
    began = train(config, seed=0, clips=CLIPS, stop_after=0).model
    expected = read_weight_file(tmp_path / "net.pth", body(NAME), NAME)
    assert expected.keys() == body(NAME).state_dict().keys()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in began.backbone.net.state_dict().items())
    trained = train(config, seed=0, clips=CLIPS).model
    kept = {key: torch.equal(t, expected[key]) for key, t in trained.backbone.net.state_dict().items()}
    assert all(kept.values()) == frozen
    save_checkpoint(tmp_path / "model.safetensors", trained, config)
    (tmp_path / "net.pth").unlink()  # a checkpoint holds all that it needs
    loaded, stored = load_checkpoint(tmp_path / "model.safetensors")
    assert all(torch.equal(t, trained.state_dict()[key]) for key, t in loaded.state_dict().items())
    assert stored.model.pretrained == "net.pth"


def test_a_configuration_is_the_same_wherever_the_file_lies() -> None:
    one, other, third = (configure("smoke", pretrained=path) for path in ("a/net.pth", "/b/net.pth", "a/net.pt"))
    assert one.digest() == other.digest() != third.digest()
    assert configure("smoke", pretrained="none").digest() == configure("smoke").digest()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save({f"module.{k}": t for k, t in weights().items()}, path),
        lambda path: torch.save({"state_dict": weights(), "epoch": 3}, path),
        lambda path: torch.save({"model": weights(), "optimizer": {"state": {}}}, path),
        lambda path: torch.save({k: t.half() if t.is_floating_point() else t for k, t in weights().items()}, path),
        lambda path: torch.save({k: t for k, t in weights().items() if not k.endswith("num_batches_tracked")}, path),
        lambda path: torch.save(weights(), path, _use_new_zipfile_serialization=False),
    ],
)
def test_state_dicts_as_scripts_write_them_are_read(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "net.pth")
    torch.save(weights(), tmp_path / "plain.pth")
    found, expected = (read_weight_file(tmp_path / f"{name}.pth", body(NAME), NAME) for name in ("net", "plain"))
    assert expected.keys() - found.keys() in (set(), {k for k in expected if k.endswith("num_batches_tracked")})
    for key, tensor in found.items():
        assert tensor.dtype == expected[key].dtype
        torch.testing.assert_close(tensor, expected[key], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv3_small_050", "regnety_002"])
def test_backbones_whose_layers_timm_renames_are_filled(tmp_path: Path, name: str) -> None:
    save_file(weights(name), tmp_path / "net.safetensors")
    net = body(name)
    net.load_state_dict(read_weight_file(tmp_path / "net.safetensors", net, name))
    torch.manual_seed(5)
    whole = timm.create_model(name, pretrained=False).eval()
    images = torch.rand(1, 3, 64, 64)
    deepest = whole.forward_intermediates(images, intermediates_only=True)[-1]
    torch.testing.assert_close(net.eval()(images)[-1], deepest)


WRONG: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "a tensor is missing": (
        lambda w: w.pop("stem.conv.weight") is None,
        "has no tensor 'stem.conv.weight' for backbone",
    ),
    "one of another shape": (
        lambda w: w.update({"stem.conv.weight": torch.zeros(3, 3)}),
        "tensor stem.conv.weight must be 24×3×3×3 for backbone 'test_byobnet', is 3×3",
    ),
    "one that is not finite": (
        lambda w: w["stem.conv.weight"].fill_(torch.nan),
        "tensor stem.conv.weight must be finite, is not",
    ),
    "more than the network has": (
        lambda w: w.update({"stages.9.weight": torch.zeros(1)}),
        "holds 'stages.9.weight', which backbone 'test_byobnet' lacks: are these another network's weights?",
    ),
    "numbers": (
        lambda w: w.update({"lr": 0.1}),
        "must hold a state dict, tensors by name, but its entry 'lr' is of type float",
    ),
    "nothing": (lambda w: w.clear(), "must hold a state dict, tensors by name, got OrderedDict without any"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_file_that_does_not_fit_is_rejected(tmp_path: Path, fault: str) -> None:
    spoil, reason = WRONG[fault]
    content = weights()
    spoil(content)
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(LabError, match=re.escape(f"{tmp_path / 'net.pth'}") + ".*" + re.escape(reason)):
        read_weight_file(tmp_path / "net.pth", body(NAME), NAME)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_what_is_no_state_dict_is_rejected_and_nothing_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"stem": Evil()}, "evil.pth")
    torch.save(timm.create_model(NAME, pretrained=False), "whole.pth")
    torch.save([torch.zeros(1)], "list.pth")
    Path("text.pth").write_text("weights")
    Path("empty.pth").write_bytes(b"")
    Path("folder.pth").mkdir()
    Path("text.safetensors").write_text("weights")
    torch.save(weights(), "cut.pth")
    Path("cut.pth").write_bytes(Path("cut.pth").read_bytes()[:-2000])
    for name in ("evil.pth", "whole.pth", "list.pth", "text.pth", "empty.pth", "text.safetensors", "cut.pth"):
        with pytest.raises(LabError, match=rf"^{name} (cannot be read as|must hold) a state dict") as raised:
            read_weight_file(Path(name), body(NAME), NAME)
        assert "\n" not in str(raised.value)
    for name in ("folder.pth", "missing.pth"):
        with pytest.raises(LabError, match=f"^there is no file of weights {name}$"):
            read_weight_file(Path(name), body(NAME), NAME)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("value", ["imagenet", "net.ckpt", "", "resnet18.a1_in1k"])
def test_what_names_no_weights_is_rejected(value: str) -> None:
    with pytest.raises(LabError, match=r"^pretrained must be 'none', 'package' or a file of weights \(\.pth, "):
        configure("smoke", pretrained=value)


MORE = "pretrained: str | None = None  # a\nbackbone: str | None = None  # b\n"


def experiment(folder: Path, setting: str = "pretrained: weights/net.pth") -> Path:
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    torch.save(weights(), folder / "weights/net.pth")
    path = write_spec(folder, SPEC.replace("radius: 1", setting))
    write_worker(folder, parameters=PARAMETERS + MORE, measure="1 + 1")
    return path


def test_an_experiment_names_a_file_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = experiment(tmp_path / "a")
    runs = plan(load_spec(path), root=tmp_path)
    assert runs[1].parameters["pretrained"] == str(tmp_path / "a/weights/net.pth")
    assert runs[1].variant.config.flat()["pretrained"] == "net.pth"
    monkeypatch.chdir(tmp_path / "a")  # the same runs, from wherever it is asked
    assert [r.fingerprint for r in plan(load_spec("demo.yml"), root=tmp_path)] == [r.fingerprint for r in runs]
    copied = plan(load_spec(experiment(tmp_path / "b")), root=tmp_path / "b")
    assert [(r.fingerprint, r.folder.name) for r in copied] == [(r.fingerprint, r.folder.name) for r in runs]


def test_a_run_is_stale_when_its_file_of_weights_changes(tmp_path: Path) -> None:
    before = plan(load_spec(experiment(tmp_path)), root=tmp_path)
    torch.save({k: t + 1 for k, t in weights().items()}, tmp_path / "weights/net.pth")
    after = plan(load_spec(tmp_path / "demo.yml"), root=tmp_path)
    assert [a.fingerprint == b.fingerprint for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("pretrained: weights/other.pth", "there is no file of weights "),
        (
            "{pretrained: weights/net.pth, backbone: resnet18}"[1:-1],
            "net.pth has no tensor 'conv1.weight' for backbone",
        ),
        ("pretrained: package", ""),
    ],
)
def test_plan_compares_the_file_with_the_backbone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, reason: str
) -> None:
    path = experiment(tmp_path, setting)
    with pytest.raises(SystemExit) as left:
        cli.main(["ablate", "plan", str(path), "--root", str(tmp_path)])
    assert left.value.code == (2 if reason else 0)
    assert reason in capsys.readouterr().err
