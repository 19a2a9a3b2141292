"""One step of a propagation: the frame with what is right and wrong in it, next to J up to that frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style
from feelvos_lab.figures.basic import draw_picture
from feelvos_lab.figures.panels import overlap_picture


@style.in_house_style
def propagation_step(
    clip: Clip, labels: Sequence[Tensor], scores: Sequence[Mapping[str, Any]], *, frame: int
) -> Figure:
    """A frame in grey with its answer (green: right, orange: wrong, violet: missed), and J by frame on the right.

    The curve is the mean over the objects: dark up to this frame, grey beyond it. An object that is called another one
    is orange. For `widgets.slide`, which moves from frame to frame.

    Args:
        labels: int64 (H, W), as predicted, for each frame of the clip.
        scores: rows with `frame` and `J` (fractions), as `frame_scores` returns them.
        frame: one that has scores.

    Raises:
        LabError: a frame without scores.

    Example:
        >>> from feelvos_lab import make_clip
        >>> from feelvos_lab.evaluation import frame_scores
        >>> from feelvos_lab.figures.step import propagation_step
        >>> clip = make_clip(1, height=32, width=48, frames=4)
        >>> still = [clip.masks[0]] * 4
        >>> figure = propagation_step(clip, still, frame_scores(still, clip), frame=2)
        >>> [axes.get_title() for axes in figure.axes]
        ['frame 2', 'Overlap with the truth']
    """
    means: dict[int, float] = {}
    for t in sorted({row["frame"] for row in scores}):
        means[t] = 100 * float(np.mean([row["J"] for row in scores if row["frame"] == t]))
    if frame not in means:
        raise LabError(f"frame must be one that has scores, {min(means)} to {max(means)}, got {frame}")
    answer, truth = labels[frame], clip.masks[frame]
    seen = (truth > 0) & ((answer == truth) | (answer == 0))  # a confused pixel counts as answered, and not as there
    height, width = truth.shape
    figure = style.new_figure(width=style.PAGE, height=style.PAGE / 2 * height / width + 0.6)
    left, right = figure.subplots(1, 2)
    draw_picture(left, overlap_picture(clip.frames[frame], answer > 0, seen))
    left.set_title(f"frame {frame}")
    left.set_xlabel("green: right, orange: wrong, violet: missed")
    frames, values = list(means), list(means.values())
    now = frames.index(frame) + 1
    right.plot(frames, values, color=style.QUIET, alpha=0.4)
    right.plot(frames[:now], values[:now], color=style.LINES[0][0], marker="o", markevery=[now - 1], markersize=5)
    right.set(title="Overlap with the truth", xlabel="frame", ylabel="J in %, mean over objects", ylim=(0, 100))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
