"""What moves the weights: the optimizer's step, and which of the network's parts it leaves as they are."""

from __future__ import annotations

import torch
from torch import nn

from feelvos_lab.config import TrainConfig
from feelvos_lab.errors import LabError


def make_optimizer(model: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    """Weight decay reaches matrices and kernels, not biases and norms: see `decayed_weights` and `update`."""
    decayed = decayed_weights(model, settings)
    known = {id(p) for p in decayed}
    groups = [
        {"params": decayed, "weight_decay": 0.0 if settings.decay_in_gradient else settings.weight_decay},
        {"params": [p for p in model.parameters() if p.requires_grad and id(p) not in known], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def decayed_weights(model: nn.Module, settings: TrainConfig) -> list[nn.Parameter]:
    """The trained weights that decay: those of more than one axis, depthwise kernels where the settings say so."""
    spared = set() if settings.decay_depthwise else {id(m.weight) for m in model.modules() if _is_depthwise(m)}
    return [p for p in model.parameters() if p.requires_grad and p.ndim > 1 and id(p) not in spared]


def update(model: nn.Module, optimizer: torch.optim.Optimizer, settings: TrainConfig) -> None:
    """One step from the gradients that are there, in the official order: decay, biases' factor, clipping, momentum.

    With `decay_in_gradient` the decay is a part of the gradient, so that it is clipped along with it, as that of a
    loss with ½ · weight_decay · ‖w‖² in it. Else the optimizer adds it to what was clipped.

    Raises:
        LabError: a gradient whose norm is not finite; no weight was moved.
    """
    if settings.decay_in_gradient:
        for weight in decayed_weights(model, settings):
            if weight.grad is not None:
                weight.grad.add_(weight.detach(), alpha=settings.weight_decay)
    if settings.bias_gradient != 1.0:
        scale_bias_gradients(model, settings.bias_gradient)
    together = [[p] for p in model.parameters()] if settings.clip_by == "tensor" else [list(model.parameters())]
    norms = [torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm) for parameters in together]
    if strange := [norm.item() for norm in norms if not norm.isfinite()]:
        raise LabError(f"the gradient's norm must be finite, got {strange[0]}")
    optimizer.step()


def set_training(model: nn.Module, settings: TrainConfig) -> None:
    """Training mode; with `freeze_norm` batch norms normalise by the statistics they have, and keep them.

    Their scale and shift are trained all the same, as in the official code (`fine_tune_batch_norm=False`).
    """
    model.train()
    if settings.freeze_norm:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def scale_bias_gradients(model: nn.Module, factor: float) -> None:
    """Multiply the gradients of the convolutions' biases, as the official code does; shifts of batch norms are none."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None and module.bias.grad is not None:
            module.bias.grad.mul_(factor)


def _is_depthwise(module: nn.Module) -> bool:
    """Whether it is a convolution of each channel with a kernel of its own."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def poly_rate(step: int, *, base: float, steps: int, power: float) -> float:
    """Learning rate base · (1 − step / steps)^power, the schedule of DeepLab."""
    return base * (1.0 - min(step, steps) / steps) ** power
