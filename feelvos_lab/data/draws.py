"""The samples of each training step: which they are depends on the seed and the step alone.

So a resumed training sees what an uninterrupted one saw, and several processes share one batch between them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from feelvos_lab.config import Config
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.cutouts import paste_cutout
from feelvos_lab.data.triplets import Sample, draw_sample
from feelvos_lab.errors import LabError


class Share(NamedTuple):
    """One process's part of every batch: the `rank`-th of `of` equal parts."""

    rank: int = 0
    of: int = 1


class Drawn(NamedTuple):
    """The samples of one process's share, and for each the generator to go on with, such as for mask damage."""

    samples: list[Sample]
    rngs: list[np.random.Generator]


class Draws:
    """`draws[step]` gives the samples of a step, for this process's share of the batch.

    Args:
        sets: the clips of each data set. With several a sample first chooses its set, all equally likely, as the
            official code does.
        config: with `draws="clip"` each clip of a batch has a generator of its own, so that a process draws its share
            alone; with "batch" one generator draws them one after the other.

    Raises:
        LabError: shares that are not equal, or several with `draws="batch"`.
    """

    def __init__(self, sets: list[list[Clip]], *, config: Config, seed: int, share: Share) -> None:
        size = config.train.batch_size
        if size < share.of or size % share.of:
            raise LabError(f"batch_size must be a multiple of the {share.of} processes, got {size}")
        if share.of > 1 and config.train.draws == "batch":
            raise LabError(f"{share.of} processes need draws='clip', got draws='batch', where one must draw all clips")
        self.sets, self.config, self.seed = sets, config, seed
        self.own = range(share.rank * size // share.of, (share.rank + 1) * size // share.of)

    def __getitem__(self, step: int) -> Drawn:
        lead = int(np.random.default_rng([self.seed, step, 0, 2]).integers(self.config.train.rollout + 1))
        if self.config.train.draws == "batch":
            rng = np.random.default_rng([self.seed, step])
            torch.manual_seed(int(rng.integers(2**31)))
            return Drawn([self._draw(rng, lead) for _ in self.own], [rng] * len(self.own))
        rngs = [np.random.default_rng([self.seed, step, 1 + number]) for number in self.own]
        samples = []
        for rng in rngs:
            torch.manual_seed(int(rng.integers(2**31)))
            samples.append(self._draw(rng, lead))
        return Drawn(samples, rngs)

    def seed_model(self, step: int) -> None:
        """Seed what the model itself draws in a step, in every process otherwise; with "batch" the stream goes on."""
        if self.config.train.draws == "clip":
            torch.manual_seed(int(np.random.default_rng([self.seed, step, self.own.start, 1]).integers(2**31)))

    def _draw(self, rng: np.random.Generator, lead: int) -> Sample:
        clips = self.sets[int(rng.integers(len(self.sets)))] if len(self.sets) > 1 else self.sets[0]
        sample = draw_sample(clips, config=self.config.data, unroll=lead + self.config.train.unroll, rng=rng)
        if self.config.data.cutout and rng.uniform() < self.config.data.cutout:
            other = draw_sample(clips, config=self.config.data, unroll=1, rng=rng)
            sample = paste_cutout(sample, other, rng=rng)
        return sample
