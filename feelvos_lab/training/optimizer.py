"""The optimizer, its step, its learning rate, and the weights that decay or stay frozen."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from feelvos_lab.config import TrainConfig
from feelvos_lab.errors import LabError


def make_optimizer(model: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    """SGD or AdamW; weight decay for kernels, not for biases and norms: see `decayed_weights` and `update`."""
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
    """The trained weights of more than one axis, depthwise kernels only with `decay_depthwise`."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    depthwise = {id(c.weight) for c in convolutions if c.groups == c.in_channels > 1}  # one kernel per channel
    spared = set() if settings.decay_depthwise else depthwise
    return [p for p in model.parameters() if p.requires_grad and p.ndim > 1 and id(p) not in spared]


def update(model: nn.Module, optimizer: torch.optim.Optimizer, settings: TrainConfig) -> None:
    """One step from the current gradients, in the official order: decay, factor of the biases, clipping, momentum.

    With `decay_in_gradient` the decay is part of the gradient and is clipped with it, as if the loss contained
    ½ · weight_decay · ‖w‖². Else the optimizer adds it after clipping.
    Raises LabError for a gradient whose norm is not finite; the weights are unchanged.
    """
    if settings.decay_in_gradient:
        decayed = [p for p in decayed_weights(model, settings) if p.grad is not None]
        torch._foreach_add_([p.grad for p in decayed], [p.detach() for p in decayed], alpha=settings.weight_decay)
    if settings.bias_gradient != 1.0:
        scale_bias_gradients(model, settings.bias_gradient)
    if settings.clip_by == "tensor":
        norms = clip_each(model.parameters(), settings.clip_norm)
    else:
        norms = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm).view(1)
    if not norms.isfinite().all():  # the only wait for a GPU in an update
        raise LabError(f"the gradient's norm must be finite, got {norms[~norms.isfinite()][0].item()}")
    optimizer.step()


def clip_each(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale down each gradient whose norm is above `limit`, as `clip_grad_norm_` does for each parameter by itself.

    Returns their norms before. For all in a few calls: on a GPU 300 calls that are waited for took as long as the rest.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack(torch._foreach_norm(gradients))
    torch._foreach_mul_(gradients, (limit / (norms + 1e-6)).clamp(max=1.0).unbind())
    return norms


def set_training(model: nn.Module, settings: TrainConfig) -> None:
    """Training mode; with `freeze_norm` batch norms use and keep their running statistics.

    Their scale and shift are still trained, as in the official code (`fine_tune_batch_norm=False`).
    """
    model.train()
    if settings.freeze_norm:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def scale_bias_gradients(model: nn.Module, factor: float) -> None:
    """Multiply the gradients of the convolutions' biases, not of the batch norms' shifts, as in the official code."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None and module.bias.grad is not None:
            module.bias.grad.mul_(factor)


def poly_rate(step: int, *, base: float, steps: int, power: float) -> float:
    """The learning rate base · (1 − step / steps)^power, DeepLab's schedule.

    Example:
        >>> from feelvos_lab.training import poly_rate
        >>> [poly_rate(step, base=0.1, steps=100, power=1.0) for step in (0, 50, 100)]
        [0.1, 0.05, 0.0]
    """
    return base * (1.0 - min(step, steps) / steps) ** power
