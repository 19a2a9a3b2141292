"""Video files as phones, editors and recorders write them."""

from __future__ import annotations

import logging
import os
import re
import struct
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from test_field_inputs import message, stored

from feelvos_lab.data.containers import breaks_off
from feelvos_lab.data.images import write_mask
from feelvos_lab.data.readers import read_clip
from feelvos_lab.data.video import VideoFrames
from feelvos_lab.inference.output import segment

av = pytest.importorskip("av", reason="the extra [video] is not installed")

HEIGHT, WIDTH, FRAMES = 32, 48, 10

# (a, b, c, d) by the EXIF orientation that shows the same picture
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def picture() -> np.ndarray:
    """One quadrant bright, one red, the others black."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[: HEIGHT // 2, : WIDTH // 2], pixels[: HEIGHT // 2, WIDTH // 2 :] = 250, (250, 0, 0)
    return pixels


def save_video(path: Path, pixels: np.ndarray | None = None, *, codec: str = "mpeg4", stills: int = 0) -> Path:
    """Ten frames, of rising brightness unless `pixels` are given; `stills`: tracks of one frame before."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        shape = (HEIGHT, WIDTH, 3) if pixels is None else pixels.shape
        streams = [container.add_stream(codec, rate=10) for _ in range(stills + 1)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = *shape[:2], "bgr0" if codec == "ffv1" else "yuv420p"
        for stream in streams:
            for t in range(FRAMES if stream is streams[-1] else 1):
                shown = np.full(shape, 20 * t, np.uint8) if pixels is None else pixels
                frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
                frame.pts = t
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


def edited(path: Path, mark: bytes, offset: int, new: bytes) -> Path:
    """Overwrite bytes at an offset from the end of a mark."""
    content = bytearray(path.read_bytes())
    place = content.index(mark) + len(mark) + offset
    content[place : place + len(new)] = new
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_video_is_shown_as_its_display_matrix_says(tmp_path: Path, orientation: int) -> None:
    path = save_video(tmp_path / "a.mp4", stored(picture(), orientation))
    a, b, c, d = (value << 16 for value in MATRICES[orientation])
    edited(path, b"tkhd", 40, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
    frame = VideoFrames(path)[3].permute(1, 2, 0).numpy()
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(frame.astype(int) - picture()).mean() < 8  # the video is lossy


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_matrix_undoes_what_the_camera_did(orientation: int) -> None:
    from feelvos_lab.data.video import is_right_angled, upright

    scaled = tuple(3 * value for value in MATRICES[orientation])
    lying = torch.from_numpy(stored(picture(), orientation))
    assert torch.equal(upright(lying, scaled), torch.from_numpy(picture()))
    assert is_right_angled(scaled) and not is_right_angled((1, 1, -1, 1))


def test_a_video_turned_by_another_angle_is_rejected(tmp_path: Path) -> None:
    matrix = struct.pack(">9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
    path = edited(save_video(tmp_path / "a.mp4"), b"tkhd", 40, matrix)
    assert "must be rotated by a multiple of 90°, got" in message(VideoFrames, path)


def test_a_trimmed_video_has_the_frames_that_its_edit_list_shows(tmp_path: Path) -> None:
    path = save_video(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == FRAMES
        scale = 1000  # of the movie header
    edited(path, b"elst", 8, struct.pack(">I", 4 * scale // 10))  # show 0.4 of 1 s
    assert 4 <= len(VideoFrames(path)) < FRAMES


def test_a_video_that_says_more_than_it_has_is_read(tmp_path: Path) -> None:
    avi = edited(save_video(tmp_path / "a.avi"), b"strh", 4 + 32, struct.pack("<I", FRAMES + 7))
    with av.open(str(avi)) as container:
        assert container.streams.video[0].frames == FRAMES + 7
    mkv = edited(save_video(tmp_path / "a.mkv", codec="ffv1"), b"\x44\x89\x88", 0, struct.pack(">d", 9000.0))
    with av.open(str(mkv)) as container:
        assert container.duration == 9_000_000
    assert len(VideoFrames(avi)) == len(VideoFrames(mkv)) == FRAMES


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi", "a.gif"])
@pytest.mark.parametrize("cut", [0.95, 0.7])
def test_a_video_that_breaks_off_is_rejected(tmp_path: Path, name: str, cut: float) -> None:
    path = tmp_path / name
    if name == "a.gif":
        noise = np.random.default_rng(0).integers(0, 256, (FRAMES, HEIGHT, WIDTH), dtype=np.uint8)
        first, *others = map(Image.fromarray, noise)
        first.save(path, save_all=True, append_images=others)
    else:
        save_video(path)
    assert len(VideoFrames(path)) == FRAMES
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    told = message(VideoFrames, path)
    assert "is damaged or truncated" in told or (name in ("a.mov", "a.avi") and "cannot be read as a video" in told)


def save_recording(path: Path, **options: str) -> Path:
    """Thirty frames, written as they come: no size of the whole is known when the file begins."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "5", "tune": "zerolatency"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for t in range(30):
            noise = np.random.default_rng(t).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_fragmented_video_that_breaks_off_is_rejected_wherever_it_does(tmp_path: Path) -> None:
    path = save_recording(tmp_path / "a.mp4", movflags="frag_keyframe+empty_moov")
    assert len(VideoFrames(path)) == 30
    content = path.read_bytes()
    fragment = content.rindex(b"moof") - 4
    frames = content.rindex(b"mdat") - 4
    for cut in (fragment + 5, fragment + 40, frames, frames + 7, frames + 20):  # in a head, a box, and between two
        path.write_bytes(content[:cut])
        assert breaks_off(path, "mov,mp4")
        assert re.search("is damaged or truncated|cannot be read as a video", message(VideoFrames, path))
    path.write_bytes(content + bytes(4))  # as QuickTime may end a file
    assert len(VideoFrames(path)) == 30


def test_a_live_recording_that_breaks_off_is_rejected(tmp_path: Path) -> None:
    path = save_recording(tmp_path / "a.mkv", live="1")
    content = path.read_bytes()
    place = content.index(b"\x18\x53\x80\x67") + 4
    assert content[place] & 0x0F == 15 or content[place : place + 8] == b"\x01" + 7 * b"\xff"  # of unknown size
    assert len(VideoFrames(path)) == 30
    path.write_bytes(content[: int(0.7 * len(content))])
    assert "is damaged or truncated: it breaks off" in message(VideoFrames, path)


def test_a_long_avi_that_breaks_off_in_its_second_part_is_rejected(tmp_path: Path) -> None:
    path = save_video(tmp_path / "a.avi")
    content = path.read_bytes()
    part = b"RIFF" + struct.pack("<I", 400) + b"AVIX"
    path.write_bytes(content + part + bytes(396))
    assert len(VideoFrames(path)) == FRAMES
    path.write_bytes(content + part + bytes(390))
    assert "is damaged or truncated: it breaks off" in message(VideoFrames, path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_with_exif_in_a_video_are_shown_as_it_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = orientation, "a camera"
    content = BytesIO()
    Image.fromarray(stored(picture(), orientation)).save(content, format="JPEG", exif=exif, quality=95)
    (tmp_path / "a.mjpeg").write_bytes(3 * content.getvalue())
    frame = VideoFrames(tmp_path / "a.mjpeg")[2].permute(1, 2, 0).numpy()
    assert np.abs(frame.astype(int) - picture()).mean() < 8


def test_a_text_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("clip-1\nclip-2\n" * 40)
    assert message(VideoFrames, tmp_path / "a.txt") == f"{tmp_path}/a.txt holds no video stream"


@pytest.mark.parametrize("delays", [{}, {"duration": 0}, {"duration": 40}])
def test_a_gif_is_read_with_or_without_delays(tmp_path: Path, delays: dict[str, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, HEIGHT, WIDTH), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, **delays)
    frames = VideoFrames(tmp_path / "a.gif")
    assert np.array_equal(np.stack([frames[t][0].numpy() for t in range(len(frames))]), noise)
    content = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(content[:-1])  # the closing byte alone is missing
    assert len(VideoFrames(tmp_path / "a.gif")) == 5


def test_a_still_picture_before_the_video_is_passed_over(tmp_path: Path) -> None:
    path = save_video(tmp_path / "a.mp4", stills=1)
    with av.open(str(path)) as container:
        assert [stream.frames for stream in container.streams.video] == [1, FRAMES]
    frames = VideoFrames(path)
    assert len(frames) == FRAMES and frames[9].float().mean() > 150
    cover, real = (SimpleNamespace(disposition=flag, frames=0) for flag in (1024, 1))
    assert frames._moving([cover, real]) is real and frames._moving([cover]) is cover


def test_a_size_that_changes_midway_is_told_when_the_video_is_opened(tmp_path: Path) -> None:
    content = BytesIO()
    for size in ((48, 32), (48, 32), (64, 32)):
        Image.new("RGB", size, (90, 9, 9)).save(content, format="JPEG")
    (tmp_path / "a.mjpeg").write_bytes(content.getvalue())
    told = message(VideoFrames, tmp_path / "a.mjpeg")
    assert "must have one size: " in told and "begins with 48×32 and has 64×32 at" in told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_no_video_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert message(VideoFrames, tmp_path / "a.mp4") == f"{tmp_path}/a.mp4 is no regular file: a video was expected"


def test_masks_of_a_video_that_are_numbered_from_one_raise_doubt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_video(tmp_path / "a.mp4")
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    mask[4:20, 4:20] = 1
    write_mask(tmp_path / "masks/00001.png", mask)
    with caplog.at_level(logging.WARNING):
        assert read_clip(path, tmp_path / "masks").starts == (1,)
    assert len(caplog.records) == 1 and "if the masks are numbered from 1, all are one frame late" in caplog.text
    write_mask(tmp_path / "masks/00010.png", mask)
    told = message(read_clip, path, tmp_path / "masks")
    assert "is for frame '00010', expected one of 00000 to 00009: frames are numbered from 00000" in told
    caplog.clear()
    (tmp_path / "masks/00010.png").rename(tmp_path / "masks/00000.png")
    assert read_clip(path, tmp_path / "masks").starts == (0,) and not caplog.records


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_video_is_segmented_as_a_player_shows_it(tmp_path: Path, checkpoint: Path, orientation: int) -> None:
    """Its masks are those of its upright frames, pixel by pixel: the codec loses nothing."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    frames = [np.roll(first, (t, 2 * t), axis=(0, 1)) for t in range(4)]
    with av.open(str(tmp_path / "phone.mov"), "w") as container:
        stream = container.add_stream("qtrle", rate=10)
        turned = [np.ascontiguousarray(stored(frame, orientation)) for frame in frames]
        stream.height, stream.width, stream.pix_fmt = *turned[0].shape[:2], "rgb24"
        for pixels in turned:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    a, b, c, d = (value << 16 for value in MATRICES[orientation])
    edited(tmp_path / "phone.mov", b"tkhd", 40, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
    (tmp_path / "upright").mkdir()
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"upright/{t:05d}.png")
    labels = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    labels[4:20, 6:30] = 1
    write_mask(tmp_path / "mask.png", labels)
    found = []
    for name in ("phone.mov", "upright"):
        out = segment(
            tmp_path / name, tmp_path / "mask.png", tmp_path / f"{name}-masks", model=checkpoint, movie="none"
        )
        found.append([path.read_bytes() for path in sorted(out.glob("*.png"))])
    assert len(found[0]) == 4 and found[0] == found[1] and len(set(found[0])) > 1
