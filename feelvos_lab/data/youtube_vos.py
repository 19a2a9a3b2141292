"""YouTube-VOS in the layout in which it is published (Xu et al., 2018), the versions of 2018 and 2019.

    root/train/meta.json
    root/train/JPEGImages/<video>/00000.jpg, 00005.jpg …
    root/train/Annotations/<video>/00000.png, 00005.png …     palette indices, every fifth frame
    root/valid/…                                               the same, with masks of some frames alone

`meta.json` holds {"videos": {<video>: {"objects": {<id>: {"category": …, "frames": ["00000", …]}}}}}. An object may
enter after the first frame. The masks of `valid` give each object in the frame in which it is first seen, and nothing
else is published of them: they are to be segmented, not to be scored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import GivenMasks, LazyFrames, LazyMasks, numbered_files
from feelvos_lab.data.images import VOID
from feelvos_lab.errors import LabError

FOLDERS = {"train": "train", "val": "valid"}


def read_youtube_vos(root: Path | str, *, split: Literal["train", "val"], height: int = 0) -> list[Clip]:
    """The clips of a split in the order of its meta.json; frames and masks are read when asked for.

    "train": the annotated frames of each video, whether those between them are there or not; a video with fewer than
    two of them is left out, and so is an object that meta.json shows in none of them. "val": all frames, with masks
    that are void where none is published. `Clip.starts` says in both where each object is first seen.

    Args:
        root: the folder that holds `train` and `valid`.
        split: "train" or "val", the folder `valid`.
        height: frames (antialiased bilinear) and masks (nearest) are scaled to it, the width in proportion; 0 keeps
            them.

    Raises:
        LabError: another layout; an unknown split; a meta.json of another form; a missing video or frame; in "val" a
            video without a mask. A damaged file, a size that differs, or an id that meta.json lacks is told when that
            file is read.
    """
    if split not in FOLDERS:
        raise LabError(f"the split of YouTube-VOS must be 'train' or 'val', got {split!r}")
    if height < 0:
        raise LabError(f"height must not be negative, got {height}")
    folder = Path(root) / FOLDERS[split]
    for part in ("JPEGImages", "Annotations", "meta.json"):
        if not (folder / part).exists():
            raise LabError(f"{root} is no YouTube-VOS root: {FOLDERS[split]}/{part} was expected, it is not there")
    videos = _listed(folder / "meta.json")
    read = _annotated if split == "train" else _given
    clips = [read(folder, name, seen, height) for name, seen in videos.items()]
    return [clip for clip in clips if clip is not None]


def _annotated(folder: Path, name: str, seen: dict[int, list[str]], height: int) -> Clip | None:
    """The annotated frames of a video; None where fewer than two are."""
    images, annotations = folder / "JPEGImages" / name, folder / "Annotations" / name
    masks = numbered_files(annotations, endings=(".png",), step="any")
    frames = numbered_files(images, endings=(".jpg",), step="any")
    if missing := [masks[number] for number in masks if number not in frames]:
        raise LabError(f"mask {missing[0]} has no frame in {images}")
    order = {path.stem: index for index, path in enumerate(masks.values())}
    starts = {
        i: min(order[stem] for stem in stems if stem in order) for i, stems in seen.items() if order.keys() & stems
    }
    if len(masks) < 2 or not starts:
        return None
    pictures = LazyFrames([frames[number] for number in masks], height=height, check_now=False)
    ids = tuple(sorted(starts))
    labels = LazyMasks(list(masks.values()), frames=pictures, height=height, object_ids=ids)
    return Clip(name, pictures, labels, ids, tuple(starts[i] for i in ids))


def _given(folder: Path, name: str, _seen: dict[int, list[str]], height: int) -> Clip:
    """All frames of a video with the masks that give its objects."""
    images, annotations = folder / "JPEGImages" / name, folder / "Annotations" / name
    frames = numbered_files(images, endings=(".jpg",), step="any")
    masks = numbered_files(annotations, endings=(".png",), step="any")
    if missing := [masks[number] for number in masks if number not in frames]:
        raise LabError(f"mask {missing[0]} has no frame in {images}")
    if len(frames) < 2:
        raise LabError(f"{images} holds one frame, at least two were expected: the first carries the given mask")
    index = {number: t for t, number in enumerate(frames)}
    pictures = LazyFrames(list(frames.values()), height=height, check_now=False)
    paths = {index[number]: path for number, path in masks.items()}
    labels = GivenMasks(paths, length=len(frames), size=pictures.file_size, height=height)
    return Clip(name, pictures, labels, labels.object_ids, labels.starts)


def _listed(path: Path) -> dict[str, dict[int, list[str]]]:
    """The videos of a meta.json: for each object's id the names of the frames that show it."""
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
        listed = {
            name: {_object(i): _frames(shown["frames"]) for i, shown in video["objects"].items()}
            for name, video in videos.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LabError(
            f"{path} must hold the videos of YouTube-VOS with the frames of each of their objects, "
            f"got {type(error).__name__}: {error}"
        ) from error
    if not listed:
        raise LabError(f"{path} lists no video")
    return listed


def _object(number: str) -> int:
    if not 0 < int(number) < VOID:
        raise ValueError(f"an object's id must be 1 to {VOID - 1}, got {number}")
    return int(number)


def _frames(names: list[str]) -> list[str]:
    if not isinstance(names, list):
        raise TypeError(f"frames must be a list, got {names!r}")
    return [str(name) for name in names]
