"""When the frames of a clip are shown in its overlay video."""

from __future__ import annotations

import math
from typing import Literal

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.video import Timing, VideoFrames
from feelvos_lab.errors import LabError
from feelvos_lab.inference.part import Chosen

Rate = Literal["own"] | float  # frames per second, or those of the video file


def timing_of(clip: Clip, rate: Rate) -> Timing:
    """The times of a clip's frames; with "own" as in its video file, whose sound is taken too.

    A part of a video (see `read_part`) begins at 0; frames that were left out of it take their time.

    Raises:
        LabError: a rate out of bounds, "own" for a clip without a video file, or one that does not say when its
            frames are shown.

    Example:
        >>> from feelvos_lab import make_clip
        >>> from feelvos_lab.inference.timing import timing_of
        >>> timing_of(make_clip(1, height=32, width=32, frames=2), 25.0)
        Timing(times=[0.0, 0.04, 0.08], sound=None)
    """
    if rate != "own":
        if isinstance(rate, str) or not 0.01 <= rate <= 1000:
            raise LabError(f"the rate must be 'own' or 0.01 to 1000 frames per second, got {rate!r}")
        return Timing([t / rate for t in range(len(clip) + 1)])
    frames, shown = clip.frames, range(len(clip))
    if isinstance(frames, Chosen):
        frames, shown = frames.source, frames.indices
    if not isinstance(frames, VideoFrames):
        raise LabError(f"clip {clip.name!r} is no video file, so it has no rate of its own: give frames per second")
    if frames.times is None:
        raise LabError(f"{frames.path} does not say when its frames are shown: give frames per second")
    step = shown[1] - shown[0]
    after = shown[-1] + step  # the first frame that is not shown any more
    end = frames.times[after] if after < len(frames) else math.inf
    return Timing([*(frames.times[t] for t in shown), end], frames.path)
