"""Distance maps on disk: 16-bit grey PNGs, black where near, white where far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from feelvos_lab.data.images import opened_image
from feelvos_lab.data.writing import complete_file
from feelvos_lab.errors import LabError

FAR = 65535  # the grey value of distance 1


def write_distance(path: Path | str, distance: Tensor) -> None:
    """Write a map of normalised distances, complete or not at all; missing folders are made.

    Shapes: `distance` (h, w) in [0, 1]; 1 becomes 65535, so a map read back is off by at most 1/131070.

    Raises:
        LabError: another shape, values outside [0, 1] or not finite, or a file that cannot be written.
    """
    if distance.ndim != 2 or not ((distance >= 0) & (distance <= 1)).all():
        raise LabError(f"a distance map to write must be (h, w) in [0, 1], got {_described(distance)}")
    grey = (distance.double() * FAR).round().cpu().numpy().astype(np.uint16)
    with complete_file(path) as unfinished:
        Image.fromarray(grey).save(unfinished, format="PNG")


def read_distance(path: Path | str) -> Tensor:
    """A map that `write_distance` wrote: (h, w) float32 in [0, 1].

    Raises:
        LabError: no such file, no image, or not 16-bit grey.
    """
    with opened_image(path) as image:
        if image.mode not in ("I;16", "I"):
            raise LabError(f"a distance map must be a 16-bit grey image, {path} is {image.mode}")
        return torch.from_numpy(np.asarray(image, dtype=np.float32) / FAR)


def _described(distance: Tensor) -> str:
    if distance.ndim != 2:
        return f"shape {tuple(distance.shape)}"
    return f"values {distance.min().item():.3g} to {distance.max().item():.3g}"
