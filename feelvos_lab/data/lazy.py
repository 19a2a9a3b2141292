"""Frames and masks that stay in their files until one is asked for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from feelvos_lab.data.images import image_size, object_ids, read_frame, read_mask
from feelvos_lab.errors import LabError


class LazyFrames:
    """Image files as frames: `frames[t]` reads one, uint8 RGB (3, H, W), scaled to `height` where that is not 0.

    `file_size` is the height and width of the files.

    Raises:
        LabError: when made, files whose sizes differ; when indexed, a damaged file.
    """

    def __init__(self, paths: Sequence[Path], *, height: int = 0) -> None:
        self.paths, self.height = tuple(paths), height
        self.file_size = first = image_size(self.paths[0])
        for path in self.paths[1:]:
            if (size := image_size(path)) != first:
                raise LabError(
                    f"all frames of a clip must have one size: {self.paths[0]} is {_by(first)}, {path} is {_by(size)}"
                )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return read_frame(self.paths[index], height=self.height)


class LazyMasks:
    """Image files as masks: `masks[t]` reads one, int64 (H, W), scaled to `height` where that is not 0.

    `object_ids` are those of the first mask, or of all masks with `late_objects`, which reads each once.

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
            if (size := image_size(path)) != frames.file_size:
                raise LabError(f"mask {path} is {_by(size)}, its frame {frame} is {_by(frames.file_size)}")
        self.object_ids = self._ids(0)
        if not self.object_ids:
            raise LabError(f"the first mask {self.paths[0]} is empty: at least one object was expected")
        if late_objects:
            self.object_ids = tuple(sorted({i for index in range(len(self)) for i in self._ids(index)}))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        labels = read_mask(self.paths[index], binary=self.binary, height=self.height)
        if strange := set(object_ids(labels)) - set(self.object_ids):
            raise LabError(
                f"mask {self.paths[index]} holds ids {sorted(strange)} that the first mask lacks: "
                f"expected {list(self.object_ids)}"
            )
        return labels

    def _ids(self, index: int) -> tuple[int, ...]:
        """At full size, since a small object can vanish when a mask is scaled."""
        return object_ids(read_mask(self.paths[index], binary=self.binary))


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
