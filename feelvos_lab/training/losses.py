"""Losses: cross entropy over the hardest pixels (FEELVOS), or triplets (PML).

Symbols: B samples, R rollout frames, U query frames, K objects including background, H W the crop, h w its grid,
D embedding, N pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from feelvos_lab.config import Config
from feelvos_lab.model.feelvos import Feelvos, Labelled, label_frame
from feelvos_lab.model.grid import resize_bilinear
from feelvos_lab.model.head import combine_objects
from feelvos_lab.model.matching import sample_reference
from feelvos_lab.model.pml import triplet_loss
from feelvos_lab.training.samples import IGNORE, Sample, damage_labels


def kept_fraction(step: int, *, hard_fraction: float, anneal_steps: int) -> float:
    """The share of pixels in the loss: it falls linearly from 1 to `hard_fraction` in the first `anneal_steps`.

    Example:
        >>> from feelvos_lab.training import kept_fraction
        >>> [round(kept_fraction(step, hard_fraction=0.15, anneal_steps=100), 3) for step in (0, 50, 100, 200)]
        [1.0, 0.575, 0.15, 0.15]
    """
    ratio = 1.0 if anneal_steps == 0 else min(1.0, step / anneal_steps)
    return ratio * hard_fraction + (1.0 - ratio)


def hard_pixel_loss(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = IGNORE) -> Tensor:
    """Bootstrapped cross entropy: the mean over the `keep` share of the pixels with the highest loss (paper §4).

    Shapes: logits (K, H, W), labels (H, W) int64 in 0 … K − 1, or `ignore`, keep in (0, 1] → a scalar ≥ 0; 0 where
    every pixel is ignored. Ignored pixels have no loss, but count in the number of kept pixels ⌊keep · H · W⌋, as in
    the official code.

    Example:
        >>> import torch
        >>> from feelvos_lab.training import hard_pixel_loss
        >>> logits = torch.tensor([[[9.0, 0.0]], [[0.0, 0.0]]])  # K = 2: a sure pixel and one in doubt
        >>> labels = torch.tensor([[0, 0]])
        >>> [round(hard_pixel_loss(logits, labels, keep=keep).item(), 3) for keep in (1.0, 0.5)]  # all, the harder half
        [0.347, 0.693]
    """
    losses = F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()
    kept = losses.topk(max(1, int(np.float32(keep) * losses.numel()))).indices
    valid = labels.flatten()[kept] != ignore
    return losses[kept].sum() / valid.sum().clamp(min=1)


def batch_loss(
    model: Feelvos,
    samples: list[Sample],
    *,
    config: Config,
    keep: float,
    rngs: Sequence[np.random.Generator],
    clips: int | None = None,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Mean loss over B samples and U query frames, times `clips_summed`; for method "pml" the triplet loss.

    The previous mask of the first query is the true one, damaged with probability `mask_damage`; of the others, the
    model's prediction without gradient, soft or hard as `feedback` says. Where samples have R + U query frames, the
    first R have neither gradient nor loss: so the model learns from the errors that it accumulates (see `rollout`).

    Args:
        rngs: one per sample, for the mask damage and the choice of reference pixels.
        clips: the divisor of the sum over samples, where these are a part of a batch; None: B.
    """
    settings = config.train
    if config.model.method == "pml":
        share = (clips or len(samples)) * settings.unroll
        return _triplets(model, samples, config=config, rngs=rngs, device=device) / share * settings.clips_summed
    lead = samples[0].frames.shape[0] - 2 - settings.unroll  # R
    features, embeddings = _encode(model, samples, lead=lead, precision=settings.precision, device=device)
    targets = [_sent(sample.labels, device) for sample in samples]  # B × (2 + R + U, H, W)
    firsts, previous = [], []
    for b, sample in enumerate(samples):
        reference = label_frame(embeddings[b, 0], targets[b][0], num_objects=sample.num_objects)
        firsts.append(_subsample(reference, limit=settings.reference_pixels, rng=rngs[b]))
        labels = targets[b][1]
        if rngs[b].uniform() < settings.mask_damage:
            damaged = damage_labels(sample.labels[1], num_objects=sample.num_objects, rng=rngs[b])
            labels = damaged.to(device)
        previous.append(label_frame(embeddings[b, 1], labels, num_objects=sample.num_objects))
    total = torch.zeros((), device=device)
    # in time order, since each frame needs the prediction of the one before; the samples of a frame go together
    for u in range(2, len(samples[0].frames)):
        learned = u >= 2 + lead
        with torch.set_grad_enabled(learned and torch.is_grad_enabled()):
            cues = [model.cues(features[b, u], embeddings[b, u], firsts[b], previous[b]) for b in range(len(samples))]
            with _precision(settings.precision, device=device):
                segmented = model.segment(cues)
        logits = [one.float() for one in segmented]  # B × (K, h, w); the loss is float32 in any precision
        for b, sample in enumerate(samples):
            target = targets[b][u]
            full = resize_bilinear(logits[b][None], tuple(target.shape))[0]  # (K, H, W)
            if learned:
                total = total + hard_pixel_loss(full, target, keep=keep)
            if config.model.feedback == "hard":
                previous[b] = label_frame(embeddings[b, u], full.detach().argmax(0), num_objects=sample.num_objects)
            else:
                soft = combine_objects(logits[b].detach())
                previous[b] = Labelled(embeddings[b, u], soft.argmax(0), soft)
    return total / ((clips or len(samples)) * settings.unroll) * settings.clips_summed


def _encode(
    model: Feelvos, samples: list[Sample], *, lead: int, precision: str, device: str | torch.device
) -> tuple[Tensor, Tensor]:
    """Features and embeddings (B, 2 + R + U, …) of all frames; frames 1 … R are encoded without gradient."""
    frames = torch.stack([_sent(s.frames, device) for s in samples])  # (B, 2 + R + U, 3, H, W)
    learned = frames[:, [0, *range(1 + lead, frames.shape[1])]]  # (B, 1 + 1 + U, 3, H, W)
    with _precision(precision, device=device):
        encoded = model.encode(learned.flatten(0, 1))
        whole = [x.float().unflatten(0, (len(samples), -1)) for x in encoded]
        if lead:
            with torch.no_grad():
                before = model.encode(frames[:, 1 : 1 + lead].flatten(0, 1))
            parts = (x.float().unflatten(0, (len(samples), -1)) for x in before)
            whole = [torch.cat([x[:, :1], part, x[:, 1:]], dim=1) for x, part in zip(whole, parts, strict=True)]
    return whole[0], whole[1]


def _sent(tensor: Tensor, device: str | torch.device) -> Tensor:
    """A tensor on `device`; a GPU fetches it from pinned memory while this process goes on."""
    return tensor.to(device, non_blocking=torch.device(device).type == "cuda")


def _precision(name: str, *, device: str | torch.device) -> AbstractContextManager[None]:
    """A block in which convolutions compute in float32 or bfloat16; the weights stay float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16) if name == "bfloat16" else nullcontext()


def _triplets(
    model: Feelvos,
    samples: list[Sample],
    *,
    config: Config,
    rngs: Sequence[np.random.Generator],
    device: str | torch.device,
) -> Tensor:
    """Sum of PML's loss: anchors from each query frame, the pool from the reference and previous frames, true masks."""
    settings = config.train
    images = torch.cat([_sent(s.frames, device) for s in samples])  # (B·(2 + U), 3, H, W)
    with _precision(settings.precision, device=device):
        encoded = model.encode(images)
    embeddings = encoded.embeddings.float().unflatten(0, (len(samples), -1))  # (B, 2 + U, D, h, w)
    total = torch.zeros((), device=device)
    for b, sample in enumerate(samples):
        frames = [
            label_frame(e, labels, num_objects=sample.num_objects)
            for e, labels in zip(embeddings[b], _sent(sample.labels, device), strict=True)
        ]
        pool = torch.stack([f.embeddings for f in frames[:2]], 1).flatten(1)  # (D, 2·h·w)
        pool_labels = torch.stack([f.labels for f in frames[:2]]).flatten()  # (2·h·w,)
        for frame in frames[2:]:
            known = frame.labels.where(frame.labels < sample.num_objects, -1)  # IGNORE would be sampled like an object
            anchors = _subsample(frame._replace(labels=known), limit=settings.anchor_pixels, rng=rngs[b])
            total = total + triplet_loss(
                *(anchors.embeddings, anchors.labels, pool, pool_labels),
                num_objects=sample.num_objects,
                margin=settings.triplet_margin,
            )
    return total


def _subsample(reference: Labelled, *, limit: int, rng: np.random.Generator) -> Labelled:
    """At most `limit` random pixels of each object, as in the paper's training: (D, N) and (N,)."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    labels = reference.labels.flatten()
    kept = sample_reference(labels, max_per_object=limit, generator=generator)
    return Labelled(reference.embeddings.flatten(1)[:, kept], labels[kept], reference.probabilities)
