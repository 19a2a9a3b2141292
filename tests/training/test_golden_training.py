"""Loss, schedule and resizing against the official code's numbers (tests/golden; see its README)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from feelvos_lab.config import configure
from feelvos_lab.model.grid import resize_bilinear, resize_labels, stride4_size
from feelvos_lab.tf_import.names import to_official, to_torch
from feelvos_lab.training.losses import hard_pixel_loss, kept_fraction
from feelvos_lab.training.optimizer import make_optimizer, poly_rate, update

GOLDEN = Path(__file__).parents[1] / "golden"
LOSSES = sorted(path.stem for path in (GOLDEN / "loss").glob("*.npz"))
RESIZES = np.load(GOLDEN / "resize" / "resize.npz")


def _loss(case: dict[str, np.ndarray], video: int, logits: torch.Tensor, step: int) -> torch.Tensor:
    """The official loss of one video at one step, from ours: T frames, each with its top pixels among all of them."""
    labels = torch.from_numpy(case["labels"][..., 0].astype(np.int64))
    frames = len(logits)
    labels = labels[video * frames : (video + 1) * frames]  # (T, H, W)
    logits = logits.permute(0, 3, 1, 2)  # (T, K, h, w)
    if case["upsample_logits"]:
        logits = resize_bilinear(logits, tuple(labels.shape[1:]))
    else:
        labels = resize_labels(labels, tuple(logits.shape[2:]))
    keep = kept_fraction(
        step,
        hard_fraction=float(case["top_k_percent_pixels"]),
        anneal_steps=int(case["hard_example_mining_step"]),
    )
    wide = logits.permute(1, 0, 2, 3).flatten(1, 2)  # (K, T·H, W): the official code ranks the pixels of all T frames
    return hard_pixel_loss(wide, labels.flatten(0, 1), keep=keep) * float(case["loss_weight"])


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_and_its_gradient_are_the_official_ones(name: str) -> None:
    case = dict(np.load(GOLDEN / "loss" / f"{name}.npz"))
    videos = sum(key.startswith("logits_") for key in case)
    assert videos
    for video in range(videos):
        for i, step in enumerate(case["global_steps"].tolist()):
            logits = torch.from_numpy(case[f"logits_{video}"]).requires_grad_()
            loss = _loss(case, video, logits, step)
            loss.backward()
            assert loss.item() == pytest.approx(float(case["losses"][i, video]), abs=1e-5)
            official = torch.from_numpy(case[f"grad_logits_{video}"][i])
            assert (logits.grad - official).abs().max() <= 1e-5


def test_the_learning_rate_is_the_official_one_at_every_step() -> None:
    case = np.load(GOLDEN / "schedule" / "learning_rate.npz")
    ours = [poly_rate(step, base=0.0007, steps=200_000, power=0.9) for step in case["global_steps"].tolist()]
    assert np.abs(np.array(ours) - case["poly_default"]).max() <= 1e-9
    ours = [poly_rate(step, base=0.007, steps=30_000, power=0.5) for step in case["global_steps"].tolist()]
    assert np.abs(np.array(ours) - case["poly_lr2"]).max() <= 1e-9


def _toy(case: dict[str, np.ndarray]) -> tuple[nn.ModuleDict, dict[str, tuple[nn.Parameter, str]]]:
    """The official case's four convolutions, and by its keys each parameter with the end of its official name."""
    layers = nn.ModuleDict(
        {
            "logits semantic": nn.Conv2d(4, 1, 1),
            "embedding split_separable_conv2d_depthwise": nn.Conv2d(4, 4, 3, groups=4),
            "embedding split_separable_conv2d_pointwise": nn.Conv2d(4, 5, 1, bias=False),
            "xception_65 entry_flow conv1_1": nn.Conv2d(3, 4, 3, bias=False),
        }
    )
    parameters = {}
    for path, layer in layers.items():
        weights = "depthwise_weights" if path.endswith("depthwise") else "weights"
        scope = path.replace(" ", ".")
        parameters[f"{scope}.{weights}"] = layer.weight, f"/{weights}"
        if layer.bias is not None:
            parameters[f"{scope}.biases"] = layer.bias, "/biases"
    assert sorted(parameters) == sorted(key[5:] for key in case if key.startswith("init:"))
    with torch.no_grad():
        for name, (parameter, end) in parameters.items():
            parameter.copy_(to_torch(torch.from_numpy(case[f"init:{name}"]), ours="", official=end))
    return layers, parameters


def _farthest_from_official(changes: dict[str, object]) -> float:
    """Largest error, relative to the value where that is above 1, of gradients, weights and momenta in four steps."""
    case = dict(np.load(GOLDEN / "schedule" / "optimizer_steps.npz"))
    settings = configure("full", **changes).train
    assert settings.clip_norm == case["clip_norm"]
    assert settings.momentum == pytest.approx(float(case["momentum"]), abs=1e-7)
    layers, parameters = _toy(case)
    optimizer = make_optimizer(layers, settings)
    worst = 0.0
    for i, rate in enumerate(case["lr"].tolist()):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, (parameter, end) in parameters.items():
            parameter.grad = to_torch(torch.from_numpy(case[f"data_grad:{name}"][i]), ours="", official=end).clone()
        update(layers, optimizer, settings)
        for name, (parameter, end) in parameters.items():
            for key, ours in (
                ("final_grad", parameter.grad),
                ("var_after", parameter.detach()),
                ("momentum_after", optimizer.state[parameter]["momentum_buffer"]),
            ):
                official = torch.from_numpy(case[f"{key}:{name}"][i])
                error = (to_official(ours, ours="", official=end) - official).abs() / official.abs().clamp(min=1)
                worst = max(worst, error.max().item())
    return worst


def test_the_steps_of_preset_full_are_the_official_ones() -> None:
    assert _farthest_from_official({}) <= 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"decay_depthwise": True},
        {"decay_in_gradient": False},
        {"clip_by": "all"},
        {"bias_gradient": 1.0},
        {"weight_decay": 0.0},
    ],
    ids=lambda change: str(next(iter(change))),
)
def test_every_setting_of_the_step_matters(change: dict[str, object]) -> None:
    assert _farthest_from_official(change) > 1e-5


@pytest.mark.parametrize("number", sorted({key[:2] for key in RESIZES.files}))
def test_labels_and_features_are_resized_by_the_official_rules(number: str) -> None:
    height, width, rows, columns = RESIZES[f"{number}_size"].tolist()
    if f"{number}_nn_index_y" in RESIZES.files:
        numbered = torch.arange(height)[:, None].expand(height, width)
        assert resize_labels(numbered, (rows, columns))[:, 0].tolist() == RESIZES[f"{number}_nn_index_y"].tolist()
        numbered = torch.arange(width)[None].expand(height, width)
        assert resize_labels(numbered, (rows, columns))[0].tolist() == RESIZES[f"{number}_nn_index_x"].tolist()
        return
    labels = torch.from_numpy(RESIZES[f"{number}_labels"][..., 0].astype(np.int64))
    official = torch.from_numpy(RESIZES[f"{number}_labels_nearest"][..., 0].astype(np.int64))
    assert torch.equal(resize_labels(labels, (rows, columns)), official)
    if f"{number}_x" in RESIZES.files:
        x = torch.from_numpy(RESIZES[f"{number}_x"]).permute(0, 3, 1, 2)
        official = torch.from_numpy(RESIZES[f"{number}_x_bilinear"]).permute(0, 3, 1, 2)
        assert (resize_bilinear(x, (rows, columns)) - official).abs().max() <= 1e-4


def test_the_stride_4_grid_of_a_480p_frame_has_120_by_214_cells() -> None:
    assert stride4_size((480, 854)) == (120, 214)
    assert stride4_size((465, 465)) == (117, 117)
    assert stride4_size((1, 4)) == (1, 1)
