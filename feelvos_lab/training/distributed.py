"""Data-parallel training in the processes that `torchrun` starts; in a single process, nothing here has an effect.

Each process computes its share of every batch, and torch's DistributedDataParallel averages the gradients. So all have
the same weights after every step: those of one process with the whole batch, up to rounding. This needs
`freeze_norm`: a batch norm that is not frozen normalises by the share of its own process, and the running statistics
of the first process are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from feelvos_lab.errors import LabError
from feelvos_lab.training.samples import Rank

_ERRORS = "feelvos_lab errors"  # a counter in the store that all processes share


@contextmanager
def process_group() -> Iterator[Rank]:
    """Join the processes that `torchrun` started, while the block lasts; yields the share of this process.

    The backend is NCCL where there are GPUs, and else Gloo; more processes than GPUs are a LabError. A LabError ends
    all processes, but is reported once: the first process that has one raises it, the others exit with code 2.
    """
    if not dist.is_torchelastic_launched():
        yield Rank()
        return
    store, rank, processes = next(dist.rendezvous("env://"))
    try:
        gpus = _take_gpu()
        dist.init_process_group("nccl" if gpus else "gloo", store=store, rank=rank, world_size=processes)
        yield this_rank()
    except LabError:
        if store.add(_ERRORS, 1) > 1:
            raise SystemExit(2) from None
        raise
    except RuntimeError:  # a process that exits closes its connections, which raises this in the others
        if store.check([_ERRORS]):
            raise SystemExit(2) from None
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _take_gpu() -> bool:
    """Select the GPU with the local rank of this process; False where there is no GPU."""
    if not (gpus := torch.cuda.device_count()):
        return False
    if (processes := int(os.environ["LOCAL_WORLD_SIZE"])) > gpus:
        raise LabError(f"--nproc-per-node must be at most the number of GPUs, {gpus}, got {processes}")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return True


def this_rank() -> Rank:
    """The share of this process: the whole batch outside a `process_group`."""
    return Rank(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Rank()


def averaging(module: nn.Module) -> nn.Module:
    """`module` with a backward pass that averages the gradients over all processes."""
    return DistributedDataParallel(module) if this_rank().of > 1 else module


def without_sync(module: nn.Module, *, while_: bool) -> AbstractContextManager[None]:
    """A block whose backward pass averages no gradients over processes if `while_`; a later one averages the sum."""
    return module.no_sync() if while_ and isinstance(module, DistributedDataParallel) else nullcontext()


def mean_over_processes(value: float, *, device: str | torch.device) -> float:
    """The mean of a number over all processes."""
    if this_rank().of == 1:
        return value
    numbers = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(numbers)
    return numbers.item() / this_rank().of


def agree_on(step: int, *, device: str | torch.device) -> None:
    """Wait for all processes; a LabError if they are at different steps, as where one machine alone has the state."""
    if this_rank().of == 1:
        return
    steps = [torch.zeros((), dtype=torch.int64, device=device) for _ in range(this_rank().of)]
    dist.all_gather(steps, torch.tensor(step, device=device))
    if len(found := {int(s) for s in steps}) > 1:
        raise LabError(f"all processes must resume from one step, found states of steps {sorted(found)}: share --out")
