"""What moves the weights: the optimizer, and which of the network's parts it leaves as they are."""

from __future__ import annotations

import torch
from torch import nn

from feelvos_lab.config import TrainConfig


def make_optimizer(model: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    """Weight decay reaches matrices and kernels, not biases and norms."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


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
