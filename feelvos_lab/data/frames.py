"""Frames and masks that stay in their files until one is asked for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from feelvos_lab.data.images import VOID, image_size, object_ids, read_frame, read_mask
from feelvos_lab.errors import LabError


class LazyFrames:
    """Image files as frames: `frames[t]` reads one, uint8 RGB (3, H, W), scaled to `height` where that is not 0.

    `file_size` is the height and width of the files.

    Args:
        paths: one file a frame.
        height: 0 keeps the size.
        check_now: open every file for its size when made; False compares each when it is read, for large sets.

    Raises:
        LabError: files whose sizes differ; when indexed, a damaged file.
    """

    def __init__(self, paths: Sequence[Path], *, height: int = 0, check_now: bool = True) -> None:
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
                f"all frames of a clip must have one size: {self.paths[0]} is {_by(self.file_size)}, "
                f"{path} is {_by(size)}"
            )


class LazyMasks:
    """Image files as masks: `masks[t]` reads one, int64 (H, W), scaled to `height` where that is not 0.

    `object_ids` are those that are given, or else those of the first mask, or of all masks with `late_objects`, which
    reads each once.

    Args:
        paths: one file a frame, or the first frame's alone.
        frames: the frames they belong to; sizes must agree.
        binary: all ids are merged to object 1.
        late_objects: whether a later mask may hold ids that the first one lacks.
        height: 0 keeps the size.
        object_ids: those of the clip where a list tells them; nothing is read then when made.

    Raises:
        LabError: when made, a mask of another size than its frame, or an empty first mask; when indexed, a damaged
            file, an RGB or interpolated mask, or an id that is not among `object_ids`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        frames: LazyFrames,
        binary: bool = False,
        late_objects: bool = False,
        height: int = 0,
        object_ids: tuple[int, ...] = (),
    ) -> None:
        self.paths, self.height, self.binary, self.frames = tuple(paths), height, binary, frames
        self._listed = bool(object_ids)
        if frames.check_now:
            for index in range(len(self.paths)):
                self._check_size(index)
        if object_ids:
            self.object_ids = object_ids
            return
        self.object_ids = self._ids(0)
        if not self.object_ids:
            raise LabError(f"the first mask {self.paths[0]} is empty: at least one object was expected")
        if late_objects:
            self.object_ids = tuple(sorted({i for index in range(len(self)) for i in self._ids(index)}))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        if not self.frames.check_now:
            self._check_size(index)
        labels = read_mask(self.paths[index], binary=self.binary, height=self.height)
        if strange := set(object_ids(labels)) - set(self.object_ids):
            raise LabError(
                f"mask {self.paths[index]} holds ids {sorted(strange)} that the "
                f"{'list of its objects' if self._listed else 'first mask'} lacks: expected {list(self.object_ids)}"
            )
        return labels

    def _check_size(self, index: int) -> None:
        if (size := image_size(self.paths[index])) != self.frames.file_size:
            raise LabError(
                f"mask {self.paths[index]} is {_by(size)}, "
                f"its frame {self.frames.paths[index]} is {_by(self.frames.file_size)}"
            )

    def _ids(self, index: int) -> tuple[int, ...]:
        """At full size, since a small object can vanish when a mask is scaled."""
        return object_ids(read_mask(self.paths[index], binary=self.binary))


class GivenMasks:
    """Masks of some frames alone: `masks[t]` reads frame t's file, or is void everywhere where nobody labelled it.

    Its length is that of the clip. What a mask shows of an object that an earlier one shows already is there too, but
    `starts` names, for each object, the one frame whose mask gives it: the first that shows it.

    Args:
        paths: the mask's file by its frame's index.
        length: how many frames the clip has.
        size: height and width of its frames' files.
        height: masks are scaled to it by nearest neighbour; 0 keeps the size.

    Raises:
        LabError: when made, no mask at all, a damaged file, an RGB or interpolated mask, one of another size than
            its frame, or masks that are all empty.
    """

    def __init__(self, paths: Mapping[int, Path], *, length: int, size: tuple[int, int], height: int = 0) -> None:
        self.paths, self.height, self._length = dict(sorted(paths.items())), height, length
        first_shown: dict[int, int] = {}
        for index, path in self.paths.items():
            labels = read_mask(path)  # at full size, since a small object can vanish when a mask is scaled
            if tuple(labels.shape) != size:
                raise LabError(f"mask {path} is {_by(tuple(labels.shape))}, its frame is {_by(size)}")
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


def numbered_files(folder: Path, *, endings: Sequence[str], step: int | Literal["any"] | None = 1) -> dict[int, Path]:
    """The image files of a folder by their number, the last one in their names, in ascending order.

    Other files and hidden ones are passed over. `step` is the distance of neighbouring numbers: a number,
    "any", or None for the smallest that occurs, so that a gap is told in every case but "any".

    Raises:
        LabError: no such folder or no such file in it; a name without a number; a number that is missing or double.
    """
    if not folder.is_dir():
        raise LabError(f"{folder} is no folder: one with numbered images ({_or(endings)}) was expected")
    paths = [p for p in folder.iterdir() if p.suffix.lower() in endings and not p.name.startswith(".")]
    numbered: dict[int, Path] = {}
    for path in sorted(paths):
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise LabError(f"{path} has no number: names such as 00000{path.suffix} were expected")
        if (number := int(digits[-1])) in numbered:
            raise LabError(f"number {number} is there twice: {numbered[number]} and {path.name}")
        numbered[number] = path
    if not numbered:
        raise LabError(f"{folder} holds no {_or(endings)} image")
    order = sorted(numbered)
    if step is None:
        step = min((following - number for number, following in itertools.pairwise(order)), default=1)
    for number, following in itertools.pairwise(order):
        if step != "any" and following - number != step:
            raise LabError(
                f"{folder} lacks number {number + step}: {numbered[number].name} is followed by "
                f"{numbered[following].name}, expected steps of {step}"
            )
    return {number: numbered[number] for number in order}


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]}"


def _or(endings: Sequence[str]) -> str:
    return " or ".join(endings)


class InMemory:
    """Frames or masks of a lazy source, read once and kept as uint8; `source[t]` has the type it had before."""

    def __init__(self, source: Sequence[Tensor]) -> None:
        items = [source[t] for t in range(len(source))]
        self.dtype = items[0].dtype
        self.data = torch.stack([item.to(torch.uint8) for item in items])  # ids end at 255

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return self.data[index].to(self.dtype)
