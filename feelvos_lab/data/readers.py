"""Read a clip to segment from a user's files: a video or a folder of frames, and masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from feelvos_lab.data.clip import Clip, FrameSource, check_clip
from feelvos_lab.data.frames import GivenMasks, LazyFrames, LazyMasks, frame_numbers, numbered_files
from feelvos_lab.data.images import Colour, colour_ids, object_ids, read_mask
from feelvos_lab.data.name_order import natural_key
from feelvos_lab.data.video import VideoFrames
from feelvos_lab.errors import LabError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

MASKS = (".png", ".bmp", ".tif", ".tiff", ".webp")


def read_folder(folder: Path | str, mask_path: Path | str, *, step: int | None = 1) -> Clip:
    """A folder of numbered frames (`IMAGES`) with the mask of its first frame; frames are read on demand.

    `step` is the distance of neighbouring frame numbers, such as 5 in YouTube-VOS; None: the smallest that occurs.
    """
    folder = Path(folder)
    frames = LazyFrames(list(numbered_files(folder, endings=IMAGES, step=step).values()))
    masks = LazyMasks([Path(mask_path)], frames=frames, colours=colour_ids([mask_path]))
    clip = Clip(folder.resolve().name, frames, masks, masks.object_ids)
    check_clip(clip)
    return clip


def read_video(path: Path | str, mask_path: Path | str) -> Clip:
    """A video file with the mask of its first frame; frames are decoded on demand. Needs PyAV, the extra `[video]`."""
    mask = read_mask(mask_path, colours=colour_ids([mask_path]))
    clip = Clip(Path(path).stem, VideoFrames(path), mask[None], object_ids(mask))
    check_clip(clip)
    return clip


def read_clip(video: Path | str, masks: Path | str | Sequence[Path | str]) -> Clip:
    """Read a clip to segment: a video file (extra `[video]`) or a folder of numbered frames, and masks.

    A warning is logged where a folder's masks are numbered from 1, since a video's frames are from 00000.

    Args:
        video: a folder's frames are in the natural order of their names, see `numbered_files`.
        masks: a file, for the first frame; a folder of files named like frames; or a sequence of FRAME=FILE, where a
            file without FRAME= is for the first frame. FRAME is a frame's name or number. The first mask that shows an
            object gives it. RGB masks hold a colour for each object, see `mask_colours`.

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
    texts = _texts(masks)
    if len(texts) == 1 and not _is_pair(texts[0]) and not Path(texts[0]).is_dir():
        video = _existing(video)
        return read_folder(video, texts[0], step=None) if video.is_dir() else read_video(video, texts[0])
    name, frames = read_frames(video)
    files = _mask_files(texts, _names(frames), of_video=isinstance(frames, VideoFrames))
    colours = mask_colours(masks)
    given = GivenMasks(files, length=len(frames), size=tuple(frames[0].shape[1:]), colours=colours)
    clip = Clip(name, frames, given, given.object_ids, given.starts)
    check_clip(clip)
    return clip


def mask_colours(masks: Path | str | Sequence[Path | str]) -> dict[Colour, int]:
    """The object id that `read_clip` gives each colour (R, G, B) of RGB masks; empty for indexed and grey masks.

    A colour of the DAVIS palette keeps its id, white alone is object 1, grey values alone are ids, and any other colour
    gets the smallest free id, in the order of the files and, in each, row by row. Black is background.

    Example:
        >>> from PIL import Image
        >>> from feelvos_lab.data.readers import mask_colours
        >>> image = Image.new("RGB", (32, 32))
        >>> image.paste((255, 0, 0), (4, 4, 12, 12))
        >>> image.paste((0, 0, 255), (16, 16, 28, 28))
        >>> image.save("mask.png")
        >>> mask_colours("mask.png")
        {(255, 0, 0): 1, (0, 0, 255): 2}
    """
    texts = _texts(masks)
    if len(texts) == 1 and Path(texts[0]).is_dir():
        return colour_ids(_in_folder(Path(texts[0])))
    return colour_ids([text.partition("=")[2] if _is_pair(text) else text for text in texts])


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


def _texts(masks: Path | str | Sequence[Path | str]) -> list[str]:
    return [str(masks)] if isinstance(masks, str | Path) else [str(mask) for mask in masks]


def _is_pair(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _in_folder(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.suffix.lower() in MASKS and not path.name.startswith(".")]
    if not files:
        raise LabError(f"{folder} holds no mask: {' or '.join(MASKS)} files named like the frames were expected")
    return sorted(files, key=lambda path: (natural_key(path.stem), path.name))


def _mask_files(masks: Sequence[str], names: list[str], *, of_video: bool) -> dict[int, Path]:
    """Mask files by frame index."""
    folder = Path(masks[0]) if len(masks) == 1 and Path(masks[0]).is_dir() else None
    if folder:
        pairs = [(path.stem, path) for path in _in_folder(folder)]
    else:
        pairs = []
        for text in masks:
            frame, _, file = text.partition("=") if _is_pair(text) else (names[0], "=", text)
            pairs.append((frame, Path(file)))
    doubt = _doubt([frame for frame, _ in pairs], names) if folder and of_video else ""
    index = {name: t for t, name in enumerate(names)}
    by_number = {number: t for t, number in enumerate(frame_numbers(names) or [])}
    files: dict[int, Path] = {}
    for frame, path in pairs:
        t = index.get(frame, by_number.get(int(frame)) if frame.isascii() and frame.isdigit() else None)
        if t is None:
            raise LabError(f"mask {path} is for frame {frame!r}, expected one of {names[0]} to {names[-1]}{doubt}")
        if t in files:
            raise LabError(f"frame {names[t]} has two masks, {files[t]} and {path}: one was expected")
        files[t] = path
    if doubt:
        logging.getLogger(__name__).warning("the first mask in %s is for frame %s%s", folder, pairs[0][0], doubt)
    return files


def _doubt(masks: list[str], names: list[str]) -> str:
    """What to add to a message where the masks of a video are numbered from 1, or ""."""
    numbers = [int(name) for name in masks if name.isascii() and name.isdigit()]
    if len(numbers) < len(masks) or min(numbers) != 1:
        return ""
    return (
        f": frames are numbered from {names[0]}; if the masks are numbered from 1, all are one frame late, "
        f"and the first must be named {names[0]}"
    )
