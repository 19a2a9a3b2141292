"""The training loop. It resumes exactly: an interrupted training ends with the weights of an uninterrupted one.

`torchrun --nproc-per-node N -m feelvos_lab train …` is `feelvos-lab train …` in N processes.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import sys
import time
from collections import deque
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
from feelvos_lab.model.weight_file import load_weight_file
from feelvos_lab.training import distributed
from feelvos_lab.training.interrupt import postponed_ctrl_c
from feelvos_lab.training.loaders import drawn_batches
from feelvos_lab.training.losses import batch_loss, kept_fraction
from feelvos_lab.training.optimizer import make_optimizer, poly_rate, set_training, update
from feelvos_lab.training.samples import StepBatch, StepSampler
from feelvos_lab.training.state import TrainingState
from feelvos_lab.training.tensorboard import open_curves


class Trained(NamedTuple):
    """A trained model and its history, one row per logged step."""

    model: Feelvos
    history: list[dict[str, float]]  # step, loss (mean since the row before), learning_rate, seconds


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
    loaders: int = 0,
) -> Trained:
    """Train a model. The same configuration, seed and number of threads give the same weights.

    With a folder, the first Ctrl-C ends the training after the present step, saves its state, and raises
    KeyboardInterrupt; the second one does so at once. (Several processes of `torchrun` end at once.)

    Args:
        clips: training clips; None loads those that the configuration names.
        folder: keeps `state.safetensors`, from which an interrupted training resumes; None keeps nothing.
        progress: is called with a line of text for each logged step.
        stop_after: end after this many steps, as if interrupted (for tests).
        start: a checkpoint, or an imported part of a network, with the initial weights, of which `initialise` takes
            `start_part`; None: random ones. A training that resumes takes its weights from its state instead.
        curves: a folder for the logged rows as TensorBoard events; None writes none.
        loaders: draw the samples in this many other processes (see `drawn_batches`); 0: in this one.

    Raises:
        LabError: settings, clips, `start` or a state that do not fit; another process that trains in `folder`; a loss,
            gradient or weight that is not finite; a loader that ended. The last saved state stays, to resume from.

    Example:
        >>> from feelvos_lab.config import configure
        >>> from feelvos_lab.data import make_clip
        >>> from feelvos_lab.training import train
        >>> clips = [make_clip(1, height=32, width=32, frames=3)]
        >>> trained = train(configure("smoke", steps=2, hard_anneal_steps=1), seed=0, clips=clips, log_every=1)
        >>> [(row["step"], row["loss"] > 0) for row in trained.history]
        [(1, True), (2, True)]
    """
    if not 0 <= seed < 2**63:
        raise LabError(f"seed must be 0 or more and below 2^63, got {seed}")
    sets = load_sets(config.data, split="train", seed=seed) if clips is None else [clips]
    if not all(sets):
        raise LabError("training needs at least one clip, got none")
    if config.data.in_memory:
        sets = [[replace(c, frames=InMemory(c.frames), masks=InMemory(c.masks)) for c in clips] for clips in sets]
    share = distributed.this_rank()
    if share.rank > 0:  # the first process alone logs; of `folder`, it alone holds the lock and writes the state
        progress = curves = None
    sampler = StepSampler(sets, config=config, seed=seed, share=share)
    if (own := len(sampler.own)) % (parts := config.train.accumulate):
        raise LabError(f"accumulate must divide the {own} clips that each process has in a step, got {parts}")
    if config.train.rollout and config.model.method == "pml":
        raise LabError(f"rollout is for method 'feelvos', which feeds predictions back, got {config.train.rollout}")
    # fork_rng: torch's global generator is seeded below; the caller's must not notice
    with torch.random.fork_rng(devices=[]), _repeatable(device), ExitStack() as until_trained:
        torch.manual_seed(seed)
        model = build_model(config.model)
        load_weight_file(model.backbone.net, config.model)
        if start is not None:
            fresh = initialise(model, start, part=start_part)
            if progress:
                progress(f"starts from {start}; at random: {_count_by_layer(fresh)}")
        model = model.to(device)
        optimizer = make_optimizer(model, config.train)
        if folder is not None and share.rank == 0:  # before the state is read, which another process may be writing
            until_trained.enter_context(locked(Path(folder) / ".state.lock", f"training in {folder}"))
        state = TrainingState(folder, config, seed)
        first, history = state.resume(model, optimizer)
        saved = first  # step of the state on disk
        draw_curves = until_trained.enter_context(open_curves(curves, first=first, so_far=history))
        distributed.agree_on(first, device=device)  # also waits: no process trains while another still reads the state
        began, spent = time.perf_counter(), history[-1]["seconds"] if history else 0.0
        set_training(model, config.train)
        if config.train.compile:
            if torch.device(device).type == "cpu":
                require_compiler()
            # the forward method alone: the module keeps its class, and its tensors the names that checkpoints use
            model.backbone.forward = torch.compile(model.backbone.forward)
            until_trained.callback(delattr, model.backbone, "forward")  # the trained model is not compiled
        loss_of = distributed.averaging(_Loss(model, config))
        losses: list[float] = []  # since the last logged row
        took: deque[float] = deque(maxlen=50)  # seconds of the last steps
        last = config.train.steps if stop_after is None else min(config.train.steps, stop_after)
        interrupted = until_trained.enter_context(postponed_ctrl_c(folder is not None and share.of == 1))
        # a batch depends on seed and step alone, so a resumed training sees the same samples
        batches = until_trained.enter_context(
            drawn_batches(sampler, range(first, last), loaders=loaders, device=device)
        )
        for step in range(first, last):
            step_began = time.perf_counter()
            batch = next(batches)
            batch.seed_model()  # a resumed training has the same dropout
            try:
                loss = _step(loss_of, optimizer, batch, config=config, step=step, device=device)
                due = (step + 1) % save_every == 0 or step + 1 == last or interrupted()
                if due:
                    _require_finite(model)  # before the last good state is overwritten
            except LabError as error:
                names = ", ".join(dict.fromkeys(name for sample in batch.samples for name in sample.clips))
                kept = f"; {state.path} keeps the training as of step {saved}" if state.path and saved else ""
                raise LabError(f"{error} at step {step} of seed {seed}, on clips {names or 'unnamed'}{kept}") from error
            losses.append(distributed.mean_over_processes(loss, device=device))
            took.append(time.perf_counter() - step_began)
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
                if progress:
                    left = _time_text(statistics.median(took) * (config.train.steps - step - 1))
                    done = f"step {row['step']}/{config.train.steps}  loss {row['loss']:.3f}  {row['seconds']:.0f} s"
                    progress(done if row["step"] == config.train.steps else f"{done}, {left} left")
            if share.rank == 0 and due:
                state.save(model, optimizer, step + 1, history)
                saved = step + 1
            if due and interrupted():  # between the two, too: then the next step ends the training
                if progress:
                    progress(f"interrupted: {state.path} keeps the training as of step {saved}, to resume from")
                raise KeyboardInterrupt
        distributed.agree_on(last, device=device)  # no process leaves before the state is written
    return Trained(model.eval(), history)


def require_compiler() -> None:
    """Raise a LabError unless the C++ compiler is installed that `torch.compile` calls on a CPU."""
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if shutil.which(name) is None:
        raise LabError(f"compile needs a C++ compiler, found no {name}: install one, or set compile to false")


def _time_text(seconds: float) -> str:
    """A duration in the unit that suits it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _count_by_layer(names: list[str]) -> str:
    """The number of tensors, and the layers that have them."""
    layers = dict.fromkeys(".".join(name.split(".")[:2]) for name in names)
    return f"{len(names)} tensors of {', '.join(layers)}" if names else "nothing"


@contextmanager
def _repeatable(device: str | torch.device) -> Iterator[None]:
    """A block in which torch on a CPU uses only algorithms that add in a fixed order.

    On a GPU these cost time, so there they are used only with `--deterministic` (see deterministic.py).
    """
    before = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    if torch.device(device).type == "cpu":
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=lenient)


def _require_finite(model: nn.Module) -> None:
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise LabError(f"the weights must be finite, {name} is not")


def _kept(step: int, config: Config) -> float:
    """`kept_fraction` by the settings."""
    settings = config.train
    return kept_fraction(step, hard_fraction=settings.hard_fraction, anneal_steps=settings.hard_anneal_steps)


class _Loss(nn.Module):
    """`batch_loss` as a module, since DistributedDataParallel wraps modules."""

    def __init__(self, model: Feelvos, config: Config) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, batch: StepBatch, *, keep: float, clips: int, device: str | torch.device) -> Tensor:
        return batch_loss(
            self.model, batch.samples, config=self.config, keep=keep, rngs=batch.rngs, clips=clips, device=device
        )


def _step(
    loss_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: StepBatch,
    *,
    config: Config,
    step: int,
    device: str | torch.device,
) -> float:
    """One update of the weights; returns the loss of this process's clips."""
    settings = config.train
    rate = poly_rate(step, base=settings.learning_rate, steps=settings.steps, power=settings.poly_power)
    for group in optimizer.param_groups:
        group["lr"] = rate
    keep = _kept(step, config)
    optimizer.zero_grad(set_to_none=True)
    clips = len(batch.samples)
    size = clips // settings.accumulate
    total = 0.0
    # the graph of one part is in memory at a time; each loss is divided by all clips, so the gradients add up
    for start in range(0, clips, size):
        chosen = slice(start, start + size)
        part = batch._replace(samples=batch.samples[chosen], rngs=batch.rngs[chosen])
        with distributed.without_sync(loss_of, while_=start + size < clips):  # processes average the sum, once
            loss = loss_of(part, keep=keep, clips=clips, device=device)
            loss.backward()
        value = loss.item()  # waits for a GPU, which by now has the backward pass to compute
        if not math.isfinite(value):
            raise LabError(f"the loss must be finite, got {value}")
        total += value
    update(loss_of, optimizer, settings)
    return total
