"""Objects that nobody annotated: a piece of a frame, cut out along a random outline, that moves through a sample.

Few sequences have few objects, and a network learns them by heart. A cutout has a look that no other sample has, so
all that helps to find it again is to compare embeddings.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from feelvos_lab.data.triplets import Sample, smooth_noise


def paste_cutout(sample: Sample, other: Sample, *, rng: np.random.Generator) -> Sample:
    """`sample` with a piece of `other`'s previous frame in front of it, as a further object.

    In the previous and query frames the piece moves, turns, grows and bends steadily; in the reference frame it lies
    elsewhere, in another light.

    Args:
        sample, other: frames (2 + U, 3, H, W) of one size.

    Returns:
        A new sample of one object more.
    """
    count, _, height, width = sample.frames.shape
    piece, inside = other.frames[1], _outline(rng, height, width)  # (3, H, W), (H, W)
    place, pace = rng.uniform(-0.4, 0.4, 2), rng.normal(0, 0.06, 2)
    size, growth = rng.uniform(0.7, 1.5), rng.normal(0, 0.06)
    angle, turn = rng.normal(0, 0.3), rng.normal(0, 0.05)
    bend, flow = (smooth_noise(rng, 2, height, width, cells=4) * share for share in (0.04, 0.012))  # (2, H, W)
    frames, labels = sample.frames.clone(), sample.labels.clone()
    for t in range(count):
        k = t - 1
        at, scale, turned, bent = place + k * pace, size * np.exp(k * growth), angle + k * turn, bend + k * flow
        if t == 0:
            at, scale, turned = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.7, 1.5), rng.normal(0, 0.3)
            bent = torch.zeros_like(bend)
        grid = _grid(at, scale, turned, height, width) + bent.permute(1, 2, 0)  # (H, W, 2)
        moved = F.grid_sample(torch.cat([piece, inside[None]])[None], grid[None], align_corners=True)[0]  # (4, H, W)
        colours, shown = moved[:3], moved[3] > 0.5
        if t == 0:
            light = torch.from_numpy(rng.uniform(0.75, 1.25, (3, 1, 1)) * rng.uniform(0.8, 1.2)).float()
            colours = (colours * light).clamp(max=1)
        frames[t] = torch.where(shown, colours, frames[t])
        labels[t] = torch.where(shown, sample.num_objects, labels[t])
    return Sample(frames, labels, sample.num_objects + 1, sample.clips + other.clips)


def _outline(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """A blob around the centre of the frame, 1 inside and 0 outside: (H, W) float."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height) * height / width, torch.linspace(-1, 1, width), indexing="ij")
    stretch, lean = rng.uniform(0.6, 1.6), rng.uniform(0, np.pi)
    u = (np.cos(lean) * x + np.sin(lean) * y) * stretch
    v = (np.cos(lean) * y - np.sin(lean) * x) / stretch
    distance = (u.square() + v.square()).sqrt() / rng.uniform(0.12, 0.4)
    return (distance + 0.35 * smooth_noise(rng, 1, height, width, cells=9)[0] < 1).float()


def _grid(at: np.ndarray, scale: float, turned: float, height: int, width: int) -> Tensor:
    """Where each pixel looks in the piece, so that this appears at `at`, larger by `scale`: (H, W, 2) in [-1, 1]."""
    aspect = height / width
    c, s = np.cos(turned) / scale, np.sin(turned) / scale
    linear = np.array([[c, s * aspect], [-s / aspect, c]])
    shift = -linear @ at[::-1]
    theta = torch.from_numpy(np.column_stack([linear, shift])).float()  # (2, 3)
    return F.affine_grid(theta[None], [1, 1, height, width], align_corners=True)[0]
