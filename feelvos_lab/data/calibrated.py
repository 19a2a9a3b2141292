"""The calibrated mix: synthetic clips whose objects move and change about as much as those of real video.

Speed, deformation, change of size, drift, occlusion and re-entry were set so that clips of validation seeds, of 96×128
pixels and `FRAMES` frames, have the quantiles that were measured on the train sequences of DAVIS-2016, `REAL_VIDEO`.
The length of the clips was set by the overlap with the first mask. No score had a part in this choice, and no test
seed. What was not measured is present in 40 % of the clips: look-alikes near and far, camera motion and noise. Objects
are 1 to 4 a clip, as in the mixed clips; a sequence of DAVIS-2016 has one.

`python experiments/benchmarks/motion.py --data-root DAVIS` prints these quantiles and those of the clips.
"""

from __future__ import annotations

import numpy as np

from feelvos_lab.data.difficulty_sweep import Difficulty
from feelvos_lab.data.motion import MotionQuantiles

# The 30 train sequences of DAVIS-2016, frames and masks at 240p, in radii of 30 pixels: 15 cells of 4 pixels at 480p.
REAL_VIDEO = MotionQuantiles(
    overlap=(0.534, 0.806, 0.950),
    shift=(0.077, 0.287, 0.953),
    area_change=(0.010, 0.080),
    first_overlap=(0.000, 0.281, 0.658),
    colour_change=(0.023, 0.093),
    absent=0.007,
    objects=1.0,
    pairs=2032,
)

FRAMES = 20  # of a clip whose overlap with the first mask falls as that of a sequence of DAVIS does

_SPEED, _SPREAD, _FASTEST = 0.085, 1.3, 1.5  # median of `Difficulty.speed`, standard deviation of its logarithm, bound


def draw_calibrated(rng: np.random.Generator) -> Difficulty:
    """Draw the difficulty of a clip of the calibrated mix.

    Speed is log-normal, since a few objects in real video are many times as fast as most. Deformation and change of
    size are powers of a uniform number: little in most clips, much in few. The others are present in a share of the
    clips, and uniform there.

    Example:
        >>> import numpy as np
        >>> from feelvos_lab.data.calibrated import draw_calibrated
        >>> speeds = [draw_calibrated(np.random.default_rng(seed)).speed for seed in range(200)]
        >>> bool(0.07 < np.median(speeds) < 0.11), max(speeds) <= 1.5
        (True, True)
    """

    def sometimes(share: float, most: float = 1.0) -> float:
        return float(rng.uniform(0, most) * (rng.uniform() < share))

    return Difficulty(
        speed=min(float(_SPEED * np.exp(_SPREAD * rng.normal())), _FASTEST),
        deformation=float(0.8 * rng.uniform() ** 3),
        scaling=float(0.15 * rng.uniform() ** 3),
        drift=sometimes(0.8, most=0.75),
        occlusion=sometimes(0.05),
        reentry=sometimes(0.04),
        near_lookalikes=sometimes(0.4),
        far_lookalikes=sometimes(0.4),
        camera=sometimes(0.4),
        noise=sometimes(0.4),
    )
