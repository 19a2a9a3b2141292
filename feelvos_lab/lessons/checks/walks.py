"""Notebook 07: `propagate` with mistakes, to recognise them in an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.lessons.checks.exercise import Answer
from feelvos_lab.model.feelvos import Labelled, label_frame
from feelvos_lab.model.grid import resize_bilinear, resize_labels
from feelvos_lab.model.head import combine_objects

Size = tuple[int, int]


def upscale(logits: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Labels and probabilities at full size from logits (K, h, w)."""
    full = resize_bilinear(logits[None], size)[0]
    return full.argmax(0), combine_objects(full)


def _soft(logits: Tensor, labels: Tensor, embeddings: Tensor) -> Labelled:
    soft = combine_objects(logits)
    return Labelled(embeddings, soft.argmax(0), soft)


def fed_hard(logits: Tensor, labels: Tensor, embeddings: Tensor) -> Labelled:
    return label_frame(embeddings, labels, num_objects=len(logits))


def _next(how: str, old: Labelled, new: Labelled) -> Labelled:
    """The previous frame of the next step, of which a mistake keeps a part or all."""
    if how in ("frozen", "old-labels", "old-probabilities", "old-mask", "old-embeddings"):
        parts = {
            "frozen": old._asdict(),
            "old-embeddings": {"embeddings": old.embeddings},
            "old-labels": {"labels": old.labels},
            "old-probabilities": {"probabilities": old.probabilities},
            "old-mask": {"labels": old.labels, "probabilities": old.probabilities},
        }
        return new._replace(**parts[how])
    return new


def _encoded(how: str, t: int) -> int:
    """The frame that is encoded in place of frame t."""
    return {"frame-before": max(0, t - 1), "first-frame": 0}.get(how, t)


def walk(
    how: str = "",
    *,
    scale: Callable[[Tensor], Tensor] = lambda frame: frame.float() / 255,
    count: Callable[[Clip], int] = lambda clip: 1 + len(clip.object_ids),
    answer: Callable[[Tensor, Size], tuple[Tensor, Tensor]] = upscale,
    known: Callable[[Tensor, Tensor, Tensor], Labelled] = _soft,
) -> Answer:
    """`propagate` for ids 1 … K − 1, with a mistake.

    Args:
        answer: labels and probabilities from logits and the frame's size.
        known: the next previous frame from logits, labels and embeddings.
    """

    def wrong(model: Any, clip: Clip, *, feedback: str = "soft", height: int = 0) -> Iterator[Prediction]:
        k, size = count(clip), tuple(clip.masks[0].shape)
        if how == "train":
            model.train()
        for t in range(len(clip)):
            features, embeddings = (x[0] for x in model.encode(scale(clip.frames[_encoded(how, t)])[None]))
            if t == 0:
                first = previous = last = label_frame(embeddings, clip.masks[0], num_objects=k)
                one_hot = (clip.masks[0] == torch.arange(k)[:, None, None]).float()
                if how == "no-first-mask":
                    logits = model.segment([model.cues(features, embeddings, first, previous)])[0]
                    labels, probabilities = answer(logits, size)
                    yield Prediction(0, labels, probabilities, None)
                elif how != "no-first-frame":
                    yield Prediction(0, clip.masks[0].clone(), one_hot, None)
                continue
            pair = (previous, first) if how == "swapped" else (first, previous)
            if how in ("both-first", "both-previous"):
                pair = (first, first) if how == "both-first" else (previous, previous)
            cues = model.cues(features, embeddings, *pair)
            logits = model.segment([cues])[0]
            labels, probabilities = answer(logits, size)
            yield Prediction(t, labels, probabilities, cues)
            hard = feedback == "hard" and how != "soft"
            new = (fed_hard if hard else known)(logits, labels, embeddings)
            if how == "truth":
                new = label_frame(embeddings, clip.masks[t], num_objects=k)
            previous, last = (last if how == "late" else _next(how, previous, new)), new
            if how == "moving-first":
                first = previous
        if how == "train":
            model.eval()

    return wrong


def each(change: Callable[[Prediction], Any], *, later: bool = False) -> Answer:
    """The right predictions, each changed; with `later` those after the first frame alone."""

    def wrong(model: Any, clip: Clip, *, feedback: str | None = None, height: int = 0) -> Iterator[Any]:
        for p in propagate(model, clip, feedback=feedback, height=height):  # type: ignore[arg-type]
            yield p if later and p.frame == 0 else change(p)

    return wrong


def whole(change: Callable[[list[Prediction]], Any]) -> Answer:
    """The right predictions, changed together."""
    return lambda model, clip, *, feedback=None, height=0: change(list(propagate(model, clip, feedback=feedback)))


def low_labels(logits: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    return resize_labels(logits.argmax(0), size), upscale(logits, size)[1]


def low_softmax(logits: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    full = resize_bilinear(combine_objects(logits)[None], size)[0]
    return full.argmax(0), full


def unaligned(logits: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    full = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    return full.argmax(0), combine_objects(full)


def nearest(logits: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    full = F.interpolate(logits[None], size=size, mode="nearest")[0]
    return full.argmax(0), combine_objects(full)


def fed(make: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Labelled]:
    """The previous frame with probabilities made from the logits (K, h, w)."""

    def known(logits: Tensor, labels: Tensor, embeddings: Tensor) -> Labelled:
        return Labelled(embeddings, logits.argmax(0), make(logits))

    return known


def from_full(labels_of: str = "soft", *, aligned: bool = True) -> Answer:
    """Full-size probabilities, resized down to the grid; with labels from them, from the logits or from full size."""

    def propagate_from_full(model: Any, clip: Clip, *, feedback: str = "soft", height: int = 0) -> Iterator[Prediction]:
        size = tuple(clip.masks[0].shape)

        def known(logits: Tensor, labels: Tensor, embeddings: Tensor) -> Labelled:
            full, small = upscale(logits, size)[1], tuple(logits.shape[1:])
            soft = F.interpolate(full[None], size=small, mode="bilinear", align_corners=aligned or None)[0]
            ids = {"soft": soft.argmax(0), "logits": logits.argmax(0), "full": resize_labels(labels, small)}
            return Labelled(embeddings, ids[labels_of], soft)

        return walk(known=known)(model, clip, feedback=feedback, height=height)

    return propagate_from_full


def hard_grid(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(0), len(logits)).permute(2, 0, 1).float()


def one_hot_of_nothing(p: Prediction) -> Prediction:
    return p._replace(probabilities=torch.full_like(p.probabilities, 1 / len(p.probabilities))) if p.frame == 0 else p
