"""Training samples: order, joint transforms, pasting and damage."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from feelvos_lab.config import DataConfig, configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.training.samples import IGNORE, Sample, damage_labels, draw_sample, paste_object

DATA = configure("smoke").data
CLIPS = make_clips("train", count=4, height=64, width=64, frames=6)


def _coloured_clip(ids: tuple[int, ...] = (1, 2), size: tuple[int, int] = (48, 80)) -> Clip:
    """A clip in which the red channel is 60 × id and the green channel 20 × frame number: images tell their labels."""
    masks = torch.zeros(7, *size, dtype=torch.int64)
    for i, object_id in enumerate(ids):
        masks[:, 10 + 14 * i : 22 + 14 * i, 15 + 20 * i : 40 + 20 * i] = object_id
    frames = torch.zeros(7, 3, *size, dtype=torch.uint8)
    frames[:, 0] = 60 * sum((masks == o) * (i + 1) for i, o in enumerate(ids))
    frames[:, 1] = 20 * torch.arange(7)[:, None, None]
    return Clip("coloured", frames, masks, ids)


@pytest.mark.parametrize("seed", range(20))
def test_images_and_labels_are_transformed_together(seed: int) -> None:
    config = replace(DATA, height=32, width=40, scale=1.5)
    torch.manual_seed(seed)
    sample = draw_sample([_coloured_clip()], config=config, unroll=2, rng=np.random.default_rng(seed))
    assert sample.frames.shape == (4, 3, 32, 40)
    assert sample.labels.shape == (4, 32, 40)
    told = (sample.frames[:, 0] * 255 / 60).round().long()
    assert (told == sample.labels).float().mean() > 0.9  # all but the edges, which are interpolated


@pytest.mark.parametrize("seed", range(10))
def test_previous_and_query_frames_follow_each_other_in_equal_steps(seed: int) -> None:
    config = replace(DATA, height=48, width=80, max_step=2)
    sample = draw_sample([_coloured_clip()], config=config, unroll=2, rng=np.random.default_rng(seed))
    times = (sample.frames[1:, 1].amax((1, 2)) * 255 / 20).round().tolist()
    steps = {b - a for a, b in pairwise(times)}
    assert len(steps) == 1
    assert abs(steps.pop()) in (1, 2)


@pytest.mark.parametrize("seed", range(20))
def test_a_crop_that_zooms_takes_its_labels_along(seed: int) -> None:
    config = replace(DATA, height=32, width=40, scale=1.5, zoom=0.1)
    torch.manual_seed(seed)
    sample = draw_sample([_coloured_clip()], config=config, unroll=3, rng=np.random.default_rng(seed))
    assert sample.frames.shape == (5, 3, 32, 40)
    told = (sample.frames[:, 0] * 255 / 60).round().long()
    assert (told == sample.labels).float().mean() > 0.9


def test_what_stands_still_grows_or_moves_in_a_crop_that_zooms_and_not_in_one_that_does_not() -> None:
    still = _coloured_clip()
    changed = {0.0: 0, 0.1: 0}
    for zoom in changed:
        for seed in range(10):
            torch.manual_seed(seed)
            config = replace(DATA, height=32, width=40, scale=1.5, zoom=zoom)
            labels = draw_sample([still], config=config, unroll=2, rng=np.random.default_rng(seed)).labels[1:]
            changed[zoom] += any(not torch.equal(a, b) for a, b in pairwise(labels))
    assert changed == {0.0: 0, 0.1: 10}


def test_any_object_ids_become_one_two_three() -> None:
    config = replace(DATA, height=48, width=80)
    sample = draw_sample([_coloured_clip(ids=(5, 9))], config=config, unroll=1, rng=np.random.default_rng(0))
    assert sample.num_objects == 3
    assert sample.labels.unique().tolist() == [0, 1, 2]


def test_an_object_that_the_reference_lacks_is_background() -> None:
    clip = _coloured_clip(ids=(1, 2))
    clip.masks[0, clip.masks[0] == 2] = 0
    only_first = Clip("c", clip.frames[:1].expand(2, -1, -1, -1), torch.stack([clip.masks[0], clip.masks[1]]), (1, 2))
    config = replace(DATA, height=48, width=80)
    samples = [draw_sample([only_first], config=config, unroll=1, rng=np.random.default_rng(s)) for s in range(20)]
    assert {s.num_objects for s in samples} == {2, 3}
    assert all(s.labels.max() < s.num_objects for s in samples)


def test_ignored_pixels_stay_ignored() -> None:
    clip = _coloured_clip()
    clip.masks[:, :5] = IGNORE
    config = replace(DATA, height=48, width=80)
    sample = draw_sample([clip], config=config, unroll=1, rng=np.random.default_rng(0))
    assert (sample.labels[:, :5] == IGNORE).all()


def test_the_same_generators_draw_the_same_sample() -> None:
    config = replace(DATA, jitter=0.3, scale=1.3, paste=0.5)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(draw_sample(CLIPS, config=config, unroll=1, rng=np.random.default_rng(3)))
    assert torch.equal(drawn[0].frames, drawn[1].frames)
    assert torch.equal(drawn[0].labels, drawn[1].labels)


def test_a_pasted_object_is_in_front_and_is_one_more() -> None:
    below = Sample(torch.zeros(3, 3, 8, 8), torch.ones(3, 8, 8, dtype=torch.int64), 2)
    labels = torch.zeros(3, 8, 8, dtype=torch.int64)
    labels[:, 2:4] = 1
    above = Sample(torch.ones(3, 3, 8, 8), labels, 2)
    pasted = paste_object(below, above, rng=np.random.default_rng(0))
    assert pasted.num_objects == 3
    assert (pasted.labels[:, 2:4] == 2).all()
    assert (pasted.frames[:, :, 2:4] == 1).all()
    assert (pasted.labels[:, 4:] == 1).all()
    assert (pasted.frames[:, :, 4:] == 0).all()
    assert (below.frames == 0).all()  # nothing was written to the inputs


def test_damage_changes_the_mask_somewhat_and_leaves_the_input_alone() -> None:
    labels = CLIPS[0].masks[0]
    before, changed = labels.clone(), []
    for seed in range(30):
        damaged = damage_labels(labels, num_objects=5, rng=np.random.default_rng(seed))
        assert damaged.shape == labels.shape
        assert damaged.min() >= 0
        assert damaged.max() < 5
        changed.append((damaged != labels).float().mean().item())
    assert torch.equal(labels, before)
    assert 0.005 < np.median(changed) < 0.3


def test_the_paper_trains_on_the_next_frame_only() -> None:
    assert DataConfig().max_step == 1
    assert configure("full").train.unroll == 1
