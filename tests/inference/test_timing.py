"""The overlay at the rate of its video, with its sound: pictures and sound stay together, whatever the file holds."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from feelvos_lab.cli import main as cli
from feelvos_lab.data.images import write_mask
from feelvos_lab.data.video import Timing, VideoFrames, open_movie
from feelvos_lab.errors import LabError
from feelvos_lab.inference.part import read_part
from feelvos_lab.inference.timing import timing_of

av = pytest.importorskip("av", reason="the extra [video] is not installed")

FRAMES, RATE, HERTZ = 20, 10, 16000

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}

pytestmark = pytest.mark.usefixtures("one_thread")


def record(
    path: Path, *, sound: str | None, times: list[float] | None = None, codec: str = "mpeg4", channels: int = 1
) -> Path:
    """Twenty grey frames, ten a second unless times are given, and two seconds: one silent, one of a tone."""
    times = times or [t / RATE for t in range(FRAMES)]
    hertz = 8000 if sound == "libopencore_amrnb" else HERTZ
    with av.open(str(path), "w") as container:
        picture = container.add_stream(codec, rate=RATE)
        picture.width, picture.height = 48, 32
        picture.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        picture.codec_context.time_base = Fraction(1, 1000)
        heard = container.add_stream(sound, rate=hertz, layout=LAYOUTS[channels]) if sound else None
        if sound == "libopencore_amrnb":
            heard.bit_rate = 12200
        for t, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 10 * t, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if heard:
            seconds = np.arange(2 * hertz) / hertz
            wave = np.where(seconds < 1, 0.0, 0.5 * np.sin(2 * np.pi * 500 * seconds))
            samples = (32767 * wave).astype(np.int16).repeat(channels)[None]  # interleaved
            for start in range(0, 2 * hertz, 1000):
                part = np.ascontiguousarray(samples[:, start * channels : (start + 1000) * channels])
                piece = av.AudioFrame.from_ndarray(part, format="s16", layout=LAYOUTS[channels])
                piece.sample_rate, piece.pts, piece.time_base = hertz, start, Fraction(1, hertz)
                container.mux(heard.encode(piece))
            container.mux(heard.encode(None))
    return path


def written(path: Path) -> tuple[list[float], np.ndarray | None, str | None]:
    """The times of a video's frames, the loudness of each 0.1 s of its sound, and the sound's codec."""
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
        if not container.streams.audio:
            return times, None, None
        container.seek(0)
        name = container.streams.audio[0].codec_context.name
        loud: dict[int, list[float]] = {}
        for frame in container.decode(audio=0):
            values = np.abs(frame.to_ndarray().astype(np.float64)) / (32768 if "s16" in frame.format.name else 1)
            count = frame.samples
            each = values.mean(0) if frame.format.is_planar else values.reshape(count, -1).mean(1)
            for i, value in enumerate(each):
                loud.setdefault(int(10 * (frame.time + i / frame.sample_rate) + 1e-6), []).append(value)
        return times, np.array([np.mean(loud.get(t, [0.0])) for t in range(max(loud) + 1)]), name


def overlaid(tmp_path: Path, checkpoint: Path, video: Path, *options: str) -> Path:
    write_mask(tmp_path / "mask.png", torch.eye(32, 48, dtype=torch.int64))
    command = ["segment", str(video), "--mask", str(tmp_path / "mask.png"), "--checkpoint", str(checkpoint)]
    with pytest.raises(SystemExit) as left:
        cli.main([*command, "--out", str(tmp_path / "out"), *options])
    assert left.value.code == 0
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("name", "sound", "codec", "channels", "copied"),
    [
        ("a.mp4", "aac", "mpeg4", 1, True),
        ("a.mov", "pcm_s16le", "mpeg4", 1, False),
        ("a.mkv", "libopus", "mpeg4", 1, True),
        ("a.mkv", "flac", "ffv1", 6, False),
        ("a.avi", "mp2", "mpeg4", 1, False),
        ("a.webm", "libopus", "libvpx", 2, True),
        ("a.3gp", "libopencore_amrnb", "mpeg4", 1, False),
    ],
)
def test_the_overlay_has_the_times_and_the_sound_of_its_video(
    tmp_path: Path, checkpoint: Path, name: str, sound: str, codec: str, channels: int, copied: bool
) -> None:
    if sound not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {sound}")
    video = record(tmp_path / name, sound=sound, codec=codec, channels=channels)
    times, loud, kind = written(overlaid(tmp_path, checkpoint, video, "--rate", "own") / "overlay.mp4")
    assert times == pytest.approx([t / RATE for t in range(FRAMES)], abs=0.002)
    assert loud[:9].max() < 0.02 and loud[11:19].min() > 0.2  # the tone begins at 1 s
    assert (kind == "aac") == (not copied or sound == "aac")


def test_a_rate_that_changes_is_kept(tmp_path: Path, checkpoint: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.2, 0.7, 0.75, 1.5]
    video = record(tmp_path / "a.mkv", sound=None, times=times, codec="ffv1")
    out = overlaid(tmp_path, checkpoint, video, "--rate", "own")
    assert written(out / "overlay.mp4")[:2] == (pytest.approx(times, abs=0.002), None)


def test_a_part_begins_at_its_first_frame_and_ends_with_its_last(tmp_path: Path, checkpoint: Path) -> None:
    video = record(tmp_path / "a.mp4", sound="aac")
    part = ("--from", "8", "--to", "14", "--every", "2")
    times, loud, _ = written(overlaid(tmp_path, checkpoint, video, *part, "--rate", "own") / "overlay.mp4")
    assert times == pytest.approx([0.0, 0.2, 0.4, 0.6], abs=0.002)
    assert loud[:1].max() < 0.02 and loud[3:7].min() > 0.2 and 8 <= len(loud) <= 10  # from 0.8 to 1.6 s


def test_a_gif_has_the_rate_of_its_video(tmp_path: Path, checkpoint: Path) -> None:
    video = record(tmp_path / "a.mkv", sound=None, codec="ffv1", times=[t / 30 for t in range(FRAMES)])
    with Image.open(overlaid(tmp_path, checkpoint, video, "--overlay", "gif", "--rate", "own") / "overlay.gif") as gif:
        delays = []
        for t in range(gif.n_frames):
            gif.seek(t)
            delays.append(gif.info["duration"])
    assert set(delays) == {30, 40} and sum(delays) == pytest.approx(1000 * FRAMES / 30, abs=10)


def test_a_gif_shows_a_picture_as_long_as_it_can(tmp_path: Path) -> None:
    pictures = [np.full((4, 4, 3), 80 * t, np.uint8) for t in range(3)]
    with open_movie(tmp_path / "a.gif", kind="gif", timing=Timing([0, 700, 700.001, math.inf])) as append:
        for picture in pictures:
            append(picture)
    with Image.open(tmp_path / "a.gif") as gif:
        delays = [(gif.seek(t), gif.info["duration"])[1] for t in range(3)]
    assert delays == [655_350, 20, 20]


def test_frames_have_the_rate_that_is_given(tmp_path: Path, checkpoint: Path) -> None:
    for t in range(4):
        (tmp_path / "frames").mkdir(exist_ok=True)
        Image.new("RGB", (48, 32)).save(tmp_path / f"frames/{t:05d}.png")
    out = overlaid(tmp_path, checkpoint, tmp_path / "frames", "--rate", "30000/1001")
    times, sound, _ = written(out / "overlay.mp4")
    assert times == pytest.approx([1001 * t / 30000 for t in range(4)], abs=0.001) and sound is None
    with av.open(str(out / "overlay.mp4")) as container:
        assert float(container.duration / av.time_base) == pytest.approx(4 * 1001 / 30000, abs=0.002)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--rate own", "clip 'frames' is no video file, so it has no rate of its own: give frames per second"),
        ("--rate fast", "--rate must be 'own' or frames per second, such as 25 or 30000/1001, got 'fast'"),
        ("--rate 0", "the rate must be 'own' or 0.01 to 1000 frames per second, got 0.0"),
        ("--rate 1e-300 --overlay gif", "the rate must be 'own' or 0.01 to 1000 frames per second, got 1e-300"),
        ("--rate 1/0", "--rate must be 'own' or frames per second, such as 25 or 30000/1001, got '1/0'"),
        ("--rate 1e9", "the rate must be 'own' or 0.01 to 1000 frames per second, got 1000000000.0"),
        ("--rate 25 --overlay none", "--rate 25 is of the overlay, which --overlay none leaves out"),
    ],
)
def test_a_rate_that_cannot_be_is_rejected(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], options: str, reason: str
) -> None:
    (tmp_path / "frames").mkdir()
    for t in range(3):
        Image.new("RGB", (48, 32)).save(tmp_path / f"frames/{t:05d}.png")
    write_mask(tmp_path / "mask.png", torch.eye(32, 48, dtype=torch.int64))
    command = [
        "segment",
        str(tmp_path / "frames"),
        "--mask",
        str(tmp_path / "mask.png"),
        "--out",
        str(tmp_path / "out"),
    ]
    with pytest.raises(SystemExit):
        cli.main([*command, "--checkpoint", str(checkpoint), *options.split()])
    assert capsys.readouterr().err == f"feelvos-lab: {reason}\n"
    assert not (tmp_path / "out").exists()


def test_frames_of_one_time_are_shown_one_after_the_other(tmp_path: Path) -> None:
    from feelvos_lab.data.video import Timing

    with open_movie(tmp_path / "a.mp4", kind="mp4", timing=Timing([0.0, 0.0, 0.0, 0.1, 0.2])) as append:
        for t in range(4):
            append(np.full((32, 48, 3), 10 * t, np.uint8))
    assert len(written(tmp_path / "a.mp4")[0]) == 4


def test_a_file_without_times_has_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = record(tmp_path / "a.mp4", sound=None)
    write_mask(tmp_path / "mask.png", torch.eye(32, 48, dtype=torch.int64))
    clip, _ = read_part(video, [str(tmp_path / "mask.png")])
    assert isinstance(clip.frames.source, VideoFrames)
    clip.frames.source.times = None
    with pytest.raises(LabError, match="does not say when its frames are shown"):
        timing_of(clip, "own")
