"""Read a clip to segment from a user's files: a video or a folder of frames, and masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from feelvos_lab.data.clip import Clip, FrameSource, check_clip
from feelvos_lab.data.frames import GivenMasks, LazyFrames, LazyMasks, numbered_files
from feelvos_lab.data.images import object_ids, read_mask
from feelvos_lab.data.video import VideoFrames
from feelvos_lab.errors import LabError

IMAGES = (".jpg", ".jpeg", ".png")


def read_folder(folder: Path | str, mask_path: Path | str, *, step: int | None = 1) -> Clip:
    """A folder of numbered jpg or png frames with the mask of its first frame; frames are read on demand.

    `step` is the distance of neighbouring frame numbers, such as 5 in YouTube-VOS; None: the smallest that occurs.
    """
    folder = Path(folder)
    frames = LazyFrames(list(numbered_files(folder, endings=IMAGES, step=step).values()))
    masks = LazyMasks([Path(mask_path)], frames=frames)
    clip = Clip(folder.resolve().name, frames, masks, masks.object_ids)
    check_clip(clip)
    return clip


def read_video(path: Path | str, mask_path: Path | str) -> Clip:
    """A video file with the mask of its first frame; frames are decoded on demand. Needs PyAV, the extra `[video]`."""
    mask = read_mask(mask_path)
    clip = Clip(Path(path).stem, VideoFrames(path), mask[None], object_ids(mask))
    check_clip(clip)
    return clip


def read_clip(video: Path | str, masks: Path | str | Sequence[Path | str]) -> Clip:
    """Read a clip to segment: a video file (extra `[video]`) or a folder of numbered frames, and masks.

    Args:
        masks: a file, for the first frame; a folder of files named like frames; or a sequence of FRAME=FILE, where a
            file without FRAME= is for the first frame. FRAME is a frame's name or number. The first mask that shows an
            object gives it.

    Raises:
        LabError: a video, mask or frame that does not exist or cannot be read; two masks for one frame; fewer than two
            frames; sizes that differ; no object in any mask.

    Example:
        >>> from PIL import Image
        >>> import torch
        >>> from feelvos_lab.data import read_clip
        >>> from feelvos_lab.data.images import write_mask
        >>> for t in range(3):
        ...     Image.new("RGB", (48, 32)).save(f"{t:05d}.jpg")
        ...     write_mask(f"masks/{t:05d}.png", torch.full((32, 48), 5 + t))
        >>> clip = read_clip(".", ["masks/00000.png", "1=masks/00001.png"])  # object 6 enters in frame 1
        >>> clip.frames[2].shape, clip.object_ids, clip.starts
        (torch.Size([3, 32, 48]), (5, 6), (0, 1))
    """
    texts = [str(masks)] if isinstance(masks, str | Path) else [str(mask) for mask in masks]
    if len(texts) == 1 and not _is_pair(texts[0]) and not Path(texts[0]).is_dir():
        video = _existing(video)
        return read_folder(video, texts[0], step=None) if video.is_dir() else read_video(video, texts[0])
    name, frames = read_frames(video)
    given = GivenMasks(_mask_files(texts, _names(frames)), length=len(frames), size=tuple(frames[0].shape[1:]))
    clip = Clip(name, frames, given, given.object_ids, given.starts)
    check_clip(clip)
    return clip


def read_frames(video: Path | str) -> tuple[str, LazyFrames | VideoFrames]:
    """The name and the frames of a folder of numbered images or of a video file."""
    video = _existing(video)
    if video.is_dir():
        files = numbered_files(video, endings=IMAGES, step=None)
        return video.resolve().name, LazyFrames(list(files.values()))
    return video.stem, VideoFrames(video)


def _existing(video: Path | str) -> Path:
    if not Path(video).exists():
        raise LabError(f"there is no {video}: a video or a folder of frames was expected")
    return Path(video)


def frame_names(clip: Clip) -> list[str]:
    """A name for each frame's mask: its file's without ending, or its index in five digits."""
    return _names(clip.frames)


def _names(frames: FrameSource) -> list[str]:
    if isinstance(frames, LazyFrames):
        return [path.stem for path in frames.paths]
    return [f"{t:05d}" for t in range(len(frames))]


def _is_pair(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _mask_files(masks: Sequence[str], names: list[str]) -> dict[int, Path]:
    """Mask files by frame index."""
    if len(masks) == 1 and (folder := Path(masks[0])).is_dir():
        pairs = [(path.stem, path) for path in sorted(folder.glob("*.png")) if not path.name.startswith(".")]
        if not pairs:
            raise LabError(f"{folder} holds no mask: png files named like the frames were expected")
    else:
        pairs = []
        for text in masks:
            frame, _, file = text.partition("=") if _is_pair(text) else (names[0], "=", text)
            pairs.append((frame, Path(file)))
    index = {name: t for t, name in enumerate(names)}
    by_number = {int(re.findall(r"\d+", name)[-1]): t for t, name in enumerate(names)}
    files: dict[int, Path] = {}
    for frame, path in pairs:
        t = index.get(frame, by_number.get(int(frame)) if frame.isascii() and frame.isdigit() else None)
        if t is None:
            raise LabError(f"mask {path} is for frame {frame!r}, expected one of {names[0]} to {names[-1]}")
        if t in files:
            raise LabError(f"frame {names[t]} has two masks, {files[t]} and {path}: one was expected")
        files[t] = path
    return files
