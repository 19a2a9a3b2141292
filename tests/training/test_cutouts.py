"""Pieces of frames that move through a sample as further objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.training.samples import Rank, Sample, StepSampler, paste_cutout

pytestmark = pytest.mark.usefixtures("one_thread")
WHITE = Sample(torch.ones(2, 3, 48, 64), torch.zeros(2, 48, 64, dtype=torch.int64), 1)


def _grey(frames: int = 5) -> Sample:
    labels = torch.zeros(frames, 48, 64, dtype=torch.int64)
    labels[:, :20, :30] = 1
    return Sample(torch.full((frames, 3, 48, 64), 0.25), labels, 2)


@pytest.mark.parametrize("seed", range(20))
def test_a_piece_is_one_more_object_and_changes_nothing_beside_itself(seed: int) -> None:
    sample = _grey()
    pasted = paste_cutout(sample, WHITE, rng=np.random.default_rng(seed))
    assert pasted.num_objects == 3
    piece = pasted.labels == 2
    assert piece.flatten(1).any(1).float().mean() > 0.5  # it may leave the frame, but is seen in most
    assert torch.equal(pasted.labels[~piece], sample.labels[~piece])
    beside, inside = (pasted.frames.movedim(1, -1)[where] for where in (~piece, piece))
    assert (beside == 0.25).all()
    assert (inside > 0.25).all()  # the white of the other sample, in whatever light
    assert torch.equal(sample.frames, _grey().frames) and torch.equal(sample.labels, _grey().labels)


def test_a_piece_keeps_its_light_from_the_previous_frame_on_and_moves_steadily() -> None:
    for seed in range(10):
        pasted = paste_cutout(_grey(), WHITE, rng=np.random.default_rng(seed))
        masks = (pasted.labels == 2)[1:]
        if masks.flatten(1).sum(1).min() < 60:
            continue  # partly outside the frame
        centres = torch.stack([m.nonzero().float().mean(0) for m in masks])
        steps = centres.diff(dim=0)
        assert (steps[1:] - steps[:-1]).norm(dim=1).max() < 0.1 * 48
        colours = [f[:, m].mean(1) for f, m in zip(pasted.frames[1:], masks, strict=True)]
        assert all(torch.allclose(c, colours[0], atol=0.05) for c in colours)


def test_pieces_travel_some_slowly_and_some_fast() -> None:
    """The pace is drawn from a normal distribution of 0.06 half frames a frame, in each direction."""
    paces = []
    for seed in range(60):
        masks = (paste_cutout(_grey(), WHITE, rng=np.random.default_rng(seed)).labels == 2)[1:]
        if masks.flatten(1).sum(1).min() < 60:
            continue  # partly outside the frame
        centres = torch.stack([m.nonzero().float().mean(0) for m in masks])
        paces.append((centres[-1] - centres[0]) / (len(masks) - 1) / torch.tensor([24.0, 32.0]))
    assert len(paces) > 30
    spread = torch.stack(paces).std(0)
    assert ((spread > 0.04) & (spread < 0.08)).all()


def test_the_same_generator_cuts_the_same_piece_and_another_one_another() -> None:
    one, same, other = (paste_cutout(_grey(), WHITE, rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.frames, same.frames) and torch.equal(one.labels, same.labels)
    assert not torch.equal(one.labels, other.labels)


def test_pieces_come_as_often_as_the_settings_say() -> None:
    clips = make_clips("train", count=3, height=64, width=64, frames=6)
    shares = {}
    for cutout in (0.0, 0.5):
        draws = StepSampler([clips], config=configure("smoke", cutout=cutout), seed=0, share=Rank())
        objects = [s.num_objects for step in range(60) for s in draws[step].samples]
        shares[cutout] = sum(objects)
    assert 30 < shares[0.5] - shares[0.0] < 90  # of 120 samples about a half have one more
