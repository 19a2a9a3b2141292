"""A mask under a brush: strokes, an eraser, undo.

Letters: H W frame size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from feelvos_lab.data.images import MAX_OBJECTS, VOID, object_ids
from feelvos_lab.errors import LabError, shape_text

_STEPS = 100  # how many strokes can be undone

Point = tuple[float, float]  # row and column of the frame, in pixels


class Painting:
    """A mask that is painted: uint8 (H, W), object ids 1 … 32, 0 where nothing is.

    Args:
        size: H and W.
        start: int64 (H, W), a mask to correct; None: nothing is painted yet. Pixels that nobody labelled count as
            background.

    Raises:
        LabError: a start of another size.
    """

    def __init__(self, size: tuple[int, int], *, start: Tensor | None = None) -> None:
        self._labels = torch.zeros(size, dtype=torch.uint8)
        self._before: list[Tensor] = []
        if start is not None:
            self._labels = self._checked(start)

    @property
    def labels(self) -> Tensor:
        """A copy of what is painted: int64 (H, W)."""
        return self._labels.long()

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that have a pixel, ascending."""
        return object_ids(self._labels.long())

    def begin(self) -> None:
        """Whatever is painted from here on is undone together."""
        self._before.append(self._labels.clone())
        del self._before[:-_STEPS]

    def stroke(self, start: Point, end: Point, *, radius: float, object_id: int) -> None:
        """Give an object the pixels within `radius` of the line from start to end; object 0 erases.

        A point on a pixel's middle with a radius below 1 gives that pixel alone. What lies outside the frame is cut.

        Raises:
            LabError: an object number that is none, or a radius that is not positive.
        """
        if not 0 <= object_id <= MAX_OBJECTS:
            raise LabError(f"an object's number must be 1 to {MAX_OBJECTS}, or 0 to erase, got {object_id}")
        if radius <= 0:
            raise LabError(f"a brush's radius must be greater than 0, got {radius}")
        height, width = self._labels.shape
        rows, columns = _reached(start[0], end[0], radius, height), _reached(start[1], end[1], radius, width)
        if not len(rows) or not len(columns):
            return
        along = end[0] - start[0], end[1] - start[1]
        length = along[0] ** 2 + along[1] ** 2
        y, x = rows[:, None] - start[0], columns[None, :] - start[1]
        part = ((y * along[0] + x * along[1]) / length).clamp(0, 1) if length else torch.zeros(())
        away = (y - part * along[0]) ** 2 + (x - part * along[1]) ** 2  # squared, from the nearest point of the line
        touched = self._labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        touched[away < radius**2] = object_id

    def clear(self) -> None:
        """Erase all; can be undone."""
        self.begin()
        self._labels.zero_()

    def replace(self, labels: Tensor) -> None:
        """Take another mask, int64 (H, W), in place of what is painted; can be undone.

        Raises:
            LabError: a mask of another size.
        """
        labels = self._checked(labels)
        self.begin()
        self._labels = labels

    def undo(self) -> bool:
        """Take back the last stroke, or the last clearing; False where there is nothing to take back."""
        if not self._before:
            return False
        self._labels = self._before.pop()
        return True

    def finished(self) -> Tensor:
        """The mask to segment by: int64 (H, W).

        Raises:
            LabError: nothing is painted.
        """
        if not self.object_ids:
            raise LabError("the first mask is empty: paint at least one object, then propagate")
        return self.labels

    def _checked(self, labels: Tensor) -> Tensor:
        if labels.shape != self._labels.shape:
            wanted, got = shape_text(self._labels.shape), shape_text(labels.shape)
            raise LabError(f"a mask to start from must be {wanted} like the frames, got {got}")
        return torch.where(labels == VOID, 0, labels).to(torch.uint8)


def _reached(start: float, end: float, radius: float, limit: int) -> Tensor:
    """The rows, or columns, of the frame that a stroke can reach."""
    first, last = math.floor(min(start, end) - radius), math.ceil(max(start, end) + radius)
    return torch.arange(max(0, first), max(0, first, min(limit, last + 1)))
