"""Notebook 07: a stand-in for the network that needs no weights, and the clips on which `propagate` is checked."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from feelvos_lab.config import ModelConfig
from feelvos_lab.data.clip import Clip
from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.lessons.checks.exercise import Case
from feelvos_lab.model.feelvos import Cues, Encoded, Labelled
from feelvos_lab.model.matching import global_matching, local_matching

_MOST = 20  # predictions that are looked at: more than any of the clips has frames

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


class Instead(NamedTuple):
    """What came in place of predictions."""

    what: str

    def __repr__(self) -> str:
        return self.what


class StandIn(nn.Module):
    """A model with colours as embeddings and a fixed sum of the cues as head, with the methods of `Feelvos`.

    In training mode its head gives other numbers, as the network's dropout and batch norms do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, 1.0, 3.0])[:, None, None], requires_grad=False)
        self.config = ModelConfig(feedback="soft")
        self.eval()

    def encode(self, images: Tensor) -> Encoded:
        cells = self.weight * images[:, :, ::4, ::4]  # (B, 3, h, w)
        return Encoded(cells, cells)

    def cues(self, features: Tensor, embeddings: Tensor, first: Labelled, previous: Labelled) -> Cues:
        count = len(previous.probabilities)
        anywhere = global_matching(embeddings, first.embeddings, first.labels, num_objects=count)
        near = local_matching(embeddings, previous.embeddings, previous.labels, num_objects=count, radius=1)
        return Cues(anywhere, near, previous.probabilities, features, embeddings)

    def segment(self, cues: list[Cues]) -> list[Tensor]:
        steep = 1.5 if self.training else 3.0
        logits = [2 * c.previous_mask - steep * c.global_map - steep * c.local_map for c in cues]
        for z, c in zip(logits, cues, strict=True):
            z[0] += c.features.mean()
        return logits


def cases() -> list[Case]:
    generator = Generator().manual_seed(9)
    frames = torch.full((3, 3, 5, 13), 60, dtype=torch.uint8)
    masks = torch.zeros(3, 5, 13, dtype=torch.int64)
    for t in range(3):
        frames[t, :, :, 4 * t : 4 * t + 4] = 160 + 20 * t
        masks[t, :, 4 * t : 4 * t + 4] = 1

    def noise(name: str, count: int, length: int, h: int, w: int) -> Clip:
        pixels = torch.randint(0, 256, (length, 3, h, w), generator=generator, dtype=torch.uint8)
        blobs = torch.randint(0, count, (length, h, w), generator=generator)
        return Clip(name, pixels, blobs, tuple(range(1, count)))

    moving, two, four = (
        Clip("a moving bar", frames, masks, (1,)),
        noise("noise", 3, 5, 18, 23),
        noise("more", 5, 3, 15, 28),
    )
    rare = noise("rare", 3, 3, 14, 20)
    absent = Clip("absent", rare.frames, rare.masks.clamp(max=1), (1, 2))
    single = Clip("single", two.frames[:1], two.masks[:1], (1, 2))
    return [
        Case("hand", "three frames in which a bar moves a grid cell a frame", {"model": StandIn(), "clip": moving}),
        Case("random", "five frames of 18×23 pixels of noise with two objects", {"model": StandIn(), "clip": two}),
        Case("random", "three frames of 15×28 pixels of noise with four objects", {"model": StandIn(), "clip": four}),
        Case("edge", "object 2 has no pixel in the first frame", {"model": StandIn(), "clip": absent}, telling=False),
        Case("edge", "a clip of a single frame", {"model": StandIn(), "clip": single}, telling=False),
        Case("edge", "hard feedback", {"model": StandIn(), "clip": two, "feedback": "hard"}, telling=False),
    ]


def settle(predictions: Iterable[Prediction]) -> Any:
    """The parts of all predictions by name, in the order in which they are compared; `Instead` for anything else."""
    if isinstance(predictions, Prediction):
        return Instead("a single Prediction")
    if predictions is None or not isinstance(predictions, Iterable):
        return predictions
    parts: dict[str, Any] = {}
    for t, p in enumerate(islice(predictions, _MOST)):
        which = f"the {_ORDINALS[t]} prediction" if t < len(_ORDINALS) else f"prediction {t + 1}"
        if not isinstance(p, Prediction):
            return Instead(f"a {type(p).__name__} in place of {which}")
        parts |= {
            f"the number of {which}": p.frame,
            f"the labels of {which}": p.labels,
            f"the probabilities of {which}": p.probabilities,
            f"the cues of {which}": p.cues if p.cues is None else "cues",
        }
        if isinstance(p.cues, Cues):
            parts |= {
                f"the previous mask in the cues of {which}": p.cues.previous_mask,
                f"the global map in the cues of {which}": p.cues.global_map,
                f"the local map in the cues of {which}": p.cues.local_map,
            }
    return parts
