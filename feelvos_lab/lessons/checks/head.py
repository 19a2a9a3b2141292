"""Notebook 05: the probabilities from the output of the segmentation head."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Law, Mistake
from feelvos_lab.lessons.checks.stack_cues import STACK
from feelvos_lab.model.head import combine_objects


def _logit_cases() -> list[Case]:
    generator = Generator().manual_seed(7)

    def random(*size: int) -> Tensor:
        return 2 * torch.randn(*size, generator=generator)

    apart = torch.tensor([[[300.0, -300.0, 0.5]], [[299.0, -301.0, 0.0]], [[280.0, -300.5, 1.0]]])
    one_large = torch.tensor([[[0.0, 400.0]], [[400.0, 1.0]], [[-3.0, 2.0]]])
    return [
        Case("hand", "three objects on 1×2 pixels", {"logits": torch.tensor([[[0.0, 2]], [[0, 1]], [[1, -1]]])}),
        Case("random", "four objects on 3×5 pixels", {"logits": random(4, 3, 5)}),
        Case("random", "three objects on 3×3 pixels: all axes are equally long", {"logits": random(3, 3, 3)}),
        Case("edge", "two objects on one pixel", {"logits": torch.tensor([[[0.4]], [[-0.3]]])}, telling=False),
        Case("edge", "one object, which has every pixel", {"logits": random(1, 2, 3)}, telling=False),
        Case("edge", "all logits are equal", {"logits": torch.full((4, 2, 2), 3.0)}, telling=False),
        Case("edge", "logits of −300 on a pixel", {"logits": torch.tensor([[[-300.0]], [[-301.0]]])}, telling=False),
        Case(
            "edge",
            "logits of 300 on a pixel, as a very sure network gives",
            {"logits": torch.tensor([[[300.0]], [[299.0]]])},
            telling=False,
        ),
        Case("edge", "logits of 300 on one pixel and of −300 on another", {"logits": apart}, telling=False),
        Case("edge", "one logit of 400 among others near 0", {"logits": one_large}, telling=False),
    ]


def _hard(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(0), len(logits)).permute(2, 0, 1).float()


def _shares(weigh: Callable[[Tensor], Tensor]) -> Answer:
    """Weights of the logits, divided by their sum over the objects."""
    return lambda logits: weigh(logits) / weigh(logits).sum(0)


_COMBINE = Exercise(
    "combine_objects",
    combine_objects,
    _logit_cases,
    axes=("object", "row", "column"),
    laws=(
        Law("a probability is a number, and not nan", lambda given, p: not bool(p.isnan().any())),
        Law("a probability lies in 0 … 1", lambda given, p: bool(((p > -1e-3) & (p < 1.001)).all())),
        Law("the objects sum to 1 at every pixel", lambda given, p: bool(((p.sum(0) - 1).abs() < 1e-3).all())),
        Law(
            "the object with the largest logit has the largest probability",
            lambda given, p: bool((p.argmax(0) == given["logits"].argmax(0)).all()),
        ),
    ),
    mistakes=(
        Mistake(
            "sigmoid",
            "each object is treated separately, as by a sigmoid, and the sum is not 1; objects must compete",
            (torch.sigmoid,),
        ),
        Mistake(
            "sigmoid-shares",
            "these look like sigmoids divided by their sum; exp(z) divided by its sum is asked for",
            (_shares(torch.sigmoid),),
        ),
        Mistake(
            "linear",
            "these look like logits divided by their sum, without an exponential; logits may be negative",
            (
                _shares(lambda z: z),
                _shares(lambda z: z - z.amin(0)),
                _shares(lambda z: z.relu()),
                _shares(torch.abs),
                _shares(torch.square),
                _shares(F.softplus),
                _shares(lambda z: z - z.min()),
                lambda logits: (logits - logits.min()) / (logits.max() - logits.min()),
                lambda logits: (logits - logits.amin(0)) / (logits.amax(0) - logits.amin(0)),
                lambda logits: logits / logits.norm(dim=0),
            ),
        ),
        Mistake(
            "space",
            "the softmax runs over pixels here; it must run over the objects, so that they sum to 1 at every pixel",
            (
                lambda logits: logits.softmax(-1),
                lambda logits: logits.softmax(1),
                lambda logits: logits.flatten(1).softmax(1).view(logits.shape),
                lambda logits: logits.flatten().softmax(0).view(logits.shape),
                lambda logits: logits.exp() / logits.exp().sum(1, keepdim=True),
                lambda logits: logits.exp() / logits.exp().sum(-1, keepdim=True),
                lambda logits: logits.exp() / logits.exp().sum((1, 2), keepdim=True),
            ),
        ),
        Mistake(
            "all-sum",
            "the exponentials are divided by their sum over objects and pixels together; sum over the objects alone",
            (lambda logits: logits.exp() / logits.exp().sum(),),
        ),
        Mistake(
            "hard",
            "these are decisions, 0 or 1, or labels; the next frame needs to know how sure the network was",
            (
                _hard,
                lambda logits: logits.argmax(0),
                lambda logits: _hard(logits).long(),
                lambda logits: (logits > 0).float(),
                lambda logits: logits.softmax(0).round(),
                lambda logits: logits.amax(0),
                lambda logits: logits.softmax(0).amax(0),
                lambda logits: logits.argmax(0).float(),
            ),
        ),
        Mistake(
            "log",
            "these look like logarithms of probabilities; they must lie in 0 … 1",
            (lambda logits: logits.log_softmax(0),),
        ),
        Mistake(
            "unnormalised",
            "the exponentials are not divided by their sum over the objects, so they do not sum to 1 at a pixel",
            (
                torch.exp,
                lambda logits: (logits - logits.amax(0)).exp(),
                lambda logits: (logits - logits.max()).exp(),
                lambda logits: logits.exp() / logits.exp().amax(0),
                lambda logits: logits.exp() / len(logits),
                lambda logits: logits.exp() / logits.exp().mean(0),
            ),
        ),
        Mistake(
            "unchanged",
            "these are the logits themselves; make probabilities of them",
            (lambda logits: logits.clone(), lambda logits: logits - logits.amax(0), lambda logits: logits.clamp(0, 1)),
        ),
        Mistake(
            "double",
            "the softmax looks applied twice",
            (lambda logits: logits.softmax(0).softmax(0),),
        ),
        Mistake(
            "minus",
            "the sign of the logits looks reversed: the largest logit should have the largest probability",
            (lambda logits: (-logits).softmax(0), lambda logits: 1 - logits.softmax(0)),
        ),
        Mistake(
            "scaled",
            "the logits look multiplied or divided by a number (a temperature, a standard deviation, another base than "
            "e) before the softmax",
            (
                *(lambda logits, f=f: (f * logits).softmax(0) for f in (0.5, 2.0, 0.1, 10.0, 0.6931472, 2.3025851)),
                lambda logits: (logits / len(logits) ** 0.5).softmax(0),
                lambda logits: (logits / logits.std()).softmax(0),
                lambda logits: (logits / logits.abs().max()).softmax(0),
                lambda logits: (logits / logits.max()).softmax(0),
            ),
        ),
        Mistake(
            "no-background",
            "the background does not take part; it is an object like any other, with index 0",
            (
                lambda logits: logits[1:].softmax(0),
                lambda logits: torch.cat([torch.zeros_like(logits[:1]), logits[1:].softmax(0)]),
                lambda logits: torch.cat([1 - logits[1:].sigmoid().sum(0, keepdim=True), logits[1:].sigmoid()]),
                lambda logits: torch.cat([torch.zeros_like(logits[:1]), logits[1:]]).softmax(0),
            ),
        ),
        Mistake(
            "extra-background",
            "a further object is added to the sum, as for a background without a logit; the background is among the K",
            (
                lambda logits: logits.exp() / (1 + logits.exp().sum(0)),
                lambda logits: torch.cat([torch.zeros_like(logits[:1]), logits]).softmax(0),
            ),
        ),
        Mistake(
            "smoothed",
            "a constant is added to the exponentials or to their sum",
            (
                _shares(lambda z: z.exp() + 1),
                lambda logits: logits.softmax(0) + 1e-3,
            ),
        ),
        Mistake(
            "clamped",
            "the logits are cut at some number, so that the very large ones are treated alike; subtract each pixel's "
            "largest logit instead",
            (
                *(lambda logits, c=c: logits.clamp(max=c).softmax(0) for c in (80.0, 50.0, 20.0)),
                *(lambda logits, c=c: logits.clamp(-c, c).softmax(0) for c in (80.0, 50.0, 20.0, 10.0)),
                *(_shares(lambda z, c=c: z.clamp(max=c).exp()) for c in (88.0, 80.0, 50.0)),
            ),
        ),
        Mistake(
            "overflow",
            "large logits give nan: exp(300) is infinite in float32; subtract the pixel's largest logit first, or "
            "let torch's softmax do it",
            (lambda logits: logits.exp() / logits.exp().sum(0),),
        ),
        Mistake(
            "nan-replaced",
            "nan is replaced by a number instead of being avoided: subtract the pixel's largest logit before exp",
            tuple(
                lambda logits, v=v: (logits.exp() / logits.exp().sum(0)).nan_to_num(v, posinf=v)
                for v in (0.0, 1.0, 0.5)
            ),
        ),
        Mistake(
            "epsilon",
            "a small number is added to the sum, which changes pixels whose exponentials are all small; subtract each "
            "pixel's largest logit instead",
            tuple(lambda logits, e=e: logits.exp() / (logits.exp().sum(0) + e) for e in (1e-6, 1e-8, 1e-12)),
        ),
        Mistake(
            "whole-maximum",
            "the largest logit of the whole tensor is subtracted, so that at pixels with small logits every "
            "exponential is 0 and 0 / 0 comes out; subtract each pixel's own largest logit: `logits.amax(0)`",
            (
                _shares(lambda z: (z - z.max()).exp()),
                *(
                    lambda z, e=e: (z - z.max()).exp() / ((z - z.max()).exp().sum(0) + e)
                    for e in (1e-6, 1e-8, 1e-10, 1e-12)
                ),
                lambda z: ((z - z.max()).exp() / (z - z.max()).exp().sum(0)).nan_to_num(0.0),
            ),
        ),
        Mistake(
            "mean",
            "the mean of a pixel's logits is subtracted, and the exponential of a logit far above it is infinite; "
            "subtract the largest",
            (_shares(lambda z: (z - z.mean(0)).exp()), _shares(lambda z: (z - z.median(0).values).exp())),
        ),
        Mistake(
            "wrong-maximum",
            "the maximum that is subtracted is taken over the wrong axis: over the objects at each pixel, `amax(0)`",
            (
                lambda logits: (
                    (logits - logits.amax(-1, keepdim=True)).exp()
                    / (logits - logits.amax(-1, keepdim=True)).exp().sum(0)
                ),
                lambda logits: (
                    (logits - logits.amax(1, keepdim=True)).exp() / (logits - logits.amax(1, keepdim=True)).exp().sum(0)
                ),
                lambda logits: (logits - logits.amax((1, 2), keepdim=True)).softmax(0),
            ),
        ),
    ),
    hints=(
        "At every pixel there is exactly one object. Which function makes such probabilities from numbers?",
        "p_o = exp(z_o) / Σ_k exp(z_k), the sum over the K objects of one pixel, background included.",
        "weights = torch.exp(logits - ...)      # no exponent above 0: subtract each pixel's largest logit\n"
        "return weights / ...                   # or: torch's softmax along one axis",
        "return logits.softmax(dim=0)",
    ),
)

EXERCISES = (STACK, _COMBINE)
