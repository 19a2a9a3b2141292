"""YouTube-VOS (Xu et al., 2018) in its published layout, versions 2018 and 2019.

    root/train/meta.json
    root/train/JPEGImages/<video>/00000.jpg, 00005.jpg …
    root/train/Annotations/<video>/00000.png, 00005.png …     palette indices, every fifth frame
    root/valid/…                                               the same, with masks of some frames only

`meta.json` holds {"videos": {<video>: {"objects": {<id>: {"category": …, "frames": ["00000", …]}}}}}. An object may
enter after the first frame. The masks of `valid` give each object in the frame where it first appears; its ground truth
is not published, so its clips can be segmented but not scored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import GivenMasks, LazyFrames, LazyMasks, check_two_frames, frame_and_mask_files
from feelvos_lab.data.images import VOID
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import refuse_pipe

FOLDERS = {"train": "train", "val": "valid"}


def read_youtube_vos(root: Path | str, *, split: Literal["train", "val"], height: int = 0) -> list[Clip]:
    """The clips of a split in the order of its meta.json; frames and masks are read on demand.

    "train": the annotated frames of each video only; a video with fewer than two of them is skipped, and so is an
    object that meta.json lists in none of them. "val": all frames; a mask that is not published is void (255).
    `Clip.starts` holds the first frame of each object in both.

    Args:
        root: the folder that holds `train` and `valid`.
        split: "train" or "val", the folder `valid`.
        height: in pixels; frames (antialiased bilinear) and masks (nearest) are scaled to it. 0 keeps the size.

    Raises:
        LabError: another layout; a missing video, frame or mask; when indexed, a damaged file, another size than the
            first frame's, or an id that meta.json lacks.

    Example:
        >>> from feelvos_lab.data import read_youtube_vos
        >>> clips = read_youtube_vos("YouTube-VOS", split="train", height=240)
        >>> cat = next(clip for clip in clips if clip.name == "cat")
        >>> cat.object_ids, cat.starts, len(cat)  # object 2 enters in the second of three annotated frames
        ((1, 2), (0, 1), 3)
    """
    if split not in FOLDERS:
        raise LabError(f"the split of YouTube-VOS must be 'train' or 'val', got {split!r}")
    folder = Path(root) / FOLDERS[split]
    for part in ("JPEGImages", "Annotations", "meta.json"):
        if not (folder / part).exists():
            raise LabError(f"{root} is no YouTube-VOS root: {FOLDERS[split]}/{part} was expected, it is not there")
    videos = _read_meta(folder / "meta.json")
    read = _train_clip if split == "train" else _val_clip
    clips = [read(folder, name, seen, height) for name, seen in videos.items()]
    return [clip for clip in clips if clip is not None]


def _train_clip(folder: Path, name: str, seen: dict[int, list[str]], height: int) -> Clip | None:
    """The annotated frames of a video; None if there are fewer than two."""
    frames, masks = frame_and_mask_files(folder / "JPEGImages" / name, folder / "Annotations" / name, step="any")
    order = {path.stem: index for index, path in enumerate(masks.values())}
    starts = {
        i: min(order[stem] for stem in stems if stem in order) for i, stems in seen.items() if order.keys() & stems
    }
    if len(masks) < 2 or not starts:
        return None
    pictures = LazyFrames([frames[number] for number in masks], height=height, check_now=False)
    ids = tuple(sorted(starts))
    labels = LazyMasks(list(masks.values()), frames=pictures, height=height, ids=ids)
    return Clip(name, pictures, labels, ids, tuple(starts[i] for i in ids))


def _val_clip(folder: Path, name: str, _seen: dict[int, list[str]], height: int) -> Clip:
    """All frames of a video with the masks that give its objects."""
    images = folder / "JPEGImages" / name
    frames, masks = frame_and_mask_files(images, folder / "Annotations" / name, step="any")
    check_two_frames(frames, images)
    index = {number: t for t, number in enumerate(frames)}
    pictures = LazyFrames(list(frames.values()), height=height, check_now=False)
    paths = {index[number]: path for number, path in masks.items()}
    labels = GivenMasks(paths, length=len(frames), size=pictures.file_size, height=height)
    return Clip(name, pictures, labels, labels.object_ids, labels.starts)


def _read_meta(path: Path) -> dict[str, dict[int, list[str]]]:
    """Read meta.json: by video and object id, the names of the frames that show the object."""
    refuse_pipe(path, "a JSON file")
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
        listed = {
            name: {_object_id(i): _frame_names(shown["frames"]) for i, shown in video["objects"].items()}
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


def _object_id(number: str) -> int:
    if not 0 < int(number) < VOID:
        raise ValueError(f"an object's id must be 1 to {VOID - 1}, got {number}")
    return int(number)


def _frame_names(names: list[str]) -> list[str]:
    if not isinstance(names, list):
        raise TypeError(f"frames must be a list, got {names!r}")
    return [str(name) for name in names]
