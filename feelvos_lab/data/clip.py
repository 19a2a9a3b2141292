"""The one data type of the project: a video with the masks of its objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from feelvos_lab.data.frames import GivenMasks, LazyFrames, LazyMasks
from feelvos_lab.data.images import PALETTE, object_ids, read_mask, write_mask
from feelvos_lab.errors import LabError, shape_text

__all__ = [
    "PALETTE",
    "Clip",
    "FrameSource",
    "GivenMasks",
    "LazyFrames",
    "LazyMasks",
    "check_clip",
    "read_mask",
    "write_mask",
]


class FrameSource(Protocol):
    """Anything that has a length and gives one frame by its index: a tensor, or files read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor: ...


@dataclass(frozen=True)
class Clip:
    """A video and its masks.

    Shapes: `frames[t]` is uint8 RGB (3, H, W); `masks[t]` is int64 (H, W) holding 0 for the background, object ids
    1 … 254, and 255 where nobody labelled a pixel. Both may be tensors with a leading time axis or lazy sources.
    `masks` is as long as `frames`, or holds the first frame's mask alone (a clip to segment that nobody annotated).

    Objects may enter later: `starts` names for each object the frame whose mask gives it to whoever segments the clip.
    Empty, the first mask gives them all.
    """

    name: str
    frames: FrameSource  # T × (3, H, W) uint8
    masks: FrameSource  # T × (H, W) int64, or the first one only
    object_ids: tuple[int, ...]  # ascending, without the background
    starts: tuple[int, ...] = ()  # a frame for each of object_ids, or nothing: all in frame 0

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def annotated(self) -> bool:
        """Whether every frame has its true mask, to compare with."""
        return len(self.masks) == len(self.frames) and not isinstance(self.masks, GivenMasks)

    def given_in(self, frame: int) -> tuple[int, ...]:
        """The ids of the objects that this frame's mask gives, ascending."""
        return tuple(i for i in self.object_ids if self.start_of(i) == frame)

    def channel(self, object_id: int) -> int:
        """The index of an object in maps and logits: 0 for the background, then `object_ids` in their order.

        Raises:
            LabError: the clip has no such object.
        """
        known = (0, *self.object_ids)
        if object_id not in known:
            raise LabError(
                f"object_id must be one of {', '.join(map(str, known))} in clip {self.name!r}, got {object_id}"
            )
        return known.index(object_id)

    def start_of(self, object_id: int) -> int:
        """The frame whose mask gives an object; of the background, the first that gives any."""
        channel = self.channel(object_id)
        if not self.starts:
            return 0
        return self.starts[channel - 1] if channel else min(self.starts)


def check_clip(clip: Clip, *, late_objects: bool = False) -> None:
    """Read the first frame and every mask of a clip and complain about what does not fit.

    Args:
        clip: to be checked; nothing is changed.
        late_objects: a later mask may hold ids that the first one lacks, as in YouTube-VOS.

    Raises:
        LabError: fewer than two frames; a number of masks other than one or all; a frame that is not uint8 (3, H, W);
            a mask of another size than its frame; an empty first mask; `object_ids` that differ from the ids of the
            first mask, or a later mask with other ids; `starts` that are not one frame of the clip an object. With
            `starts` the first mask may be empty and later ones hold new ids.
    """
    what = f"clip {clip.name!r}"
    if len(clip) < 2:
        raise LabError(f"{what} has {len(clip)} frame, at least two are expected: the first carries the given mask")
    if len(clip.masks) not in (1, len(clip)):
        raise LabError(f"{what} has {len(clip)} frames, one mask or as many were expected, got {len(clip.masks)}")
    frame = clip.frames[0]
    if frame.ndim != 3 or frame.shape[0] != 3 or frame.dtype != torch.uint8:
        raise LabError(f"frames of {what} must be uint8 (3, H, W), got {frame.dtype} {tuple(frame.shape)}")
    if clip.starts and (
        len(clip.starts) != len(clip.object_ids) or not all(0 <= start < len(clip) for start in clip.starts)
    ):
        raise LabError(
            f"starts of {what} must be a frame from 0 to {len(clip) - 1} for each of its {len(clip.object_ids)} "
            f"objects, got {clip.starts}"
        )
    size, ids = tuple(frame.shape[1:]), set(clip.object_ids)
    late_objects = late_objects or bool(clip.starts)
    for index in range(len(clip.masks)):
        mask = clip.masks[index]
        if tuple(mask.shape) != size:
            raise LabError(
                f"mask {index} of {what} is {shape_text(mask.shape[::-1])}, its frame is {shape_text(size[::-1])}"
            )
        found = set(object_ids(mask))
        if index == 0 and not found and not clip.starts:
            raise LabError(f"the first mask of {what} is empty: at least one object was expected")
        if index == 0 and not late_objects and found != ids:
            raise LabError(f"the first mask of {what} holds ids {sorted(found)}, its object ids are {sorted(ids)}")
        if not found <= ids:
            raise LabError(
                f"mask {index} of {what} holds ids {sorted(found - ids)} that the first mask lacks: "
                f"expected {sorted(ids)}"
            )
