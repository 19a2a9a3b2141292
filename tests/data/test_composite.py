"""Pasted objects: masks are exact, nothing else changes, and what is drawn depends on the seed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip, check_clip
from feelvos_lab.data.composite import LARGEST, MIN_VISIBLE, paste_objects
from feelvos_lab.data.datasets import load_clips
from feelvos_lab.data.difficulty_sweep import BASE, PASTED, Place, place_of
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError

SIZE = {"height": 64, "width": 96, "frames": 9}


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [make_clip(seed, objects=1, **SIZE) for seed in range(5)]


def flat(name: str, colour: int, box: tuple[slice, slice], *, frames: int = 5) -> Clip:
    """A clip of grey 10 with an object of one colour, which does not move."""
    masks = torch.zeros(frames, 40, 60, dtype=torch.int64)
    masks[:, box[0], box[1]] = 1
    pictures = torch.where(masks[:, None] == 1, colour, 10).expand(-1, 3, -1, -1).to(torch.uint8)
    return Clip(name, pictures, masks, (1,))


@pytest.mark.parametrize("look_alike", [False, True])
@pytest.mark.parametrize("objects", [2, 4])
def test_a_frame_is_the_clips_own_outside_the_pasted_masks(clips: list[Clip], objects: int, look_alike: bool) -> None:
    for clip, made in zip(clips, paste_objects(clips, objects=objects, look_alike=look_alike), strict=True):
        check_clip(made)
        assert made.object_ids == tuple(range(1, objects + 1)) and made.annotated and len(made) == len(clip)
        for t in range(len(clip)):
            frame, mask = made.frames[t], made.masks[t]
            assert frame.dtype == torch.uint8 and mask.dtype == torch.int64
            pasted = mask > 1
            assert torch.equal(mask[~pasted], clip.masks[t][~pasted])
            assert torch.equal(frame[:, ~pasted], clip.frames[t][:, ~pasted])
            assert torch.equal(mask == 1, clip.masks[t] == 1)  # its own object is in front


@pytest.mark.parametrize("look_alike", [False, True])
def test_every_object_is_visible_in_the_first_frame(clips: list[Clip], look_alike: bool) -> None:
    for made in paste_objects(clips, objects=4, look_alike=look_alike):
        shares = [(made.masks[0] == i).float().mean().item() for i in made.object_ids]
        assert min(shares) >= MIN_VISIBLE


def test_a_mask_is_where_the_pasted_object_is_and_its_rim_mixes_with_what_is_behind() -> None:
    host, other = flat("host", 60, box_of(0, 10, 0, 12)), flat("other", 210, box_of(15, 25, 20, 32))
    (made, _) = paste_objects([host, other], objects=2)
    for t in range(len(made)):
        frame, pasted = made.frames[t], made.masks[t] == 2
        assert torch.equal((frame[0] != host.frames[t][0]), pasted)  # exactly the masked pixels changed
        inner = (
            torch.nn.functional.avg_pool2d((made.masks[t] > 0)[None].float(), 3, 1, 1, count_include_pad=False)[0] == 1
        )
        inner &= pasted
        assert (frame[:, inner] == 210).all()
        rim = frame[0, pasted & ~inner].float()
        assert rim.numel() and (rim > 10 + 0.4 * 200).all() and (rim < 210).all()


def box_of(top: int, bottom: int, left: int, right: int) -> tuple[slice, slice]:
    return slice(top, bottom), slice(left, right)


@pytest.mark.parametrize("look_alike", [False, True])
def test_more_objects_are_pasted_behind_those_of_fewer(clips: list[Clip], look_alike: bool) -> None:
    """So a score of object 1 or 2 can be compared between clips with 2 and 4 objects."""
    few, many = (paste_objects(clips, objects=n, look_alike=look_alike) for n in (2, 4))
    for a, b in zip(few, many, strict=True):
        for t in (0, 4, 8):
            assert torch.equal(a.masks[t] == 2, b.masks[t] == 2)


def test_a_seed_repeats_every_pixel_and_another_one_does_not(clips: list[Clip]) -> None:
    for look_alike in (False, True):
        one, same, other = (paste_objects(clips, objects=3, look_alike=look_alike, seed=s)[0] for s in (1, 1, 2))
        assert all(torch.equal(one.frames[t], same.frames[t]) for t in range(len(one)))
        assert all(torch.equal(one.masks[t], same.masks[t]) for t in range(len(one)))
        assert not torch.equal(one.masks[0], other.masks[0])


def test_a_copy_has_the_colours_of_the_clips_own_object_and_another_clips_object_its_own() -> None:
    clips = [flat("red", 60, box_of(2, 8, 2, 8)), flat("blue", 210, box_of(10, 16, 20, 26))]
    (alike, _), (mixed, _) = (paste_objects(clips, objects=2, look_alike=a) for a in (True, False))
    assert alike.frames[0][0, alike.masks[0] == 2].max() == 60
    assert mixed.frames[0][0, mixed.masks[0] == 2].max() == 210


def test_a_large_object_is_scaled_down_and_a_small_copy_keeps_its_size() -> None:
    large, small = flat("large", 60, box_of(5, 35, 10, 50)), flat("small", 210, box_of(5, 9, 5, 10))
    (crowded, _) = paste_objects([large, small], objects=2, look_alike=True)
    assert (crowded.masks[0] == 2).float().mean() <= 1.1 * LARGEST
    _, copied = paste_objects([large, small], objects=2, look_alike=True)
    found = (copied.masks[0] == 2).nonzero()
    height, width = (found.max(0).values - found.min(0).values + 1).tolist()
    assert height <= 4 and width <= 5 and len(found) >= 10


def test_a_shorter_clip_is_played_backwards_from_its_end() -> None:
    moving = torch.zeros(3, 40, 60, dtype=torch.int64)
    for t in range(3):
        moving[t, 10:14, 10 + 8 * t : 14 + 8 * t] = 1
    short = Clip("short", torch.full((3, 3, 40, 60), 99, dtype=torch.uint8), moving, (1,))
    (made, _) = paste_objects([flat("host", 60, box_of(30, 38, 2, 5), frames=6), short], objects=2)
    middles = [(made.masks[t] == 2).nonzero()[:, 1].float().mean().item() for t in range(6)]
    assert middles == [middles[0], middles[1], middles[2], middles[1], middles[0], middles[1]]
    assert abs(middles[1] - middles[0]) > 4


def test_frames_are_read_when_they_are_asked_for(clips: list[Clip]) -> None:
    class Counted:
        def __init__(self, source: torch.Tensor) -> None:
            self.source, self.read = source, 0

        def __len__(self) -> int:
            return len(self.source)

        def __getitem__(self, index: int) -> torch.Tensor:
            self.read += 1
            return self.source[index]

    counted = [replace(clip, frames=Counted(clip.frames)) for clip in clips]
    made = paste_objects(counted, objects=3)[0]
    assert sum(clip.frames.read for clip in counted) == 0
    made.frames[4]
    assert sorted(clip.frames.read for clip in counted) == [0, 0, 1, 1, 1]
    with pytest.raises(IndexError):
        made.frames[len(made)]


def test_one_object_pastes_nothing_and_frames_limits_the_length(clips: list[Clip]) -> None:
    for clip, made in zip(clips, paste_objects(clips, objects=1, frames=4), strict=True):
        assert (made.name, made.object_ids, len(made), len(made.masks)) == (clip.name, (1,), 4, 4)
        assert torch.equal(made.frames[3], clip.frames[3])
    assert len(paste_objects(clips, objects=2, frames=99)[0]) == SIZE["frames"]


def test_what_cannot_be_pasted_is_refused(clips: list[Clip]) -> None:
    with pytest.raises(LabError, match="6 objects a clip need as many clips to draw from, got 5"):
        paste_objects(clips, objects=6)
    with pytest.raises(LabError, match="objects must be 1 or more a clip, got 0"):
        paste_objects(clips, objects=0)
    with pytest.raises(LabError, match=r"with object 1 alone, .* has objects \(1, 2\)"):
        paste_objects([make_clip(1, objects=2, **SIZE)], objects=2, look_alike=True)
    with pytest.raises(LabError, match="and no masks"):
        paste_objects([replace(clips[0], masks=clips[0].masks[:1])], objects=2, look_alike=True)
    full = flat("full", 60, box_of(0, 40, 0, 60))
    with pytest.raises(LabError, match=r"object 'full' in clip 'full': none of 40 places in 60×40 leaves 0.2%"):
        paste_objects([full], objects=2, look_alike=True)


def write_davis(root: Path, clips: list[Clip], *, year: int) -> None:
    for clip in clips:
        for kind, source, ending in (("JPEGImages", clip.frames, "jpg"), ("Annotations", clip.masks, "png")):
            folder = root / kind / "480p" / clip.name
            folder.mkdir(parents=True)
            for t in range(len(clip)):
                picture = source[t].permute(1, 2, 0) if ending == "jpg" else 255 * source[t]
                Image.fromarray(picture.to(torch.uint8).numpy()).save(folder / f"{t:05}.{ending}")
    for split in ("train", "val"):
        listing = root / f"ImageSets/{year}/{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("\n".join(clip.name for clip in clips))


def test_the_scored_clips_of_davis_sweep_the_number_of_objects(tmp_path: Path, clips: list[Clip]) -> None:
    write_davis(tmp_path, clips, year=2016)
    settings = {"root": str(tmp_path), "scenes": "factors", "scored_height": 0}
    config = configure("real", **settings, frames=5, test_clips=4).data
    scored = load_clips(config, split="test")
    names = [clip.name for clip in clips[:4]]
    places = [(BASE, 0, 1), *((f.name, i, int(n)) for f in PASTED for i, n in enumerate(f.levels, start=1))]
    assert [place_of(clip.name) for clip in scored] == [Place(f, i, name) for f, i, _ in places for name in names]
    assert [len(clip.object_ids) for clip in scored] == [n for _, _, n in places for _ in names]
    assert {len(clip) for clip in scored} == {5}
    plain = load_clips(configure("real", **settings | {"scenes": "mixed"}).data, split="test")
    assert torch.equal(scored[0].frames[2], plain[0].frames[2]) and len(plain[0]) == SIZE["frames"]
    trained = load_clips(config, split="train")
    assert [clip.name for clip in trained] == [clip.name for clip in clips]


def test_only_sets_with_one_object_a_clip_are_swept(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="'factors' of 'davis-2016', got data 'davis-2017'"):
        load_clips(configure("real", data="davis-2017", scenes="factors", root=str(tmp_path)).data, split="test")
