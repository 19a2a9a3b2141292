"""Training: the loss, the schedule, and the loop, which resumes exactly.

Letters: B clips, U query frames, K objects counting the background, H W the crop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from feelvos_lab.checkpoint import TrainingState
from feelvos_lab.config import Config
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.lazy import InMemory
from feelvos_lab.data.source import load_clips
from feelvos_lab.data.triplets import IGNORE, Sample, damage_labels, draw_sample
from feelvos_lab.errors import LabError
from feelvos_lab.model.feelvos import Feelvos, Labelled, label_frame
from feelvos_lab.model.head import combine_objects
from feelvos_lab.model.matching import sample_reference
from feelvos_lab.model.resize import resize_bilinear


class Trained(NamedTuple):
    """A trained model and what happened on the way, one row per logged step."""

    model: Feelvos
    history: list[dict[str, float]]  # step, loss, learning_rate, seconds


def kept_fraction(step: int, *, hard_fraction: float, anneal_steps: int) -> float:
    """Share of the pixels that count in the loss: from 1 to `hard_fraction`, linear in the first `anneal_steps`."""
    ratio = 1.0 if anneal_steps == 0 else min(1.0, step / anneal_steps)
    return ratio * hard_fraction + (1.0 - ratio)


def poly_rate(step: int, *, base: float, steps: int, power: float) -> float:
    """Learning rate base · (1 − step / steps)^power, the schedule of DeepLab."""
    return base * (1.0 - min(step, steps) / steps) ** power


def hard_pixel_loss(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = IGNORE) -> Tensor:
    """Bootstrapped cross entropy: the mean over the `keep` share of the pixels with the highest loss (paper §4).

    Args:
        logits: (K, H, W).
        labels: (H, W) int64 in 0 … K − 1, or `ignore`. Ignored pixels weigh nothing, but count in H·W when the
            number of kept pixels ⌊keep · H · W⌋ is taken, as in the official code.
        keep: in (0, 1].

    Returns:
        A scalar; 0 where every pixel is ignored.
    """
    losses = F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()
    kept = losses.topk(max(1, int(np.float32(keep) * losses.numel()))).indices
    valid = labels.flatten()[kept] != ignore
    return losses[kept].sum() / valid.sum().clamp(min=1)


def train(
    config: Config,
    *,
    seed: int,
    clips: list[Clip] | None = None,
    folder: Path | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[str], None] | None = None,
    log_every: int = 20,
    save_every: int = 200,
    stop_after: int | None = None,
) -> Trained:
    """Train a model from its configuration; the same configuration, seed and thread count give the same weights.

    Args:
        clips: training clips; None loads those that the configuration names.
        folder: where `state.safetensors` is kept, to resume from; None keeps nothing.
        stop_after: end early after this many steps, as if interrupted (for tests).

    Raises:
        LabError: no training clip, or the state in `folder` belongs to another configuration or seed.
    """
    clips = load_clips(config.data, split="train", seed=seed) if clips is None else clips
    if not clips:
        raise LabError("training needs at least one clip, got none")
    if config.data.in_memory:
        clips = [replace(clip, frames=InMemory(clip.frames), masks=InMemory(clip.masks)) for clip in clips]
    with torch.random.fork_rng(devices=[]), _repeatable():
        torch.manual_seed(seed)
        model = Feelvos(config.model).to(device)
        optimizer = _optimizer(model, config)
        state = TrainingState(folder, config, seed)
        first, history = state.resume(model, optimizer)
        began, spent = time.perf_counter(), history[-1]["seconds"] if history else 0.0
        model.train()
        losses: list[float] = []
        last = config.train.steps if stop_after is None else min(config.train.steps, stop_after)
        for step in range(first, last):
            loss = _step(model, optimizer, clips, config=config, seed=seed, step=step, device=device)
            losses.append(loss)
            if (step + 1) % log_every == 0 or step + 1 == config.train.steps:
                row = {
                    "step": step + 1,
                    "loss": float(np.mean(losses)),
                    "learning_rate": optimizer.param_groups[0]["lr"],
                    "seconds": spent + time.perf_counter() - began,
                }
                history.append(row)
                losses = []
                if progress:
                    progress(f"step {row['step']}/{config.train.steps}  loss {row['loss']:.3f}  {row['seconds']:.0f} s")
            if (step + 1) % save_every == 0 or step + 1 == last:
                state.save(model, optimizer, step + 1, history)
    return Trained(model.eval(), history)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let torch choose only algorithms that add in a fixed order, for as long as the block lasts."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _step(
    model: Feelvos,
    optimizer: torch.optim.Optimizer,
    clips: list[Clip],
    *,
    config: Config,
    seed: int,
    step: int,
    device: str | torch.device,
) -> float:
    """One update; returns its loss."""
    settings = config.train
    rng = np.random.default_rng([seed, step])
    torch.manual_seed(int(rng.integers(2**31)))
    samples = [
        draw_sample(clips, config=config.data, unroll=settings.unroll, rng=rng) for _ in range(settings.batch_size)
    ]
    rate = poly_rate(step, base=settings.learning_rate, steps=settings.steps, power=settings.poly_power)
    for group in optimizer.param_groups:
        group["lr"] = rate
    keep = kept_fraction(step, hard_fraction=settings.hard_fraction, anneal_steps=settings.hard_anneal_steps)
    try:
        loss = batch_loss(model, samples, config=config, keep=keep, rng=rng, device=device)
    except LabError as error:  # such as embeddings that are not finite any more
        raise LabError(f"{error} at step {step} of seed {seed}") from error
    if not torch.isfinite(loss):
        raise LabError(f"the loss must be finite, got {loss.item()} at step {step} of seed {seed}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if settings.bias_gradient != 1.0:
        _scale_bias_gradients(model, settings.bias_gradient)
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    optimizer.step()
    return loss.item()


def batch_loss(
    model: Feelvos,
    samples: list[Sample],
    *,
    config: Config,
    keep: float,
    rng: np.random.Generator,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Mean loss over B samples and U query frames, times `clips_summed`.

    From the second query on, the model's own prediction is fed back, soft or hard as `feedback` says.

    The first previous mask is the true one, damaged with probability `mask_damage`. The prediction that is fed back
    carries no gradient.
    """
    settings = config.train
    images = torch.cat([s.frames for s in samples]).to(device)  # (B·(2 + U), 3, H, W)
    encoded = model.encode(images)
    features = encoded.features.unflatten(0, (len(samples), -1))  # (B, 2 + U, C, h, w)
    embeddings = encoded.embeddings.unflatten(0, (len(samples), -1))  # (B, 2 + U, D, h, w)
    firsts, previous = [], []
    for b, sample in enumerate(samples):
        reference = label_frame(embeddings[b, 0], sample.labels[0].to(device), num_objects=sample.num_objects)
        firsts.append(_subsample(reference, limit=settings.reference_pixels, rng=rng))
        labels = sample.labels[1]
        if rng.uniform() < settings.mask_damage:
            labels = damage_labels(labels, num_objects=sample.num_objects, rng=rng)
        previous.append(label_frame(embeddings[b, 1], labels.to(device), num_objects=sample.num_objects))
    total = torch.zeros((), device=device)
    for u in range(2, features.shape[1]):
        cues = [model.cues(features[b, u], embeddings[b, u], firsts[b], previous[b]) for b in range(len(samples))]
        logits = model.segment(cues)  # B × (K, h, w)
        for b, sample in enumerate(samples):
            target = sample.labels[u].to(device)
            full = resize_bilinear(logits[b][None], tuple(target.shape))[0]  # (K, H, W)
            total = total + hard_pixel_loss(full, target, keep=keep)
            if config.model.feedback == "hard":
                previous[b] = label_frame(embeddings[b, u], full.detach().argmax(0), num_objects=sample.num_objects)
            else:
                soft = combine_objects(logits[b].detach())
                previous[b] = Labelled(embeddings[b, u], soft.argmax(0), soft)
    return total / (len(samples) * settings.unroll) * settings.clips_summed


def _scale_bias_gradients(model: Feelvos, factor: float) -> None:
    """Multiply the gradients of the convolutions' biases; the shifts of batch norms are none."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None and module.bias.grad is not None:
            module.bias.grad.mul_(factor)


def _subsample(reference: Labelled, *, limit: int, rng: np.random.Generator) -> Labelled:
    """At most `limit` random pixels of each object, as the paper does in training: (D, N) and (N,)."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    labels = reference.labels.flatten()
    kept = sample_reference(labels, max_per_object=limit, generator=generator)
    return Labelled(reference.embeddings.flatten(1)[:, kept], labels[kept], reference.probabilities)


def _optimizer(model: Feelvos, config: Config) -> torch.optim.Optimizer:
    """Weight decay reaches matrices and kernels, not biases and norms."""
    settings = config.train
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
