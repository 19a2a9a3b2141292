"""The data type of the project: a video with the masks of its objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from feelvos_lab.data.frames import GivenMasks
from feelvos_lab.data.images import no_object, object_ids, size_text
from feelvos_lab.errors import LabError


class FrameSource(Protocol):
    """Anything with a length that returns a frame by its index: a tensor, or files read on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor: ...


@dataclass(frozen=True)
class Clip:
    """A video and its masks.

    Shapes: `frames[t]` is uint8 RGB (3, H, W); `masks[t]` is int64 (H, W): 0 for background, object ids 1 … 254, 255
    for unlabelled pixels. Both are tensors with a leading time axis or read frames on demand. `masks` is as long as
    `frames`, or holds the first frame's mask only (a clip to segment, without ground truth).

    `starts[i]` is the frame whose mask gives object `object_ids[i]` to the method; empty: frame 0 gives them all.

    Example:
        >>> import torch
        >>> from feelvos_lab.data import Clip
        >>> frames, masks = torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.zeros(3, 32, 32, dtype=torch.int64)
        >>> masks[:, 8:16, 8:16], masks[1:, 20:24, 20:24] = 2, 7  # object 7 enters in frame 1
        >>> clip = Clip("late", frames, masks, object_ids=(2, 7), starts=(0, 1))
        >>> len(clip), clip.annotated, clip.given_in(1), clip.start_of(7), clip.channel(7)
        (3, True, (7,), 1, 2)
    """

    name: str
    frames: FrameSource  # T × (3, H, W) uint8
    masks: FrameSource  # T × (H, W) int64, or 1 × (H, W)
    object_ids: tuple[int, ...]  # ascending, without background
    starts: tuple[int, ...] = ()  # a frame for each of object_ids, or empty

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def annotated(self) -> bool:
        """Whether every frame has a ground-truth mask."""
        return len(self.masks) == len(self.frames) and not isinstance(self.masks, GivenMasks)

    @property
    def annotated_frames(self) -> tuple[int, ...]:
        """The frames that have a ground-truth mask, ascending: all if `annotated`, of a film those that were drawn."""
        return tuple(self.masks.paths) if isinstance(self.masks, GivenMasks) else tuple(range(len(self.masks)))

    def given_in(self, frame: int) -> tuple[int, ...]:
        """The ids of the objects that this frame's mask gives, ascending."""
        return tuple(i for i in self.object_ids if self.start_of(i) == frame)

    def channel(self, object_id: int) -> int:
        """The index of an object in maps and logits: 0 for background, then `object_ids` in order.

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
        """The frame whose mask gives an object; for background (0), the first that gives any object."""
        channel = self.channel(object_id)
        if not self.starts:
            return 0
        return self.starts[channel - 1] if channel else min(self.starts)


def first_frames(clip: Clip, count: int) -> Clip:
    """The first `count` frames of a clip, with their masks; 0, or more than there are: the clip itself.

    Masks of some frames only (`GivenMasks`) remain such.

    Raises:
        LabError: 1 or a negative count; none of these frames gives an object.

    Example:
        >>> from feelvos_lab.data import make_clip
        >>> from feelvos_lab.data.clip import first_frames
        >>> clip = first_frames(make_clip(1, height=32, width=32, frames=5), 3)
        >>> len(clip), len(clip.masks), clip.annotated
        (3, 3, True)
    """
    if count < 0 or count == 1:
        raise LabError(f"frames must be 0 (all) or 2 or more, got {count}")
    if not 0 < count < len(clip):
        return clip
    given = clip.masks
    if isinstance(given, GivenMasks):
        paths = {t: path for t, path in given.paths.items() if t < count}
        masks = GivenMasks(paths, length=count, size=given.size, height=given.height, colours=given.colours)
    else:
        masks = _first(given, count)
    starts = {i: clip.start_of(i) for i in clip.object_ids if clip.start_of(i) < count}
    frames = _first(clip.frames, count)
    return Clip(clip.name, frames, masks, tuple(starts), tuple(starts.values()) if clip.starts else ())


def _first(source: FrameSource, count: int) -> FrameSource:
    return source[:count] if isinstance(source, Tensor) else [source[t] for t in range(min(count, len(source)))]


def check_clip(clip: Clip) -> None:
    """Raise LabError where the first frame, the masks, `object_ids` and `starts` of a clip do not fit together.

    Only with `starts` may later masks hold ids that the first one lacks, and may the first mask be empty.
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
    for index in range(len(clip.masks)):
        mask = clip.masks[index]
        if tuple(mask.shape) != size:
            raise LabError(f"mask {index} of {what} is {size_text(mask.shape)}, its frame is {size_text(size)}")
        found = set(object_ids(mask))
        if index == 0 and not found and not clip.starts:
            raise LabError(f"the first mask of {what} is empty: at least one object was expected{no_object(mask)}")
        if index == 0 and not clip.starts and found != ids:
            raise LabError(f"the first mask of {what} holds ids {sorted(found)}, its object ids are {sorted(ids)}")
        if not found <= ids:
            raise LabError(
                f"mask {index} of {what} holds ids {sorted(found - ids)} that the first mask lacks: "
                f"expected {sorted(ids)}"
            )
