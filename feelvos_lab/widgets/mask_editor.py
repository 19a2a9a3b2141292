"""A mask that is edited by brush strokes and filled outlines, with undo and redo. Symbols: H W frame size."""

from __future__ import annotations

import math

import torch
from scipy import ndimage
from torch import Tensor

from feelvos_lab.data.images import MAX_OBJECTS, VOID, object_ids
from feelvos_lab.errors import LabError, shape_text

_STEPS = 100  # that can be undone

Point = tuple[float, float]  # row and column of the frame, in pixels


class Painting:
    """A mask being painted: uint8 (H, W), object ids 1 … 32, 0 for the background.

    Args:
        size: (H, W).
        start: int64 (H, W), a mask to correct, whose void pixels become background; None: an empty mask.
    """

    def __init__(self, size: tuple[int, int], *, start: Tensor | None = None) -> None:
        self._labels = torch.zeros(size, dtype=torch.uint8)
        self._before: list[Tensor] = []
        self._after: list[Tensor] = []  # undone, the last one undone at the end
        if start is not None:
            self._labels = self._checked(start)

    @property
    def labels(self) -> Tensor:
        """A copy of the mask: int64 (H, W)."""
        return self._labels.long()

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that have pixels, ascending."""
        return object_ids(self.labels)

    def begin(self) -> None:
        """Begin a step: strokes from here on are undone together."""
        self._before.append(self._labels.clone())
        del self._before[:-_STEPS]
        self._after.clear()

    def stroke(self, start: Point, end: Point, *, radius: float, object_id: int) -> None:
        """Give an object the pixels within `radius` of the line from start to end; object 0 erases.

        A radius below 1 round a pixel's centre paints that pixel only. Parts outside the frame are clipped.
        """
        _check_object(object_id)
        if radius <= 0:
            raise LabError(f"a brush's radius must be greater than 0, got {radius}")
        height, width = self._labels.shape
        rows, columns = _reached(start[0], end[0], radius, height), _reached(start[1], end[1], radius, width)
        if not len(rows) or not len(columns):  # outside the frame
            return
        along = end[0] - start[0], end[1] - start[1]
        length = along[0] ** 2 + along[1] ** 2
        y, x = rows[:, None] - start[0], columns[None, :] - start[1]
        part = ((y * along[0] + x * along[1]) / length).clamp(0, 1) if length else torch.zeros(())
        away = (y - part * along[0]) ** 2 + (x - part * along[1]) ** 2  # squared distance to the line
        touched = self._labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        touched[away < radius**2] = object_id

    def fill(self, at: Point, *, object_id: int) -> None:
        """Give an object the region around a pixel, up to pixels of another label; 0 erases it. One step.

        The region is 4-connected. One that reaches all four sides of the frame is not enclosed: LabError.
        """
        _check_object(object_id)
        row, column = (min(max(round(x), 0), side - 1) for x, side in zip(at, self._labels.shape, strict=True))
        regions, _ = ndimage.label((self._labels == self._labels[row, column]).numpy())
        region = torch.from_numpy(regions == regions[row, column])  # (H, W)
        if all(side.any() for side in (region[0], region[-1], region[:, 0], region[:, -1])):
            raise LabError("nothing encloses this place: close the outline around it, then fill it")
        self.begin()
        self._labels[region] = object_id

    def clear(self) -> None:
        """Erase everything; can be undone."""
        self.begin()
        self._labels.zero_()

    def replace(self, labels: Tensor) -> None:
        """Replace the mask by another one, int64 (H, W), of the same size; can be undone."""
        labels = self._checked(labels)
        self.begin()
        self._labels = labels

    def undo(self) -> bool:
        """Undo the last step; False if there is none."""
        return self._move(self._before, self._after)

    def redo(self) -> bool:
        """Do the last undone step again; False if there is none, or another step was done since."""
        return self._move(self._after, self._before)

    def _move(self, source: list[Tensor], target: list[Tensor]) -> bool:
        if not source:
            return False
        target.append(self._labels)
        self._labels = source.pop()
        return True

    def _checked(self, labels: Tensor) -> Tensor:
        if labels.shape != self._labels.shape:
            wanted, got = shape_text(self._labels.shape), shape_text(labels.shape)
            raise LabError(f"a mask to start from must be {wanted} like the frames, got {got}")
        return torch.where(labels == VOID, 0, labels).to(torch.uint8)


def _check_object(object_id: int) -> None:
    if not 0 <= object_id <= MAX_OBJECTS:
        raise LabError(f"an object's number must be 1 to {MAX_OBJECTS}, or 0 to erase, got {object_id}")


def _reached(start: float, end: float, radius: float, limit: int) -> Tensor:
    """The rows or columns of the frame that a stroke can reach."""
    first, last = math.floor(min(start, end) - radius), math.ceil(max(start, end) + radius)
    return torch.arange(max(0, first), max(0, first, min(limit, last + 1)))
