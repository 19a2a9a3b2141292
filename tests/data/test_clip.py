"""Masks and frames in files, folders and videos; what is refused, and in which words."""

from __future__ import annotations

import gc
import os
import re
import struct
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from torch import Tensor

from feelvos_lab.data.clip import Clip, check_clip
from feelvos_lab.data.frames import LazyFrames
from feelvos_lab.data.images import PALETTE, image_size, read_frame, read_mask, write_mask
from feelvos_lab.data.readers import read_clip, read_folder, read_video
from feelvos_lab.data.video import VideoFrames, open_movie
from feelvos_lab.errors import LabError

HEIGHT, WIDTH = 12, 16

KINDS = ".jpg or .jpeg or .png or .bmp or .tif or .tiff or .webp"


def told(action, *args, **kwargs) -> str:
    """The sentence with which `action` refuses."""
    with pytest.raises(LabError) as error:
        action(*args, **kwargs)
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


def labels(*ids: int) -> Tensor:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    for row, object_id in enumerate(ids):
        mask[2 * row : 2 * row + 2, 3:9] = object_id
    return mask


def save_grey(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def save_frames(folder: Path, *, count: int = 4, ending: str = "jpg", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(count):
        Image.new("RGB", size, (40 * t, 10, 200)).save(folder / f"{t:05d}.{ending}")
    return folder


@pytest.fixture
def mask_path(tmp_path: Path) -> Path:
    write_mask(tmp_path / "first.png", labels(1, 2))
    return tmp_path / "first.png"


# the palette and masks in files


def test_the_palette_is_the_pascal_colour_map() -> None:
    assert PALETTE.shape == (256, 3) and PALETTE.dtype == np.uint8
    first = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128]]
    assert PALETTE[:7].tolist() == first
    assert PALETTE[[7, 8, 255]].tolist() == [[128, 128, 128], [64, 0, 0], [224, 224, 192]]
    assert len({tuple(colour) for colour in PALETTE.tolist()}) == 256


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_mask_survives_writing_and_reading(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(seed)
    ids = np.array([0, 255, *rng.choice(np.arange(1, 255), size=rng.integers(0, 20), replace=False)])
    mask = torch.from_numpy(rng.choice(ids, size=rng.integers(1, 30, 2)))
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    write_mask(path, mask)
    again = read_mask(path)
    assert again.dtype == torch.int64
    assert torch.equal(again, mask)


def test_a_written_mask_is_an_indexed_png_in_the_davis_colours(mask_path: Path) -> None:
    with Image.open(mask_path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P", (WIDTH, HEIGHT))
        assert image.convert("RGB").getpixel((3, 0)) == (128, 0, 0)
        assert image.convert("RGB").getpixel((3, 2)) == (0, 128, 0)


def test_grey_values_are_ids_and_black_and_white_is_object_one(tmp_path: Path) -> None:
    grey = save_grey(tmp_path / "grey.png", labels(7, 200).numpy())
    assert torch.equal(read_mask(grey), labels(7, 200))
    white = save_grey(tmp_path / "white.png", labels(255).numpy())
    assert torch.equal(read_mask(white), labels(1))
    Image.fromarray(labels(1).numpy() > 0).save(tmp_path / "bits.png")
    assert torch.equal(read_mask(tmp_path / "bits.png"), labels(1))


def test_a_binary_mask_merges_all_ids(tmp_path: Path, mask_path: Path) -> None:
    assert torch.equal(read_mask(mask_path, binary=True), labels(1, 1))
    white = save_grey(tmp_path / "white.png", labels(255).numpy())
    assert torch.equal(read_mask(white, binary=True), labels(1))


@pytest.mark.parametrize("mode", ["I;16"])
def test_a_mask_of_another_mode_is_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (WIDTH, HEIGHT)).save(tmp_path / "mask.png")
    assert told(read_mask, tmp_path / "mask.png") == (
        f"mask {tmp_path}/mask.png must be an indexed, an 8-bit grey or an RGB image, got one of mode {mode}"
    )


def test_a_mask_of_hundreds_of_ids_is_refused(tmp_path: Path) -> None:
    path = save_grey(tmp_path / "mask.png", np.arange(200).reshape(10, 20))
    expected = f"mask {path} holds 199 ids, expected at most 32: an interpolated mask (masks must be scaled by nearest"
    assert told(read_mask, path).startswith(expected)
    assert told(read_mask, path, binary=True).startswith(expected)


def test_a_softened_black_and_white_mask_is_refused(tmp_path: Path) -> None:
    soft = Image.fromarray(labels(255).numpy().astype(np.uint8)).resize((20, 15), Image.Resampling.BILINEAR)
    soft.save(tmp_path / "mask.png")
    assert re.search(
        r"mask\.png is grey and holds 255 \(white\) next to the ids [\d, …]+, expected ids 1 to 254, or black and",
        told(read_mask, tmp_path / "mask.png"),
    )


def test_many_objects_of_one_mask_are_welcome(tmp_path: Path) -> None:
    mask = torch.arange(33).repeat_interleave(4).reshape(11, 12)
    write_mask(tmp_path / "mask.png", mask)
    assert torch.equal(read_mask(tmp_path / "mask.png"), mask)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (torch.zeros(1, 4, 4, dtype=torch.int64), "a mask to write must have shape (H, W), got (1, 4, 4)"),
        (torch.zeros(4, 4), "a mask to write must hold integers 0 to 255, got torch.float32 0.0 to 0.0"),
        (torch.full((4, 4), 256), "a mask to write must hold integers 0 to 255, got torch.int64 256 to 256"),
        (torch.full((4, 4), -1), "a mask to write must hold integers 0 to 255, got torch.int64 -1 to -1"),
    ],
)
def test_what_does_not_fit_an_indexed_png_is_not_written(tmp_path: Path, mask: Tensor, sentence: str) -> None:
    assert told(write_mask, tmp_path / "mask.png", mask) == sentence
    assert not list(tmp_path.iterdir())


def test_writing_makes_missing_folders(tmp_path: Path) -> None:
    write_mask(tmp_path / "a/b/mask.png", labels(1))
    assert os.listdir(tmp_path / "a/b") == ["mask.png"]


def test_writing_where_a_file_stands_in_the_way_is_told(mask_path: Path) -> None:
    assert told(write_mask, mask_path / "mask.png", labels(1)).startswith(f"cannot write {mask_path}/mask.png: ")


def test_without_write_permission_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    path = tmp_path / "mask.png"
    assert told(write_mask, path, labels(1)) == f"cannot write {path}: Permission denied"
    assert not list(tmp_path.iterdir())


def test_a_missing_mask_is_told(tmp_path: Path) -> None:
    assert told(read_mask, tmp_path / "mask.png") == f"{tmp_path}/mask.png is missing: an image was expected"


def test_text_instead_of_a_png_is_told(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("object 1 is the bike\n")
    assert told(read_mask, tmp_path / "mask.png") == (
        f"{tmp_path}/mask.png cannot be read as an image: it is no PNG, JPEG, BMP, GIF, WebP or TIFF, "
        "or its beginning is damaged"
    )


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_mask_is_told(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "mask.png"
    write_mask(path, torch.randint(0, 5, (80, 90), generator=torch.Generator().manual_seed(0)))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert told(read_mask, path).startswith(f"{path} cannot be read as an image: ")


# folders


def test_a_folder_becomes_a_clip_that_reads_when_asked(tmp_path: Path, mask_path: Path) -> None:
    folder = save_frames(tmp_path / "boat", ending="png")
    clip = read_folder(folder, mask_path)
    assert (clip.name, len(clip), clip.object_ids) == ("boat", 4, (1, 2))
    assert clip.frames[2].dtype == torch.uint8
    assert clip.frames[2].shape == (3, HEIGHT, WIDTH)
    assert clip.frames[2][:, 0, 0].tolist() == [80, 10, 200]
    assert torch.equal(clip.frames[-1], clip.frames[3])
    assert [int(frame[0, 0, 0]) for frame in clip.frames] == [0, 40, 80, 120]
    assert len(clip.masks) == 1
    assert torch.equal(clip.masks[0], labels(1, 2))
    for masks in (mask_path, str(mask_path), [mask_path]):
        again = read_clip(str(folder), masks)
        assert (again.name, again.object_ids, len(again.masks)) == ("boat", (1, 2), 1)
    (folder / "00003.png").unlink()
    with pytest.raises(LabError, match=r"00003\.png is missing"):
        clip.frames[3]


def test_frames_are_ordered_by_number_and_other_files_passed_over(tmp_path: Path, mask_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for t in range(9, 12):
        Image.new("RGB", (WIDTH, HEIGHT), (t, 0, 0)).save(folder / f"take2_{t}.png")
    (folder / "notes.txt").write_text("-")
    (folder / "._take2_9.png").write_text("-")
    clip = read_folder(folder, mask_path)
    assert [int(clip.frames[t][0, 0, 0]) for t in range(len(clip))] == [9, 10, 11]


def test_ids_of_a_clip_need_not_be_contiguous(tmp_path: Path) -> None:
    write_mask(tmp_path / "first.png", labels(254, 3))
    assert read_folder(save_frames(tmp_path / "clip"), tmp_path / "first.png").object_ids == (3, 254)


def test_a_grey_frame_is_read_as_rgb(tmp_path: Path) -> None:
    path = save_grey(tmp_path / "0.png", np.full((HEIGHT, WIDTH), 9))
    assert torch.equal(LazyFrames([path])[0], torch.full((3, HEIGHT, WIDTH), 9, dtype=torch.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_read_upright_as_its_note_says(tmp_path: Path, orientation: int) -> None:
    upright = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    stored = {  # what the camera keeps of it, by the standard's table of where row 0 and column 0 lie
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    note = Image.Exif()
    note[ExifTags.Base.Orientation] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).convert("RGB").save(tmp_path / "photo.webp", lossless=True, exif=note)
    assert torch.equal(read_frame(tmp_path / "photo.webp")[0], torch.from_numpy(upright))
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "photo.jpg", quality=95, exif=note)
    assert (read_frame(tmp_path / "photo.jpg")[0].int() - torch.from_numpy(upright).int()).abs().max() < 60
    assert image_size(tmp_path / "photo.webp") == image_size(tmp_path / "photo.jpg") == (HEIGHT, WIDTH)


def test_a_missing_frame_number_is_told(tmp_path: Path, mask_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", count=7)
    (folder / "00004.jpg").unlink()
    assert told(read_folder, folder, mask_path) == (
        f"{folder} lacks number 4: 00003.jpg is followed by 00005.jpg, expected steps of 1"
    )


def test_a_longer_step_between_frames_must_be_said(tmp_path: Path, mask_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", count=7)
    for t in (1, 2, 4, 5):
        (folder / f"{t:05d}.jpg").unlink()
    assert "lacks number 1: 00000.jpg is followed by 00003.jpg" in told(read_folder, folder, mask_path)
    assert len(read_folder(folder, mask_path, step=3)) == 3


def test_a_number_that_is_there_twice_is_told(tmp_path: Path, mask_path: Path) -> None:
    folder = save_frames(save_frames(tmp_path / "clip"), ending="png", count=1)
    assert told(read_folder, folder, mask_path).startswith("number 0 is there twice: ")


def test_a_frame_without_a_number_is_told(tmp_path: Path, mask_path: Path) -> None:
    folder = save_frames(tmp_path / "clip")
    (folder / "00000.jpg").rename(folder / "cover.jpg")
    assert told(read_folder, folder, mask_path) == (
        f"{folder}/cover.jpg has no number: names such as 00000.jpg were expected"
    )


def test_a_folder_that_is_missing_or_without_frames_is_told(tmp_path: Path, mask_path: Path) -> None:
    assert told(read_folder, tmp_path / "no", mask_path) == (
        f"{tmp_path}/no is no folder: one with numbered images ({KINDS}) was expected"
    )
    (tmp_path / "empty").mkdir()
    assert told(read_folder, tmp_path / "empty", mask_path) == f"{tmp_path}/empty holds no {KINDS} image"
    for name in ("a.MOV", "b.mp4", "c.mp4", ".hidden.txt"):
        (tmp_path / "empty" / name).touch()
    assert told(read_folder, tmp_path / "empty", mask_path).endswith(" image, but .MOV, .mp4")


def test_one_frame_only_is_told(tmp_path: Path, mask_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", count=1)
    assert told(read_folder, folder, mask_path) == (
        "clip 'clip' has 1 frame, at least two are expected: the first carries the given mask"
    )


def test_a_mask_of_another_size_than_its_frame_is_told(tmp_path: Path, mask_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", size=(20, 10))
    assert told(read_folder, folder, mask_path) == f"mask {mask_path} is 16×12, its frame {folder}/00000.jpg is 20×10"


def test_frames_that_differ_in_size_are_told(tmp_path: Path, mask_path: Path) -> None:
    folder = save_frames(tmp_path / "clip")
    Image.new("RGB", (HEIGHT, WIDTH)).save(folder / "00002.jpg")
    assert told(read_folder, folder, mask_path) == (
        f"all frames of a clip must have one size: {folder}/00000.jpg is 16×12, {folder}/00002.jpg is 12×16"
    )


@pytest.mark.parametrize("void", [0, 255])
def test_an_empty_first_mask_is_told(tmp_path: Path, void: int) -> None:
    write_mask(tmp_path / "first.png", labels(void))
    folder = save_frames(tmp_path / "clip")
    assert told(read_folder, folder, tmp_path / "first.png") == (
        f"the first mask {tmp_path}/first.png is empty: at least one object was expected"
        + (": 255 is void in an indexed mask, save black and white as a grey image" if void else "")
    )


def test_a_photo_as_the_first_mask_is_told(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip")
    assert told(read_folder, folder, folder / "00000.jpg").endswith("expected a PNG, or another lossless image")


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.9])
def test_a_truncated_frame_is_told_by_its_name(tmp_path: Path, mask_path: Path, kept: float) -> None:
    folder = save_frames(tmp_path / "clip")
    content = (folder / "00002.jpg").read_bytes()
    (folder / "00002.jpg").write_bytes(content[: int(kept * len(content))])

    def read() -> None:
        clip = read_folder(folder, mask_path)
        assert clip.frames[1].shape == (3, HEIGHT, WIDTH)
        clip.frames[2]

    assert told(read).startswith(f"{folder}/00002.jpg cannot be read as an image: ")


# clips


def small_clip(masks: Tensor | None = None, ids: tuple[int, ...] = (1, 2), frames: int = 3) -> Clip:
    masks = torch.stack([labels(1, 2)] * frames) if masks is None else masks
    return Clip("small", torch.zeros(frames, 3, HEIGHT, WIDTH, dtype=torch.uint8), masks, ids)


def test_a_sound_clip_passes_and_stays_as_it_was() -> None:
    clip = small_clip()
    before = clip.masks.clone()
    check_clip(clip)
    check_clip(small_clip(clip.masks[:1]))
    assert torch.equal(clip.masks, before)


def test_an_object_may_leave_but_none_may_appear_later() -> None:
    check_clip(small_clip(torch.stack([labels(1, 2), labels(2), labels(0)])))
    late = small_clip(torch.stack([labels(1), labels(1), labels(1, 2, 9)]), ids=(1,))
    assert told(check_clip, late) == ("mask 2 of clip 'small' holds ids [2, 9] that the first mask lacks: expected [1]")
    check_clip(replace(late, object_ids=(1, 2, 9), starts=(0, 2, 2)))


@pytest.mark.parametrize(
    ("clip", "sentence"),
    [
        (small_clip(frames=1), "clip 'small' has 1 frame, at least two are expected: the first carries the given mask"),
        (
            small_clip(torch.stack([labels(1, 2)] * 2)),
            "clip 'small' has 3 frames, one mask or as many were expected, got 2",
        ),
        (small_clip(labels(1, 2)[None, :-2]), "mask 0 of clip 'small' is 16×10, its frame is 16×12"),
        (small_clip(labels(0)[None]), "the first mask of clip 'small' is empty: at least one object was expected"),
        (small_clip(labels(1)[None]), "the first mask of clip 'small' holds ids [1], its object ids are [1, 2]"),
        (
            small_clip(-labels(1, 2)[None]),
            "a mask must hold object ids, integers from 0, got torch.int64 from -2",
        ),
        (
            Clip("small", torch.zeros(3, 3, HEIGHT, WIDTH), labels(1)[None], (1,)),
            "frames of clip 'small' must be uint8 (3, H, W), got torch.float32 (3, 12, 16)",
        ),
    ],
    ids=["one frame", "masks missing", "size", "empty", "object ids", "negative", "float frames"],
)
def test_a_clip_that_does_not_fit_together_is_told(clip: Clip, sentence: str) -> None:
    assert told(check_clip, clip) == sentence


# videos


@pytest.fixture
def video_path(tmp_path: Path) -> Path:
    av = pytest.importorskip("av", reason="the extra [video] is not installed")
    path = tmp_path / "boat.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for t in range(5):
            pixels = np.full((HEIGHT, WIDTH, 3), (50 * t, 10, 200), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_video_becomes_a_clip_whose_frames_can_be_read_in_any_order(video_path: Path, mask_path: Path) -> None:
    clip = read_video(video_path, mask_path)
    assert (clip.name, len(clip), clip.object_ids) == ("boat", 5, (1, 2))
    assert torch.equal(clip.masks[0], labels(1, 2))
    for t in (0, 1, 4, 2, 2, -1, 0):
        assert clip.frames[t].dtype == torch.uint8
        assert clip.frames[t].shape == (3, HEIGHT, WIDTH)
        assert clip.frames[t][:, 5, 5].tolist() == [50 * (t % 5), 10, 200]
    with pytest.raises(IndexError):
        clip.frames[5]


@pytest.mark.parametrize(
    ("quarters", "matrix"), [(0, (1, 0, 0, 1)), (1, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (3, (0, -1, 1, 0))]
)
def test_a_film_that_says_how_it_lies_is_read_upright(tmp_path: Path, quarters: int, matrix: tuple[int, ...]) -> None:
    """A player turns it by so many quarters clockwise; the matrix is QuickTime's, of a track's header."""
    pytest.importorskip("av", reason="the extra [video] is not installed")
    lying = np.zeros((32, 48, 3), np.uint8)
    lying[:16, :24] = 250  # its upper left corner
    with open_movie(tmp_path / "film.mp4", kind="mp4") as append:
        for _ in range(3):
            append(lying)
    content = bytearray((tmp_path / "film.mp4").read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "film.mp4").write_bytes(content)
    frames = VideoFrames(tmp_path / "film.mp4")
    wanted = torch.from_numpy(np.rot90(lying, -quarters).copy()).permute(2, 0, 1)
    assert len(frames) == 3
    for frame in (frames[0], frames[2]):
        assert frame.shape == wanted.shape
        assert (frame.int() - wanted.int()).abs().float().mean() < 5  # of 255; the film is compressed


def test_a_films_name_is_a_file_whatever_stands_in_it(
    tmp_path: Path, mask_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg takes what stands before a colon for a protocol, and `%d` for a number."""
    pytest.importorskip("av", reason="the extra [video] is not installed")
    monkeypatch.chdir(tmp_path)
    name = Path("take:1 %03d {x} ä.mp4")
    with open_movie(name, kind="mp4") as append:
        for t in range(3):
            append(np.full((HEIGHT, WIDTH, 3), 60 * t, np.uint8))
    assert [path for path in tmp_path.iterdir() if path != mask_path] == [tmp_path / name]
    assert len(read_video(name, mask_path)) == 3


def test_a_gif_keeps_none_of_its_pictures_in_memory(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8)  # compressed, 10 KB or more
    gc.disable()
    tracemalloc.start()
    try:
        with open_movie(tmp_path / "film.gif", kind="gif") as append:
            append(picture)
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(30):
                append(picture)
            assert tracemalloc.get_traced_memory()[0] - before < 150_000
    finally:
        tracemalloc.stop()
        gc.enable()
    assert (tmp_path / "film.gif").stat().st_size > 300_000


def test_a_mask_of_another_size_than_the_video_is_told(video_path: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / "first.png", labels(1)[:, :-2])
    assert told(read_video, video_path, tmp_path / "first.png") == "mask 0 of clip 'boat' is 14×12, its frame is 16×12"


def test_a_damaged_or_missing_video_is_told(video_path: Path, mask_path: Path) -> None:
    video_path.write_bytes(b"not a video at all")
    assert told(read_video, video_path, mask_path).startswith(f"{video_path} cannot be read as a video: ")
    video_path.unlink()
    assert told(read_video, video_path, mask_path) == f"{video_path} is missing: a video was expected"


def test_without_pyav_the_extra_is_named(mask_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert told(read_video, tmp_path / "boat.mp4", mask_path) == (
        "reading a video file needs PyAV: pip install 'feelvos_lab[video]'"
    )


def test_an_object_has_one_channel_and_one_frame_that_gives_it() -> None:
    clip = Clip("late", torch.zeros(4, 3, 8, 8), torch.zeros(4, 8, 8), (2, 7), starts=(3, 1))
    assert [clip.channel(o) for o in (0, 2, 7)] == [0, 1, 2]
    assert [clip.start_of(o) for o in (0, 2, 7)] == [1, 3, 1]
    assert [clip.given_in(t) for t in range(4)] == [(), (7,), (), (2,)]
    assert Clip("all", clip.frames, clip.masks, (2, 7)).start_of(7) == 0
    with pytest.raises(LabError, match="object_id must be one of 0, 2, 7 in clip 'late', got 1"):
        clip.channel(1)
