"""Notebook 07: propagate the first mask through a clip, with a stand-in for the network that needs no weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn

from feelvos_lab.config import ModelConfig
from feelvos_lab.data.clip import Clip
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake
from feelvos_lab.model.feelvos import Cues, Encoded, Labelled, label_frame
from feelvos_lab.model.grid import resize_bilinear
from feelvos_lab.model.head import combine_objects
from feelvos_lab.model.matching import global_matching, local_matching


class StandIn(nn.Module):
    """A model with colours as embeddings and a fixed sum of the cues as head, with the methods of `Feelvos`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0), requires_grad=False)
        self.config = ModelConfig(feedback="soft")

    def encode(self, images: Tensor) -> Encoded:
        cells = self.weight * images[:, :, ::4, ::4]  # (B, 3, h, w)
        return Encoded(cells, cells)

    def cues(self, features: Tensor, embeddings: Tensor, first: Labelled, previous: Labelled) -> Cues:
        count = len(previous.probabilities)
        anywhere = global_matching(embeddings, first.embeddings, first.labels, num_objects=count)
        near = local_matching(embeddings, previous.embeddings, previous.labels, num_objects=count, radius=1)
        return Cues(anywhere, near, previous.probabilities, features, embeddings)

    def segment(self, cues: list[Cues]) -> list[Tensor]:
        return [2 * c.previous_mask - 3 * c.global_map - 3 * c.local_map for c in cues]


def _cases() -> list[Case]:
    generator = Generator().manual_seed(9)
    frames = torch.full((3, 3, 5, 13), 60, dtype=torch.uint8)
    masks = torch.zeros(3, 5, 13, dtype=torch.int64)
    for t in range(3):
        frames[t, :, :, 4 * t : 4 * t + 4] = 160 + 20 * t
        masks[t, :, 4 * t : 4 * t + 4] = 1
    noise = torch.randint(0, 256, (5, 3, 17, 21), generator=generator, dtype=torch.uint8)
    blobs = torch.randint(0, 3, (5, 17, 21), generator=generator)
    moving, random = Clip("a moving bar", frames, masks, (1,)), Clip("noise", noise, blobs, (1, 2))
    return [
        Case("hand", "three frames in which a bar moves a grid cell a frame", {"model": StandIn(), "clip": moving}),
        Case("random", "five frames of noise with two objects", {"model": StandIn(), "clip": random}),
        Case("edge", "the same with hard feedback", {"model": StandIn(), "clip": random, "feedback": "hard"}),
    ]


def _settle(predictions: Iterable[Prediction]) -> dict[str, Tensor]:
    results: dict[str, Tensor] = {}
    for p in predictions:
        results[f"the probabilities of frame {p.frame}"] = p.probabilities
        results[f"the labels of frame {p.frame}"] = p.labels
    return results


def _walk(how: str) -> Answer:
    """`propagate` for ids 1 … K − 1, with a mistake."""

    def wrong(model: Any, clip: Clip, *, feedback: str = "soft", height: int = 0) -> Iterator[Prediction]:
        count = 1 + len(clip.object_ids)
        for t in range(len(clip)):
            image = clip.frames[t][None].float() / (1 if how == "not-scaled" else 255)
            features, embeddings = (x[0] for x in model.encode(image))
            if t == 0:
                first = previous = label_frame(embeddings, clip.masks[0], num_objects=count)
                if how != "no-first-frame":
                    one_hot = (clip.masks[0] == torch.arange(count)[:, None, None]).float()
                    yield Prediction(0, clip.masks[0].clone(), one_hot, None)
                continue
            cues = model.cues(features, embeddings, first, previous)
            logits = model.segment([cues])[0]
            full = resize_bilinear(logits[None], tuple(clip.masks[0].shape))[0]
            labels = full.argmax(0)
            yield Prediction(t, labels, combine_objects(full), cues)
            soft = combine_objects(logits)
            decided = label_frame(embeddings, labels, num_objects=count)
            if how == "truth":
                previous = label_frame(embeddings, clip.masks[t], num_objects=count)
            elif how == "hard" or (feedback == "hard" and how != "soft"):
                previous = decided
            elif how != "frozen":
                previous = Labelled(embeddings, soft.argmax(0), soft)
            if how == "moving-first":
                first = previous

    return wrong


EXERCISES = (
    Exercise(
        "propagate",
        propagate,
        _cases,
        mistakes=(
            Mistake(
                "truth",
                "the true mask of the previous frame is fed back; at test time there is none: feed back the prediction",
                (_walk("truth"),),
            ),
            Mistake(
                "frozen",
                "the previous frame stays the first one; replace its embeddings and its mask after each frame",
                (_walk("frozen"),),
            ),
            Mistake(
                "moving-first",
                "the first frame is replaced: `first` must stay, since its mask is the only one known to be right",
                (_walk("moving-first"),),
            ),
            Mistake(
                "no-first-frame",
                "frame 0 is missing; yield its given mask as it is, without cues",
                (_walk("no-first-frame"),),
            ),
            Mistake(
                "hard",
                "labels are fed back where `feedback` asks for probabilities, or the other way round",
                (_walk("hard"), _walk("soft")),
            ),
            Mistake(
                "not-scaled",
                "the network seems to get frames in 0 … 255; it expects numbers in 0 … 1",
                (_walk("not-scaled"),),
            ),
        ),
        hints=(
            "Which two frames does `model.cues` compare with the current one, and which of the two changes?",
            "first = frame 0 with its mask, always; previous(1) = first; previous(t + 1) = frame t with softmax of its "
            "logits.",
            "for t in range(1, len(clip)):\n"
            "    features, embeddings = (x[0] for x in model.encode(clip.frames[t][None].float() / 255))\n"
            "    cues = model.cues(features, embeddings, first, previous)\n"
            "    logits = model.segment([cues])[0]                                    # (K, h, w)\n"
            "    full = resize_bilinear(logits[None], size)[0]                        # (K, H, W)\n"
            "    yield Prediction(t, full.argmax(0), combine_objects(full), cues)\n"
            "    soft = combine_objects(logits)\n"
            "    previous = Labelled(embeddings, soft.argmax(0), soft)",
        ),
        optional=frozenset({"feedback", "height", "corrections"}),
        settle=_settle,
    ),
)
