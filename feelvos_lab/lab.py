"""Functions for notebook cells: begin, train or load a model, save a figure, write a record."""

from __future__ import annotations

import os
import platform
import random
import sys
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import timm
import torch

import feelvos_lab
from feelvos_lab import deterministic
from feelvos_lab.ablation.record import write_record
from feelvos_lab.config import Config, configure
from feelvos_lab.data import sample_video
from feelvos_lab.data.clip import Clip, first_frames
from feelvos_lab.data.davis import read_davis
from feelvos_lab.errors import LabError, did_you_mean
from feelvos_lab.figures.save import _made_with, save_figure
from feelvos_lab.files.project import find_results
from feelvos_lab.model.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    sha256,
    shipped_mismatch,
    shipped_path,
)
from feelvos_lab.model.device import device
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.training.loop import Trained, train

if TYPE_CHECKING:
    from feelvos_lab.ablation.results import Results

__all__ = [
    "begin",
    "check",
    "device",
    "film",
    "load",
    "published",
    "real_clip",
    "save_figure",
    "train_here",
    "train_or_load",
    "write_record",
]

_ONE_THREAD = ("smoke", "reduced")  # presets

_SOURCES = {
    "shapes": "synthetic clips, made from seeds; nothing is downloaded",
    "davis-2016": "DAVIS-2016",
    "davis-2017": "DAVIS-2017",
    "youtube-vos": "YouTube-VOS",
    "davis-2017+youtube-vos": "DAVIS-2017 and YouTube-VOS",
}


def begin(*, preset: str, seed: int) -> Config:
    """Seed Python, numpy and torch; print versions, device, preset, seed and data source; return the configuration.

    Presets smoke and reduced use one thread, unless OMP_NUM_THREADS is set: their tensors are so small that a second
    thread gains nothing, and costs much where another program runs. With FEELVOS_DETERMINISTIC=1 in the environment
    (set by `feelvos-lab ablate run --deterministic`) all computation uses one thread and repeats bit for bit. LabError:
    an unknown preset, or a negative seed.

    Example:
        >>> from feelvos_lab import lab
        >>> config = lab.begin(preset="smoke", seed=0)
        feelvos_lab ... (python ..., torch ..., timm ...), ...
        preset smoke (configuration e2020984), seed 0
        data: synthetic clips, made from seeds; nothing is downloaded
        >>> config.train.steps
        12
    """
    config = configure(preset)
    if seed < 0:
        raise LabError(f"seed must not be negative, got {seed}")
    if seed >= 2**63:  # torch's generator takes no larger one
        raise LabError(f"seed must be below 2^63, got {seed}")
    random.seed(seed)
    np.random.seed(seed % 2**32)  # for cells that use the global generator
    torch.manual_seed(seed)
    if deterministic.asked():
        deterministic.begin()
    elif preset in _ONE_THREAD and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    _made_with.clear()
    _made_with.update(preset=preset, seed=seed)
    _let_figures_show()
    versions = f"python {platform.python_version()}, torch {torch.__version__}, timm {timm.__version__}"
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    print(f"feelvos_lab {feelvos_lab.__version__} ({versions}), {torch.get_num_threads()} CPU thread(s){gpu}")
    print(f"preset {preset} (configuration {config.digest()}), seed {seed}")
    if config.data.data == "shapes" or config.data.root:
        print(f"data: {_SOURCES[config.data.data]}{f' in {config.data.root}' if config.data.root else ''}")
    else:
        print(f"the preset trains on {_SOURCES[config.data.data]}: read only where a parameter names its folder")
    if deterministic.asked():
        print("deterministic: one thread, and only algorithms that give the same bits each time")
    return config


def check(**parameters: tuple[object, Container[object]]) -> None:
    """Reject a notebook's parameters that are out of range, before anything is computed or drawn.

    Args:
        parameters: by name the value, and what is allowed: a `range` of whole numbers, or a tuple of values.

    Raises:
        LabError: the first one that is not allowed.

    Example:
        >>> from feelvos_lab import LabError, lab
        >>> lab.check(object_id=(2, (1, 2)), clip_seed=(5, range(2**31)))
        >>> try:
        ...     lab.check(frame=(16, range(1, 16)))
        ... except LabError as error:
        ...     print(error)
        frame must be a whole number from 1 to 15, got 16
    """
    for name, (value, allowed) in parameters.items():
        whole = isinstance(allowed, range)
        if value in allowed and not (whole and type(value) is not int):  # 1.0 and True are equal to 1
            continue
        expected = f"a whole number from {allowed[0]} to {allowed[-1]}" if whole else " or ".join(map(repr, allowed))
        near = did_you_mean(value, allowed) if isinstance(value, str) and not whole else ""
        raise LabError(f"{name} must be {expected}, got {value!r}{near}")


def train_or_load(
    preset: str, *, seed: int = 0, checkpoint: Path | str = "", device: str | torch.device = "cpu"
) -> Feelvos:
    """The trained model of a preset: the shipped checkpoint, or one trained in `trained/` of the current folder.

    The shipped checkpoint is used if it has the SHA-256, the configuration and the seed that its card must state.
    Otherwise the reason is printed and the model is trained, or loaded where an earlier call has trained it. An
    interrupted training resumes. LabError: missing data, or a `checkpoint` that does not hold a whole model.

    Args:
        checkpoint: a file to load instead, whatever its preset, such as `feelvos-lab import-tf` writes.
        device: of the returned model. Lessons compute on the CPU; use `lab.device()` for a whole video.
    """
    if checkpoint:
        return load(checkpoint, device=device)[0]
    config = configure(preset)
    path, reason = shipped_path(preset), shipped_mismatch(config, seed=seed)
    if reason:
        path = _path_here(config, seed)
        if not path.exists():
            print(f"{reason}; training {config.train.steps} steps instead")
            _train_into(path, config, seed)
    return load(path, device=device)[0]


def load(path: Path | str, *, device: str | torch.device = "cpu") -> tuple[Feelvos, Config]:
    """The model of a checkpoint and its configuration; figures saved later record its SHA-256.

    LabError: no such file, or a file that does not hold a whole model.
    """
    path = Path(path)
    model, config = load_checkpoint(path, device=device)
    _made_with.update(preset=config.preset, checkpoint_sha256=sha256(path))
    where = f"{path.name} in {path.parent.name}/, preset {config.preset}"
    print(f"model: {where}, sha256 {_made_with['checkpoint_sha256'][:12]}…")
    return model, config


def published(folder: Path | str = "") -> Results:
    """Read an experiment's results from a folder; print their rows, seeds, clips, and what is missing.

    LabError: a folder without results, or an experiment that is neither there nor one of the project's.

    Args:
        folder: published results, or the report of your own runs, such as `experiments/runs/components/report`; or the
            name of results of the project, such as davis2016. Default: components.
    """
    from feelvos_lab.ablation.results import read_published  # not needed by the notebook of a run

    found = read_published(find_results(Path(folder or "components")))
    seeds = ", ".join(map(str, sorted(found.scores["seed"].unique())))
    print(f"{found.spec.name}: {len(found.variants)} rows, seeds {seeds}, {found.scores['clip'].nunique()} clips")
    if found.scores["seed"].nunique() == 1:
        print("one seed: intervals are over clips alone, and no claim is decided")
    if lacking := [name for name in found.spec.variant_names if name not in found.variants]:
        print(f"without results: {', '.join(lacking)}")
    return found


def train_here(config: Config, *, seed: int) -> Trained:
    """Train a model in `trained/` of the current folder, or load it from there, with the history of its loss.

    Training uses `lab.device()`; the returned model is on the CPU. An interrupted training resumes. LabError: missing
    data, or another training in the folder.
    """
    path = _path_here(config, seed)
    print(f"{path} is there: loaded" if path.exists() else f"training {config.train.steps} steps into {path.parent}/")
    trained = _train_into(path, config, seed)
    _made_with.update(preset=config.preset, checkpoint_sha256=sha256(path))
    return trained._replace(model=trained.model.cpu())


def real_clip(root: Path | str, *, sequence: str, otherwise: Clip, frames: int = 0) -> Clip:
    """A DAVIS-2016 sequence at 240p; where `root` is empty, the video that comes with a package, `film("bunny")`.

    Where the packages of the extra `[video]` are missing, too, it is `otherwise`. Prints which of the three it is.
    Only DAVIS and `otherwise` have a mask in every frame: of the film score with `drawn_scores`.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets; "" for none.
        sequence: a name in the train or the val list; not used where `root` is empty.
        frames: keep so many, from the first on; 0: all.

    Raises:
        LabError: `root` does not hold DAVIS-2016, or not this sequence; a negative number of frames, or 1.

    Example:
        >>> from feelvos_lab import lab, make_clip
        >>> clip = lab.real_clip("", sequence="camel", otherwise=make_clip(1, height=32, width=32, frames=3), frames=9)
        real video: bunny, the first 9 of 41 frames, objects 1, 2, 3; drawn masks in frames 0, 8
        >>> clip.annotated  # frames 1 to 7 have no mask
        False
    """
    if not root:
        return film("bunny", otherwise=otherwise, frames=frames)
    clips = {c.name: c for split in ("train", "val") for c in read_davis(root, year=2016, split=split, height=240)}
    if sequence not in clips:
        raise LabError(f"{root} has no sequence {sequence!r}; there are: {', '.join(clips)}")
    clip = first_frames(clips[sequence], frames)
    print(f"real video: {sequence} of DAVIS-2016, {_how_many(clip, clips[sequence])} frames at 240p")
    return clip


def film(name: str = "bunny", *, otherwise: Clip | None = None, frames: int = 0) -> Clip:
    """The clip of real video that comes with a package, see `feelvos_lab.film`; prints frames, objects and masks.

    Args:
        otherwise: what to return, with a printed reason, where the packages of the extra `[video]` are missing. None:
            then a LabError is raised.
        frames: keep so many, from the first on; 0: all.
    """
    try:
        whole = sample_video.film(name)
    except LabError as error:
        if otherwise is None or name not in sample_video.FILMS:
            raise
        print(f"no real video: {error}; {otherwise.name!r} is used instead")
        return first_frames(otherwise, frames)
    clip = first_frames(whole, frames)
    ids, drawn = (", ".join(map(str, numbers)) for numbers in (clip.object_ids, clip.masks.paths))
    print(f"real video: {name}, {_how_many(clip, whole)} frames, objects {ids}; drawn masks in frames {drawn}")
    return clip


def _how_many(clip: Clip, whole: Clip) -> str:
    return str(len(whole)) if len(clip) == len(whole) else f"the first {len(clip)} of {len(whole)}"


def _path_here(config: Config, seed: int) -> Path:
    return Path("trained") / f"{config.preset}-s{seed}-{config.digest()}" / "model.safetensors"


def _train_into(path: Path, config: Config, seed: int) -> Trained:
    trained = train(config, seed=seed, folder=path.parent, device=device(), progress=print)
    if not path.exists():  # an existing file holds this model, and saved figures may quote its SHA-256
        save_checkpoint(path, trained.model, config, seed=str(seed))
    return trained


def _let_figures_show() -> None:
    """Make IPython display a matplotlib Figure that does not belong to pyplot."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython
    from IPython.core.pylabtools import select_figure_formats

    if shell := get_ipython():
        select_figure_formats(shell, {"png"}, bbox_inches=None)
