"""What a plan promises: settings with which every run would fail are rejected before the first one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from standin_experiment import PARAMETERS, SPEC, write_spec, write_worker

from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure, digest_of
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import MODEL, load_checkpoint, write_tensors

MORE = "backbone: str | None = None  # a\nframes: int | None = None  # b\nheight: int | None = None  # c\n"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("frames: 1", "frames of synthetic clips must be at least 2, got 1"),
        ("height: 1", "height of synthetic clips must be at least 32, got 1"),
        ("learning_rate: 0", "learning_rate must be more than 0, got 0"),
        ("backbone: resnet18.a1_in1k", "backbone must be a timm model without the tag of pretrained weights"),
    ],
)
def test_a_setting_with_which_every_run_fails_is_rejected_with_its_row(
    setting: str, sentence: str, tmp_path: Path
) -> None:
    path = write_spec(tmp_path, SPEC.replace("radius: 1", setting))
    write_worker(tmp_path, parameters=PARAMETERS + MORE)
    with pytest.raises(LabError, match=rf"demo\.yml:11, variant 'narrow': {sentence}"):
        load_spec(path)


@pytest.mark.parametrize(
    ("name", "sentence"), [("resnet81", "is no timm model"), ("vit_tiny_patch16_224", "must have strides")]
)
def test_a_backbone_that_cannot_be_is_rejected_by_plan(
    name: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_spec(tmp_path, SPEC.replace("radius: 1", f"backbone: {name}"))
    write_worker(tmp_path, parameters=PARAMETERS + MORE)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["ablate", "plan", str(path), "--root", str(tmp_path)])
    assert f"variant 'narrow': backbone '{name}' {sentence}" in capsys.readouterr().err


@pytest.mark.parametrize("claim", [{"embedding_dim": 10**9}, {"head_layers": 10**9}, {"head_kernel": 10**9 + 1}])
def test_a_checkpoint_that_claims_more_than_it_holds_is_rejected_before_it_is_built(
    claim: dict[str, int], tmp_path: Path
) -> None:
    settings = configure("smoke", **claim).flat()
    notes = {"format": MODEL, "preset": "smoke", "config": json.dumps(settings), "digest": digest_of(settings)}
    write_tensors(tmp_path / "forged.safetensors", {"a": torch.zeros(48), "b": torch.zeros(0, 2**31 - 1)}, notes)
    with pytest.raises(LabError, match=f"does not fit its own configuration: {next(iter(claim))} is 1,000,000,00"):
        load_checkpoint(tmp_path / "forged.safetensors")
