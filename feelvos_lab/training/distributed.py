"""Several processes train one model, as `torchrun` starts them; alone, everything here does nothing.

Each process works off its share of every batch, and torch's DistributedDataParallel averages the gradients, so all
hold the same weights after every step: those that one process gets from the whole batch, up to rounding. That takes
`freeze_norm`: a batch norm that is not frozen normalises by its own process's share, as on the paper's GPUs it would,
and the running statistics that are kept are those of the first process.
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

_REFUSALS = "feelvos_lab refusals"  # a counter that all processes share


@contextmanager
def process_group() -> Iterator[Rank]:
    """Join the processes that `torchrun` started, for as long as the block lasts; gives this one's share of the work.

    They speak NCCL where there is a GPU, of which each process takes its own, and Gloo elsewhere. A refusal ends all:
    the first process to refuse raises it, the others leave with exit code 2 and say nothing.

    Raises:
        LabError: the block's own, or more processes on a machine than it has GPUs, where it has any.
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
        if store.add(_REFUSALS, 1) > 1:
            raise SystemExit(2) from None
        raise
    except RuntimeError:  # a process that left closes its connections, which the others meet as an error of their own
        if store.check([_REFUSALS]):
            raise SystemExit(2) from None
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _take_gpu() -> bool:
    """Make the GPU of this process's number its own; False where there is none."""
    if not (gpus := torch.cuda.device_count()):
        return False
    if (processes := int(os.environ["LOCAL_WORLD_SIZE"])) > gpus:
        raise LabError(f"--nproc-per-node must be at most the number of GPUs, {gpus}, got {processes}")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return True


def this_rank() -> Rank:
    """This process's share of the work: all of it where no other process was joined."""
    return Rank(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Rank()


def averaging(module: nn.Module) -> nn.Module:
    """`module`, whose backward pass averages the gradients over all processes."""
    return DistributedDataParallel(module) if this_rank().of > 1 else module


def without_sync(module: nn.Module, *, while_: bool) -> AbstractContextManager[None]:
    """A block in which gradients stay in their process, to be averaged with those of a later backward pass."""
    return module.no_sync() if while_ and isinstance(module, DistributedDataParallel) else nullcontext()


def mean_over_processes(value: float, *, device: str | torch.device) -> float:
    """The mean of a number over all processes."""
    if this_rank().of == 1:
        return value
    numbers = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(numbers)
    return numbers.item() / this_rank().of


def agree_on(step: int, *, device: str | torch.device) -> None:
    """Wait for all processes, and hold them to one step to go on from.

    Raises:
        LabError: they differ, such as where only one of several machines has the folder with the training's state.
    """
    if this_rank().of == 1:
        return
    steps = [torch.zeros((), dtype=torch.int64, device=device) for _ in range(this_rank().of)]
    dist.all_gather(steps, torch.tensor(step, device=device))
    if len(found := {int(s) for s in steps}) > 1:
        raise LabError(f"all processes must go on from one step, found states of steps {sorted(found)}: share --out")
