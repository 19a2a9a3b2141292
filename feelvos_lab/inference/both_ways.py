"""Carry masks of the middle of a video forwards and backwards."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from feelvos_lab.data.clip import Clip, FrameSource
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.model.feelvos import Feelvos

BLOCK = 16  # frames that are read in order and kept: a video file is decoded from its start for each block


class Reversed:
    """The items `last`, `last − 1`, …, 0 of a source of frames or masks, read in blocks."""

    def __init__(self, source: FrameSource, last: int) -> None:
        self.source, self.last = source, last
        self._block: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self.last + 1

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index <= self.last:
            raise IndexError(f"item {index} of {len(self)}")
        t = self.last - index
        if t not in self._block:
            self._block = {}  # not two blocks at a time
            self._block = {n: self.source[n] for n in range(max(0, t - BLOCK + 1), t + 1)}
        return self._block[t]


def propagate_both_ways(
    model: Feelvos,
    clip: Clip,
    *,
    feedback: Literal["soft", "hard"] | None = None,
    height: int = 0,
    corrections: bool = False,
) -> Iterator[Prediction]:
    """`propagate`, with each object also carried back to the frames before the one that gives it.

    The clip is first run backwards from the last frame that gives an object, and the masks of the earlier frames are
    kept, compressed, until the forward run reaches them. There an object that has not entered yet takes the pixels
    that the forward run leaves to the background, with probability 1. Corrections act forwards only.

    Args and errors: see `propagate`.

    Example:
        >>> from dataclasses import replace
        >>> from feelvos_lab import load_model, make_clip
        >>> from feelvos_lab.inference.both_ways import propagate_both_ways
        >>> clip = replace(make_clip(1, height=32, width=48, frames=3, objects=1), starts=(2,))  # given in frame 2
        >>> [p.frame for p in propagate_both_ways(load_model("reduced"), clip)]
        [0, 1, 2]
    """
    last = max(clip.starts, default=0)
    earlier: list[bytes] = []
    if last:
        starts = tuple(last - start for start in clip.starts)
        back = Clip(clip.name, Reversed(clip.frames, last), Reversed(clip.masks, last), clip.object_ids, starts)
        runs = propagate(model, back, feedback=feedback, height=height)
        earlier = [zlib.compress(p.labels.to(torch.uint8).numpy().tobytes(), 1) for p in runs][::-1]
    for p in propagate(model, clip, feedback=feedback, height=height, corrections=corrections):
        later = [i for i in clip.object_ids if clip.start_of(i) > p.frame]
        if not later:
            yield p
            continue
        pixels = np.frombuffer(bytearray(zlib.decompress(earlier[p.frame])), dtype=np.uint8)
        found = torch.from_numpy(pixels).reshape(p.labels.shape).long()  # (H, W)
        found = torch.where((p.labels == 0) & torch.isin(found, torch.tensor(later)), found, 0)
        ids = torch.tensor([0, *clip.object_ids])
        one_hot = (found == ids[:, None, None]).to(p.probabilities.dtype)  # (K, H, W)
        yield p._replace(
            labels=torch.where(found > 0, found, p.labels),
            probabilities=torch.where(found > 0, one_hot, p.probabilities),
        )
