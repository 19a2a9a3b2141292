"""Frames and masks read from image files on demand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from feelvos_lab.data.images import (
    VOID,
    Colour,
    image_size,
    no_object,
    object_ids,
    read_frame,
    read_mask,
    scaled_size,
    size_text,
)
from feelvos_lab.data.name_order import are_times, check_order, natural_key
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
        colours: the id of each colour of RGB masks, see `read_mask`.

    Raises:
        LabError: a mask of another size than its frame, or an empty first mask; when indexed, a damaged file, a mask
            that `read_mask` rejects, or an id that is not among `object_ids`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        frames: LazyFrames,
        binary: bool = False,
        height: int = 0,
        ids: tuple[int, ...] = (),
        colours: Mapping[Colour, int] | None = None,
    ) -> None:
        self.paths, self.height, self.binary, self.frames = tuple(paths), height, binary, frames
        self.colours = colours
        self._ids_are_listed = bool(ids)
        if frames.check_now:
            for index in range(len(self.paths)):
                self._check_size(index)
        # at full size: a small object can vanish when a mask is downscaled
        self.object_ids = ids
        if not ids:
            first = read_mask(self.paths[0], binary=binary, colours=colours)
            self.object_ids = object_ids(first)
            if not self.object_ids:
                expected = f"at least one object was expected{no_object(first)}"
                raise LabError(f"the first mask {self.paths[0]} is empty: {expected}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        if not self.frames.check_now:
            self._check_size(index)
        labels = read_mask(self.paths[index], binary=self.binary, height=self.height, colours=self.colours)
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
        colours: the id of each colour of RGB masks, see `read_mask`.

    Raises:
        LabError: a mask that `read_mask` rejects or of another size than its frame; no object in any of them.
    """

    def __init__(
        self,
        paths: Mapping[int, Path],
        *,
        length: int,
        size: tuple[int, int],
        height: int = 0,
        colours: Mapping[Colour, int] | None = None,
    ) -> None:
        self.paths, self.height, self.size, self.colours = dict(sorted(paths.items())), height, size, colours
        self._length = length
        first_shown: dict[int, int] = {}
        reason = ""
        for index, path in self.paths.items():
            labels = read_mask(path, colours=colours)  # at full size: a small object can vanish when it is downscaled
            if tuple(labels.shape) != tuple(size):
                raise LabError(f"mask {path} is {size_text(labels.shape)}, its frame is {size_text(size)}")
            reason = reason or no_object(labels)
            for object_id in object_ids(labels):
                first_shown.setdefault(object_id, index)
        if not first_shown:
            seen = ", ".join(map(str, self.paths.values())) or "none"
            raise LabError(f"at least one mask with an object was expected, got {seen}: no object in it{reason}")
        self.object_ids = tuple(sorted(first_shown))
        self.starts = tuple(first_shown[i] for i in self.object_ids)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        if not -self._length <= index < self._length:
            raise IndexError(f"mask {index} of {self._length}")
        index %= self._length
        if index in self.paths:
            return read_mask(self.paths[index], height=self.height, colours=self.colours)
        return torch.tensor(VOID).expand(scaled_size(self.size, self.height))  # stores one element only


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
    """The image files of a folder by number, ascending, see `frame_numbers`.

    Hidden files and other endings are ignored.

    Args:
        step: the expected distance of neighbouring numbers; None: the smallest that occurs, and names without one
            ascending number, such as dates, are numbered 0, 1, 2 … in the order of the whole name. "any": no check;
            nor for None where the numbers are dates or times, such as 20240131.

    Raises:
        LabError: no such folder or no such file in it; a name without a number; a missing or repeated number.
    """
    kinds = " or ".join(endings)
    if not folder.is_dir():
        raise LabError(f"{folder} is no folder: one with numbered images ({kinds}) was expected")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in endings and not p.name.startswith("."))
    if not paths:
        others = sorted({p.suffix for p in folder.iterdir() if p.suffix and not p.name.startswith(".")})
        found = f", but {', '.join(others[:3])}" if others else ""
        raise LabError(f"{folder} holds no {kinds} image{found}")
    paths.sort(key=lambda path: natural_key(path.stem))
    for path in paths:
        if not re.search(r"\d", path.stem):
            raise LabError(f"{path} has no number: names such as 00000{path.suffix} were expected")
    for path, following in itertools.pairwise(paths):
        if natural_key(path.stem) == natural_key(following.stem):
            raise LabError(f"number {_last_number(path.stem)} is there twice: {path} and {following.name}")
    check_order(folder, [path.stem for path in paths])
    numbers = frame_numbers([path.stem for path in paths])
    if numbers is None:
        if step is not None or len({re.sub(r"\d+", "#", path.stem.casefold()) for path in paths}) > 1:
            pairs = list(itertools.pairwise(paths))
            first, second = next((pair for pair in pairs if not _ascend(*pair)), pairs[0])
            raise LabError(
                f"{folder} cannot be ordered by number: {second.name} follows {first.name} by name, "
                "expected names that differ in one ascending number"
            )
        return dict(enumerate(paths))
    neighbours = list(itertools.pairwise(numbers))
    numbered = dict(zip(numbers, paths, strict=True))
    if step is None:
        if are_times([path.stem for path in paths], numbers):
            return numbered
        step = min((following - number for number, following in neighbours), default=1)
    for number, following in neighbours:
        if step != "any" and following - number != step:
            raise LabError(
                f"{folder} lacks number {number + step}: {numbered[number].name} is followed by "
                f"{numbered[following].name}, expected steps of {step}"
            )
    return numbered


def frame_numbers(names: Sequence[str]) -> list[int] | None:
    """The number of each frame, from names in natural order; None if no number of theirs ascends all along.

    It is the last number in a name, such as 9 in `take2_9`, or another if that alone differs, such as 7 in `0007_v2`.
    None for names that count with several numbers, such as dates: `plant_2024-01-31`, `plant_2024-02-01`.

    Example:
        >>> from feelvos_lab.data.frames import frame_numbers
        >>> frame_numbers(["take2_9", "take2_10"]), frame_numbers(["0007_v2", "0008_v2"])
        ([9, 10], [7, 8])
        >>> frame_numbers(["2024-01-31", "2024-02-01"]) is None
        True
    """
    numbers = [[int(digits) for digits in re.findall(r"\d+", name)] for name in names]
    columns = list(zip(*numbers, strict=True)) if len({len(found) for found in numbers}) == 1 else []
    differing = [list(column) for column in columns if len(set(column)) > 1]
    candidate = differing[0] if len(differing) == 1 else [found[-1] for found in numbers]
    return candidate if all(number < following for number, following in itertools.pairwise(candidate)) else None


def _last_number(name: str) -> int:
    return int(re.findall(r"\d+", name)[-1])


def _ascend(path: Path, following: Path) -> bool:
    return _last_number(path.stem) < _last_number(following.stem)


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
