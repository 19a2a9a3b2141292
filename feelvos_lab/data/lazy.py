"""Frames and masks that stay in their files until one is asked for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from feelvos_lab.data.images import image_size, object_ids, read_frame, read_mask, scaled_size
from feelvos_lab.errors import LabError


class LazyFrames:
    """Image files as frames: `frames[t]` reads one, uint8 RGB (3, H, W), scaled to `height` where that is not 0.

    Raises:
        LabError: when made, files whose sizes differ; when indexed, a damaged file.
    """

    def __init__(self, paths: Sequence[Path], *, height: int = 0) -> None:
        self.paths, self.height = tuple(paths), height
        first = image_size(self.paths[0])
        for path in self.paths[1:]:
            if (size := image_size(path)) != first:
                raise LabError(
                    f"all frames of a clip must have one size: {self.paths[0]} is {_by(first)}, {path} is {_by(size)}"
                )
        self.size = scaled_size(first, height)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return read_frame(self.paths[index], height=self.height)


class LazyMasks:
    """Image files as masks: `masks[t]` reads one, int64 (H, W), scaled to `height` where that is not 0.

    Args:
        paths: one file a frame, or the first frame's alone.
        frames: the frames they belong to; sizes must agree.
        binary: all ids are merged to object 1.
        late_objects: whether a later mask may hold ids that the first one lacks.
        height: 0 keeps the size.

    Raises:
        LabError: when made, a mask of another size than its frame, or an empty first mask; when indexed, a damaged
            file, an RGB or interpolated mask, or an id that the first mask lacks.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        frames: LazyFrames,
        binary: bool = False,
        late_objects: bool = False,
        height: int = 0,
    ) -> None:
        self.paths, self.height, self.binary = tuple(paths), height, binary
        for path, frame in zip(self.paths, frames.paths, strict=False):
            if (size := image_size(path)) != (expected := image_size(frame)):
                raise LabError(f"mask {path} is {_by(size)}, its frame {frame} is {_by(expected)}")
        self.size = frames.size
        self.object_ids = object_ids(self._read(0))
        if not self.object_ids:
            raise LabError(f"the first mask {self.paths[0]} is empty: at least one object was expected")
        self._first_ids = None if late_objects else set(self.object_ids)
        if late_objects:
            everything = {i for index in range(len(self)) for i in object_ids(self._read(index))}
            self.object_ids = tuple(sorted(everything))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        labels = self._read(index)
        if self._first_ids is not None and not (ids := set(object_ids(labels))) <= self._first_ids:
            raise LabError(
                f"mask {self.paths[index]} holds ids {sorted(ids - self._first_ids)} that the first mask lacks: "
                f"expected {sorted(self._first_ids)}"
            )
        return labels

    def _read(self, index: int) -> Tensor:
        return read_mask(self.paths[index], binary=self.binary, height=self.height)


def numbered_files(folder: Path, *, endings: Sequence[str], step: int = 1) -> dict[int, Path]:
    """The image files of a folder by their number, the last one in their names, in ascending order.

    Other files and hidden ones are passed over. `step` is the distance of neighbouring numbers.

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
    for number, following in itertools.pairwise(order):
        if following - number != step:
            raise LabError(
                f"{folder} lacks number {number + step}: {numbered[number].name} is followed by "
                f"{numbered[following].name}, expected steps of {step}"
            )
    return {number: numbered[number] for number in order}


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]}"


def _or(endings: Sequence[str]) -> str:
    return " or ".join(endings)
