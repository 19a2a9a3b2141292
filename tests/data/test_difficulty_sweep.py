"""Clips that sweep one difficulty at a time: one scene's differ in nothing else, and a name says all about its clip."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.config import configure
from feelvos_lab.data import synthetic
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.datasets import load_clips
from feelvos_lab.data.difficulty_sweep import (
    BASE,
    FACTORS,
    SYNTHETIC,
    Difficulty,
    Place,
    cells_a_frame,
    clip_name,
    place_of,
)
from feelvos_lab.data.synthetic import make_clip, make_clips, make_factor_clips
from feelvos_lab.errors import LabError

SMALL = {"height": 48, "width": 64, "frames": 9}
SCENES = 2
PROJECT = Path(__file__).parents[2]
FOUND = [  # name, pixels of each object over all frames, mean brightness
    ("shapes-0", [1415], 137.2),
    ("shapes-1", [688, 581, 420, 1017], 158.9),
    ("shapes-2", [994, 829], 105.1),
    ("shapes-3", [684, 1434, 757], 133.0),
    ("shapes-2000000000", [1223, 756, 583, 860], 129.7),
    ("shapes-2000000001", [1777, 1753], 130.4),
    ("shapes-4", [547, 535, 649], 140.2),
]


@pytest.fixture(scope="module")
def clips() -> dict[str, Clip]:
    return {clip.name: clip for clip in make_factor_clips("test", scenes=SCENES, **SMALL)}


def test_the_mixed_clips_are_those_that_models_were_trained_on() -> None:
    """Their pixels by object and their mean brightness, as they were before scenes were swept."""
    found = []
    for clip in [*make_clips("train", count=4, **SMALL), *make_clips("test", count=2, **SMALL), _everything()]:
        areas = [int((clip.masks == i).sum()) for i in clip.object_ids]
        found.append((clip.name, areas, round(clip.frames.float().mean().item(), 1)))
    assert found == FOUND


def _everything() -> Clip:
    hard = Difficulty(reentry=1.0, near_lookalikes=1.0, far_lookalikes=0.5, occlusion=0.5, speed=0.4)
    return make_clip(4, difficulty=hard, objects=3, **SMALL)


def test_every_scene_is_there_at_the_base_and_at_each_level_of_each_factor(clips: dict[str, Clip]) -> None:
    wanted = {Place(BASE, 0, str(s)) for s in range(SCENES)}
    wanted |= {Place(f.name, i, str(s)) for f in SYNTHETIC for i in range(1, len(f.levels) + 1) for s in range(SCENES)}
    assert len(clips) == len(wanted) == 19 * SCENES
    assert {place_of(name) for name in clips} == wanted
    assert all(clip.object_ids == (1, 2) for clip in clips.values())


@pytest.mark.parametrize("factor", SYNTHETIC, ids=lambda factor: factor.name)
def test_one_scenes_clips_differ_in_nothing_but_the_factor(clips: dict[str, Clip], factor) -> None:
    """Where a level draws neither an object, a double nor the bar, its pixels are the base's, noise and all."""
    for scene, level in itertools.product(range(SCENES), range(1, 4)):
        base, swept = clips[f"base-scene-{scene}"], clips[clip_name(Place(factor.name, level, str(scene)))]
        change = (base.frames != swept.frames).any(1)  # (T, H, W)
        ground = (base.masks == 0) & (swept.masks == 0)
        if factor.name in ("near-lookalikes", "far-lookalikes"):
            assert torch.equal(base.masks, swept.masks)
            assert change[~ground].float().mean() == 0
        if factor.name in ("speed", "drift", "reentry"):
            assert change[ground].sum() == 0
        if factor.name == "drift":
            assert torch.equal(base.masks, swept.masks)
            assert torch.equal(base.frames[0], swept.frames[0])
        if factor.name == "occlusion":
            assert change.float().mean() < 0.7
            assert torch.equal(base.frames[0], swept.frames[0])


@pytest.mark.parametrize("factor", SYNTHETIC, ids=lambda factor: factor.name)
def test_the_highest_level_differs_from_the_base_in_every_scene(clips: dict[str, Clip], factor) -> None:
    for scene in range(SCENES):
        base, swept = clips[f"base-scene-{scene}"], clips[clip_name(Place(factor.name, 3, str(scene)))]
        assert not torch.equal(base.frames, swept.frames)


def test_more_objects_have_a_double_at_a_higher_level_and_those_that_had_one_keep_it() -> None:
    for factor in ("near_lookalikes", "far_lookalikes", "reentry"):
        before: set[int] = set()
        for level in (0.0, 0.33, 0.67, 1.0):
            touched = set()
            for seed in range(12):
                free, clip = (
                    make_clip(seed, difficulty=Difficulty(**{factor: v}), objects=1, paired=True, **SMALL)
                    for v in (0.0, level)
                )
                if not torch.equal(free.frames, clip.frames):
                    touched.add(seed)
            assert before <= touched
            before = touched
        assert before == set(range(12))


def test_without_pairing_a_double_changes_what_is_drawn_after_it() -> None:
    """Why pairing needs streams of its own."""
    hard = {"objects": 1, **SMALL}
    noise = [make_clip(3, difficulty=Difficulty(near_lookalikes=n), **hard).frames[:, :, 0, 0] for n in (0.0, 1.0)]
    assert not torch.equal(*noise)


def test_the_splits_scenes_and_the_mixed_clips_share_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    real = synthetic.make_clip

    def noted(seed: int, **named: object) -> Clip:
        seeds.append(seed)
        return real(seed, **named)

    monkeypatch.setattr(synthetic, "make_clip", noted)
    for split in ("validation", "test"):
        make_factor_clips(split, scenes=1, **SMALL)
        make_clips(split, count=3, **SMALL)
    assert len(set(seeds)) == 2 * (1 + 3)


def test_training_clips_stay_mixed_and_the_sizes_are_the_configurations() -> None:
    config = configure("smoke", scenes="factors", test_clips=1).data
    mixed = configure("smoke").data
    assert [c.name for c in load_clips(config, split="train")] == [c.name for c in load_clips(mixed, split="train")]
    scored = load_clips(config, split="validation")
    assert len(scored) == 19 and {tuple(c.frames.shape[-2:]) for c in scored} == {(config.height, config.width)}


def test_the_default_keeps_every_digest() -> None:
    assert configure("reduced", scenes="mixed").digest() == configure("reduced").digest()
    assert configure("reduced", scenes="factors").digest() != configure("reduced").digest()


def test_scenes_that_cannot_be_swept_are_refused(tmp_path) -> None:
    with pytest.raises(LabError, match="scenes 'factors' are of data 'shapes'"):
        load_clips(configure("real", data="davis-2017", scenes="factors", root=str(tmp_path)).data, split="test")
    with pytest.raises(LabError, match="for validation and test, got split 'train'"):
        make_factor_clips("train", scenes=1, **SMALL)


@pytest.mark.parametrize(
    "name", ["shapes-2000000010", "speed-scene-1", "base-1-scene-0", "speed-4-scene-0", "haste-1-scene-0", "speed-1"]
)
def test_a_name_that_is_none_of_the_sweep_has_no_place(name: str) -> None:
    assert place_of(name) is None


def test_a_name_says_its_place_for_a_numbered_scene_and_for_a_sequence() -> None:
    for factor in FACTORS:
        for level in range(1, len(factor.levels) + 1):
            for scene in ("0", "17", "bmx-trees", "00ab12", "my_dog"):
                place = Place(factor.name, level, scene)
                assert place_of(clip_name(place)) == place
    assert place_of("base-scene-car-turn") == Place(BASE, 0, "car-turn")


def test_the_axis_of_speed_tells_the_cells_that_an_object_moves() -> None:
    """Against the objects' own path, in the frames between which it does not turn at the edge."""
    for speed in (0.2, 1.0):
        clip = make_clip(7, difficulty=Difficulty(speed=speed), objects=1, height=96, width=128, frames=3, paired=True)
        centres = torch.stack([(mask == 1).nonzero().float().mean(0) for mask in clip.masks])
        moved = (centres[1] - centres[0]).norm().item() / 4
        assert abs(moved - cells_a_frame(speed, 96)) < 0.4


def test_the_experiment_scores_the_sweep_and_speed_reaches_beyond_the_window() -> None:
    spec = load_spec(PROJECT / "experiments" / "factors.yml")
    data, radius = spec.variants[0].config.data, spec.variants[0].config.model.radius
    speed = next(f for f in SYNTHETIC if f.name == "speed")
    cells = [speed.shown(level, min(data.height, data.width)) for level in speed.levels]
    assert cells[0] < radius < cells[1] < cells[2]
    assert {v.config.data.scenes for v in spec.variants} == {"factors"}
