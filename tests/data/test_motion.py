"""What `motion_quantiles` measures, on clips whose motion is known, and the calibrated mix against real video."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from feelvos_lab.config import configure
from feelvos_lab.data import Difficulty, load_clips, make_clip, make_clips, motion_quantiles, read_davis
from feelvos_lab.data.calibrated import FRAMES, REAL_VIDEO
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.motion import MotionQuantiles
from feelvos_lab.errors import LabError

SMALL = {"height": 48, "width": 64, "frames": 5}
DAVIS = Path(__file__).parents[3] / "shared" / "data" / "davis16"


def _moving(step: int, *, frames: int = 4, side: int = 8) -> Clip:
    """A square of one colour that moves to the right by `step` pixels a frame."""
    images, masks = torch.zeros(frames, 3, 32, 64, dtype=torch.uint8), torch.zeros(frames, 32, 64, dtype=torch.int64)
    for t in range(frames):
        square = (slice(4, 4 + side), slice(step * t, step * t + side))
        masks[t][square] = 1
        images[t, :, *square] = 51 * t
    return Clip("square", images, masks, object_ids=(1,))


def test_a_square_that_moves_by_half_its_side_has_the_overlap_and_shift_of_its_path() -> None:
    found = motion_quantiles([_moving(4)], radius_px=16)
    assert found.overlap == pytest.approx([1 / 3] * 3)
    assert found.shift == pytest.approx([0.25] * 3)
    assert found.area_change == (0, 0)
    assert found.first_overlap[0] < found.overlap[0]
    assert found.colour_change == pytest.approx([0.4, 0.2 * 2.8])  # 0.2, 0.4, 0.6: median and 90 %
    assert (found.absent, found.objects, found.pairs) == (0, 1, 3)


def test_a_larger_radius_makes_the_shift_smaller_and_changes_nothing_else() -> None:
    one, other = (motion_quantiles([_moving(4)], radius_px=r) for r in (16, 32))
    assert other == one._replace(shift=tuple(value / 2 for value in one.shift))


def test_an_object_that_halves_changes_its_log_area_by_log_2_and_one_that_is_hidden_is_absent() -> None:
    clip = _moving(0, frames=3)
    masks = clip.masks.clone()
    masks[1, 8:] = 0
    masks[2] = 0
    found = motion_quantiles([replace(clip, masks=masks)], radius_px=16)
    assert found.area_change == pytest.approx([math.log(2)] * 2)
    assert (found.absent, found.pairs) == (0.5, 1)


@pytest.mark.parametrize("radius", [0, -1, math.nan])
def test_a_radius_that_is_not_positive_is_rejected(radius: float) -> None:
    with pytest.raises(LabError, match="radius_px must be above 0"):
        motion_quantiles([_moving(1)], radius_px=radius)


def test_clips_that_cannot_be_measured_are_rejected() -> None:
    clip = _moving(1)
    with pytest.raises(LabError, match="must have all masks"):
        motion_quantiles([replace(clip, masks=clip.masks[:1])], radius_px=16)
    hidden = clip.masks.clone()
    hidden[1:] = 0
    with pytest.raises(LabError, match="no object of the clips is visible"):
        motion_quantiles([replace(clip, masks=hidden)], radius_px=16)


@pytest.fixture(scope="module")
def calibrated() -> MotionQuantiles:
    clips = make_clips("validation", scenes="calibrated", count=128, height=96, width=128, frames=FRAMES)
    return motion_quantiles(clips, radius_px=16)


def test_calibrated_clips_move_and_change_as_the_train_sequences_of_davis_do(calibrated: MotionQuantiles) -> None:
    """Overlaps to 0.05, shifts to a fifth (99 %: a third), area to 0.04, colour to 0.03, absence to 0.01."""
    assert calibrated.overlap == pytest.approx(REAL_VIDEO.overlap, abs=0.05)
    assert calibrated.first_overlap == pytest.approx(REAL_VIDEO.first_overlap, abs=0.05)
    assert calibrated.shift[:2] == pytest.approx(REAL_VIDEO.shift[:2], rel=0.2)
    assert calibrated.shift[2] == pytest.approx(REAL_VIDEO.shift[2], rel=1 / 3)
    assert calibrated.area_change == pytest.approx(REAL_VIDEO.area_change, abs=0.04)
    assert calibrated.colour_change == pytest.approx(REAL_VIDEO.colour_change, abs=0.03)
    assert calibrated.absent == pytest.approx(REAL_VIDEO.absent, abs=0.01)


@pytest.mark.skipif(not DAVIS.is_dir(), reason="needs DAVIS-2016")
def test_the_constants_of_real_video_are_those_of_the_train_list() -> None:
    found = motion_quantiles(read_davis(DAVIS, year=2016, split="train", height=240), radius_px=30)
    for measured, stated in zip(found, REAL_VIDEO, strict=True):
        assert measured == pytest.approx(stated, abs=0.0006)


def test_calibrated_clips_are_other_clips_than_the_mixed_ones_and_say_so_by_name() -> None:
    mixed, moved = (make_clips("test", count=3, scenes=scenes, **SMALL) for scenes in ("mixed", "calibrated"))
    assert [clip.name for clip in moved] == [clip.name.replace("shapes", "calibrated") for clip in mixed]
    assert not any(torch.equal(a.frames, b.frames) for a, b in zip(mixed, moved, strict=True))
    assert [c.object_ids for c in moved] == [c.object_ids for c in mixed]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_scenes_calibrated_concern_every_split_training_included(split: str) -> None:
    config = configure("smoke", scenes="calibrated").data
    clips = load_clips(config, split=split)
    assert all(clip.name.startswith("calibrated-") for clip in clips)
    assert len(clips) == (config.clips if split == "train" else config.test_clips)


def test_calibrated_scenes_are_of_synthetic_clips(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="scenes 'calibrated' are of"):
        load_clips(configure("real", scenes="calibrated", root=str(tmp_path)).data, split="test")
    with pytest.raises(LabError, match="scenes must be 'mixed' or 'calibrated', got 'real'"):
        make_clips("test", count=1, scenes="real", **SMALL)


def test_deformation_moves_the_outline_and_leaves_the_first_frame_and_all_that_is_drawn_after_it() -> None:
    still, swaying = (make_clip(4, difficulty=Difficulty(deformation=d), objects=1, **SMALL) for d in (0.0, 1.0))
    assert torch.equal(still.frames[0], swaying.frames[0])
    ground = (still.masks == 0) & (swaying.masks == 0)
    assert not (still.frames != swaying.frames).any(1)[ground].any()
    overlaps = [motion_quantiles([clip], radius_px=8).overlap[1] for clip in (still, swaying)]
    assert overlaps[1] < overlaps[0] - 0.05
