"""Training: the loss, the schedule, and the loop, which resumes exactly.

`torchrun --nproc-per-node N -m feelvos_lab.train …` is `feelvos-lab train …` in N processes.

Letters: B clips, U query frames, K objects counting the background, H W the crop.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from feelvos_lab import distributed
from feelvos_lab.checkpoint import TrainingState, initialise
from feelvos_lab.compiled import compiled
from feelvos_lab.config import Config
from feelvos_lab.curves import open_curves
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.draws import Drawn, Draws
from feelvos_lab.data.holding import alone
from feelvos_lab.data.lazy import InMemory
from feelvos_lab.data.source import load_sets
from feelvos_lab.data.triplets import IGNORE, Sample, damage_labels
from feelvos_lab.errors import LabError
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos, Labelled, label_frame
from feelvos_lab.model.head import combine_objects
from feelvos_lab.model.matching import sample_reference
from feelvos_lab.model.pml import triplet_loss
from feelvos_lab.model.resize import resize_bilinear
from feelvos_lab.optim import make_optimizer, set_training, update


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
    start: Path | None = None,
    start_part: Literal["trunk", "all"] = "all",
    curves: Path | None = None,
) -> Trained:
    """Train a model from its configuration; the same configuration, seed and thread count give the same weights.

    Args:
        clips: training clips; None loads those that the configuration names.
        folder: where `state.safetensors` is kept, to resume from; None keeps nothing.
        stop_after: end early after this many steps, as if interrupted (for tests).
        start: a checkpoint or an imported part whose weights the training starts from; None starts at random. A
            resumed training goes on from its state, whatever this says.
        start_part: what to take of it, see `initialise`.
        curves: a folder to write the logged rows to for TensorBoard, by the first process alone; None writes none.

    Raises:
        LabError: no training clip, a `start` that does not fit, a state in `folder` that belongs to another
            configuration or seed, another process that trains there, or `curves` without the package tensorboard. A
            loss, a gradient or weights that are not finite: the state that `folder` holds is that of the last step
            saved before, and can be gone on from.
    """
    sets = load_sets(config.data, split="train", seed=seed) if clips is None else [clips]
    if not all(sets):
        raise LabError("training needs at least one clip, got none")
    if config.data.in_memory:
        sets = [[replace(c, frames=InMemory(c.frames), masks=InMemory(c.masks)) for c in clips] for clips in sets]
    share = distributed.share()
    draws = Draws(sets, config=config, seed=seed, share=share)
    _require_equal_parts(len(draws.own), config.train.accumulate)
    if config.train.rollout and config.model.method == "pml":
        raise LabError(f"rollout is for method 'feelvos', which feeds predictions back, got {config.train.rollout}")
    with torch.random.fork_rng(devices=[]), _repeatable(), ExitStack() as until_trained:
        torch.manual_seed(seed)
        model = build_model(config.model)
        if start is not None:
            fresh = initialise(model, start, part=start_part)
            if progress and share.rank == 0:
                progress(f"starts from {start}; at random: {_listed(fresh)}")
        model = model.to(device)
        optimizer = make_optimizer(model, config.train)
        if folder is not None and share.rank == 0:
            until_trained.enter_context(alone(Path(folder) / ".state.lock", f"training in {folder}"))
        state = TrainingState(folder, config, seed)
        first, history = state.resume(model, optimizer)
        saved = first  # the last step whose state is kept
        draw_curves = until_trained.enter_context(
            open_curves(curves if share.rank == 0 else None, first=first, so_far=history)
        )
        distributed.agree_on(first, device=device)
        began, spent = time.perf_counter(), history[-1]["seconds"] if history else 0.0
        set_training(model, config.train)
        if config.train.compile:
            until_trained.enter_context(compiled(model.backbone, device=device))
        loss_of = distributed.averaging(_Loss(model, config))
        losses: list[float] = []
        last = config.train.steps if stop_after is None else min(config.train.steps, stop_after)
        for step in range(first, last):
            drawn = draws[step]
            draws.seed_model(step)
            try:
                loss = _step(loss_of, optimizer, drawn, config=config, step=step, device=device)
                due = (step + 1) % save_every == 0 or step + 1 == last
                if due:
                    _require_finite(model)
            except LabError as error:  # such as embeddings that are not finite any more
                names = ", ".join(dict.fromkeys(name for sample in drawn.samples for name in sample.clips))
                kept = f"; {state.path} keeps the training as of step {saved}" if state.path and saved else ""
                raise LabError(f"{error} at step {step} of seed {seed}, on clips {names or 'unnamed'}{kept}") from error
            losses.append(distributed.mean_over_processes(loss, device=device))
            if (step + 1) % log_every == 0 or step + 1 == config.train.steps:
                row = {
                    "step": step + 1,
                    "loss": float(np.mean(losses)),
                    "learning_rate": optimizer.param_groups[0]["lr"],
                    "seconds": spent + time.perf_counter() - began,
                }
                history.append(row)
                mined = {"kept_fraction": _kept(step, config)} if config.model.method == "feelvos" else {}
                draw_curves({**row, **mined})
                losses = []
                if progress and share.rank == 0:
                    progress(f"step {row['step']}/{config.train.steps}  loss {row['loss']:.3f}  {row['seconds']:.0f} s")
            if share.rank == 0 and due:
                state.save(model, optimizer, step + 1, history)
                saved = step + 1
        distributed.agree_on(last, device=device)  # nobody leaves before the state is written
    return Trained(model.eval(), history)


def _listed(names: list[str]) -> str:
    """How many tensors, and of which layers."""
    layers = dict.fromkeys(".".join(name.split(".")[:2]) for name in names)
    return f"{len(names)} tensors of {', '.join(layers)}" if names else "nothing"


def _require_equal_parts(clips: int, parts: int) -> None:
    if parts < 1 or clips % parts:
        raise LabError(f"accumulate must divide the {clips} clips that each process has in a step, got {parts}")


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let torch choose only algorithms that add in a fixed order, for as long as the block lasts."""
    before = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    strict = before and not lenient  # asked for, see deterministic.py
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available() and not strict)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=lenient)


def _require_finite(model: nn.Module) -> None:
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise LabError(f"the weights must be finite, {name} is not")


def _kept(step: int, config: Config) -> float:
    settings = config.train
    return kept_fraction(step, hard_fraction=settings.hard_fraction, anneal_steps=settings.hard_anneal_steps)


class _Loss(nn.Module):
    """`batch_loss` as a module, since modules are what distributed training wraps."""

    def __init__(self, model: Feelvos, config: Config) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, drawn: Drawn, *, keep: float, clips: int, device: str | torch.device) -> Tensor:
        return batch_loss(
            self.model, drawn.samples, config=self.config, keep=keep, rngs=drawn.rngs, clips=clips, device=device
        )


def _step(
    loss_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    drawn: Drawn,
    *,
    config: Config,
    step: int,
    device: str | torch.device,
) -> float:
    """One update; returns the loss of this process's clips."""
    settings = config.train
    rate = poly_rate(step, base=settings.learning_rate, steps=settings.steps, power=settings.poly_power)
    for group in optimizer.param_groups:
        group["lr"] = rate
    keep = _kept(step, config)
    optimizer.zero_grad(set_to_none=True)
    clips = len(drawn.samples)
    size = clips // settings.accumulate
    total = 0.0
    for start in range(0, clips, size):
        part = Drawn(drawn.samples[start : start + size], drawn.rngs[start : start + size])
        with distributed.held_back(loss_of, while_=start + size < clips):
            loss = loss_of(part, keep=keep, clips=clips, device=device)
            if not torch.isfinite(loss):
                raise LabError(f"the loss must be finite, got {loss.item()}")
            loss.backward()
        total += loss.item()
    update(loss_of, optimizer, settings)
    return total


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

    From the second query on, the model's own prediction is fed back, soft or hard as `feedback` says. Where samples
    have more than U query frames, the first R of them are predicted without gradient and have no loss: with them the
    model meets the mistakes that it makes after a while (see `rollout`).

    The first previous mask is the true one, damaged with probability `mask_damage`. The prediction that is fed back
    carries no gradient.

    Args:
        rngs: one a sample, for the mask damage and the choice of reference pixels.
        clips: the number that the sum over samples is divided by, where these are a part of so many; None: B.
    """
    settings = config.train
    if config.model.method == "pml":
        share = (clips or len(samples)) * settings.unroll
        return _triplets(model, samples, config=config, rngs=rngs, device=device) / share * settings.clips_summed
    lead = samples[0].frames.shape[0] - 2 - settings.unroll  # R frames of which nothing is learned
    features, embeddings = _encode(model, samples, lead=lead, precision=settings.precision, device=device)
    firsts, previous = [], []
    for b, sample in enumerate(samples):
        reference = label_frame(embeddings[b, 0], sample.labels[0].to(device), num_objects=sample.num_objects)
        firsts.append(_subsample(reference, limit=settings.reference_pixels, rng=rngs[b]))
        labels = sample.labels[1]
        if rngs[b].uniform() < settings.mask_damage:
            labels = damage_labels(labels, num_objects=sample.num_objects, rng=rngs[b])
        previous.append(label_frame(embeddings[b, 1], labels.to(device), num_objects=sample.num_objects))
    total = torch.zeros((), device=device)
    for u in range(2, len(samples[0].frames)):
        learned = u >= 2 + lead
        with torch.set_grad_enabled(learned and torch.is_grad_enabled()):
            cues = [model.cues(features[b, u], embeddings[b, u], firsts[b], previous[b]) for b in range(len(samples))]
            with _precision(settings.precision, device=device):
                segmented = model.segment(cues)
        logits = [one.float() for one in segmented]  # B × (K, h, w)
        for b, sample in enumerate(samples):
            target = sample.labels[u].to(device)
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
    """Features and embeddings (B, 2 + R + U, …) of all frames; those of the frames 1 … R carry no gradient."""
    frames = torch.stack([s.frames for s in samples]).to(device)  # (B, 2 + R + U, 3, H, W)
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


def _precision(name: str, *, device: str | torch.device) -> AbstractContextManager[None]:
    """A block in which convolutions compute in that precision; the weights stay float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16) if name == "bfloat16" else nullcontext()


def _triplets(
    model: Feelvos,
    samples: list[Sample],
    *,
    config: Config,
    rngs: Sequence[np.random.Generator],
    device: str | torch.device,
) -> Tensor:
    """Sum of PML's loss: each query frame gives the anchors, the two frames before it, with true masks, the pool."""
    settings = config.train
    images = torch.cat([s.frames for s in samples]).to(device)  # (B·(2 + U), 3, H, W)
    with _precision(settings.precision, device=device):
        encoded = model.encode(images)
    embeddings = encoded.embeddings.float().unflatten(0, (len(samples), -1))  # (B, 2 + U, D, h, w)
    total = torch.zeros((), device=device)
    for b, sample in enumerate(samples):
        frames = [
            label_frame(e, labels.to(device), num_objects=sample.num_objects)
            for e, labels in zip(embeddings[b], sample.labels, strict=True)
        ]
        pool = torch.stack([f.embeddings for f in frames[:2]], 1).flatten(1)  # (D, 2·h·w)
        pool_labels = torch.stack([f.labels for f in frames[:2]]).flatten()  # (2·h·w,)
        for frame in frames[2:]:
            known = frame.labels.where(frame.labels < sample.num_objects, -1)
            anchors = _subsample(frame._replace(labels=known), limit=settings.anchor_pixels, rng=rngs[b])
            total = total + triplet_loss(
                *(anchors.embeddings, anchors.labels, pool, pool_labels),
                num_objects=sample.num_objects,
                margin=settings.triplet_margin,
            )
    return total


def _subsample(reference: Labelled, *, limit: int, rng: np.random.Generator) -> Labelled:
    """At most `limit` random pixels of each object, as the paper does in training: (D, N) and (N,)."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    labels = reference.labels.flatten()
    kept = sample_reference(labels, max_per_object=limit, generator=generator)
    return Labelled(reference.embeddings.flatten(1)[:, kept], labels[kept], reference.probabilities)


if __name__ == "__main__":
    from feelvos_lab.cli import main

    main(["train", *sys.argv[1:]])
