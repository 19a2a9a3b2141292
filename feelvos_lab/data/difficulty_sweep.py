"""The difficulties of clips, and the levels at which one at a time is swept.

`synthetic.make_factor_clips` and, from real video, `composite.make_pasted_clips` make the clips of the sweep and name
each after its factor, level and scene, so that a table of scores can be read by clip name. Levels are counted from 1;
the base, which all scenes share, has level 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from feelvos_lab.errors import LabError

_MAX_SPEED = 4  # high enough to move objects beyond the window of local matching


@dataclass(frozen=True)
class Difficulty:
    """What makes a synthetic clip hard. Factors lie in [0, 1], speed in [0, 4]; all zeros is a clean, slow scene.

    Example:
        >>> from feelvos_lab.data import Difficulty, make_clip
        >>> slow, fast = (make_clip(3, difficulty=Difficulty(speed=s), objects=1, paired=True) for s in (0, 1))
        >>> slow_moved, fast_moved = ((c.masks[0] != c.masks[1]).sum() for c in (slow, fast))  # pixels
        >>> bool(fast_moved > 3 * slow_moved)
        True
    """

    near_lookalikes: float = 0.0  # share of objects with an unlabelled look-alike that stays next to them
    far_lookalikes: float = 0.0  # share of objects with an unlabelled look-alike elsewhere, which enters later
    drift: float = 0.0  # the objects' colours change over the clip; at 1 nothing of the first frame's is left
    occlusion: float = 0.0  # a textured bar sweeps over the objects; at 1 it is as wide as they are
    reentry: float = 0.0  # share of objects that leave the frame and re-enter elsewhere
    speed: float = 0.0  # of the objects; at 1 a tenth of the frame's shorter side per frame; above 1 only in a sweep
    scaling: float = 0.0  # objects grow or shrink; at 1 by a factor of 2.5
    camera: float = 0.0  # the background moves; at 1 by 4 % of the shorter side per frame
    noise: float = 0.0  # of the sensor; at 1 its standard deviation is 12 % of the value range
    deformation: float = 0.0  # the outline sways further and faster; 0 in mixed clips

    def __post_init__(self) -> None:
        for factor in fields(self):
            value = getattr(self, factor.name)
            most = _MAX_SPEED if factor.name == "speed" else 1
            if not 0 <= value <= most:
                raise LabError(f"difficulty {factor.name} must lie in [0, {most}], got {value!r}")


_SHARES = {"drift": 0.7, "camera": 0.5, "far_lookalikes": 0.3, "occlusion": 0.2, "reentry": 0.1}


def draw_difficulty(rng: np.random.Generator) -> Difficulty:
    """Draw the difficulty of a mixed clip: each factor is uniform in [0, 1] in a share of the clips, and 0 in the rest.

    Appearance changes in most clips and few objects leave the frame: the share is 70 % for drift, 50 % for camera, 30 %
    for far look-alikes, 20 % for occlusion, 10 % for re-entry and 40 % for the others. These shares were chosen by the
    scores of ablation rows on validation clips, with the paper's order in view. `calibrated.draw_calibrated` draws by
    what was measured on real video instead, and no score had a part in it. Deformation is 0.
    """
    names = [f.name for f in fields(Difficulty) if f.name != "deformation"]
    return Difficulty(**{name: float(rng.uniform() * (rng.uniform() < _SHARES.get(name, 0.4))) for name in names})


BASE = "base"

STRIDE = 4  # pixels per cell of the matching grid

BASE_DIFFICULTY = {"speed": 0.2, "drift": 0.1, "scaling": 0.3, "camera": 0.3, "noise": 0.2}  # Difficulty; others: 0

_NAME = re.compile(r"(?P<factor>[a-z]+(?:-[a-z]+)*?)(?:-(?P<level>[1-9]))?-scene-(?P<scene>[\w-]+)")


@dataclass(frozen=True)
class Factor:
    """A difficulty that is swept while all others stay at the base."""

    name: str
    setting: str  # the field of `Difficulty`; of `PASTED`, the argument of `paste_objects`
    levels: tuple[float, ...]  # ascending: of that field; of `PASTED`, the objects in a clip
    unit: str  # of the numbers on its axis
    shown: Callable[[float, int], float]  # (value of a level, frame's shorter side in pixels) → number on its axis
    decimals: int = 0


class Place(NamedTuple):
    """The place of a clip in the sweep."""

    factor: str  # a factor's name, or "base"
    level: int  # from 1; 0: the base
    scene: str  # a number, or the name of a sequence


def cells_a_frame(speed: float, side: int) -> float:
    """Cells of the matching grid that an object of this `Difficulty.speed` moves per frame; `side` in pixels."""
    return (0.005 + 0.095 * speed) * side / STRIDE


def _percent(value: float, side: int) -> float:
    return 100 * value


def _count(value: float, side: int) -> float:
    return value


SYNTHETIC = (
    Factor("near-lookalikes", "near_lookalikes", (0.33, 0.67, 1.0), "% of objects with a near double", _percent),
    Factor("far-lookalikes", "far_lookalikes", (0.33, 0.67, 1.0), "% of objects with a far double", _percent),
    Factor("speed", "speed", (1.0, 2.0, 4.0), "cells of stride 4 a frame", cells_a_frame, 1),
    Factor("drift", "drift", (0.33, 0.67, 1.0), "% of the first colours lost at the end", _percent),
    Factor("occlusion", "occlusion", (0.33, 0.67, 1.0), "width of the bar, % of the side", lambda v, s: 4 + 32 * v),
    Factor("reentry", "reentry", (0.33, 0.67, 1.0), "% of objects that leave and return", _percent),
)

PASTED = (  # into real video
    Factor("objects", "objects", (2.0, 4.0), "number in a clip", _count),
    Factor("alike", "look_alike", (2.0, 4.0), "number in a clip", _count),
)

FACTORS = (*SYNTHETIC, *PASTED)

FACTOR_NAMES = tuple(factor.name for factor in FACTORS)


def clip_name(place: Place) -> str:
    """The name of the clip at a place: `speed-2-scene-5`, or `base-scene-5`."""
    level = f"-{place.level}" if place.level else ""
    return f"{place.factor}{level}-scene-{place.scene}"


def place_of(name: str) -> Place | None:
    """The place that a clip's name says; None if the clip is not part of the sweep."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    place = Place(match["factor"], int(match["level"] or 0), match["scene"])
    levels = {factor.name: len(factor.levels) for factor in FACTORS}
    known = place.level == 0 if place.factor == BASE else 1 <= place.level <= levels.get(place.factor, 0)
    return place if known else None
