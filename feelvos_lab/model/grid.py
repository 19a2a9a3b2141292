"""The stride-4 grid, and resizing with aligned corners (align_corners=True) as in the official code.

Symbols: H W a frame in pixels, h w its grid in cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def stride4_size(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the stride-4 grid of an H×W frame: (H − 1) // 4 + 1, so 480×854 gives 120×214."""
    return (size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1


def cell_spacing(size: tuple[int, int], grid: tuple[int, int]) -> tuple[float, float]:
    """Pixels from one cell of the grid to the next, down and across: (H − 1) / (h − 1), (W − 1) / (w − 1)."""
    return (size[0] - 1) / max(1, grid[0] - 1), (size[1] - 1) / max(1, grid[1] - 1)


def cell_at(pixel: tuple[float, float], size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """The cell (row, column) nearest to a pixel (row, column) of the frame, or to one outside it."""
    places = (p * (n - 1) / max(1, side - 1) for p, n, side in zip(pixel, grid, size, strict=True))
    row, column = (min(max(round(p), 0), n - 1) for p, n in zip(places, grid, strict=True))
    return row, column


def resize_bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) → (B, C, *size), bilinear, corners aligned."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """(…, H, W) → (…, *size) of the same type, nearest neighbour, corners aligned.

    Row i of the output is row ⌊i (H − 1) / (h − 1) + ½⌋ of the input, in float32 as in TensorFlow's
    `resize_nearest_neighbor(align_corners=True)`. torch's `nearest` does not align corners.
    """
    rows = _nearest_index(labels.shape[-2], size[0], labels.device)
    columns = _nearest_index(labels.shape[-1], size[1], labels.device)
    return labels[..., rows[:, None], columns]


def label_cells(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) → (*size): `resize_labels`, except that every object with pixels (id > 0) keeps a cell.

    An object that no cell samples gets, among the cells nearest to its pixels, the one nearest to most of them; cells
    that are the only one of another object are not taken, so that with very many objects one may still get none.
    Where every object has a cell, the result is that of `resize_labels`.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.grid import label_cells, resize_labels
        >>> labels = torch.zeros(9, 9, dtype=torch.int64)
        >>> labels[2, 3], labels[4, 4] = 1, 2  # pixels 0, 4 and 8 are sampled
        >>> resize_labels(labels, (3, 3)).tolist(), label_cells(labels, (3, 3)).tolist()
        ([[0, 0, 0], [0, 2, 0], [0, 0, 0]], [[0, 1, 0], [0, 2, 0], [0, 0, 0]])
    """
    small = resize_labels(labels, size)
    ids = labels[labels > 0].unique().tolist()
    if not (lost := set(ids) - set(small.unique().tolist())):
        return small
    rows, columns = (
        torch.arange(n, dtype=torch.float64) * ((cells - 1) / max(1, n - 1))
        for n, cells in zip(labels.shape, size, strict=True)
    )
    cell = (rows.round().long()[:, None] * size[1] + columns.round().long()).to(labels.device)  # (H, W) the nearest
    small = small.flatten().clone()
    for object_id in sorted(lost):
        votes = cell[labels == object_id].bincount(minlength=len(small))  # (h w,)
        for taken in (small == other for other in ids):
            if taken.sum() == 1:
                votes = votes.where(~taken, 0)
        if votes.any():
            small[votes.argmax()] = object_id
    return small.reshape(size)


def _nearest_index(n_in: int, n_out: int, device: torch.device) -> Tensor:
    if n_out == 1:
        return torch.zeros(1, dtype=torch.int64, device=device)
    scale = torch.tensor((n_in - 1) / (n_out - 1), dtype=torch.float32)
    index = torch.floor(torch.arange(n_out, dtype=torch.float32) * scale + 0.5)
    return index.long().clamp(max=n_in - 1).to(device)
