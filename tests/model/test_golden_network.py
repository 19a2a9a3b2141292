"""The network of preset full, stage by stage, against the official code's numbers (shared/golden/network)."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from official_values import official_value
from torch import Tensor, nn

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.feelvos import Feelvos, label_frame
from feelvos_lab.model.grid import resize_bilinear
from feelvos_lab.model.matching import nearest_global
from feelvos_lab.tf_import.names import official_names, to_official, to_torch
from feelvos_lab.training.losses import batch_loss, kept_fraction
from feelvos_lab.training.optimizer import decayed_weights
from feelvos_lab.training.samples import Sample

SHARED = Path(os.environ.get("FEELVOS_SHARED", Path(__file__).parents[3] / "shared"))
NETWORK = SHARED / "golden" / "network"
CASES = ["a_os8_65x65", "b_os8_97x129", "c_os8_70x94", "d_os16_97x129", "e_os8_161x193_4obj", "g_os8_65x65_window4"]
STAGES = {  # the official end point → our module
    "conv1_1": "backbone.net.stem.0",
    "conv1_2": "backbone.net.stem.1",
    "block1": "backbone.net.blocks.0",
    "block3": "backbone.net.blocks.2",
    "middle": "backbone.net.blocks.18",
    "exit1": "backbone.net.blocks.19",
    "high_level": "backbone.net.blocks.20",
    "aspp": "decoder.context",
    "decoder": "decoder",
    "embedding": "embedding",
    "head_logits": "head.logit",
}

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not NETWORK.is_dir(), reason="needs golden/network in the folder FEELVOS_SHARED"),
]


@pytest.fixture(scope="module")
def variables() -> dict[str, Tensor]:
    """All 752 variables by their official names."""
    listed = json.loads((NETWORK / "variables.json").read_text())
    return {name: torch.from_numpy(official_value(name, tuple(shape))) for name, shape in listed}


@pytest.fixture(scope="module")
def weights(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same as a state dict of preset full."""
    with torch.device("meta"):
        names = official_names(Feelvos(configure("full").model))
    assert sorted(names.values()) == sorted(variables)
    return {ours: to_torch(variables[official], ours=ours, official=official) for ours, official in names.items()}


def _official(weights: dict[str, Tensor], **settings: object) -> Feelvos:
    with torch.device("meta"):
        model = Feelvos(configure("full", **settings).model)
    model = model.to_empty(device="cpu")
    model.backbone.mean.fill_(0.5)
    model.backbone.std.fill_(0.5)
    odd = model.load_state_dict(weights, strict=False)
    assert odd.unexpected_keys == []
    assert all(name.endswith("num_batches_tracked") for name in odd.missing_keys)
    return model.eval()


def _settings(flags: dict[str, object]) -> dict[str, object]:
    return {"deepest_stride": flags["output_stride"], "context_rates": flags["atrous_rates"]}


def _images(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255  # (T, 3, H, W)


def _labels(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


def _close(ours: Tensor, official: np.ndarray, *, name: str, atol: float) -> None:
    theirs = torch.from_numpy(official)
    assert ours.shape == theirs.shape, name
    error = (ours - theirs).abs().max().item()
    assert error <= atol, f"{name}: differs by {error:.2e}, numbers reach {theirs.abs().max():.2e}"


def _recorded(model: Feelvos) -> dict[str, Tensor]:
    """What each stage gives in the next forward pass; filled by hooks."""
    found: dict[str, Tensor] = {}

    def keep(name: str, path: str, *, given: bool = False) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            found[name] = inputs[0] if given else output

        model.get_submodule(path).register_forward_hook(hook)

    for name, path in STAGES.items():
        keep(name, path)
    keep("low_level", "decoder.low", given=True)
    keep("block2", "backbone.net.blocks.2.stack.act1", given=True)
    keep("head_features", "head.logit", given=True)
    return found


def test_the_rule_gives_the_values_the_official_code_was_run_with(variables: dict[str, Tensor]) -> None:
    checks = json.loads((NETWORK / "variables_check.json").read_text())
    assert checks
    for name, check in checks.items():
        values = variables[name].numpy()
        assert list(values.shape) == check["shape"]
        assert values.ravel()[:4].tolist() == pytest.approx(check["first4"])
        assert zlib.crc32(values.tobytes()) == check["crc32"], name


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
def test_every_stage_is_the_official_one(name: str, weights: dict[str, Tensor]) -> None:
    case, card = np.load(NETWORK / f"{name}.npz"), json.loads((NETWORK / f"{name}.json").read_text())
    flags, thinned = card["flags"], card["channel_stride"]
    model = _official(weights, radius=flags["previous_frame_attention_window_size"], **_settings(flags))
    found = _recorded(model)
    encoded = model.encode(_images(np.stack([case[i] for i in ("first_image", "prev_image", "image")])))
    objects = len(case["gt_ids"])
    assert case["gt_ids"].tolist() == list(range(objects))
    first, previous = (
        label_frame(encoded.embeddings[i], _labels(case[name]), num_objects=objects)
        for i, name in enumerate(("ref_labels", "prev_labels"))
    )
    cues = model.cues(encoded.features[2], encoded.embeddings[2], first, previous)
    logits = model.segment([cues])[0]

    stages = {stage: maps if stage.startswith("head") else maps[2:] for stage, maps in found.items()}
    stages |= {"ref_embedding": encoded.embeddings[:1], "prev_embedding": encoded.embeddings[1:2]}
    compared = [stage for stage in stages if stage in case]
    assert len(compared) == (3 if name == "g_os8_65x65_window4" else len(STAGES) + 5), compared
    for stage in compared:
        _close(stages[stage].permute(0, 2, 3, 1)[..., :: thinned.get(stage, 1)], case[stage], name=stage, atol=1e-4)
    for stage, labels in (("ref_labels_small", first.labels), ("prev_labels_small", previous.labels)):
        if stage in case:
            assert torch.equal(labels, _labels(case[stage][..., 0]))
    raw = nearest_global(cues.embeddings, first.embeddings, first.labels, num_objects=objects).sq_distance
    for stage, ours, atol in (
        ("global_raw", raw, 1e-4),
        ("global_map", cues.global_map, 1e-5),
        ("local_map", cues.local_map, 1e-5),
        ("softmax", logits.softmax(0), 2e-5),
    ):
        _close(ours.permute(1, 2, 0), case[stage].reshape(*ours.shape[1:], objects), name=stage, atol=atol)
    full = resize_bilinear(logits[None], case["ref_labels"].shape)[0]  # (K, H, W)
    predicted, top = full.argmax(0), full.topk(2, dim=0).values
    decided = torch.from_numpy(case["pred_margin"]) >= 1e-3 if "pred_margin" in case else top[0] - top[1] >= 1e-3
    assert decided.float().mean() > 0.99
    assert torch.equal(predicted[decided], _labels(case["predictions"][0])[decided])


def test_a_sequence_is_propagated_as_the_official_code_does(weights: dict[str, Tensor]) -> None:
    case, card = np.load(NETWORK / "f_sequence.npz"), json.loads((NETWORK / "f_sequence.json").read_text())
    model = _official(weights, **_settings(card["flags"]))
    expected = _labels(case["predicted_labels"])
    clip = Clip(
        "sequence", torch.from_numpy(case["images"]).permute(0, 3, 1, 2), _labels(case["ref_labels"])[None], (1, 2)
    )
    predictions = list(propagate(model, clip, feedback="hard"))
    assert len(predictions) == len(expected) == 5
    for t, prediction in enumerate(predictions[1:]):
        decided = torch.from_numpy(case["pred_margin"][t]) >= 1e-3
        assert decided.float().mean() > 0.99
        assert torch.equal(prediction.labels[decided], expected[t + 1][decided])
        with torch.inference_mode():
            softmax = model.segment([prediction.cues])[0].softmax(0)
        _close(softmax.permute(1, 2, 0), case["softmax"][t], name=f"softmax {t + 1}", atol=2e-5)


def test_the_weights_that_decay_are_the_official_ones(weights: dict[str, Tensor]) -> None:
    card = json.loads((NETWORK / "h_train_os16.json").read_text())
    model, settings = _official(weights, **_settings(card["flags"])), configure("full").train
    decayed = decayed_weights(model, settings)
    ids = {id(p) for p in decayed}
    official = {n for n in official_names(model).values() if n.endswith("/weights")}
    assert {official_names(model)[n] for n, p in model.named_parameters() if id(p) in ids} == official
    assert len(decayed) == 84
    penalty = sum(0.5 * settings.weight_decay * p.double().square().sum().item() for p in decayed)
    assert penalty == pytest.approx(float(np.load(NETWORK / "h_train_os16.npz")["regularization_loss"]), rel=1e-5)


def test_losses_and_gradients_of_a_training_step_are_the_official_ones(weights: dict[str, Tensor]) -> None:
    case, card = np.load(NETWORK / "h_train_os16.npz"), json.loads((NETWORK / "h_train_os16.json").read_text())
    flags = card["flags"]
    config = configure(
        "full",
        clips_summed=2,  # the official loss is the sum over the clips
        hard_fraction=flags["top_k_percent_pixels"],
        hard_anneal_steps=flags["hard_example_mining_step"],
        **_settings(flags),
    )
    model = _official(weights, **_settings(flags))
    found = _recorded(model)
    frames, labels = _images(case["images"]), _labels(case["labels"][..., 0])
    samples = [
        Sample(frames[i : i + 3], labels[i : i + 3], int(labels[i].max()) + 1)
        for i in range(0, len(frames), flags["frames_per_video"])
    ]
    assert [sample.num_objects for sample in samples] == [case["logits_0"].shape[-1], case["logits_1"].shape[-1]]

    def loss(chosen: list[Sample], step: int) -> Tensor:
        keep = kept_fraction(
            step, hard_fraction=config.train.hard_fraction, anneal_steps=config.train.hard_anneal_steps
        )
        return batch_loss(model, chosen, config=config, keep=keep, rngs=[np.random.default_rng(0)] * len(chosen))

    for i, step in enumerate(case["global_steps"].tolist()):
        for video, sample in enumerate(samples):
            with torch.no_grad():
                assert loss([sample], step).item() / 2 == pytest.approx(case["losses"][i, video], abs=1e-4)
    total = loss(samples, step)
    assert total.item() == pytest.approx(case["losses"][-1].sum(), abs=1e-4)
    total.backward()
    _close(found["embedding"].detach().permute(0, 2, 3, 1), case["embedding"], name="embedding", atol=1e-4)
    logits = np.concatenate([case[f"logits_{video}"][0].transpose(2, 0, 1) for video in (0, 1)])
    _close(found["head_logits"].detach()[:, 0], logits, name="logits", atol=1e-4)

    compared = 0
    norms = card["gradient_l2_norm_per_step"]
    parameters = dict(model.named_parameters())
    for ours, official in official_names(model).items():
        if ours not in parameters or official == "logits/semantic/biases":  # whose gradient is 0 but for rounding
            continue
        gradient = to_official(parameters[ours].grad, ours=ours, official=official)
        assert gradient.norm().item() == pytest.approx(norms[official][-1], rel=5e-3), official
        key = "grad:" + official.replace("/", ".")
        if key in case:
            _close(gradient, case[key], name=key, atol=5e-3 * float(np.abs(case[key]).max()))
            compared += 1
    assert compared == sum(key.startswith("grad:") for key in case.files) - 1
    assert len(parameters) == len(norms)
