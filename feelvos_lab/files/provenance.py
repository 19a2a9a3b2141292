"""Versions, commit and hardware, for the record of a run or figure."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

import feelvos_lab
from feelvos_lab.files.memory import peak_memory
from feelvos_lab.files.project import is_installed, project_folder

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "pandas")


def environment() -> dict[str, Any]:
    """Versions, commit, device, threads, FEELVOS_SEARCH, and the peak memory of the process so far, in MiB."""
    torch = sys.modules.get("torch")  # importing it only to report its threads would take seconds
    cuda = torch is not None and torch.cuda.is_initialized()
    apple = torch is not None and torch.backends.mps.is_available() and torch.mps.driver_allocated_memory() > 0
    commit, dirty = _git()
    return {
        "versions": {
            "python": platform.python_version(),
            "feelvos_lab": feelvos_lab.__version__,
            **{name: _version(name) for name in PACKAGES},
        },
        "commit": commit,
        "dirty": dirty,
        "device": torch.cuda.get_device_name() if cuda else f"{'mps' if apple else 'cpu'} ({platform.machine()})",
        "threads": torch.get_num_threads() if torch is not None else None,
        "search": os.environ.get("FEELVOS_SEARCH"),  # another search may choose another of equally near pixels
        "deterministic": torch is not None and torch.are_deterministic_algorithms_enabled(),
        "peak_memory_mb": round(peak_memory() / 1024**2),
        "peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 1024**2) if cuda else None,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    """The commit and whether tracked files differ from it; (None, None) where the package is not used from a clone."""
    root = project_folder()
    if is_installed():  # the repository around it, if any, is another one
        return None, None

    def output_of(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = output_of("rev-parse", "HEAD")
    status = output_of("status", "--porcelain", "--untracked-files=no") if commit else None
    return commit, None if status is None else bool(status)
