"""The published DAVIS layouts: made small here, and the real ones where they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from feelvos_lab.data.clip import check_clip
from feelvos_lab.data.davis import read_davis
from feelvos_lab.data.images import write_mask
from feelvos_lab.errors import LabError

SHARED = Path(os.environ.get("FEELVOS_SHARED", Path(__file__).parents[3] / "shared"))
HEIGHT, WIDTH = 24, 43


def told(root: Path, *, year: int = 2017, split: str = "train", **settings) -> str:
    """The sentence with which reading, or reading all frames and masks, is refused."""
    with pytest.raises(LabError) as error:
        for clip in read_davis(root, year=year, split=split, **settings):
            for t in range(len(clip)):
                clip.frames[t], clip.masks[t]
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


def mask(*ids: int) -> torch.Tensor:
    labels = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    for row, object_id in enumerate(ids):
        labels[4 * row : 4 * row + 4, 5:25] = object_id
    return labels


def add_sequence(root: Path, name: str, *, frames: int = 4) -> None:
    images, annotations = root / "JPEGImages/480p" / name, root / "Annotations/480p" / name
    images.mkdir(parents=True)
    for t in range(frames):
        Image.new("RGB", (WIDTH, HEIGHT), (60 * t, 100, 30)).save(images / f"{t:05d}.jpg", quality=95)
        write_mask(annotations / f"{t:05d}.png", mask(1, 2))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "DAVIS"
    for name in ("bear", "cows", "boat"):
        add_sequence(root, name)
    for year in (2016, 2017):
        (root / f"ImageSets/{year}").mkdir(parents=True)
        (root / f"ImageSets/{year}/train.txt").write_text("cows\nbear\n\n")
        (root / f"ImageSets/{year}/val.txt").write_text("boat\n")
    return root


def test_a_split_is_read_in_the_order_of_its_list(root: Path) -> None:
    clips = read_davis(root, year=2017, split="train")
    assert [clip.name for clip in clips] == ["cows", "bear"]
    assert [clip.name for clip in read_davis(str(root), year=2017, split="val")] == ["boat"]
    for clip in clips:
        check_clip(clip)
        assert (len(clip), len(clip.masks), clip.object_ids) == (4, 4, (1, 2))
        assert clip.frames[2].shape == (3, HEIGHT, WIDTH)
        assert clip.frames[2].dtype == torch.uint8
        assert (clip.frames[2].float() - torch.tensor([120.0, 100, 30])[:, None, None]).abs().max() <= 3
        assert torch.equal(clip.masks[3], mask(1, 2))


def test_davis_2016_has_one_object(root: Path) -> None:
    white = (mask(1, 0, 1).numpy() * 255).astype(np.uint8)
    for path in (root / "Annotations/480p/bear").iterdir():
        Image.fromarray(white).save(path)
    cows, bear = read_davis(root, year=2016, split="train")
    assert cows.object_ids == bear.object_ids == (1,)
    assert torch.equal(bear.masks[1], mask(1, 0, 1))
    assert torch.equal(cows.masks[1], mask(1, 1))


def test_height_scales_frames_and_masks_in_proportion(root: Path) -> None:
    clip = read_davis(root, year=2017, split="val", height=12)[0]
    check_clip(clip)
    assert clip.frames[0].shape == (3, 12, 22)  # 43 × 12 / 24 = 21.5
    assert clip.masks[0].shape == (12, 22)
    assert clip.masks[0].unique().tolist() == [0, 1, 2]


def test_scaling_smooths_frames_without_aliasing_and_never_blends_ids(root: Path) -> None:
    folder = root / "JPEGImages/480p/boat"
    stripes = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stripes[::2] = 255
    for path in folder.iterdir():
        Image.fromarray(stripes).save(path, quality=100, subsampling=0)
    for path in (root / "Annotations/480p/boat").iterdir():
        write_mask(path, mask(1, 9))
    clip = read_davis(root, year=2017, split="val", height=8)[0]
    assert (clip.frames[0][:, 1:-1].float() - 127.5).abs().max() < 30
    assert clip.masks[0].unique().tolist() == [0, 1, 9]


def test_a_small_object_that_scaling_swallows_stays_an_object_of_the_clip(root: Path) -> None:
    dot = mask(1)
    dot[20, 40] = 2
    for path in (root / "Annotations/480p/boat").iterdir():
        write_mask(path, dot)
    write_mask(root / "Annotations/480p/boat/00001.png", mask(1, 2))
    clip = read_davis(root, year=2017, split="val", height=6)[0]
    assert clip.masks[0].unique().tolist() == [0, 1]
    assert clip.object_ids == (1, 2)
    assert clip.masks[1].unique().tolist() == [0, 1, 2]


def test_nothing_but_first_masks_is_read_before_it_is_asked_for(root: Path) -> None:
    path = root / "JPEGImages/480p/bear/00002.jpg"
    Image.effect_noise((WIDTH, HEIGHT), 80).save(path, quality=95)
    os.truncate(path, os.path.getsize(path) - 300)
    clip = read_davis(root, year=2017, split="train")[1]
    assert clip.frames[1].shape == (3, HEIGHT, WIDTH)
    with pytest.raises(LabError, match=r"bear/00002\.jpg cannot be read as an image"):
        clip.frames[2]


def test_a_wrong_root_is_told_with_what_is_there(root: Path, tmp_path: Path) -> None:
    assert told(tmp_path) == f"{tmp_path} is no DAVIS-2017 root: JPEGImages/480p was expected, there is DAVIS"
    assert told(tmp_path / "no") == (
        f"{tmp_path}/no is no DAVIS-2017 root: JPEGImages/480p was expected, there is no such folder"
    )
    (root / "ImageSets/2016/val.txt").unlink()
    assert told(root, year=2016, split="val") == (
        f"{root} is no DAVIS-2016 root: ImageSets/2016/val.txt or ImageSets/480p/val.txt was expected, "
        "there is Annotations, ImageSets, JPEGImages"
    )


def own_layout(root: Path, split: str, *names: str) -> None:
    """The list of DAVIS-2016's own archive: a frame and its mask per line."""
    lines = [
        f"/JPEGImages/480p/{name}/{t:05d}.jpg /Annotations/480p/{name}/{t:05d}.png\n"
        for name in names
        for t in range(4)
    ]
    (root / "ImageSets/480p").mkdir(exist_ok=True)
    (root / f"ImageSets/480p/{split}.txt").write_text("".join(lines))


def test_the_list_of_davis_2016_in_its_own_layout_is_read(root: Path) -> None:
    own_layout(root, "train", "cows", "bear")
    both = [clip.name for clip in read_davis(root, year=2016, split="train")]
    (root / "ImageSets/2016/train.txt").unlink()
    assert [clip.name for clip in read_davis(root, year=2016, split="train")] == both == ["cows", "bear"]
    assert len(read_davis(root, year=2016, split="train")[1]) == 4


@pytest.mark.parametrize("split", ["test-dev", "test-challenge"])
def test_a_list_whose_masks_are_not_published_gives_the_first_ones(root: Path, split: str) -> None:
    (root / f"ImageSets/2017/{split}.txt").write_text("cows\nboat\n")
    for path in (root / "Annotations").rglob("*.png"):
        if path.stem != "00000":
            path.unlink()
    clips = read_davis(root, year=2017, split=split)
    assert [clip.name for clip in clips] == ["cows", "boat"]
    assert [(len(clip), len(clip.masks), clip.object_ids) for clip in clips] == [(4, 1, (1, 2))] * 2
    assert told(root, split="train").startswith("frame ") and "2016" in told(root, year=2016, split=split)
    (root / "Annotations/480p/boat/00000.png").rename(root / "Annotations/480p/boat/00001.png")
    assert told(root, split=split).endswith("boat/00000.jpg has no mask in " + str(root / "Annotations/480p/boat"))


def test_frames_as_they_were_filmed_are_read(root: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        shutil.copytree(root / kind / "480p", root / kind / "Full-Resolution")
    Image.new("RGB", (WIDTH, HEIGHT), (200, 0, 0)).save(root / "JPEGImages/Full-Resolution/boat/00000.jpg")
    plain, large = (read_davis(root, year=2017, split="val", resolution=r)[0] for r in (None, "Full-Resolution"))
    assert large.frames[0][0].float().mean() > 190 > plain.frames[0][0].float().mean()
    for kind in ("JPEGImages", "Annotations"):
        shutil.rmtree(root / kind / "480p")
    (alone,) = read_davis(root, year=2017, split="val")  # the archive of these alone
    assert torch.equal(alone.frames[0], large.frames[0])
    assert "JPEGImages/480p was expected" in told(root, split="val", resolution="480p")


def test_the_lists_of_2016_in_full_resolution_are_read(root: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / "480p").rename(root / kind / "1080p")
    shutil.rmtree(root / "ImageSets")
    (root / "ImageSets/1080p").mkdir(parents=True)
    lines = [f"/JPEGImages/1080p/boat/{t:05d}.jpg /Annotations/1080p/boat/{t:05d}.png" for t in range(4)]
    (root / "ImageSets/1080p/val.txt").write_text("\n".join(lines))
    (clip,) = read_davis(root, year=2016, split="val")
    assert clip.name == "boat" and clip.object_ids == (1,) and len(clip.masks) == 4


def test_lists_of_both_layouts_that_disagree_are_told(root: Path) -> None:
    own_layout(root, "train", "cows", "boat")
    assert told(root, year=2016) == (
        f"{root}/ImageSets/2016/train.txt and {root}/ImageSets/480p/train.txt disagree: only one of them names 'bear'"
    )


def test_an_archive_that_is_half_unpacked_is_told_by_its_own_list(root: Path) -> None:
    own_layout(root, "train", "cows", "bear")
    for path in (root / "JPEGImages/480p/bear/00003.jpg", root / "Annotations/480p/bear/00003.png"):
        path.unlink()  # the last frame and its mask: no gap in the numbers
    assert told(root, year=2016) == (
        f"{root}/ImageSets/480p/train.txt names /JPEGImages/480p/bear/00003.jpg, which is missing in {root}: "
        "was all of it unpacked?"
    )


def test_black_and_white_masks_of_2016_are_not_read_as_those_of_2017(root: Path) -> None:
    path = root / "Annotations/480p/bear/00000.png"
    Image.fromarray(mask(1).numpy().astype(np.uint8) * 255).save(path)
    assert told(root) == f"mask {path} is black and white, as those of DAVIS-2016, not indexed as in 2017"


def test_an_unknown_year_split_or_height_is_told(root: Path) -> None:
    assert told(root, year=2018) == "the year of DAVIS must be 2016 or 2017, got 2018"
    assert told(root, split="test") == (
        "the split of DAVIS must be 'train', 'val', 'test-dev', 'test-challenge', got 'test'"
    )
    assert told(root, resolution="4K") == (
        "the resolution of DAVIS must be '480p', 'Full-Resolution', '1080p', got '4K'"
    )
    assert told(root, height=-1) == "height must not be negative, got -1"


def test_an_empty_list_is_told(root: Path) -> None:
    (root / "ImageSets/2017/train.txt").write_text("\n")
    assert told(root) == f"{root}/ImageSets/2017/train.txt is empty: one sequence a line was expected"


def test_a_sequence_that_is_not_there_is_told(root: Path) -> None:
    (root / "ImageSets/2017/train.txt").write_text("cows\ngoat\n")
    assert told(root).startswith(f"{root}/JPEGImages/480p/goat is no folder")


def test_a_gap_in_the_frame_numbers_is_told(root: Path) -> None:
    (root / "JPEGImages/480p/bear/00002.jpg").unlink()
    (root / "Annotations/480p/bear/00002.png").unlink()
    assert told(root) == (
        f"{root}/JPEGImages/480p/bear lacks number 2: 00001.jpg is followed by 00003.jpg, expected steps of 1"
    )


def test_a_frame_without_its_mask_is_told(root: Path) -> None:
    (root / "Annotations/480p/bear/00003.png").unlink()
    frame, folder = root / "JPEGImages/480p/bear/00003.jpg", root / "Annotations/480p/bear"
    assert told(root) == f"frame {frame} has no mask in {folder}"


def test_a_mask_without_its_frame_is_told(root: Path) -> None:
    (root / "JPEGImages/480p/bear/00003.jpg").unlink()
    labels, folder = root / "Annotations/480p/bear/00003.png", root / "JPEGImages/480p/bear"
    assert told(root) == f"mask {labels} has no frame in {folder}"


def test_one_frame_only_is_told(root: Path) -> None:
    add_sequence(root, "goat", frames=1)
    (root / "ImageSets/2017/train.txt").write_text("goat\n")
    assert told(root) == (
        f"{root}/JPEGImages/480p/goat holds one frame, at least two were expected: the first carries the given mask"
    )


def test_a_mask_of_another_size_than_its_frame_is_told_before_anything_is_read(root: Path) -> None:
    path = root / "Annotations/480p/bear/00002.png"
    write_mask(path, mask(1)[:, :-3])
    with pytest.raises(LabError) as error:
        read_davis(root, year=2017, split="train")
    assert str(error.value) == f"mask {path} is 40×24, its frame {root}/JPEGImages/480p/bear/00002.jpg is 43×24"


def test_an_empty_first_mask_is_told(root: Path) -> None:
    path = root / "Annotations/480p/bear/00000.png"
    write_mask(path, mask())
    assert told(root) == f"the first mask {path} is empty: at least one object was expected"


def test_an_id_that_the_first_frame_lacks_is_told(root: Path) -> None:
    path = root / "Annotations/480p/bear/00002.png"
    write_mask(path, mask(1, 2, 5))
    assert told(root) == f"mask {path} holds ids [5] that the first mask lacks: expected [1, 2]"


def test_an_rgb_mask_of_other_colours_is_told(root: Path) -> None:
    path = root / "Annotations/480p/bear/00002.png"
    Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3)).save(path)
    assert told(root).startswith(f"mask {path} holds the colour (1, 2, 3), expected black and white or colours of")


def test_an_interpolated_mask_is_told_in_both_years(root: Path) -> None:
    path = root / "Annotations/480p/bear/00000.png"
    Image.fromarray((np.arange(HEIGHT * WIDTH) % 180).reshape(HEIGHT, WIDTH).astype(np.uint8)).save(path)
    for year in (2016, 2017):
        assert told(root, year=year).startswith(f"mask {path} holds 179 ids, expected at most 32")


def test_text_instead_of_a_mask_is_told(root: Path) -> None:
    path = root / "Annotations/480p/bear/00001.png"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert (
        told(root)
        == f"{path} cannot be read as an image: it is no PNG, JPEG, BMP, GIF, WebP or TIFF, or its beginning is damaged"
    )


@pytest.mark.shared
@pytest.mark.parametrize(("year", "split", "count"), [(2016, "train", 30), (2016, "val", 20), (2017, None, 1)])
def test_the_real_sets_are_read(year: int, split: str | None, count: int) -> None:
    root = SHARED / f"data/davis{year - 2000}"
    if not root.is_dir():
        pytest.skip(f"no DAVIS set at {root}")
    split = split or next((root / "ImageSets/2017").glob("*.txt")).stem
    clips = read_davis(root, year=year, split=split, height=240)
    assert len(clips) == count
    for clip in clips:
        assert clip.object_ids == ((1,) if year == 2016 else (1, 2))
        assert len(clip) == len(clip.masks) >= 25
        t = len(clip) // 2
        assert clip.frames[t].shape == (3, 240, 427)
        assert clip.masks[t].shape == (240, 427)
        assert 0.2 < clip.frames[t].float().std() / 60 < 2
        assert 0 < (clip.masks[t] > 0).float().mean() < 0.7


@pytest.mark.shared
def test_a_real_clip_passes_every_check() -> None:
    root = SHARED / "data/davis17"
    if not root.is_dir():
        pytest.skip(f"no DAVIS set at {root}")
    split = next((root / "ImageSets/2017").glob("*.txt")).stem
    clip = read_davis(root, year=2017, split=split)[0]
    check_clip(clip)
    assert clip.frames[0].shape == (3, 480, 854)
