"""The memory that processes have taken and that the machine has left, on Linux, macOS and Windows."""

from __future__ import annotations

import sys

import psutil

if sys.platform != "win32":
    import resource

    _UNIT = 1 if sys.platform == "darwin" else 1024  # of `ru_maxrss`, in bytes


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def peak_memory_of_ended() -> int | None:
    """The most that one subprocess of this process has held, of those that have ended, in bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _UNIT


def available_memory() -> int:
    """Bytes that new processes can have now without swapping; what caches hold counts as available."""
    return psutil.virtual_memory().available


def total_memory() -> int:
    """Bytes of memory in this machine."""
    return psutil.virtual_memory().total
