"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lesson_runs import run_here, solve

from feelvos_lab.checkpoint import save_checkpoint
from feelvos_lab.config import configure
from feelvos_lab.model.feelvos import Feelvos


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of the preset smoke: enough where only files and refusals matter. Not to be written to."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    config = configure("smoke")
    torch.manual_seed(0)
    save_checkpoint(path, Feelvos(config.model).eval(), config)
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny tensors: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Solved(dict[str, tuple[dict[str, Any], dict[str, str]]]):
    """Lessons run with their exercises solved, each when it is first asked for: its names, and what its cells printed.

    Not to be written to.
    """

    SHORT: ClassVar[dict[str, dict[str, int]]] = {
        "06_training": {"steps": 60, "clips": 2},
        "07_inference_and_failure": {"clips": 2},
    }

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self.folders = folders

    def __missing__(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the frames are so small that a second one is only waited for
        try:
            self[name] = run_here(name, self.folders.mktemp("solved"), change=solve, **self.SHORT.get(name, {}))
        finally:
            torch.set_num_threads(threads)
        return self[name]


@pytest.fixture(scope="session")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Solved:
    """Every lesson with its exercises solved, by name."""
    return Solved(tmp_path_factory)
