"""How the objects of clips move and change from frame to frame: the same few quantiles for real and synthetic video."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError

OVERLAP, SHIFT, CHANGE = (0.1, 0.5, 0.9), (0.5, 0.9, 0.99), (0.5, 0.9)  # the quantiles of each measure


class MotionQuantiles(NamedTuple):
    """Quantiles over all objects and frames; see `motion_quantiles`."""

    overlap: tuple[float, ...]  # 10, 50, 90 %: IoU of an object's masks in neighbouring frames
    shift: tuple[float, ...]  # 50, 90, 99 %: distance of their centroids, in window radii
    area_change: tuple[float, ...]  # 50, 90 %: |log(area / area before)|
    first_overlap: tuple[float, ...]  # 10, 50, 90 %: IoU of its masks in a later frame and the first
    colour_change: tuple[float, ...]  # 50, 90 %: of its mean colour since the first frame, in [0, 1]
    absent: float  # share of later frames in which an object is not visible
    objects: float  # a clip, on average
    pairs: int  # of neighbouring frames with the object in both, over all objects: n of overlap, shift, area change


def motion_quantiles(clips: Iterable[Clip], *, radius_px: float) -> MotionQuantiles:
    """Measure annotated clips whose objects are all given in the first frame; one frame at a time is in memory.

    Every object counts in every frame alike, so a longer clip counts more. Overlap, shift and change of area are those
    of neighbouring frames that both show the object. The change of colour is the mean over the channels of the absolute
    difference between an object's mean colours.

    Args:
        radius_px: the radius of the window of local matching in pixels of these clips: cells × stride.

    Raises:
        LabError: a radius that is not positive, a clip without all masks, or no object visible in neighbouring frames.

    Example:
        >>> from feelvos_lab.data import Difficulty, make_clip, motion_quantiles
        >>> slow, fast = (make_clip(3, difficulty=Difficulty(speed=s), objects=1, paired=True) for s in (0, 1))
        >>> one, other = (motion_quantiles([clip], radius_px=16) for clip in (slow, fast))
        >>> one.pairs, one.shift[0] < other.shift[0], one.overlap[1] > other.overlap[1]
        (15, True, True)
    """
    if not radius_px > 0:
        raise LabError(f"radius_px must be above 0, got {radius_px!r}")
    overlaps, shifts, changes, first_overlaps, colour_changes, absent = [], [], [], [], [], []
    counts = []
    for clip in clips:
        if not clip.annotated or any(clip.starts):
            raise LabError(f"clip {clip.name!r} must have all masks and all objects in its first frame")
        counts.append(len(clip.object_ids))
        start, before = _look(clip, 0), None
        for t in range(len(clip)):
            now = start if t == 0 else _look(clip, t)
            for i in clip.object_ids if before is not None else ():
                absent.append(not now[i].area)
                first_overlaps.append(_iou(start[i].mask, now[i].mask))
                if now[i].area:
                    colour_changes.append(float(np.abs(now[i].colour - start[i].colour).mean()))
                if now[i].area and before[i].area:
                    overlaps.append(_iou(before[i].mask, now[i].mask))
                    shifts.append(float(np.linalg.norm(now[i].centre - before[i].centre)) / radius_px)
                    changes.append(abs(float(np.log(now[i].area / before[i].area))))
            before = now
    if not overlaps:
        raise LabError("no object of the clips is visible in two neighbouring frames")
    measured = (
        (overlaps, OVERLAP),
        (shifts, SHIFT),
        (changes, CHANGE),
        (first_overlaps, OVERLAP),
        (colour_changes, CHANGE),
    )
    quantiles = (tuple(float(q) for q in np.quantile(values, shares)) for values, shares in measured)
    return MotionQuantiles(*quantiles, float(np.mean(absent)), float(np.mean(counts)), len(overlaps))


class _Seen(NamedTuple):
    """One object in one frame."""

    mask: np.ndarray  # (H, W) bool
    area: int  # in pixels
    centre: np.ndarray  # (2,), y before x; nan where the object is not visible
    colour: np.ndarray  # (3,) in [0, 1]; nan where the object is not visible


def _look(clip: Clip, t: int) -> dict[int, _Seen]:
    """All objects of a frame by id."""
    labels, frame = clip.masks[t].numpy(), clip.frames[t].numpy()
    found = {}
    for i in clip.object_ids:
        mask = labels == i
        area, missing = int(mask.sum()), np.full(3, np.nan)
        centre = np.argwhere(mask).mean(0) if area else missing[:2]
        found[i] = _Seen(mask, area, centre, frame[:, mask].mean(1) / 255 if area else missing)
    return found


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0
