"""Loaders: processes that draw the samples of the coming steps while the training computes.

A step's samples depend on the seed and the step alone, so the weights are the same, bit for bit, for any number of
loaders. They help where the samples take a good part of a step and there are cores that the training does not use: on
a GPU. On a CPU they compete with the training for its cores.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection, resource_tracker
from threading import Thread

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from feelvos_lab.errors import LabError
from feelvos_lab.files.sockets import socket_folder
from feelvos_lab.training.samples import Sample, StepBatch, StepSampler

MOST = 4  # loaders on a GPU, unless more are asked for: each takes memory, and copies of its next batches


def default_loaders(device: str | torch.device) -> int:
    """0 on a CPU; on a GPU 4, or fewer where fewer cores are free besides those of the processes that train."""
    if torch.device(device).type != "cuda":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(MOST, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1))  # torchrun sets the variable


@contextmanager
def drawn_batches(
    sampler: StepSampler, steps: range, *, loaders: int, device: str | torch.device
) -> Iterator[Iterator[StepBatch]]:
    """An iterator over the batches of `steps`, drawn by this process when asked for, or ahead by `loaders` others.

    The loaders end with the block, however it ends, and also when this process is killed.

    They are spawned, on every system and Python version: a forked process would inherit the lock of the training's
    folder and keep it for a while after the training was killed. So each imports torch, which takes some seconds and
    some hundred MB; the clips must be picklable, and a script that trains with loaders needs
    `if __name__ == "__main__":`. Clips in memory are moved to shared memory (on Linux /dev/shm) once and shared by all;
    clips in files are read by each loader. Each loader also holds up to two batches there. For a GPU the batches are
    copied to pinned memory, from which they are sent without waiting.

    Raises:
        LabError: what drawing raises; loaders that cannot be started; a loader that ends early, such as one that the
            system kills for lack of memory; no room in shared memory.
    """
    if loaders < 0:
        raise LabError(f"loaders must not be negative, got {loaders}")
    if not loaders or not steps:
        yield (sampler[step] for step in steps)
        return
    batches = _start(sampler, steps, loaders=loaders, pinned=torch.device(device).type == "cuda")
    try:
        try:
            yield _received(batches)
        except (ConnectionError, EOFError) as error:  # where a batch was just received from a loader that ends
            ended = connection.wait([worker.sentinel for worker in batches._workers], timeout=5)
            if not ended:
                raise
            dead = next(worker for worker in batches._workers if worker.sentinel in ended)
            raise _ended_early(f"DataLoader worker (pid {dead.pid})") from error
        finally:
            batches._shutdown_workers()  # at once; without it when the iterator is collected, which a traceback delays
    except RuntimeError as error:  # raised by torch wherever this process is when a loader ends, the lines above too
        if not str(error).startswith("DataLoader worker"):
            raise
        raise _ended_early(str(error).split(". ")[0].strip(" .")) from error


def _ended_early(which: str) -> LabError:
    return LabError(
        f"a loader has ended early ({which}): fewer loaders take less memory, "
        "and with --loaders 0 the training draws its samples itself"
    )


def _start(sampler: StepSampler, steps: range, *, loaders: int, pinned: bool) -> Iterator[_Stacked | LabError]:
    """Start the processes; the iterator gives their batches in the order of the steps."""
    try:
        with _ctrl_c_blocked(), _room_for_sockets(), warnings.catch_warnings():
            # of more loaders than cores, and of clips that cannot be sent, which is an error below
            warnings.filterwarnings("ignore", message="This DataLoader will create|Got pickle error")
            loader = DataLoader(
                _Steps(sampler),
                batch_size=None,  # an item is a whole batch
                sampler=steps,
                num_workers=loaders,
                collate_fn=_as_it_is,
                pin_memory=pinned,
                worker_init_fn=partial(_begin, deterministic=torch.are_deterministic_algorithms_enabled()),
                multiprocessing_context="spawn",
                generator=torch.Generator(),  # else it would draw a seed from the global one
            )
            return iter(loader)
    except Exception as error:
        # not imported from its module, so that nothing of it is used by mistake
        if not isinstance(error, _NOT_STARTED) and type(error).__name__ != "PicklingError":
            raise
        raise LabError(f"{loaders} loaders cannot be started: {error}") from error


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """A block whose new processes get no Ctrl-C: in a terminal it goes to all, and is for the training alone to handle.

    They inherit blocked signals. Windows blocks none: there `_begin` ignores Ctrl-C, once a process has started.
    """
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # Python's own helper process: begun in the block, it would unblock Ctrl-C again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _room_for_sockets() -> Iterator[None]:
    """A block whose new processes have a TMPDIR with a path short enough for a socket.

    A loader sends its batches through one. Where it cannot open it the error is lost, and the training waits for ever.
    """
    before = os.environ.get("TMPDIR")
    if sys.platform != "win32":
        os.environ["TMPDIR"] = socket_folder("pymp-12345678/listener-12345678")
    try:
        yield
    finally:
        os.environ.pop("TMPDIR", None)
        if before is not None:
            os.environ["TMPDIR"] = before


def _received(batches: Iterator[_Stacked | LabError]) -> Iterator[StepBatch]:
    for received in batches:
        if isinstance(received, LabError):
            raise received
        yield received.unstacked()


# where processes, memory to share or the clips to send are refused
_NOT_STARTED = (OSError, RuntimeError, TypeError, AttributeError, AssertionError)


@dataclass(frozen=True)
class _Stacked:
    """A batch with the tensors of its samples in one: a shared tensor takes a file descriptor, and there are few."""

    frames: Tensor  # (B, 2 + U, 3, H, W)
    labels: Tensor  # (B, 2 + U, H, W)
    counts: list[int]  # objects of each sample
    names: list[tuple[str, ...]]  # clips of each sample
    batch: StepBatch  # without samples

    def pin_memory(self) -> _Stacked:
        """Called by the DataLoader, in a thread."""
        return replace(self, frames=self.frames.pin_memory(), labels=self.labels.pin_memory())

    def unstacked(self) -> StepBatch:
        whole = zip(self.frames, self.labels, self.counts, self.names, strict=True)
        return self.batch._replace(samples=[Sample(*parts) for parts in whole])


@dataclass(frozen=True)
class _Steps:
    """The data set of a loader: a step's number → its batch, or the LabError that drawing it raised."""

    sampler: StepSampler

    def __getitem__(self, step: int) -> _Stacked | LabError:
        try:
            batch = self.sampler[step]
        except LabError as error:  # raised here, it would arrive with a traceback in its text
            return error
        samples = batch.samples
        frames, labels = (torch.stack([getattr(s, name) for s in samples]) for name in ("frames", "labels"))
        try:
            for tensor in (frames, labels):
                tensor.share_memory_()  # here, since an error while the batch is sent would not be reported
        except RuntimeError as error:
            size = (frames.nbytes + labels.nbytes) / 2**20
            return LabError(
                f"a batch of {size:.0f} MB does not fit into shared memory, fewer loaders take less: {error}"
            )
        counts, names = [s.num_objects for s in samples], [s.clips for s in samples]
        return _Stacked(frames, labels, counts, names, batch._replace(samples=[]))


def _as_it_is(item: _Stacked | LabError) -> _Stacked | LabError:
    return item


def _begin(_: int, *, deterministic: bool) -> None:
    """Set up a loader; torch has given it one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.use_deterministic_algorithms(deterministic)  # as in the process that trains
    atexit.register(os._exit, 0)  # nothing is left to tidy up, and unloading torch can take seconds
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(training: multiprocessing.process.BaseProcess) -> None:
    """End this process once the training has: torch's own check misses a training that was killed very early."""
    training.join()
    os._exit(1)
