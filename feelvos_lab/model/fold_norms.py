"""Fold batch norms into the convolutions before them: the same function with fewer layers, for inference."""

from __future__ import annotations

import copy
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from feelvos_lab.errors import LabError
from feelvos_lab.model.feelvos import Feelvos

_PROBE = (1, 3, 65, 65)  # shape of a random image that is passed through to see which norm follows which convolution


@torch.no_grad()
def fold_batch_norms(model: Feelvos) -> Feelvos:
    """A copy of the network, for inference, in which each convolution includes the batch norm after it.

    A batch norm with fixed statistics is y = γ (x − μ) / √(σ² + ε) + β, and x = w∗i + b is linear in w and b. So
    w' = w γ / √(σ² + ε) and b' = γ (b − μ) / √(σ² + ε) + β give y at once. A random image verifies that the features
    stay the same: on the CPU, since a GPU rounds the factors of a convolution to 10 bits (TF32). The copy has other
    tensors than the model, so do not save it as a checkpoint.

    Raises:
        LabError: a network in training mode, or features that change.
    """
    if model.training:
        raise LabError("batch norms can be folded in evaluation mode alone: call model.eval() first")
    device = next(model.parameters()).device
    image = torch.rand(_PROBE, generator=torch.Generator().manual_seed(0))
    result = copy.deepcopy(model).requires_grad_(False).cpu()
    expected = result.encode(image).features
    norms = _norms_behind_convolutions(result, image)
    for module in list(result.modules()):
        for name, child in list(module.named_children()):
            if convolution := norms.get(child):
                convolution.weight, convolution.bias = fuse_conv_bn_weights(
                    *(convolution.weight, convolution.bias, child.running_mean, child.running_var),
                    *(child.eps, child.weight, child.bias),
                )
                setattr(module, name, getattr(child, "act", nn.Identity()))  # timm's norms have an activation inside
    result.to(memory_format=torch.channels_last)
    error = (result.encode(image).features - expected).abs().max() / expected.abs().max().clamp(min=1e-6)
    if not error < 1e-3:
        raise LabError(
            f"folding the batch norms of backbone {model.config.backbone!r} must not change the features, "
            f"they differ by {error:.1e} of the largest one"
        )
    return result.to(device)


def _norms_behind_convolutions(model: Feelvos, image: Tensor) -> dict[nn.Module, nn.Conv2d]:
    """Each batch norm whose input is the output of a convolution, with that convolution."""
    # by id of the output; the tensor is kept, so that its id is not reused
    source: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    found: dict[nn.Module, nn.Conv2d] = {}

    def remember(convolution: nn.Conv2d, _: object, output: Tensor) -> None:
        source[id(output)] = convolution, output

    def look_up(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        if id(inputs[0]) in source:
            found[norm] = source[id(inputs[0])][0]

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                hooks.callback(module.register_forward_hook(remember).remove)
            elif isinstance(module, nn.BatchNorm2d):
                hooks.callback(module.register_forward_pre_hook(look_up).remove)
        model.encode(image)
    return found
