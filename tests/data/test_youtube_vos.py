"""The published YouTube-VOS layout, made small here: objects that enter later, frames that nobody annotated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from feelvos_lab.config import configure
from feelvos_lab.data.clip import check_clip
from feelvos_lab.data.datasets import load_clips
from feelvos_lab.data.images import VOID, write_mask
from feelvos_lab.data.youtube_vos import read_youtube_vos
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.metrics import score_masks
from feelvos_lab.evaluation.scoring import copy_first_mask
from feelvos_lab.training.samples import draw_sample

HEIGHT, WIDTH = 24, 40
ROWS = {1: (2, 8), 2: (10, 16), 7: (18, 23)}  # of each object; the columns move with the frame


def labels(t: int, ids: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    for i in ids:
        top, bottom = ROWS[i]
        mask[top:bottom, 4 + t // 5 : 20 + t // 5] = i
    return mask


def picture(t: int, ids: tuple[int, ...]) -> Image.Image:
    """Red tells the object, 30 × id; green the frame."""
    red = labels(t, ids).numpy() * 30
    return Image.fromarray(np.stack([red, np.full_like(red, 4 * t), 0 * red], axis=-1).astype(np.uint8))


def write_video(
    folder: Path, name: str, *, entering: dict[int, int], last: int, every: int = 5, annotated: list[int] | None = None
) -> None:
    """One video: frames 0, every … last; masks of every fifth frame, or of `annotated`.

    `entering` names the frame from which each object is there. As published, a mask in `valid` holds the objects
    that enter in its frame.
    """
    meta_path = folder / "meta.json"
    meta = json.loads(meta_path.read_text()) if meta_path.exists() else {"videos": {}}
    shown: dict[str, dict] = {str(i): {"category": "toy", "frames": []} for i in entering}
    for t in range(0, last + 1, every):
        here = tuple(i for i, first in entering.items() if first <= t)
        (folder / "JPEGImages" / name).mkdir(parents=True, exist_ok=True)
        picture(t, here).save(folder / "JPEGImages" / name / f"{t:05d}.jpg", quality=98, subsampling=0)
        if t % 5 == 0:
            for i in here:
                shown[str(i)]["frames"].append(f"{t:05d}")
        if annotated is not None and t in annotated:
            new = tuple(i for i in here if entering[i] == t)
            write_mask(folder / "Annotations" / name / f"{t:05d}.png", labels(t, new))
        elif annotated is None and t % 5 == 0:
            write_mask(folder / "Annotations" / name / f"{t:05d}.png", labels(t, here))
    meta["videos"][name] = {"objects": shown}
    meta_path.write_text(json.dumps(meta))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    train, valid = tmp_path / "train", tmp_path / "valid"
    write_video(train, "zebra", entering={1: 0, 2: 10}, last=20)
    write_video(train, "apple", entering={7: 0, 1: 0}, last=15)
    write_video(valid, "late", entering={1: 0, 7: 10}, last=20, annotated=[0, 10])
    return tmp_path


def told(root: Path, split: str = "train", **settings) -> str:
    with pytest.raises(LabError) as error:
        for clip in read_youtube_vos(root, split=split, **settings):
            for t in range(len(clip)):
                clip.frames[t], clip.masks[t]
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(root), "ROOT")


def test_training_videos_come_in_the_order_of_the_list_with_where_their_objects_enter(root: Path) -> None:
    zebra, apple = read_youtube_vos(root, split="train")
    assert (zebra.name, zebra.object_ids, zebra.starts, len(zebra)) == ("zebra", (1, 2), (0, 2), 5)
    assert (apple.name, apple.object_ids, apple.starts, len(apple)) == ("apple", (1, 7), (0, 0), 4)
    assert zebra.annotated
    check_clip(zebra)
    assert torch.equal(zebra.masks[1], labels(5, (1,)))
    assert torch.equal(zebra.masks[2], labels(10, (1, 2)))
    assert zebra.given_in(0) == (1,) and zebra.given_in(2) == (2,) and zebra.given_in(1) == ()


def test_frames_between_the_annotated_ones_are_not_asked_for_in_training(root: Path) -> None:
    write_video(root / "train", "dense", entering={1: 0}, last=11, every=1)
    dense = read_youtube_vos(root, split="train")[2]
    assert [path.stem for path in dense.frames.paths] == ["00000", "00005", "00010"]
    assert len(dense.masks) == 3


def test_a_training_video_with_fewer_than_two_annotated_frames_is_left_out(root: Path) -> None:
    write_video(root / "train", "short", entering={1: 0}, last=10, annotated=[0])
    assert [clip.name for clip in read_youtube_vos(root, split="train")] == ["zebra", "apple"]


def test_a_video_that_begins_before_its_first_object_is_read(root: Path) -> None:
    write_video(root / "train", "empty-first", entering={2: 5}, last=15)
    clip = read_youtube_vos(root, split="train")[2]
    assert (clip.object_ids, clip.starts) == ((2,), (1,))
    check_clip(clip)


def test_a_validation_clip_is_void_where_nobody_labelled_it(root: Path) -> None:
    (clip,) = read_youtube_vos(root, split="val")
    assert (clip.object_ids, clip.starts, len(clip), len(clip.masks)) == ((1, 7), (0, 2), 5, 5)
    assert torch.equal(clip.masks[0], labels(0, (1,)))
    assert torch.equal(clip.masks[2], labels(10, (7,)))
    assert (clip.masks[1] == VOID).all() and clip.masks[1].shape == (HEIGHT, WIDTH)
    assert not clip.annotated
    check_clip(clip)
    with pytest.raises(LabError, match="'late' has masks of some frames only, the score needs all"):
        score_masks([torch.zeros(HEIGHT, WIDTH)] * 5, clip)


def test_the_mask_that_shows_an_object_first_gives_it_even_where_later_ones_show_it_too(root: Path) -> None:
    write_mask(root / "valid/Annotations/late/00010.png", labels(10, (1, 7)))
    (clip,) = read_youtube_vos(root, split="val")
    assert clip.starts == (0, 2)


def test_height_scales_frames_and_masks(root: Path) -> None:
    for split in ("train", "val"):
        clip = read_youtube_vos(root, split=split, height=12)[0]
        assert [tuple(clip.frames[t].shape) for t in range(len(clip))] == [(3, 12, 20)] * 5
        assert [tuple(clip.masks[t].shape) for t in range(len(clip))] == [(12, 20)] * 5
        assert clip.masks[2].unique().tolist() == ([0, 1, 2] if split == "train" else [0, 7])


def test_data_youtube_vos_has_training_and_validation_clips_and_refuses_a_test(root: Path) -> None:
    config = configure("full", data="youtube-vos", root=str(root), hold_out=1, height=24, scored_height=12).data
    (train,), (validation,) = (load_clips(config, split=split) for split in ("train", "validation"))
    assert (train.name, validation.name) == ("zebra", "apple")
    assert train.frames[0].shape[1] == 24 and validation.frames[0].shape[1] == 12
    with pytest.raises(LabError, match="'youtube-vos' has no test split: the masks of its valid list are not pub"):
        load_clips(config, split="test")


@pytest.mark.parametrize("seed", range(12))
def test_an_object_that_enters_after_the_reference_frame_is_background_and_one_before_it_counts(
    root: Path, seed: int
) -> None:
    config = replace(configure("smoke").data, height=HEIGHT, width=WIDTH, jitter=0.0, scale=1.0, paste=0.0)
    torch.manual_seed(seed)
    (zebra, _), rng = read_youtube_vos(root, split="train"), np.random.default_rng(seed)
    sample = draw_sample([zebra], config=config, unroll=1, rng=rng)
    red = (sample.frames[:, 0] * 255 / 30).round().long()  # the object that each picture shows: 1, 2 or none
    seen = {i for i in (1, 2) if (red[0] == i).sum() > 20}
    assert sample.num_objects == 1 + len(seen)
    expected = torch.where((red == 2) & (2 not in seen), 0, red)
    assert (sample.labels == expected).float().mean() > 0.97  # all but JPEG's edges
    assert (2 in seen) == bool((sample.labels[0] == 2).any())


def test_both_kinds_of_reference_are_drawn(root: Path) -> None:
    config = replace(configure("smoke").data, height=HEIGHT, width=WIDTH, jitter=0.0, scale=1.0)
    zebra = read_youtube_vos(root, split="train")[0]
    torch.manual_seed(0)
    drawn = [draw_sample([zebra], config=config, unroll=1, rng=np.random.default_rng(s)) for s in range(12)]
    assert {sample.num_objects for sample in drawn} == {2, 3}


def test_a_late_object_is_scored_after_the_frame_that_gives_it_and_its_copy_begins_there(root: Path) -> None:
    zebra = read_youtube_vos(root, split="train")[0]
    rows = score_masks((zebra.masks[t] for t in range(5)), zebra)
    assert [(row["object"], row["frames"], row["JF"]) for row in rows] == [(1, 3, 1.0), (2, 1, 1.0)]
    copied = copy_first_mask([zebra]).set_index("object")
    assert copied.J[2] == pytest.approx(15 / 17)  # one column of sixteen is lost and one gained
    assert copied.J[1] == pytest.approx(np.mean([15 / 17, 14 / 18, 13 / 19]))


def test_a_wrong_root_split_or_height_is_told(root: Path, tmp_path: Path) -> None:
    assert told(root / "train") == ("ROOT is no YouTube-VOS root: train/JPEGImages was expected, it is not there")
    assert told(root, "valid") == "the split of YouTube-VOS must be 'train' or 'val', got 'valid'"
    assert told(root, height=-2) == "height must not be negative, got -2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"clips": {}}', "KeyError: 'videos'"),
        ('{"videos": {"zebra": {"objects": {"one": {"frames": []}}}}}', "ValueError"),
    ],
)
def test_a_list_of_another_form_is_told(root: Path, text: str, reason: str) -> None:
    (root / "train/meta.json").write_text(text)
    sentence = told(root)
    assert sentence.startswith("ROOT/train/meta.json must hold the videos of YouTube-VOS") and reason in sentence


def test_an_empty_list_is_told(root: Path) -> None:
    (root / "train/meta.json").write_text('{"videos": {}}')
    assert told(root) == "ROOT/train/meta.json lists no video"


def test_what_is_missing_is_told(root: Path) -> None:
    (root / "train/JPEGImages/apple/00005.jpg").unlink()
    assert told(root) == ("mask ROOT/train/Annotations/apple/00005.png has no frame in ROOT/train/JPEGImages/apple")
    for path in (root / "valid/Annotations/late").iterdir():
        path.unlink()
    assert told(root, "val") == "ROOT/valid/Annotations/late holds no .png image"


def test_an_id_that_the_list_lacks_is_told(root: Path) -> None:
    write_mask(root / "train/Annotations/apple/00010.png", labels(10, (1, 2)))
    assert told(root) == (
        "mask ROOT/train/Annotations/apple/00010.png holds ids [2] that the list of its objects lacks: expected [1, 7]"
    )


def test_sizes_are_compared_when_a_file_is_read(root: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT - 1)).save(root / "train/JPEGImages/zebra/00010.jpg")
    assert told(root) == (
        "all frames of a clip must have one size: ROOT/train/JPEGImages/zebra/00000.jpg is 40×24, "
        "ROOT/train/JPEGImages/zebra/00010.jpg is 40×23"
    )
    write_mask(root / "train/Annotations/zebra/00005.png", labels(5, (1,))[:, :-1])
    assert told(root).startswith("mask ROOT/train/Annotations/zebra/00005.png is 39×24, its frame")


def test_starts_that_do_not_fit_are_told(root: Path) -> None:
    zebra = read_youtube_vos(root, split="train")[0]
    for starts in ((0,), (0, 5), (-1, 0)):
        with pytest.raises(LabError, match="a frame from 0 to 4 for each of its 2 objects"):
            check_clip(replace(zebra, starts=starts))
