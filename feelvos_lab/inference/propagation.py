"""Inference: one frame at a time, in constant memory, without fine-tuning (paper §3.6).

Symbols: K objects including background, K' given so far, C features, D embedding, H W frame, h w its grid, N pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import v2

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import GivenMasks
from feelvos_lab.data.images import VOID, object_ids
from feelvos_lab.errors import LabError
from feelvos_lab.inference.overlap import read_ahead
from feelvos_lab.model.feelvos import Cues, Feelvos, Labelled, label_frame
from feelvos_lab.model.grid import label_cells, resize_bilinear, resize_labels
from feelvos_lab.model.head import combine_objects, winners
from feelvos_lab.model.pml import Confident, confident_pixels, joined

LOWEST = 4  # rows of a downscaled frame: one step of the grid


class Prediction(NamedTuple):
    """The segmentation of one frame, and what it was computed from.

    `references` are the pixels of the first and of the previous frame that the frame was matched with. They share
    their embeddings with the cues of earlier frames, so a list of predictions holds hardly more because of them.

    Example:
        >>> from feelvos_lab import load_model, make_clip, propagate
        >>> clip = make_clip(1, height=32, width=48, frames=3, objects=1)
        >>> given, *predicted = propagate(load_model("reduced"), clip)
        >>> given.cues is None, tuple(predicted[1].cues.global_map.shape)  # object, row, column of the stride-4 grid
        (True, (2, 8, 12))
        >>> predicted[1].references[1].embeddings is predicted[0].cues.embeddings  # matched with the frame before
        True
    """

    frame: int
    labels: Tensor  # (H, W) int64, the clip's object ids
    probabilities: Tensor  # (K, H, W) in [0, 1], sums to 1 over K; channels as in `Clip.channel`
    cues: Cues | None  # None up to the first frame whose mask is given
    references: tuple[Labelled, Labelled] | None = None  # first, previous; objects in the order in which they enter
    image: Tensor | None = None  # (3, H, W) uint8, the frame itself


@torch.inference_mode()
def propagate(
    model: Feelvos,
    clip: Clip,
    *,
    feedback: Literal["soft", "hard"] | None = None,
    height: int = 0,
    corrections: bool | Mapping[int, Sequence[int]] = False,
    resume: Prediction | None = None,
) -> Iterator[Prediction]:
    """Carry the given masks through the clip; yields a `Prediction` for each frame, including the first.

    Only the previous frame and the frames whose masks give objects are kept, so memory does not grow with the length
    of the clip. With `adapt_margin`, confident pixels are added to the first frame's, at most one frame's worth.
    For a model on a GPU a thread reads `clip.frames` in order, up to `overlap.DEPTH` frames ahead.

    An object takes part from the frame that gives it (`Clip.starts`), and its global map is the distance to that
    frame. A later mask only counts for the objects that it gives; elsewhere the prediction stays. The background is
    matched with the first reference frame, and with those pixels of later ones that neither the mask nor the
    prediction assigns to an object. Before an object is given, its probability is 0 and its distances are 1; before
    any object is given, everything is background and nothing is computed. A given object that lies between the cells
    of the stride-4 grid gets the nearest one (`label_cells`).

    With `corrections`, a mask of `GivenMasks` also corrects the objects that it shows and that have entered before:
    in its frame they are as the mask says (a pixel of theirs that it leaves to the background becomes background), the
    next frame's previous mask is the corrected one, and their pixels join those of the first frame. An object that
    the mask does not show is not corrected. Nothing is corrected where every frame has a mask, since these are the
    truth to score with: see `correcting_frames`.

    Args:
        model: in evaluation mode; `fold_batch_norms` makes a faster equivalent copy.
        feedback: the previous mask seen by the next frame: "soft" probabilities on the stride-4 grid (the paper), or
            "hard" one-hot labels decided at full size (the official code). None: the model's own setting.
        height: taller frames are downscaled to it for the network, such as to the size of its training; predictions
            keep the clip's size. 0: never.
        corrections: use later masks of an object, too. Leave it off for a score: they may be the truth. A mapping, for
            masks of any kind: the ids of the objects that each frame's mask corrects, also those that it does not show,
            which become background there.
        resume: a prediction of an earlier call, to predict its frame and those after it again. Until that frame masks
            and corrections must be the same ones. The result is that of a call without it.

    Raises:
        LabError: `feedback` is unknown, a `height` of 1 to 3 where frames are taller, a frame of another size than the
            first, a correction of an object that has not entered before; `resume` with a frame that was matched with
            nothing, or with `adapt_margin`, whose confident pixels it does not hold.

    Example:
        >>> from feelvos_lab import load_model, make_clip, propagate
        >>> clip = make_clip(1, height=32, width=48, frames=3, objects=2)
        >>> for prediction in propagate(load_model("reduced"), clip):
        ...     print(prediction.frame, tuple(prediction.labels.shape), tuple(prediction.probabilities.shape))
        0 (32, 48) (3, 32, 48)
        1 (32, 48) (3, 32, 48)
        2 (32, 48) (3, 32, 48)
    """
    feedback = model.config.feedback if feedback is None else feedback
    if feedback not in ("soft", "hard"):
        raise LabError(f"feedback must be 'soft' or 'hard', got {feedback!r}")
    device = next(model.parameters()).device
    entering = sorted(clip.object_ids, key=clip.start_of)  # channels 1, 2, … of the network, in this order
    channels = torch.tensor([0, *(1 + entering.index(i) for i in clip.object_ids)])  # (K,) the channel of each id
    ids = torch.tensor([0, *entering])  # (K,)
    if isinstance(corrections, Mapping):
        correcting = _entered_before(corrections, clip)
    else:
        correcting = correcting_frames(clip) if corrections else {}
    start, (first, previous) = (0, (None, None)) if resume is None else _resumed(resume, model)
    sure: Confident | None = None
    size: tuple[int, int] | None = None

    def read(t: int) -> tuple[Tensor, Tensor]:
        """Frame t as the clip has it (3, H, W), and as the network takes it, (1, 3, H', W')."""
        frame = clip.frames[t]
        image = _network_input(frame, height)[None]
        return frame, image.pin_memory() if device.type == "cuda" else image  # pinned: copied while the CPU goes on

    # On the CPU the network uses every core, and a thread that reads would only take one from it.
    frames = (map if device.type == "cpu" else read_ahead)(read, range(start, len(clip)))
    for t, (frame, image) in enumerate(frames, start):
        size = size or tuple(frame.shape[-2:])
        if tuple(frame.shape[-2:]) != size:
            raise LabError(
                f"frame {t} of {clip.name} must be {size[0]}×{size[1]}, is {frame.shape[-2]}×{frame.shape[-1]}"
            )
        new = clip.given_in(t)
        if first is None and not new:
            empty = torch.zeros(size, dtype=torch.int64)
            yield Prediction(t, empty, _one_hot(empty, len(ids)), None, image=frame)
            continue
        encoded = model.encode(image.to(device, non_blocking=True))
        features, embeddings = encoded.features[0], encoded.embeddings[0]  # (C, h, w), (D, h, w)
        known = 1 + sum(clip.start_of(i) <= t for i in entering)  # K' from here on
        if first is None:
            mask = clip.masks[t]
            given = _channel_of(mask, ids[:known])  # (H, W)
            small = label_cells(given.to(device), tuple(embeddings.shape[-2:]))  # (h, w)
            first = previous = label_frame(embeddings, small, num_objects=known)
            yield Prediction(t, mask.clone(), _one_hot(given, len(ids))[channels], None, image=frame)
            continue
        references = joined(first, sure), previous
        cues = model.cues(features, embeddings, *references)
        shown = (*new, *correcting.get(t, ()))
        if model.config.adapt_margin > 0 and not shown:  # a given mask is better than confident predictions
            sure = confident_pixels(cues, sure, margin=model.config.adapt_margin)
        logits = model.segment([cues])[0]  # (K', h, w)
        labels, probabilities = decide(logits, size)  # (H, W), (K', H, W)
        soft = combine_objects(logits)  # (K', h, w)
        if shown:
            mask = clip.masks[t]
            given = _channel_of(mask, ids[:known])  # (H, W)
            used = torch.tensor([1 + entering.index(i) for i in shown])
            given = torch.where(torch.isin(given, used), given, 0).to(device)  # only what this mask gives or corrects
            probabilities = _insert(probabilities, given, known)  # (K, H, W)
            small = label_cells(given, tuple(soft.shape[-2:]))  # (h, w)
            soft = _insert(soft, small, known)  # (K, h, w)
            labels = torch.where(given > 0, given, labels)
            for i in correcting.get(t, ()):
                k, elsewhere = 1 + entering.index(i), (mask != VOID).to(device)
                _take_back(probabilities, k, elsewhere & (given != k))
                _take_back(soft, k, resize_labels(elsewhere, tuple(soft.shape[-2:])) & (small != k))
                labels = winners(probabilities)
            background = (labels == 0) & (mask == 0).to(device)
            cells = resize_labels(torch.where(background, 0, -1), tuple(soft.shape[-2:]))  # (h, w)
            first = _pooled(first, embeddings, torch.where(small > 0, small, cells))
        if feedback == "soft":
            previous = Labelled(embeddings, winners(soft), soft)
        else:
            cells = resize_labels(labels, tuple(soft.shape[-2:]))  # (h, w)
            cells = torch.where(small > 0, small, cells) if shown else cells
            previous = label_frame(embeddings, cells, num_objects=known)
        probabilities = _spread(probabilities.cpu(), channels, 0.0)  # (K, H, W)
        yield Prediction(t, ids[labels.cpu()], probabilities, _all_objects(cues, channels), references, frame)


def correcting_frames(clip: Clip) -> dict[int, tuple[int, ...]]:
    """The frames whose masks show objects that have entered before, with the ids of these objects.

    None where the masks are no `GivenMasks`, or where every frame has one: then they are the truth, to score with.
    """
    if not isinstance(clip.masks, GivenMasks) or len(clip.masks.paths) == len(clip):
        return {}
    shown = {t: object_ids(clip.masks[t]) for t in clip.masks.paths}
    old = {t: tuple(i for i in ids if clip.start_of(i) < t) for t, ids in shown.items()}
    return {t: ids for t, ids in old.items() if ids}


def _entered_before(corrections: Mapping[int, Sequence[int]], clip: Clip) -> Mapping[int, Sequence[int]]:
    for t, ids in corrections.items():
        if late := [i for i in ids if clip.start_of(i) >= t]:
            raise LabError(
                f"frame {t} cannot correct object {late[0]}, which enters in frame {clip.start_of(late[0])}: "
                "an earlier frame was expected"
            )
    return corrections


def _resumed(again: Prediction, model: Feelvos) -> tuple[int, tuple[Labelled, Labelled]]:
    """The frame to predict again, and what it was matched with."""
    if again.references is None:
        raise LabError(f"frame {again.frame} was matched with nothing: a prediction with references was expected")
    if model.config.adapt_margin > 0:
        raise LabError(f"adapt_margin must be 0 to resume in the middle of a clip, got {model.config.adapt_margin}")
    return again.frame, again.references


def decide(logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Logits (K, h, w) → labels (H, W) and probabilities (K, H, W) at full size."""
    full = resize_bilinear(logits[None], size)[0]  # (K, H, W)
    return winners(full), combine_objects(full)


def _channel_of(mask: Tensor, ids: Tensor) -> Tensor:
    """A mask's ids (H, W) → their indices in `ids`; -1, which every later step ignores, for an id not in there."""
    ordered, place = ids.sort()
    found = torch.bucketize(mask, ordered).clamp(max=len(ids) - 1)  # (H, W)
    return torch.where(ordered[found] == mask, place[found], -1)


def _one_hot(labels: Tensor, objects: int) -> Tensor:
    """(H, W) → (K, H, W)."""
    return (labels == torch.arange(objects)[:, None, None]).float()


def _insert(probabilities: Tensor, given: Tensor, objects: int) -> Tensor:
    """Probabilities (K', H, W) with channels for new objects appended, one-hot where those are given (H, W)."""
    missing = probabilities.new_zeros(objects - len(probabilities), *probabilities.shape[1:])
    sure = (given == torch.arange(objects, device=given.device)[:, None, None]).to(probabilities.dtype)  # (K, H, W)
    return torch.where(given > 0, sure, torch.cat([probabilities, missing]))


def _pooled(first: Labelled, embeddings: Tensor, labels: Tensor) -> Labelled:
    """The reference pixels so far, and those of one more frame whose label (h, w) is 0 or higher."""
    kept = labels.flatten() >= 0
    pixels = torch.cat([first.embeddings.flatten(1), embeddings.flatten(1)[:, kept]], dim=1)  # (D, N)
    return Labelled(pixels, torch.cat([first.labels.flatten(), labels.flatten()[kept]]), first.probabilities)


def _take_back(probabilities: Tensor, k: int, where: Tensor) -> None:
    """Move channel k of (K, H, W) to the background `where` (H, W); in place."""
    probabilities[0] += probabilities[k] * where
    probabilities[k] *= ~where


def _spread(values: Tensor, channels: Tensor, absent: float) -> Tensor:
    """Channels (K', …) in the order in which objects enter → (K, …) in the order of their ids, filled by `absent`."""
    if torch.equal(channels, torch.arange(len(values))):
        return values
    missing = values.new_full((len(channels) - len(values), *values.shape[1:]), absent)
    return torch.cat([values, missing])[channels.to(values.device)]


def _all_objects(cues: Cues, channels: Tensor) -> Cues:
    """The cues of all objects in the order of their ids; distance 1 and probability 0 before they are given."""
    absent = {"global_map": 1.0, "local_map": 1.0, "previous_mask": 0.0, "sq_distance": torch.inf}
    maps = {name: getattr(cues, name) for name in absent}
    return cues._replace(**{n: _spread(m, channels, absent[n]) for n, m in maps.items() if m is not None})


def _network_input(frame: Tensor, height: int) -> Tensor:
    """A frame (3, H, W) uint8 → float in [0, 1], downscaled if it is taller than `height`."""
    if 0 < height < frame.shape[1]:
        if height < LOWEST:
            raise LabError(f"height must be 0 (frames as they are) or at least {LOWEST}, got {height}")
        width = max(1, round(frame.shape[2] * height / frame.shape[1]))
        frame = v2.functional.resize(frame, [height, width], antialias=True)
    return frame.float() / 255
