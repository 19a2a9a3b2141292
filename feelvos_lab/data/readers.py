from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from feelvos_lab.data.clip import Clip, FrameSource, check_clip
from feelvos_lab.data.frames import GivenMasks, LazyFrames, LazyMasks, numbered_files
from feelvos_lab.data.images import object_ids, read_mask
from feelvos_lab.data.video import VideoFrames
from feelvos_lab.errors import LabError


def read_folder(folder: Path | str, mask_path: Path | str, name: str | None = None, *, step: int | None = 1) -> Clip:
    """A folder of numbered jpg or png frames with the mask of its first frame; frames are read when asked for.

    Args:
        folder: holds 00000.jpg, 00001.jpg, … or names that end in such numbers.
        mask_path: an indexed PNG or an 8-bit grey image of object ids, as `read_mask` takes.
        name: of the clip; the folder's if not given.
        step: distance of neighbouring frame numbers, such as 5 in YouTube-VOS; None: the smallest that occurs.

    Raises:
        LabError: fewer than two frames, a missing number, sizes that differ, a mask that `read_mask` refuses or that
            is empty.
    """
    folder, mask_path = Path(folder), Path(mask_path)
    frames = LazyFrames(list(numbered_files(folder, endings=(".jpg", ".jpeg", ".png"), step=step).values()))
    masks = LazyMasks([mask_path], frames=frames)
    clip = Clip(name or folder.resolve().name, frames, masks, masks.object_ids)
    check_clip(clip)
    return clip


def read_video(path: Path | str, mask_path: Path | str) -> Clip:
    """A video file with the mask of its first frame; frames are decoded when asked for.

    Needs PyAV, the extra `[video]`.

    Raises:
        LabError: PyAV is missing, a file that is no video, fewer than two frames, a mask of another size, one that
            `read_mask` refuses or that is empty.
    """
    mask = read_mask(mask_path)
    frames = VideoFrames(Path(path))
    clip = Clip(Path(path).stem, frames, mask[None], object_ids(mask))
    check_clip(clip)
    return clip


def read_clip(video: Path, masks: Sequence[str]) -> Clip:
    """A clip to segment from a folder of frames or a video file, and the masks that give its objects.

    Args:
        masks: one file, for the first frame; one folder of files that are named like frames; or files as FRAME=FILE,
            of which one without FRAME= is for the first frame. FRAME is a frame's name or its number. An object is
            given by the first mask that shows it. The frames of a folder may be numbered in steps, such as 5.

    Raises:
        LabError: no such video, mask or frame; two masks for one frame; or what `read_folder`, `read_video` and
            `GivenMasks` refuse.
    """
    if not video.exists():
        raise LabError(f"there is no {video}: a video or a folder of frames was expected")
    if len(masks) == 1 and not _is_pair(masks[0]) and not Path(masks[0]).is_dir():
        return read_folder(video, masks[0], step=None) if video.is_dir() else read_video(video, masks[0])
    name, frames = read_frames(video)
    given = GivenMasks(_mask_files(masks, _names(frames)), length=len(frames), size=tuple(frames[0].shape[1:]))
    clip = Clip(name, frames, given, given.object_ids, given.starts)
    check_clip(clip)
    return clip


def read_frames(video: Path) -> tuple[str, LazyFrames | VideoFrames]:
    """The name and the frames of a folder of numbered images or of a video file, without any mask.

    Raises:
        LabError: no such video, or what `numbered_files`, `LazyFrames` and `VideoFrames` refuse.
    """
    if not video.exists():
        raise LabError(f"there is no {video}: a video or a folder of frames was expected")
    if video.is_dir():
        files = numbered_files(video, endings=(".jpg", ".jpeg", ".png"), step=None)
        return video.resolve().name, LazyFrames(list(files.values()))
    return video.stem, VideoFrames(video)


def frame_names(clip: Clip) -> list[str]:
    """A name for each frame's mask: that of its file, or its number in five digits where it has none."""
    return _names(clip.frames)


def _names(frames: FrameSource) -> list[str]:
    if isinstance(frames, LazyFrames):
        return [path.stem for path in frames.paths]
    return [f"{t:05d}" for t in range(len(frames))]


def _is_pair(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _mask_files(masks: Sequence[str], names: list[str]) -> dict[int, Path]:
    """The mask of each frame that has one, by the frame's index."""
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
