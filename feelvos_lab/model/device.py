"""The device to train on and to segment videos with: a GPU, if there is one that computes as the CPU does."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from feelvos_lab.config import configure
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import label_frame
from feelvos_lab.model.matching import global_matching, local_matching

APPLE = torch.device("mps")

TOLERANCE = 1e-4  # of the norm: a GPU adds in another order


def device() -> torch.device:
    """The first GPU that CUDA has; else Apple's, where torch has it and `why_not` finds no reason; else the CPU.

    On a computer with Apple's GPU the first call prints in one line which of the two is used.

    Example:
        >>> from feelvos_lab.model.device import device
        >>> device().type in ("cuda", "mps", "cpu")
        True
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    return _checked_apple() if torch.backends.mps.is_available() else torch.device("cpu")


@cache
def _checked_apple() -> torch.device:
    reason = why_not(APPLE)
    print(f"device: the CPU, since on Apple's GPU {reason}" if reason else "device: Apple's GPU (mps)", flush=True)
    return torch.device("cpu") if reason else APPLE


def why_not(place: torch.device) -> str:
    """Why not to compute on a device, such as "the local map differs from the CPU's"; empty if nothing is found.

    Distance maps of three objects, one of them absent, the prediction of a small network, and the gradients of both are
    computed on the device and on the CPU.
    """
    try:
        there = _computed(place)
    except (RuntimeError, TypeError, AssertionError) as error:  # torch's, of an operation or a type that it lacks there
        return f"an operation fails: {str(error).partition('.')[0]}"
    for name, expected in _computed(torch.device("cpu")).items():
        # nan is not within the bound
        if not float((there[name] - expected).norm()) <= TOLERANCE * float(expected.norm()):
            return f"the {name} differs from the CPU's"
    return ""


def _computed(place: torch.device) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(configure("smoke").model).to(place)
    frame = torch.rand(3, 32, 40, generator=generator).to(place)
    mask = torch.randint(2, (32, 40), generator=generator).to(place)
    query, reference = (torch.rand(8, 12, 14, generator=generator).to(place).requires_grad_() for _ in range(2))
    labels = torch.randint(2, (12, 14), generator=generator).to(place)
    near = global_matching(query, reference, labels, num_objects=3)
    around = local_matching(query, reference, labels, num_objects=3, radius=2)
    first = label_frame(model.encode(frame[None]).embeddings[0], mask, num_objects=3)
    logits, _ = model(frame.flip(2), first, first)
    (near.square().sum() + around.square().sum() + logits.square().mean()).backward()
    slopes = [query.grad, reference.grad, *(p.grad for p in model.parameters() if p.grad is not None)]
    found = {"global map": near, "local map": around, "prediction": logits}
    found["gradient"] = torch.cat([slope.flatten() for slope in slopes])
    return {name: tensor.detach().cpu() for name, tensor in found.items()}
