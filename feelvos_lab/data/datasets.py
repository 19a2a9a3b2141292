"""Load the clips that a data configuration names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from feelvos_lab.config import DataConfig
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.composite import make_pasted_clips
from feelvos_lab.data.davis import read_davis
from feelvos_lab.data.synthetic import make_clips, make_factor_clips
from feelvos_lab.data.youtube_vos import read_youtube_vos
from feelvos_lab.errors import LabError

SPLITS = ("train", "validation", "test")

_PASTED = ("davis-2016", "factors")  # data and scenes of real video with objects pasted in


def load_clips(config: DataConfig, *, split: str, seed: int = 0) -> list[Clip]:
    """The clips of a split: "train", "validation" or "test".

    Synthetic clips: the splits have disjoint seeds, and `seed` changes the training clips only. With `scenes`
    "calibrated" the clips of all splits move and change as real video does (see `calibrated.py`); with "factors",
    validation and test clips sweep one difficulty at a time; those of DAVIS-2016 the number of objects, by
    pasting (`make_pasted_clips`).
    DAVIS: "test" is the published val list, "validation" the last `hold_out` sequences of the train list, "train" the
    others. YouTube-VOS: the same, but without "test", since the masks of its valid list are not published.
    A mixture: the clips of its sets, one set after the other; "test" is that of DAVIS.
    Frames and masks of "train" are scaled to `height`, those to be scored to `scored_height`; `test_height`, at which
    the network sees the latter, is an argument of `evaluate` and `propagate`.

    Raises:
        LabError: an unknown split, a data set without `root`, or a split that the data set lacks.

    Example:
        >>> from feelvos_lab import configure
        >>> from feelvos_lab.data import load_clips
        >>> config = configure("smoke").data  # synthetic clips
        >>> train, test = load_clips(config, split="train"), load_clips(config, split="test")
        >>> len(train) == config.clips, len(test) == config.test_clips, {c.name for c in train} & {c.name for c in test}
        (True, True, set())
    """
    return [clip for clips in load_sets(config, split=split, seed=seed) for clip in clips]


def load_sets(config: DataConfig, *, split: str, seed: int = 0) -> list[list[Clip]]:
    """`load_clips` as one list per data set of a mixture; a single data set is one list."""
    if split not in SPLITS:
        raise LabError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    names = config.data.split("+")
    if len(names) == 1:
        return [_load(config, split=split, seed=seed)]
    _require_root(config)
    wanted = [name for name in names if split != "test" or name != "youtube-vos"]
    for name in wanted:
        if not (Path(config.root) / name).is_dir():
            raise LabError(
                f"data {config.data!r} needs the folders (or links) {' and '.join(names)} in {config.root}: "
                f"{name} is not there"
            )
    sets = [replace(config, data=name, root=str(Path(config.root) / name)) for name in wanted]
    return [_load(one, split=split, seed=seed) for one in sets]


def _load(config: DataConfig, *, split: str, seed: int) -> list[Clip]:
    """The clips of one data set."""
    count = config.clips if split == "train" else config.test_clips
    if config.scenes != "mixed" and config.data != "shapes" and (config.data, config.scenes) != _PASTED:
        raise LabError(
            f"scenes {config.scenes!r} are of data 'shapes', or if 'factors' of 'davis-2016', got data {config.data!r}"
        )
    if config.data == "shapes":
        size = {"height": config.height, "width": config.width, "frames": config.frames}
        if config.scenes == "factors" and split != "train":
            return make_factor_clips(split, scenes=count, **size)
        scenes = "calibrated" if config.scenes == "calibrated" else "mixed"
        return make_clips(split, count=count, seed=seed, scenes=scenes, **size)
    _require_root(config)
    height = config.height if split == "train" else config.scored_height
    if split == "test":
        clips = _read(config, split="val", height=height)
    else:
        listed = _read(config, split="train", height=height)
        cut = len(listed) - config.hold_out
        if split == "validation" and config.hold_out == 0:
            raise LabError("data has no validation split: set hold_out to the number of train sequences to keep back")
        if cut < 1:
            raise LabError(
                f"hold_out must leave a train sequence of {config.data}, which has {len(listed)}, got {config.hold_out}"
            )
        clips = listed[:cut] if split == "train" else listed[cut:]
    clips = clips[:count] if count else clips
    if (config.data, config.scenes) == _PASTED and split != "train":
        return make_pasted_clips(clips, frames=config.frames)
    return clips


def _require_root(config: DataConfig) -> None:
    if not config.root:
        raise LabError(f"data {config.data!r} needs its folder, got none: pass --data-root or set `root`")


def _read(config: DataConfig, *, split: Literal["train", "val"], height: int) -> list[Clip]:
    """All clips of a published list."""
    if config.data == "youtube-vos":
        if split == "val":
            raise LabError(
                "data 'youtube-vos' has no test split: the masks of its valid list are not published; score the split "
                "validation, with hold_out, or segment its videos"
            )
        return read_youtube_vos(Path(config.root), split=split, height=height)
    return read_davis(Path(config.root), year=int(config.data[-4:]), split=split, height=height)
