"""From a data configuration to clips: the one place that knows which reader a name means."""

from __future__ import annotations

from pathlib import Path

from feelvos_lab.config import DataConfig
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.davis import read_davis
from feelvos_lab.data.shapes import make_clips
from feelvos_lab.errors import LabError

SPLITS = ("train", "validation", "test")


def load_clips(config: DataConfig, *, split: str, seed: int = 0) -> list[Clip]:
    """The clips of a split.

    Synthetic clips: disjoint seeds; `seed` chooses the training clips alone. DAVIS: "test" is the published val
    list, "validation" the last `hold_out` sequences of the train list, and "train" the rest of it.

    Raises:
        LabError: an unknown split, a data set without a root, or a validation split that is not there.
    """
    if split not in SPLITS:
        raise LabError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    count = config.clips if split == "train" else config.test_clips
    if config.data == "shapes":
        return make_clips(split, count=count, seed=seed, height=config.height, width=config.width, frames=config.frames)
    if not config.root:
        raise LabError(f"data {config.data!r} needs its folder, got none: pass --data-root or set `root`")
    height = config.height if split == "train" else config.test_height
    year = int(config.data[-4:])
    if split == "test":
        clips = read_davis(Path(config.root), year=year, split="val", height=height)
    else:
        listed = read_davis(Path(config.root), year=year, split="train", height=height)
        cut = len(listed) - config.hold_out
        if split == "validation" and config.hold_out == 0:
            raise LabError("data has no validation split: set hold_out to the number of train sequences to keep back")
        clips = listed[:cut] if split == "train" else listed[cut:]
    return clips[:count] if count else clips
