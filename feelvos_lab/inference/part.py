"""A part of a video: from one frame to another, every so many, under the frames' own names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from feelvos_lab.data.clip import Clip, FrameSource
from feelvos_lab.data.frames import GivenMasks, LazyFrames, frame_numbers
from feelvos_lab.data.readers import frame_names, read_clip
from feelvos_lab.errors import LabError


class Chosen:
    """Some frames of a source, read when asked for."""

    def __init__(self, source: FrameSource, indices: Sequence[int]) -> None:
        self.source, self.indices = source, tuple(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[self.indices[index]]


def read_part(
    video: Path | str, masks: Sequence[str], *, first: str | None = None, last: str | None = None, every: int = 1
) -> tuple[Clip, list[str]]:
    """`read_clip` of a part of a video; returns the clip and its frames' names in the whole video.

    Args:
        masks: as for `read_clip`; a file without FRAME= is for the frame `first`. Masks of other frames are left out.
        first, last: a frame's name or number, both included. None: the first and the last of the video.
        every: 2 takes every second frame from `first` on.

    Raises:
        LabError: as `read_clip`; an unknown frame, fewer than two frames, or no mask for any of them.

    Example:
        >>> from PIL import Image
        >>> import torch
        >>> from feelvos_lab.data.images import write_mask
        >>> from feelvos_lab.inference.part import read_part
        >>> for t in range(8):
        ...     Image.new("RGB", (48, 32)).save(f"{t:05d}.jpg")
        >>> write_mask("masks/first.png", torch.ones(32, 48, dtype=torch.int64))
        >>> clip, names = read_part(".", ["masks/first.png"], first="2", every=2)
        >>> len(clip), names
        (3, ['00002', '00004', '00006'])
    """
    if every < 1:
        raise LabError(f"every must be at least 1, got {every}")
    if first is not None:
        masks = [mask if "=" in mask or Path(mask).is_dir() else f"{first}={mask}" for mask in masks]
    clip = read_clip(video, masks)
    names = frame_names(clip)
    begin, end = _index(first, names, 0), _index(last, names, len(names) - 1)
    chosen = range(begin, end + 1, every)
    if len(chosen) < 2:
        raise LabError(
            f"{len(chosen)} frames of {video} are chosen by first {first}, last {last} and every {every}, "
            "at least two were expected"
        )
    frames = clip.frames
    part = LazyFrames([frames.paths[t] for t in chosen]) if isinstance(frames, LazyFrames) else Chosen(frames, chosen)
    given, ids, starts = clip.masks, clip.object_ids, clip.starts
    if isinstance(given, GivenMasks):
        files = {i: given.paths[t] for i, t in enumerate(chosen) if t in given.paths}
        if not files:
            raise LabError(f"none of the frames {names[chosen[0]]} to {names[chosen[-1]]} that are chosen has a mask")
        given = GivenMasks(files, length=len(chosen), size=given.size, colours=given.colours)
        ids, starts = given.object_ids, given.starts
    return Clip(clip.name, part, given, ids, starts), [names[t] for t in chosen]


def _index(frame: str | None, names: list[str], otherwise: int) -> int:
    if frame is None:
        return otherwise
    if frame in names:
        return names.index(frame)
    numbers = frame_numbers(names) or []
    if frame.isascii() and frame.isdigit() and int(frame) in numbers:
        return numbers.index(int(frame))
    raise LabError(f"there is no frame {frame!r}: expected one of {names[0]} to {names[-1]}")
