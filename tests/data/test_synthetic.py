"""Synthetic clips: repeatable, well formed, and each difficulty does what its name says."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.difficulty_sweep import Difficulty
from feelvos_lab.data.synthetic import make_clip, make_clips
from feelvos_lab.errors import LabError

SMALL = {"height": 48, "width": 64, "frames": 9}


def _centres(clip: Clip) -> np.ndarray:
    """The first object's centre of mass in each frame (T, 2); nan where it is not seen."""
    return np.array(
        [np.argwhere(mask.numpy() == 1).mean(0) if (mask == 1).any() else (np.nan,) * 2 for mask in clip.masks]
    )


def test_a_seed_gives_the_same_clip_again_and_another_seed_another() -> None:
    one, again, other = make_clip(5, **SMALL), make_clip(5, **SMALL), make_clip(6, **SMALL)
    assert torch.equal(one.frames, again.frames)
    assert torch.equal(one.masks, again.masks)
    assert not torch.equal(one.frames, other.frames)


@pytest.mark.parametrize("seed", range(12))
def test_a_clip_is_well_formed_and_shows_every_object_in_its_first_frame(seed: int) -> None:
    clip = make_clip(seed, **SMALL)
    assert clip.frames.dtype == torch.uint8
    assert clip.frames.shape == (9, 3, 48, 64)
    assert clip.masks.dtype == torch.int64
    assert clip.masks.shape == (9, 48, 64)
    assert clip.masks[0].unique().tolist() == [0, *clip.object_ids]
    assert set(clip.masks.unique().tolist()) <= {0, *clip.object_ids}


def test_a_clip_of_the_default_size_takes_less_than_a_second() -> None:
    began = time.process_time()
    make_clip(0)
    assert time.process_time() - began < 1.0


def test_the_splits_share_no_clip_and_only_the_training_clips_depend_on_the_seed() -> None:
    names = {
        (split, seed): [c.name for c in make_clips(split, count=3, seed=seed, **SMALL)]
        for split in ("train", "validation", "test")
        for seed in (0, 1)
    }
    assert names["test", 0] == names["test", 1]
    assert names["validation", 0] == names["validation", 1]
    assert len({name for listed in names.values() for name in listed}) == 12


@pytest.mark.parametrize("objects", [1, 2, 3, 4])
def test_the_number_of_objects_can_be_chosen(objects: int) -> None:
    assert make_clip(3, objects=objects, **SMALL).object_ids == tuple(range(1, objects + 1))


def test_without_difficulty_the_ground_is_still() -> None:
    clip = make_clip(4, difficulty=Difficulty(), **SMALL)
    empty = (clip.masks == 0).all(0)
    change = (clip.frames[-1].float() - clip.frames[0].float()).abs().mean(0)[empty]
    assert change.mean() < 3  # of 255: the sensor's least noise


def test_camera_motion_moves_the_ground_and_noise_shakes_it() -> None:
    for harder in (Difficulty(camera=1.0), Difficulty(noise=1.0)):
        clip = make_clip(4, difficulty=harder, **SMALL)
        empty = (clip.masks == 0).all(0)
        assert (clip.frames[-1].float() - clip.frames[0].float()).abs().mean(0)[empty].mean() > 8


def test_speed_moves_the_objects_further() -> None:
    slow, fast = (_centres(make_clip(4, difficulty=Difficulty(speed=s), objects=1, **SMALL)) for s in (0.0, 1.0))
    assert np.nanmean(np.abs(np.diff(fast, axis=0))) > 3 * np.nanmean(np.abs(np.diff(slow, axis=0)))


def test_an_object_leaves_and_comes_back() -> None:
    clip = make_clip(4, difficulty=Difficulty(reentry=1.0), objects=1, **SMALL)
    seen = [(mask == 1).any().item() for mask in clip.masks]
    assert seen[0]
    assert seen[-1]
    assert not all(seen)


def test_drift_changes_the_colours_of_the_object() -> None:
    for drift, least, most in ((0.0, 0, 12), (1.0, 25, 255)):
        changes = []
        for seed in range(6):
            clip = make_clip(seed, difficulty=Difficulty(drift=drift), objects=1, **SMALL)
            first, last = (clip.frames[t][:, clip.masks[t] == 1].float().mean(1) for t in (0, -1))
            changes.append((first - last).abs().mean().item())
        assert least <= np.mean(changes) <= most


def test_occlusion_hides_the_object_for_a_while() -> None:
    free, hidden = (
        [(m == 1).sum().item() for m in make_clip(4, difficulty=Difficulty(occlusion=o), objects=1, **SMALL).masks]
        for o in (0.0, 1.0)
    )
    assert free[0] == hidden[0]
    assert min(hidden) < 0.5 * min(free)


def test_objects_grow_or_shrink() -> None:
    ratios = []
    for seed in range(6):
        masks = make_clip(seed, difficulty=Difficulty(scaling=1.0), objects=1, **SMALL).masks
        ratios.append((masks[-1] == 1).sum().item() / (masks[0] == 1).sum().item())
    assert all(r > 1.5 or r < 0.7 for r in ratios)


@pytest.mark.parametrize("kind", ["near_lookalikes", "far_lookalikes"])
def test_lookalikes_add_the_objects_colours_to_the_background(kind: str) -> None:
    without, doubled = (
        make_clip(2, difficulty=Difficulty(**factors), objects=1, height=96, width=128, frames=9)
        for factors in ({}, {kind: 1.0})
    )
    assert torch.equal(without.masks, doubled.masks)  # a double is no object
    alike = []
    for clip in (without, doubled):
        colours = clip.frames[0][:, clip.masks[0] == 1].float().T  # (N, 3)
        ground = clip.frames[5][:, clip.masks[5] == 0].float().T
        alike.append((torch.cdist(ground, colours).min(1).values < 8).float().mean().item())
    assert alike[1] > alike[0] + 0.01


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(LabError, match=r"difficulty drift must lie in \[0, 1\], got 1.5"):
        Difficulty(drift=1.5)
    with pytest.raises(LabError, match=r"difficulty speed must lie in \[0, 4\], got 4.5"):
        Difficulty(speed=4.5)
    with pytest.raises(LabError, match="objects must lie in 1 … 4, got 5"):
        make_clip(0, objects=5)
    with pytest.raises(LabError, match="at least 32×32 pixels and 2 frames"):
        make_clip(0, height=8)
    with pytest.raises(LabError, match="split must be one of"):
        make_clips("val", count=1, **SMALL)
