"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from browser import opened_browser
from lesson_runs import run_here, solve

from feelvos_lab.config import configure
from feelvos_lab.model.checkpoint import save_checkpoint
from feelvos_lab.model.feelvos import Feelvos

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TESTS = Path(__file__).parent

# Files whose tests start processes, run notebooks or train: marked slow, all else is fast. `make test-fast` leaves
# them out, and what a fast test lets pass shows in `make mutate`.
SLOW = frozenset(
    f"{folder}/test_{name}.py".lstrip("/")
    for folder, names in {
        "": ("benchmarks", "clean_tree", "lab", "packaging", "wheel"),
        "ablation": ("dask_cluster", "difficulty", "execute", "given_networks", "sweep", "temporary_folders"),
        "cli": ("cli", "evaluate", "listening", "page", "segment_files"),
        "data": ("large",),
        "figures": ("distance_maps", "make_distance_maps"),
        "files": ("lock",),
        "inference": ("memory", "probe"),
        "lessons": (
            "answers",
            "cost",
            "exercises",
            "later_claims",
            "lesson_08",
            "lesson_09",
            "lesson_10",
            "lesson_11",
            "lesson_claims",
            "lessons",
            "notebooks",
        ),
        "robustness": ("full_disk", "fuzz", "killed", "no_posix", "soak"),
        "tf_import": ("convert",),
        "training": ("bfloat16", "distributed", "loaders", "numbers", "tensorboard"),
        "widgets": ("explorer", "front_end", "mask_editor", "painted_video", "painter", "painter_view"),
    }.items()
    for name in names
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).as_posix() in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of the preset smoke: enough where only files and refusals matter. Not to be written to."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    config = configure("smoke")
    torch.manual_seed(0)
    save_checkpoint(path, Feelvos(config.model).eval(), config)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window, for the tests of one file."""
    with opened_browser() as opened:
        yield opened


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
        "01_the_task_and_the_score": {"video_frames": 17},
        "06_training": {"steps": 60, "clips": 2},
        "07_inference_and_failure": {"video_frames": 17},
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
