"""Notebook 05: the input of the segmentation head, and the probabilities from its output."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Case, Exercise, Mistake
from feelvos_lab.model.feelvos import stack_cues
from feelvos_lab.model.head import combine_objects

Maps = Tensor | None


def _cue_cases() -> list[Case]:
    generator = Generator().manual_seed(6)
    names = ("global_map", "local_map", "previous_mask")
    hand = [
        torch.tensor([[[0.1, 0.2]], [[0.3, 0.4]]]),
        torch.tensor([[[0.5, 0.6]], [[0.7, 0.8]]]),
        torch.tensor([[[1.0, 0]], [[0, 1]]]),
    ]
    random = [torch.rand(4, 3, 5, generator=generator) for _ in names]
    off = [torch.rand(3, 2, 4, generator=generator), None, torch.rand(3, 2, 4, generator=generator)]
    return [
        Case("hand", "two objects, maps of 1×2 cells", dict(zip(names, hand, strict=True))),
        Case("random", "four objects, maps of 3×5 cells", dict(zip(names, random, strict=True))),
        Case("edge", "the local map is switched off, so it is None", dict(zip(names, off, strict=True))),
    ]


def _given(*maps: Maps) -> list[Tensor]:
    return [m for m in maps if m is not None]


_STACK = Exercise(
    "stack_cues",
    stack_cues,
    _cue_cases,
    mistakes=(
        Mistake(
            "cues-first",
            "cues and objects look swapped, (M, K, h, w); objects come first, as the head treats them as a batch",
            (lambda g, n, m: torch.stack(_given(g, n, m)),),
        ),
        Mistake(
            "concatenated",
            "the maps are joined along the objects; each object needs an axis of cues of its own: "
            "`stack` makes one, `cat` does not",
            (lambda g, n, m: torch.cat(_given(g, n, m)),),
        ),
        Mistake(
            "order",
            "the cues come in another order; it must be global, local, previous mask, or the head's weights would "
            "be applied to the wrong map",
            (
                lambda g, n, m: torch.stack(_given(g, m, n), dim=1),
                lambda g, n, m: torch.stack(_given(n, g, m), dim=1),
                lambda g, n, m: torch.stack(_given(m, g, n), dim=1),
            ),
        ),
        Mistake(
            "none-filled",
            "a cue that is None should have no channel; a map of zeros or ones would be a statement about the object",
            tuple(
                lambda g, n, m, v=v: torch.stack(
                    [torch.full_like(_given(g, n, m)[0], v) if x is None else x for x in (g, n, m)], 1
                )
                for v in (0.0, 1.0)
            ),
        ),
    ),
    hints=(
        "The head treats the objects as a batch of images. What are the channels of such an image?",
        "out[o, 0] = global map of o, out[o, 1] = local map of o, out[o, 2] = previous mask of o: (K, M, h, w).",
        "maps = [m for m in (global_map, local_map, previous_mask) if m is not None]\nreturn torch.stack(maps, dim=1)",
    ),
)


def _logit_cases() -> list[Case]:
    generator = Generator().manual_seed(7)
    hand = torch.tensor([[[0.0, 2.0]], [[0.0, 1.0]], [[1.0, -1.0]]])
    return [
        Case("hand", "three objects on 1×2 pixels", {"logits": hand}),
        Case("random", "four objects on 3×5 pixels", {"logits": 2 * torch.randn(4, 3, 5, generator=generator)}),
        Case(
            "edge",
            "logits of some hundreds, as a very sure network gives",
            {"logits": torch.tensor([[[300.0]], [[299.0]]])},
        ),
    ]


def _hard(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(0), len(logits)).permute(2, 0, 1).float()


_COMBINE = Exercise(
    "combine_objects",
    combine_objects,
    _logit_cases,
    mistakes=(
        Mistake(
            "sigmoid",
            "each object is treated separately, as by a sigmoid, and the sum is not 1; objects must compete",
            (torch.sigmoid,),
        ),
        Mistake(
            "space",
            "the softmax runs over pixels here; it must run over the objects, so that they sum to 1 at every pixel",
            (
                lambda logits: logits.softmax(-1),
                lambda logits: logits.softmax(1),
                lambda logits: logits.flatten(1).softmax(1).view(logits.shape),
                lambda logits: logits.flatten().softmax(0).view(logits.shape),
            ),
        ),
        Mistake(
            "hard",
            "these are decisions, 0 or 1, or labels; the next frame needs to know how sure the network was",
            (_hard, lambda logits: logits.argmax(0)),
        ),
        Mistake(
            "overflow",
            "large logits give nan: exp(300) is infinite in float32; subtract the pixel's largest logit first, or "
            "let torch's softmax do it",
            (lambda logits: logits.exp() / logits.exp().sum(0),),
        ),
        Mistake(
            "log",
            "these look like logarithms of probabilities; they must lie in 0 … 1",
            (lambda logits: logits.log_softmax(0),),
        ),
    ),
    hints=(
        "At every pixel there is exactly one object. Which function makes such probabilities from numbers?",
        "p_o = exp(z_o) / Σ_k exp(z_k), the sum over the K objects of one pixel, background included.",
        "return logits.softmax(dim=0)",
    ),
)

EXERCISES = (_STACK, _COMBINE)
