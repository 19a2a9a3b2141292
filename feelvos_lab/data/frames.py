"""Frames and masks read from image files on demand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from feelvos_lab.data.images import VOID, image_size, object_ids, read_frame, read_mask, size_text
from feelvos_lab.errors import LabError


class LazyFrames:
    """Image files as frames: `frames[t]` reads one, uint8 RGB (3, H, W).

    Args:
        paths: one file per frame; all of one size, which is `file_size` (height, width).
        height: frames are scaled to it; 0 keeps the size.
        check_now: compare the sizes of all files at once. False, for large data sets: when each is read.

    Raises:
        LabError: files that differ in size; when indexed, a damaged file.
    """

    def __init__(self, paths: Sequence[Path], *, height: int = 0, check_now: bool = True) -> None:
        if height < 0:
            raise LabError(f"height must not be negative, got {height}")
        self.paths, self.height, self.check_now = tuple(paths), height, check_now
        self.file_size = image_size(self.paths[0])
        if check_now:
            for path in self.paths[1:]:
                self._check_size(path)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        if not self.check_now:
            self._check_size(self.paths[index])
        return read_frame(self.paths[index], height=self.height)

    def _check_size(self, path: Path) -> None:
        if (size := image_size(path)) != self.file_size:
            raise LabError(
                f"all frames of a clip must have one size: {self.paths[0]} is {size_text(self.file_size)}, "
                f"{path} is {size_text(size)}"
            )


class LazyMasks:
    """Image files as masks: `masks[t]` reads one, int64 (H, W).

    Args:
        paths: one file per frame, or the first frame's only.
        frames: the frames they belong to, whose file size they must have.
        binary: merge all ids to object 1.
        height: masks are scaled to it; 0 keeps the size.
        ids: of the clip's objects, if they are known; otherwise those of the first mask.

    Raises:
        LabError: a mask of another size than its frame, or an empty first mask; when indexed, a damaged file, an RGB
            or interpolated mask, or an id that is not among `object_ids`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        frames: LazyFrames,
        binary: bool = False,
        height: int = 0,
        ids: tuple[int, ...] = (),
    ) -> None:
        self.paths, self.height, self.binary, self.frames = tuple(paths), height, binary, frames
        self._ids_are_listed = bool(ids)
        if frames.check_now:
            for index in range(len(self.paths)):
                self._check_size(index)
        # at full size: a small object can vanish when a mask is downscaled
        self.object_ids = ids or object_ids(read_mask(self.paths[0], binary=binary))
        if not self.object_ids:
            raise LabError(f"the first mask {self.paths[0]} is empty: at least one object was expected")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        if not self.frames.check_now:
            self._check_size(index)
        labels = read_mask(self.paths[index], binary=self.binary, height=self.height)
        if unknown := set(object_ids(labels)) - set(self.object_ids):
            raise LabError(
                f"mask {self.paths[index]} holds ids {sorted(unknown)} that the "
                f"{'list of its objects' if self._ids_are_listed else 'first mask'} lacks: "
                f"expected {list(self.object_ids)}"
            )
        return labels

    def _check_size(self, index: int) -> None:
        if (size := image_size(self.paths[index])) != self.frames.file_size:
            raise LabError(
                f"mask {self.paths[index]} is {size_text(size)}, "
                f"its frame {self.frames.paths[index]} is {size_text(self.frames.file_size)}"
            )


class GivenMasks:
    """Masks of some frames only: `masks[t]` reads frame t's file, or is void (255) everywhere if it has none.

    `starts` holds, for each of `object_ids`, the first frame whose mask shows the object.

    Args:
        paths: mask files by frame index.
        length: number of frames in the clip, and of masks here.
        size: height and width of the frames' files.
        height: masks are scaled to it; 0 keeps the size.

    Raises:
        LabError: a mask that `read_mask` rejects or of another size than its frame; no object in any of them.
    """

    def __init__(self, paths: Mapping[int, Path], *, length: int, size: tuple[int, int], height: int = 0) -> None:
        self.paths, self.height, self._length = dict(sorted(paths.items())), height, length
        first_shown: dict[int, int] = {}
        for index, path in self.paths.items():
            labels = read_mask(path)  # at full size: a small object can vanish when a mask is downscaled
            if tuple(labels.shape) != size:
                raise LabError(f"mask {path} is {size_text(labels.shape)}, its frame is {size_text(size)}")
            for object_id in object_ids(labels):
                first_shown.setdefault(object_id, index)
        if not first_shown:
            seen = ", ".join(map(str, self.paths.values())) or "none"
            raise LabError(f"at least one mask with an object was expected, got {seen}: no object in it")
        self.object_ids = tuple(sorted(first_shown))
        self.starts = tuple(first_shown[i] for i in self.object_ids)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        if not -self._length <= index < self._length:
            raise IndexError(f"mask {index} of {self._length}")
        index %= self._length
        if index in self.paths:
            return read_mask(self.paths[index], height=self.height)
        return torch.full_like(read_mask(next(iter(self.paths.values())), height=self.height), VOID)


class InMemory:
    """Frames or masks of a lazy source, read once and kept as uint8; `source[t]` keeps its type."""

    def __init__(self, source: Sequence[Tensor]) -> None:
        items = [source[t] for t in range(len(source))]
        self.dtype = items[0].dtype
        self.data = torch.stack([item.to(torch.uint8) for item in items])  # ids end at 255

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return self.data[index].to(self.dtype)


def numbered_files(folder: Path, *, endings: Sequence[str], step: int | Literal["any"] | None = 1) -> dict[int, Path]:
    """The image files of a folder by number, ascending: the last number in a name counts.

    Hidden files and other endings are ignored.

    Args:
        step: the expected distance of neighbouring numbers; None: the smallest that occurs; "any": no check.

    Raises:
        LabError: no such folder or no such file in it; a name without a number; a missing or repeated number.
    """
    kinds = " or ".join(endings)
    if not folder.is_dir():
        raise LabError(f"{folder} is no folder: one with numbered images ({kinds}) was expected")
    numbered: dict[int, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in endings and not p.name.startswith(".")):
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise LabError(f"{path} has no number: names such as 00000{path.suffix} were expected")
        if (number := int(digits[-1])) in numbered:
            raise LabError(f"number {number} is there twice: {numbered[number]} and {path.name}")
        numbered[number] = path
    if not numbered:
        raise LabError(f"{folder} holds no {kinds} image")
    neighbours = list(itertools.pairwise(sorted(numbered)))
    if step is None:
        step = min((following - number for number, following in neighbours), default=1)
    for number, following in neighbours:
        if step != "any" and following - number != step:
            raise LabError(
                f"{folder} lacks number {number + step}: {numbered[number].name} is followed by "
                f"{numbered[following].name}, expected steps of {step}"
            )
    return dict(sorted(numbered.items()))


def frame_and_mask_files(
    images: Path, annotations: Path, *, step: int | Literal["any"] = 1
) -> tuple[dict[int, Path], dict[int, Path]]:
    """The jpg frames and png masks of a published clip by number, as `numbered_files`; each mask has a frame."""
    frames = numbered_files(images, endings=(".jpg",), step=step)
    masks = numbered_files(annotations, endings=(".png",), step=step)
    if missing := [masks[number] for number in masks if number not in frames]:
        raise LabError(f"mask {missing[0]} has no frame in {images}")
    return frames, masks


def check_two_frames(frames: Mapping[int, Path], folder: Path) -> None:
    """A clip needs a second frame: the first has its mask given."""
    if len(frames) < 2:
        raise LabError(f"{folder} holds one frame, at least two were expected: the first carries the given mask")
