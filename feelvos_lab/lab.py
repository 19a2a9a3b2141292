"""What the notebooks call: begin, train or load a model, save a figure, write a record."""

from __future__ import annotations

import platform
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import timm
import torch

import feelvos_lab
from feelvos_lab import deterministic
from feelvos_lab.ablation.record import write_record
from feelvos_lab.config import Config, configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.davis import read_davis
from feelvos_lab.errors import LabError
from feelvos_lab.figures.save import _made_with, save_figure
from feelvos_lab.model.checkpoint import (
    device,
    load_checkpoint,
    save_checkpoint,
    sha256,
    shipped_mismatch,
    shipped_path,
)
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.training.loop import Trained, train

if TYPE_CHECKING:
    from feelvos_lab.ablation.results import Published

__all__ = [
    "begin",
    "device",
    "load",
    "published",
    "real_clip",
    "save_figure",
    "train_here",
    "train_or_load",
    "write_record",
]

_SOURCES = {
    "shapes": "synthetic clips, made from seeds; nothing is downloaded",
    "davis-2016": "DAVIS-2016",
    "davis-2017": "DAVIS-2017",
    "youtube-vos": "YouTube-VOS",
    "davis-2017+youtube-vos": "DAVIS-2017 and YouTube-VOS",
}


def begin(*, preset: str, seed: int) -> Config:
    """Seed Python, numpy and torch, and say in three lines with what this notebook runs.

    Where the environment has FEELVOS_DETERMINISTIC=1, as `feelvos-lab ablate run --deterministic` sets it, everything
    computes with one thread and repeats bit for bit, and a fourth line says so.

    Returns:
        The preset's configuration, for later cells.

    Raises:
        LabError: an unknown preset, or a negative seed.
    """
    config = configure(preset)
    if seed < 0:
        raise LabError(f"seed must not be negative, got {seed}")
    random.seed(seed)
    np.random.seed(seed % 2**32)  # for cells that use the global generator
    torch.manual_seed(seed)
    if deterministic.asked():
        deterministic.begin()
    _made_with.clear()
    _made_with.update(preset=preset, seed=seed)
    _let_figures_show()
    versions = f"python {platform.python_version()}, torch {torch.__version__}, timm {timm.__version__}"
    print(f"feelvos_lab {feelvos_lab.__version__} ({versions}), {_machine()}")
    print(f"preset {preset} (configuration {config.digest()}), seed {seed}")
    print(f"data: {_SOURCES[config.data.data]}{f' in {config.data.root}' if config.data.root else ''}")
    if deterministic.asked():
        print("deterministic: one thread, and only algorithms that give the same bits each time")
    return config


def train_or_load(preset: str, *, seed: int = 0, checkpoint: str = "", device: str | torch.device = "cpu") -> Feelvos:
    """The trained model of a preset: the shipped checkpoint where it is that model, else trained here and kept.

    A file named by `checkpoint`, such as `feelvos-lab import-tf` writes, is taken instead, whatever its preset.

    The shipped one counts if its sha256 is that of its card, and the card's configuration and seed are those asked
    for. Else the reason is printed and the model is trained; training goes on where it was interrupted, and a
    second call loads the result from `trained/` in the current folder.

    Args:
        device: where the model is afterwards. A lesson's tensors are on the processor; a film wants `lab.device()`.

    Raises:
        LabError: an unknown preset, data that are not there, or a named file that is no checkpoint of a whole model.
    """
    if checkpoint:
        return load(Path(checkpoint), device=device)[0]
    config = configure(preset)
    path, reason = shipped_path(preset), shipped_mismatch(config, seed=seed)
    if reason:
        path = _path_here(config, seed)
        if not path.exists():
            print(f"{reason}; training {config.train.steps} steps instead")
            _train_into(path, config, seed)
    return load(path, device=device)[0]


def load(path: Path, *, device: str | torch.device = "cpu") -> tuple[Feelvos, Config]:
    """The model of a checkpoint and its configuration; the figures saved from here on say that they are its.

    Raises:
        LabError: no such file, or one that is no checkpoint of a whole model.
    """
    model, config = load_checkpoint(path, device=device)
    _made_with.update(preset=config.preset, checkpoint_sha256=sha256(path))
    where = f"{path.name} in {path.parent.name}/, preset {config.preset}"
    print(f"model: {where}, sha256 {_made_with['checkpoint_sha256'][:12]}…")
    return model, config


def published(folder: str = "") -> Published:
    """The results of an experiment that lie in a folder, by default the project's `experiments/results/components`.

    Says what they are: rows, seeds, clips. What is missing is no error here, but is said; so is a single seed.

    Args:
        folder: published results, or the report of one's own runs, such as `experiments/runs/components/report`.

    Raises:
        LabError: a folder without results, or without its experiment file in `experiments/`.
    """
    from feelvos_lab.ablation.results import read_published  # a run's notebook needs none of it

    found = read_published(folder or Path(feelvos_lab.__file__).parents[1] / "experiments" / "results" / "components")
    seeds = ", ".join(map(str, sorted(found.scores["seed"].unique())))
    print(f"{found.spec.name}: {len(found.variants)} rows, seeds {seeds}, {found.scores['clip'].nunique()} clips")
    if found.scores["seed"].nunique() == 1:
        print("one seed: intervals are over clips alone, and no claim is decided")
    if lacking := [name for name in found.spec.variant_names if name not in found.variants]:
        print(f"without results: {', '.join(lacking)}")
    return found


def train_here(config: Config, *, seed: int) -> Trained:
    """Train a model in `trained/` of the current folder, or take it from there; with the history of its loss.

    It is trained on `lab.device()`, and is on the processor afterwards, where a lesson's tensors are. A training that
    was interrupted goes on; one that has ended is loaded, and that is said.

    Raises:
        LabError: data that are not there, or a folder of that name with another training in it.
    """
    path = _path_here(config, seed)
    print(f"{path} is there: loaded" if path.exists() else f"training {config.train.steps} steps into {path.parent}/")
    trained = _train_into(path, config, seed)
    _made_with.update(preset=config.preset, checkpoint_sha256=sha256(path))
    return trained._replace(model=trained.model.cpu())


def real_clip(root: str, *, sequence: str, otherwise: Clip) -> Clip:
    """A filmed sequence of DAVIS-2016 at 240p where `root` says where it lies, else the clip `otherwise`; says which.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets; "" for none.
        sequence: its name in one of the two lists.

    Raises:
        LabError: a root that is none, or a sequence that it lacks.
    """
    if not root:
        print(f"no real video: the parameter for its folder is empty, so {otherwise.name!r} is used instead")
        return otherwise
    clips = {c.name: c for split in ("train", "val") for c in read_davis(root, year=2016, split=split, height=240)}
    if sequence not in clips:
        raise LabError(f"{root} has no sequence {sequence!r}; there are: {', '.join(clips)}")
    print(f"real video: {sequence} of DAVIS-2016, {len(clips[sequence])} frames at 240p")
    return clips[sequence]


def _path_here(config: Config, seed: int) -> Path:
    return Path("trained") / f"{config.preset}-s{seed}-{config.digest()}" / "model.safetensors"


def _train_into(path: Path, config: Config, seed: int) -> Trained:
    trained = train(config, seed=seed, folder=path.parent, device=device(), progress=print)
    if not path.exists():  # else it is this model, and figures may have its sha256 written in them
        save_checkpoint(path, trained.model, config, seed=str(seed))
    return trained


def _machine() -> str:
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{torch.get_num_threads()} processor threads{gpu}"


def _let_figures_show() -> None:
    """Teach IPython to draw a Figure that is not pyplot's; outside IPython there is nothing to teach."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython
    from IPython.core.pylabtools import select_figure_formats

    if shell := get_ipython():
        select_figure_formats(shell, {"png"}, bbox_inches=None)
