"""Inference: one frame at a time, in constant memory, without fine-tuning (paper §3.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import v2

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.model.feelvos import Cues, Feelvos, Labelled, label_frame
from feelvos_lab.model.head import combine_objects
from feelvos_lab.model.resize import resize_bilinear


class Prediction(NamedTuple):
    """What the model says of one frame."""

    frame: int
    labels: Tensor  # (H, W) int64, the clip's object ids
    probabilities: Tensor  # (K, H, W) in [0, 1], sums to 1 over K; channel 0 is the background, then the ids in order
    cues: Cues | None  # None for the first frame, whose mask is given


@torch.inference_mode()
def propagate(
    model: Feelvos, clip: Clip, *, feedback: Literal["soft", "hard"] | None = None, height: int = 0
) -> Iterator[Prediction]:
    """Carry the first frame's mask through the clip, yielding a `Prediction` a frame, the first included.

    The first frame is encoded once. Of the past only the previous frame is kept, so memory does not grow with the
    length of the clip.

    Args:
        model: in evaluation mode.
        feedback: what the next frame sees as previous prediction: "soft" probabilities on the stride-4 grid (the
            paper), or "hard" one-hot labels decided at full size (the official code). None: the model's own setting.
        height: frames higher than this are scaled down to it for the network, such as to the size it was trained
            at; predictions have the clip's own size all the same. 0 scales nothing.

    Raises:
        LabError: `feedback` is unknown, or a frame has another size than the first.
    """
    feedback = model.config.feedback if feedback is None else feedback
    if feedback not in ("soft", "hard"):
        raise LabError(f"feedback must be 'soft' or 'hard', got {feedback!r}")
    device = next(model.parameters()).device
    ids = torch.tensor([0, *clip.object_ids])
    given = torch.bucketize(clip.masks[0], ids)  # (H, W): index of each id
    given[ids[given.clamp(max=len(ids) - 1)] != clip.masks[0]] = -1  # an id of no object takes part in nothing
    size = tuple(given.shape)
    for t in range(len(clip)):
        frame = clip.frames[t]
        if tuple(frame.shape[-2:]) != size:
            raise LabError(
                f"frame {t} of {clip.name} must be {size[0]}×{size[1]}, is {frame.shape[-2]}×{frame.shape[-1]}"
            )
        encoded = model.encode(_network_input(frame, height)[None].to(device))
        features, embeddings = encoded.features[0], encoded.embeddings[0]  # (C, h, w), (D, h, w)
        if t == 0:
            first = previous = label_frame(embeddings, given.to(device), num_objects=len(ids))
            one_hot = (given == torch.arange(len(ids))[:, None, None]).float()  # (K, H, W)
            yield Prediction(0, clip.masks[0].clone(), one_hot, None)
            continue
        cues = model.cues(features, embeddings, first, previous)
        logits = model.segment([cues])[0]  # (K, h, w)
        full = resize_bilinear(logits[None], size)[0]  # (K, H, W)
        labels = full.argmax(0)  # (H, W)
        if feedback == "soft":
            soft = combine_objects(logits)
            previous = Labelled(embeddings, soft.argmax(0), soft)
        else:
            previous = label_frame(embeddings, labels, num_objects=len(ids))
        yield Prediction(t, ids[labels.cpu()], combine_objects(full).cpu(), cues)


def _network_input(frame: Tensor, height: int) -> Tensor:
    """A frame (3, H, W) uint8 → float in [0, 1], scaled down where it is higher than `height`."""
    if 0 < height < frame.shape[1]:
        frame = v2.functional.resize(frame, [height, round(frame.shape[2] * height / frame.shape[1])], antialias=True)
    return frame.float() / 255
