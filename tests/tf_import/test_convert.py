"""Official checkpoints: every byte checked, every variable accounted for, and nothing guessed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from official_values import official_value

from feelvos_lab.cli.main import main
from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.checkpoint import initialise, load_checkpoint
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.tf_import.checkpoint_format import Bundle, Entry, masked_crc32c
from feelvos_lab.tf_import.convert import import_checkpoint
from feelvos_lab.tf_import.names import official_names

SHARED = Path(os.environ.get("FEELVOS_SHARED", Path(__file__).parents[3] / "shared")) / "golden"
GENUINE = SHARED / "checkpoint"

needs_shared = pytest.mark.skipif(not GENUINE.is_dir(), reason="needs golden/checkpoint in the folder FEELVOS_SHARED")


class RuleBundle(Bundle):
    """The genuine index of a whole training checkpoint, whose data file is too large to keep: values by the rule."""

    def __init__(self, folder: Path) -> None:
        shutil.copy(GENUINE / "full_network.index_only", folder / "model.ckpt-200004.index")
        super().__init__(folder / "model.ckpt-200004")

    def read(self, name: str) -> np.ndarray:
        return official_value(name, self.entries[name].shape)


def _without(bundle: Bundle, *scopes: str) -> Bundle:
    bundle.entries = {name: entry for name, entry in bundle.entries.items() if not name.startswith(scopes)}
    return bundle


def test_a_checkpoint_without_the_package_for_checksums_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(LabError, match=r"needs the package google-crc32c, .*pip install 'feelvos_lab\[tensorflow\]'"):
        masked_crc32c(b"123456789")


@pytest.mark.parametrize("name", ["dtypes.ckpt", "sharded.ckpt", "head.ckpt-200004"])
@needs_shared
@pytest.mark.shared
def test_a_genuine_checkpoint_is_read_as_tensorflow_reads_it(name: str) -> None:
    bundle = Bundle(GENUINE / name)
    expected = json.loads((GENUINE / f"{name}.expected.json").read_text())
    assert set(bundle.entries) == set(expected)
    values = GENUINE / f"{name}.expected.npz"
    stored = np.load(values) if values.exists() else None
    for variable, (shape, dtype) in expected.items():
        if bundle.entries[variable].partitioned:
            with pytest.raises(LabError, match="partitioned, which is not read"):
                bundle.read(variable)
            continue
        ours = bundle.read(variable)
        assert (list(ours.shape), str(ours.dtype)) == (shape, dtype)
        if stored is not None:
            theirs = stored[variable.replace("/", ".")]
        elif variable == "global_step":
            theirs = np.load(GENUINE / f"{name}.expected_global_step.npz")["global_step"]
        else:
            theirs = official_value(variable, ours.shape)
        assert np.array_equal(ours, theirs), variable


@needs_shared
@pytest.mark.shared
def test_every_variable_of_the_official_network_has_its_place(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = set(official_names(Feelvos(configure("full").model)).values())
    listed = {line.split()[0] for line in (SHARED / "feelvos_tf_vars.txt").read_text().splitlines() if line}
    assert names == listed
    bundle = RuleBundle(tmp_path)
    expected = json.loads((GENUINE / "full_network.index_only.expected.json").read_text())
    assert {name: list(entry.shape) for name, entry in bundle.entries.items()} == expected
    others = set(bundle.entries) - names
    assert len(names) == 752
    assert {name.rpartition("/")[2] for name in others} == {"Momentum", "global_step"}


@needs_shared
@pytest.mark.shared
def test_an_imported_model_segments_as_the_official_code_does(tmp_path: Path) -> None:
    imported = import_checkpoint(RuleBundle(tmp_path), tmp_path / "m.safetensors")
    assert (imported.part, imported.taken, len(imported.left_out)) == ("all", 752, 461)
    model, config = load_checkpoint(tmp_path / "m.safetensors")
    assert config == configure("full", deepest_stride=8, context_rates=[12, 24, 36])
    case = np.load(SHARED / "network" / "f_sequence.npz")
    mask = torch.from_numpy(case["ref_labels"].astype(np.int64))[None]
    clip = Clip("sequence", torch.from_numpy(case["images"]).permute(0, 3, 1, 2), mask, (1, 2))
    for t, prediction in enumerate(propagate(model, clip)):
        official = torch.from_numpy(case["predicted_labels"][t].astype(np.int64))
        decided = torch.from_numpy(case["pred_margin"][t - 1]) >= 1e-3 if t else official >= 0
        assert torch.equal(prediction.labels[decided], official[decided])


@needs_shared
@pytest.mark.shared
def test_a_deeplab_checkpoint_starts_the_backbone_and_its_classifier_is_left_out(tmp_path: Path) -> None:
    bundle = _without(RuleBundle(tmp_path), "embedding/", "embedding_seg/")
    bundle.entries["logits/semantic/weights"] = Entry(1, (1, 1, 256, 21), 0, 0, 0, 0, False)
    imported = import_checkpoint(bundle, tmp_path / "start.safetensors")
    assert imported.part == "deeplab"
    assert "logits/semantic/weights" in imported.left_out
    model = Feelvos(configure("full").model)
    before = model.decoder.low[0].weight.clone()
    untouched = initialise(model, tmp_path / "start.safetensors", part="trunk")
    assert torch.equal(model.decoder.low[0].weight, before)
    assert {name.split(".")[0] for name in untouched} == {"decoder", "embedding", "head"}
    scope = "xception_65/middle_flow/block1/unit_7/xception_module/separable_conv2_pointwise/BatchNorm/moving_mean"
    assert np.array_equal(model.backbone.net.blocks[9].stack.conv2.bn_pw.running_mean, official_value(scope, (728,)))
    untouched = initialise(model, tmp_path / "start.safetensors", part="all")
    assert {name.split(".")[0] for name in untouched} == {"embedding", "head"}
    with pytest.raises(LabError, match="must be a 'feelvos_lab checkpoint"):
        load_checkpoint(tmp_path / "start.safetensors")
    with pytest.raises(LabError, match="has no tensor of the backbone"):
        initialise(Feelvos(configure("smoke").model), tmp_path / "start.safetensors", part="trunk")


@needs_shared
@pytest.mark.shared
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    bundle = RuleBundle(tmp_path)
    entry = bundle.entries["aspp1_pointwise/weights"]
    bundle.entries["aspp1_pointwise/weights"] = entry._replace(shape=(1, 1, 2048, 255))
    with pytest.raises(LabError, match=r"aspp1_pointwise/weights must have shape \(1, 1, 2048, 256\), has .* 255\)"):
        import_checkpoint(bundle, out)
    bundle.entries["aspp1_pointwise/weights"] = entry
    bundle.entries["aspp4_pointwise/weights"] = entry
    with pytest.raises(LabError, match=r"has 1 unknown variables: aspp4_pointwise/weights"):
        import_checkpoint(bundle, out)
    with pytest.raises(LabError, match=r"lacks \d+ of the 752 variables of part 'all': aspp0/BatchNorm/beta"):
        import_checkpoint(_without(bundle, "aspp"), out)
    assert not out.exists()


@needs_shared
@pytest.mark.shared
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in GENUINE.glob("dtypes.ckpt.*"):
        shutil.copy(path, tmp_path)
    data, index = tmp_path / "dtypes.ckpt.data-00000-of-00001", tmp_path / "dtypes.ckpt.index"
    for path in (data, index):
        path.chmod(0o644)
    whole = data.read_bytes()
    data.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(LabError, match="the checksum of a/b/c/deep/scope/weights is wrong"):
        Bundle(tmp_path / "dtypes.ckpt").read("a/b/c/deep/scope/weights")
    data.write_bytes(whole[:40])
    with pytest.raises(LabError, match="is truncated: u8 needs 5 bytes"):
        Bundle(tmp_path / "dtypes.ckpt").read("u8")
    data.unlink()
    with pytest.raises(LabError, match="data-00000-of-00001 is missing"):
        Bundle(tmp_path / "dtypes.ckpt").read("u8")
    content = index.read_bytes()
    index.write_bytes(content[:30] + bytes([content[30] ^ 4]) + content[31:])
    with pytest.raises(LabError, match="the checksum of a block is wrong"):
        Bundle(index)
    index.write_bytes(content[:-9])
    with pytest.raises(LabError, match="must be the index of a TensorFlow checkpoint"):
        Bundle(index)
    with pytest.raises(SystemExit, match="2"):
        main(["import-tf", str(tmp_path / "absent.ckpt"), "--out", str(tmp_path / "m.safetensors")])
    assert "absent.ckpt.index is missing" in capsys.readouterr().err


@needs_shared
@pytest.mark.shared
def test_a_checkpoint_of_the_head_alone_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["import-tf", str(GENUINE / "head.ckpt-200004"), "--out", str(tmp_path / "m.safetensors")])
    assert "of the 752 variables of part 'all': aspp0/BatchNorm/beta" in capsys.readouterr().err
