"""Map the names of `Feelvos` tensors to the variables of the official code, and convert their layout. For example:

    backbone.net.blocks.9.stack.conv2.bn_pw.running_mean
    xception_65/middle_flow/block1/unit_7/xception_module/separable_conv2_pointwise/BatchNorm/moving_mean

The names are derived from the structure of the two networks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from feelvos_lab.errors import LabError
from feelvos_lab.model.feelvos import Feelvos

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}

_CUES = [0, 2, 1]  # official order: global map, mask, local map; ours: global map, local map, mask

_CUE_AXIS = {  # the axis of the input channels in the head's first layer, of which the last three are the cues
    "head.layers.0.depthwise.weight": 0,
    "head.layers.0.depthwise.bias": 0,
    "head.layers.0.pointwise.weight": 1,
}


def official_names(model: Feelvos) -> dict[str, str]:
    """Our name → the official one, for every tensor of the state dict except torch's batch counters.

    Raises LabError for a network that is not the official one, such as with another backbone or a cue switched off.
    """
    scopes, names = _scopes(), {}
    modules = {
        path: module for path, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
    }
    if odd := sorted(set(modules) ^ set(scopes)):
        whose = "the official network" if odd[0] in modules else "the model"
        raise LabError(f"the model must be built as preset full is: {whose} has no {odd[0]}")
    cues = model.head.layers[0].depthwise.in_channels - model.config.decoder_dim
    if cues != len(_CUES):
        raise LabError(f"the official network sees {len(_CUES)} cues, the model {cues}")
    for path, module in modules.items():
        if isinstance(module, nn.BatchNorm2d):
            leaves = _NORM
        else:
            leaves = {"weight": "weights" if module.groups == 1 else "depthwise_weights", "bias": "biases"}
        names |= {
            f"{path}.{ours}": f"{scopes[path]}/{theirs}"
            for ours, theirs in leaves.items()
            if getattr(module, ours) is not None
        }
    return names


def to_torch(variable: Tensor, *, ours: str, official: str) -> Tensor:
    """An official variable as the tensor `ours` of the state dict.

    Kernels (k, k, in, out) → (out, in, k, k), depthwise ones (k, k, C, 1) → (C, 1, k, k); the cue channels of the head
    are put into our order. Anything else is unchanged.
    """
    if variable.dim() == 4:
        variable = variable.permute((2, 3, 0, 1) if official.endswith("/depthwise_weights") else (3, 2, 0, 1))
    return _swap_cues(variable, ours)


def to_official(tensor: Tensor, *, ours: str, official: str) -> Tensor:
    """The inverse of `to_torch`."""
    tensor = _swap_cues(tensor, ours)
    if tensor.dim() == 4:
        tensor = tensor.permute((2, 3, 0, 1) if official.endswith("/depthwise_weights") else (2, 3, 1, 0))
    return tensor


def _swap_cues(tensor: Tensor, ours: str) -> Tensor:
    if ours not in _CUE_AXIS:
        return tensor
    axis = _CUE_AXIS[ours]
    features = tensor.shape[axis] - len(_CUES)
    order = [*range(features), *(features + cue for cue in _CUES)]
    return tensor.index_select(axis, torch.tensor(order, device=tensor.device))


def _scopes() -> dict[str, str]:
    """The path of each convolution and batch norm in our network → its official scope."""
    scopes: dict[str, str] = {}

    def add(path: str, scope: str, conv: str, norm: str = "") -> None:
        scopes[f"{path}.{conv}"] = scope
        if norm:
            scopes[f"{path}.{norm}"] = f"{scope}/BatchNorm"

    def add_separable(path: str, scope: str) -> None:
        add(f"{path}.0", f"{scope}_depthwise", "0", "1")
        add(f"{path}.1", f"{scope}_pointwise", "0", "1")

    for i in (0, 1):
        add(f"backbone.net.stem.{i}", f"xception_65/entry_flow/conv1_{i + 1}", "conv", "bn")
    blocks = [f"entry_flow/block{i}/unit_1" for i in (1, 2, 3)]
    blocks += [f"middle_flow/block1/unit_{i}" for i in range(1, 17)]
    blocks += [f"exit_flow/block{i}/unit_1" for i in (1, 2)]
    for i, block in enumerate(blocks):
        path, scope = f"backbone.net.blocks.{i}", f"xception_65/{block}/xception_module"
        for j in (1, 2, 3):
            for short, long in (("dw", "depthwise"), ("pw", "pointwise")):
                add(f"{path}.stack.conv{j}", f"{scope}/separable_conv{j}_{long}", f"conv_{short}", f"bn_{short}")
        if block.startswith("entry") or block == "exit_flow/block1/unit_1":
            add(f"{path}.shortcut", f"{scope}/shortcut", "conv", "bn")

    add("decoder.context.image", "image_pooling", "0", "1")
    add("decoder.context.branches.0", "aspp0", "0", "1")
    for i in (1, 2, 3):
        add_separable(f"decoder.context.branches.{i}", f"aspp{i}")
    add("decoder.context.join", "concat_projection", "0", "1")
    add("decoder.low", "decoder/feature_projection0", "0", "1")
    for i in (0, 1):
        add_separable(f"decoder.mix.{i}", f"decoder/decoder_conv{i}")

    for part in ("depthwise", "pointwise"):
        add("embedding", f"embedding/split_separable_conv2d_{part}", part)
        for i in range(4):
            add(f"head.layers.{i}", f"embedding_seg/split_separable_conv2d_{i}_{part}", part)
    add("head", "logits/semantic", "logit")
    return scopes
