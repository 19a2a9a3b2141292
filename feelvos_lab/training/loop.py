"""The training loop. It resumes exactly: an interrupted training ends with the weights of an uninterrupted one.

`torchrun --nproc-per-node N -m feelvos_lab train …` is `feelvos-lab train …` in N processes.

Symbols: B clips, U query frames, K objects counting the background, H W the crop.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from feelvos_lab.config import Config
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.datasets import load_sets
from feelvos_lab.data.frames import InMemory
from feelvos_lab.errors import LabError
from feelvos_lab.files.lock import locked
from feelvos_lab.model.build import build_model
from feelvos_lab.model.checkpoint import initialise
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.training import distributed
from feelvos_lab.training.losses import batch_loss, kept_fraction
from feelvos_lab.training.optimizer import make_optimizer, poly_rate, set_training, update
from feelvos_lab.training.samples import StepBatch, StepSampler
from feelvos_lab.training.state import TrainingState
from feelvos_lab.training.tensorboard import open_curves


class Trained(NamedTuple):
    """A trained model and what happened on the way, one row per logged step."""

    model: Feelvos
    history: list[dict[str, float]]  # step, loss, learning_rate, seconds


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
    share = distributed.this_rank()
    draws = StepSampler(sets, config=config, seed=seed, share=share)
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
            until_trained.enter_context(locked(Path(folder) / ".state.lock", f"training in {folder}"))
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
            if torch.device(device).type == "cpu":
                require_compiler()
            # the forward method alone: the module keeps its class, and its tensors the names that checkpoints use
            model.backbone.forward = torch.compile(model.backbone.forward)
            until_trained.callback(delattr, model.backbone, "forward")  # the trained model is not compiled
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


def require_compiler() -> None:
    """Raise a LabError unless the C++ compiler is installed that `torch.compile` calls on a CPU."""
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if shutil.which(name) is None:
        raise LabError(f"compile needs a C++ compiler, found no {name}: install one, or set compile to false")


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

    def forward(self, drawn: StepBatch, *, keep: float, clips: int, device: str | torch.device) -> Tensor:
        return batch_loss(
            self.model, drawn.samples, config=self.config, keep=keep, rngs=drawn.rngs, clips=clips, device=device
        )


def _step(
    loss_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    drawn: StepBatch,
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
        part = StepBatch(drawn.samples[start : start + size], drawn.rngs[start : start + size])
        with distributed.without_sync(loss_of, while_=start + size < clips):
            loss = loss_of(part, keep=keep, clips=clips, device=device)
            if not torch.isfinite(loss):
                raise LabError(f"the loss must be finite, got {loss.item()}")
            loss.backward()
        total += loss.item()
    update(loss_of, optimizer, settings)
    return total
