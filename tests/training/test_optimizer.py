"""Laws of the optimizer's step: all gradients in a few calls give what one call for each gives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from feelvos_lab.training.optimizer import clip_each

SHAPES = [(1,), (3,), (48,), (2048,), (17, 5), (64, 1, 7, 7), (256, 304, 1, 1), (1, 1, 1, 1)]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def with_gradients(scale: float, device: str) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(shape, device=device)) for shape in SHAPES]
    for p in parameters:
        p.grad = (scale * torch.randn(p.shape, generator=generator)).to(device)
        if p.dim() == 4:
            p.grad = p.grad.contiguous(memory_format=torch.channels_last)
    return [*parameters, nn.Parameter(torch.zeros(2, device=device))]  # the last has no gradient


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scale", [1e-6, 0.1, 1.0, 1e3])
def test_gradients_clipped_at_once_are_those_clipped_one_by_one(scale: float, device: str) -> None:
    together, alone = with_gradients(scale, device), with_gradients(scale, device)
    norms = clip_each(together, 5.0)
    expected = torch.stack([nn.utils.clip_grad_norm_([p], 5.0) for p in alone[:-1]])
    tolerance = {"rtol": 1e-6, "atol": 0.0} if device == "cuda" else {"rtol": 0.0, "atol": 0.0}  # there, bit for bit
    torch.testing.assert_close(norms, expected, **tolerance)
    for ours, theirs in zip(together[:-1], alone[:-1], strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, **tolerance)
    assert together[-1].grad is None
    clipped = max(p.grad.norm().item() for p in together[:-1])
    assert clipped == pytest.approx(min(5.0, expected.max().item()), rel=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_norm_of_a_gradient_that_is_not_finite_is_reported_by_itself(value: float) -> None:
    parameters = with_gradients(1.0, "cpu")
    parameters[2].grad[7] = value
    norms = clip_each(parameters, 5.0)
    assert norms.isfinite().logical_not().nonzero().flatten().tolist() == [2]
