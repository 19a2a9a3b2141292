"""Frames and masks as they come from cameras, editors and other programs."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from feelvos_lab.data import frames as frames_module
from feelvos_lab.data.frames import GivenMasks, LazyFrames, numbered_files
from feelvos_lab.data.images import image_size, overlay, read_frame, read_mask, write_mask
from feelvos_lab.data.readers import IMAGES, frame_names, read_clip
from feelvos_lab.errors import LabError

HEIGHT, WIDTH = 48, 64


def message(action, *args, **kwargs) -> str:
    with pytest.raises(LabError) as error:
        action(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def square(object_id: int = 1, left: int = 8) -> torch.Tensor:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    mask[10:30, left : left + 20] = object_id
    return mask


def save_frames(folder: Path, names: list[str]) -> Path:
    """Frame t is red 10·t."""
    folder.mkdir()
    for t, name in enumerate(names):
        Image.new("RGB", (WIDTH, HEIGHT), (10 * t, 0, 0)).save(folder / f"{name}.png")
    return folder


# names


@pytest.mark.parametrize(
    "names",
    [
        ["plant_2024-01-30", "plant_2024-01-31", "plant_2024-02-01", "plant_2024-02-02"],
        ["cam_20240101_22", "cam_20240101_23", "cam_20240102_0", "cam_20240102_1"],
        ["day2_9", "day2_10", "day10_1", "day10_2"],
        ["0007_v2", "0008_v2", "0009_v2"],
    ],
)
def test_names_whose_last_number_wraps_are_ordered_as_a_whole(names: list[str], tmp_path: Path) -> None:
    save_frames(tmp_path / "clip", names)
    write_mask(tmp_path / "mask.png", square())
    clip = read_clip(tmp_path / "clip", tmp_path / "mask.png")
    assert frame_names(clip) == names
    assert [int(clip.frames[t][0, 0, 0]) for t in range(len(clip))] == [10 * t for t in range(len(names))]
    late = read_clip(tmp_path / "clip", [str(tmp_path / "mask.png"), f"{names[2]}={tmp_path / 'mask.png'}"])
    assert set(late.masks.paths) == {0, 2}


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["plant_30-01-2024", "plant_31-01-2024", "plant_01-02-2024"], "expected the year first, then the month"),
        (["12_31_2024", "01_01_2025"], "expected the year first, then the month"),
        (["cam 30.12.2024 0001", "cam 01.01.2025 0002"], "expected the year first, then the month"),
        (["2024-01-16 12.59.58 PM", "2024-01-16 12.59.59 PM", "2024-01-16 1.00.00 PM"], "expected hours from 00 to 23"),
        (["cam 11-00-10AM", "cam 1-00-15pm"], "expected hours from 00 to 23"),
        (["cam_1159PM", "cam_1201PM", "cam_0100PM"], "expected hours from 00 to 23"),
        (["cam_9AM", "cam_10AM", "cam_1PM"], "expected hours from 00 to 23"),
        (["01-02-24", "30-01-24", "31-01-24"], "expected the year first, then the month"),  # two digits of a year
        (["cam_31122023_235959", "cam_01012024_000000"], "expected the year first, then the month"),
        (["cam_310124", "cam_010224"], "expected the year first, then the month"),
        (["cam_15Jan", "cam_14Feb"], "expected the year first, then the month"),
        (["2024-Jan-31", "2024-Feb-01"], "expected the year first, then the month"),
        (["01-02-2024", "02-01-2024"], "expected the year first, then the month"),  # in America in order, or not
        (["t_0.25", "t_0.5", "t_0.75"], "expected as many digits after the point in each name"),
        (["f_-3", "f_-2", "f_-1"], "f_-1 has a minus sign, expected none"),
    ],
)
def test_dates_and_clocks_whose_names_are_not_in_their_order_are_rejected(
    names: list[str], reason: str, tmp_path: Path
) -> None:
    folder = save_frames(tmp_path / "clip", names)
    assert reason in message(numbered_files, folder, endings=IMAGES, step=None)
    assert reason in message(numbered_files, folder, endings=IMAGES, step="any")


@pytest.mark.parametrize(
    "names",
    [
        ["plant_30-01-2024", "plant_31-01-2024"],  # one month
        ["cam 30-01-2024 0001", "cam 30-01-2024 0002"],
        ["cam 01.00.00 PM", "cam 01.00.01 PM", "cam 02.00.00 PM"],
        ["clip-1-2-2000", "clip-1-2-2001"],
        ["a_1_1_0001", "a_1_2_0002"],
        ["2024-12-31 23.59.59", "2025-01-01 00.00.00"],
        ["01-01-2024", "02-02-2024"],  # in order, however they are read
        ["0001 30.12.2024", "0002 01.01.2025"],  # what stands before counts first
        ["24-01-30", "24-01-31", "24-02-01"],  # the year first
        ["24-01-30", "24-02-12"],  # the day first would be 2030 and 2012
        ["240131", "240201"],
        ["20240130", "20240131", "20240201"],
        ["cam20240131235958", "cam20240131235959", "cam20240201000000"],
        ["cam_202402282350", "cam_202402290000", "cam_202402290010"],
        ["20240131_095959", "20240131_100000", "20240131_100001"],
        [f"{120105 + t}" for t in range(20)],  # numbers that could be dates
        ["20240131_235958", "20240131_235959", "20240201_000000"],
        ["9.58.00 AM", "9.59.00 AM", "10.00.00 AM"],
        ["decoder_9", "decoder_10"],
        ["v1.9", "v1.10"],
        ["t_9.5", "t_10.0"],
        ["f-9", "f-10"],
    ],
)
def test_dates_and_clocks_whose_names_are_in_their_order_are_read(names: list[str], tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", names)
    assert [path.stem for path in numbered_files(folder, endings=IMAGES, step=None).values()] == names


def test_one_number_that_ascends_keeps_its_gap_check(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", ["take2_0007", "take2_0008", "take2_0010"])
    assert "lacks number 9" in message(numbered_files, folder, endings=IMAGES, step=1)
    folder = save_frames(tmp_path / "versions", ["7_v2", "8_v2", "10_v2"])
    assert "lacks number 9" in message(numbered_files, folder, endings=IMAGES, step=None)
    assert list(numbered_files(folder, endings=IMAGES, step="any")) == [7, 8, 10]


@pytest.mark.parametrize(
    "names", [["20240000", "20240001", "20240003"], ["20240131_000058", "20240131_000060", "20240131_000061"]]
)
def test_numbers_that_are_no_times_keep_their_gap_check(names: list[str], tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", names)
    assert "lacks number" in message(numbered_files, folder, endings=IMAGES, step=None)


def test_names_without_one_order_are_rejected(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", ["left_0", "left_1", "right_0", "right_1"])
    assert message(numbered_files, folder, endings=IMAGES, step=None) == (
        f"{folder} cannot be ordered by number: right_0.png follows left_1.png by name, "
        "expected names that differ in one ascending number"
    )
    folder = save_frames(tmp_path / "dates", ["01-31", "02-01"])
    assert "cannot be ordered by number" in message(numbered_files, folder, endings=IMAGES, step=1)


# orientation


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores of a picture, by the EXIF standard's table of where row 0 and column 0 lie."""
    turned = upright.swapaxes(0, 1)
    return np.ascontiguousarray(
        {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: turned,
            6: turned[::-1],
            7: turned[::-1, ::-1],
            8: turned[:, ::-1],
        }[orientation]
    )


def add_late_exif(path: Path, exif: bytes) -> None:
    """As some programs do, after the pixels."""
    content = path.read_bytes()
    chunk = b"eXIf" + exif
    end = content.rindex(b"IEND") - 4
    added = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content[:end] + added + content[end:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "mpo", "png", "late png", "webp", "tif"])
def test_a_picture_is_read_as_a_viewer_shows_it(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    upright[: HEIGHT // 2, : WIDTH // 2], upright[: HEIGHT // 2, WIDTH // 2 :] = 250, (250, 0, 0)
    image = Image.fromarray(stored(upright, orientation))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"0.{kind.split()[-1].replace('mpo', 'jpg')}"
    match kind:
        case "mpo":
            image.save(path, format="MPO", save_all=True, append_images=[image], exif=exif, quality=95)
            with Image.open(path) as opened:
                assert opened.format == "MPO"
        case "late png":
            image.save(path)
            add_late_exif(path, exif.tobytes().removeprefix(b"Exif\0\0"))
        case "webp":
            image.save(path, lossless=True, exif=exif)
        case "jpg":
            image.save(path, exif=exif, quality=95)
        case _:
            image.save(path, exif=exif)
    assert image_size(path) == (HEIGHT, WIDTH)
    frame = read_frame(path).permute(1, 2, 0).numpy()
    assert np.abs(frame.astype(int) - upright).mean() < 4  # jpg is lossy


def test_a_png_cut_short_is_found_by_its_chunks_before_it_is_reached(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", ["0", "1", "2"])
    content = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(content[:-14])
    paths = [folder / f"{t}.png" for t in range(3)]
    assert message(LazyFrames, paths).startswith(f"{folder}/2.png cannot be read as an image: broken PNG file")


# masks in folders, and reasons


def test_masks_of_a_folder_may_end_in_capitals(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", ["0", "1", "2"])
    (tmp_path / "masks").mkdir()
    for t in (0, 2):
        write_mask(tmp_path / "mask.png", square(t + 1))
        (tmp_path / "mask.png").rename(tmp_path / f"masks/{t}.PNG")
    assert read_clip(folder, tmp_path / "masks").object_ids == (1, 3)


def test_an_indexed_mask_of_0_and_255_is_empty_because_255_is_void(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", ["0", "1"])
    write_mask(tmp_path / "mask.png", square(255))
    for masks in (tmp_path / "mask.png", [f"1={tmp_path / 'mask.png'}"]):
        assert message(read_clip, folder, masks).endswith(
            ": 255 is void in an indexed mask, save black and white as a grey image"
        )


def test_more_than_32_ids_are_called_interpolated_only_where_they_look_so(tmp_path: Path) -> None:
    objects = np.kron(np.arange(42).reshape(6, 7), np.ones((6, 6))).astype(np.uint8)
    for name, values, soft in (("objects", objects, False), ("gradient", np.tile(np.arange(64), (48, 1)), True)):
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}.png")
        assert ("interpolated" in message(read_mask, tmp_path / f"{name}.png")) is soft


@pytest.mark.parametrize("name", ["mask.npy", "mask.json"])
def test_a_mask_that_is_no_image_is_told_which_formats_are_read(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "mask.npy", square().numpy())
    (tmp_path / "mask.json").write_text("{}")
    assert "it is no PNG, JPEG, BMP, GIF, WebP or TIFF" in message(read_mask, tmp_path / name)


def test_sizes_are_width_times_height() -> None:
    assert "size 64×48, got labels of 48×64" in message(
        overlay, torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8), torch.zeros(WIDTH, HEIGHT, dtype=torch.int64)
    )


def test_a_frame_without_a_mask_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mask(tmp_path / "mask.png", square())
    masks = GivenMasks({0: tmp_path / "mask.png"}, length=400, size=(HEIGHT, WIDTH), height=24)
    read: list[Path] = []

    def counted(path: Path, **options: object) -> torch.Tensor:
        read.append(path)
        return read_mask(path, **options)

    monkeypatch.setattr(frames_module, "read_mask", counted)
    shapes = {masks[t].shape for t in range(400)}
    assert shapes == {(24, 32)} and len(read) == 1
    assert masks[1].dtype == masks[0].dtype and (masks[1] == 255).all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["mask.png", "clip/1.png"])
def test_a_named_pipe_is_no_file_to_wait_for(tmp_path: Path, name: str) -> None:
    folder = save_frames(tmp_path / "clip", ["0", "1"])
    write_mask(tmp_path / "mask.png", square())
    (tmp_path / "linked.png").symlink_to(tmp_path / "mask.png")
    assert read_clip(folder, tmp_path / "linked.png").object_ids == (1,)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    expected = f"{tmp_path}/{name} is no regular file: an image was expected"
    assert message(read_clip, folder, tmp_path / "mask.png") == expected


def test_masks_of_an_image_folder_may_begin_with_frame_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Their names are those of the frames, so there is nothing to doubt."""
    folder = save_frames(tmp_path / "clip", ["00000", "00001"])
    write_mask(tmp_path / "masks/00001.png", square())
    with caplog.at_level(logging.WARNING):
        assert read_clip(folder, tmp_path / "masks").starts == (1,)
    assert not caplog.records
