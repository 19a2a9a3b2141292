"""A module compiled by torch for as long as a block lasts: preparing takes long, and may make the steps faster."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from feelvos_lab.errors import LabError

_COMPILERS = {"darwin": "clang++", "win32": "cl"}


@contextmanager
def compiled(module: nn.Module, *, device: str | torch.device) -> Iterator[None]:
    """Let torch compile `module`, which keeps its class and the names of its tensors; afterwards it is as it was.

    Raises:
        LabError: a processor's kernels are to be compiled, and there is no C++ compiler.
    """
    if torch.device(device).type == "cpu":
        require_compiler()
    module.forward = torch.compile(module.forward)
    try:
        yield
    finally:
        del module.forward  # of this instance; its class's is seen again


def require_compiler() -> None:
    """Stop unless there is the C++ compiler that torch will call: that of the variable CXX, or the system's usual one.

    Raises:
        LabError: there is none of that name.
    """
    name = os.environ.get("CXX") or _COMPILERS.get(sys.platform, "g++")
    if shutil.which(name) is None:
        raise LabError(f"compile needs a C++ compiler, found no {name}: install one, or set compile to false")
