"""Video files: read frame by frame (PyAV), and written frame by frame as mp4 (PyAV) or GIF (Pillow)."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import GifImagePlugin, Image
from torch import Tensor

from feelvos_lab.data.containers import breaks_off, gif_with_delays
from feelvos_lab.data.images import MAX_PIXELS, failure_reason, require_file, size_text
from feelvos_lab.data.sound import Sound
from feelvos_lab.errors import LabError

if TYPE_CHECKING:
    import av

FRAMES_PER_SECOND = 12  # of a video that is written: slow enough to look at the masks

TICKS = 90_000  # of the clock of an mp4 that is written, in a second

LONGEST_DELAY = 65_535  # hundredths of a second; a GIF has two bytes for it

GIF_WIDTH = 480  # pixels; wider frames are downscaled

_TEXT = ("tty", "bin", "xbin", "adf", "idf")  # FFmpeg's formats that show text as pictures


class VideoFrames:
    """A video file as frames: `frames[t]` decodes up to frame t, uint8 RGB (3, H, W).

    Frames are rotated and mirrored as the file's display matrix says, so they are read as a player shows them. Reading
    in order decodes each frame once and keeps one in memory; reading an earlier frame decodes again from the start.
    Threads may share it. All frames are decoded once when the file is opened: those are counted, whatever its header
    says. `times` holds when each is shown, in seconds.

    Raises:
        LabError: PyAV is missing, or the file is missing, breaks off, is damaged, too large or holds no video, or its
            frames differ in size.
    """

    def __init__(self, path: Path | str) -> None:
        self._av = _pyav("reading a video file")
        self.path = Path(path)
        self._decoding = Lock()
        times = [frame.time for frame in self._decoded()]  # the count in the container's header is often wrong
        self._length = len(times)
        if not self._length:
            raise LabError(f"{path} holds no video frame")
        self.times: list[float] | None = None if None in times else times  # None: the file does not say when
        self._rewind()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        if not -self._length <= index < self._length:
            raise IndexError(f"frame {index} of {self._length}")
        index %= self._length
        with self._decoding:  # one position and one converter of pixels for all threads
            if index < self._position:
                self._rewind()
            while self._position < index:
                self._frame = self._next()
                self._position += 1
            pixels, matrix = torch.from_numpy(self._frame.to_ndarray(format="rgb24")), _display_matrix(self._frame)
        return upright(pixels, matrix).permute(2, 0, 1).contiguous()  # (3, H, W)

    def _rewind(self) -> None:
        self._stream, self._position = self._decoded(), 0
        self._frame = self._next()

    def _next(self) -> av.VideoFrame:
        for frame in self._stream:
            return frame
        raise LabError(f"{self.path} has fewer frames than the {self._length} it had when it was opened")

    def _decoded(self) -> Iterator[av.VideoFrame]:
        try:
            # A playlist may name other files or addresses: allow no protocol but local files.
            require_file(self.path, "a video")
            gif = gif_with_delays(self.path)
            source = BytesIO(gif) if gif else str(self.path.absolute())
            with self._av.open(source, options={"protocol_whitelist": "file"}) as container:
                if not container.streams.video or container.format.name in _TEXT:
                    raise LabError(f"{self.path} holds no video stream")
                if breaks_off(self.path, container.format.name):
                    raise LabError(f"{self.path} is damaged or truncated: it breaks off before the end of its data")
                stream = self._moving(container.streams.video)
                if stream.codec_context is None:
                    raise LabError(f"{self.path} holds a video stream that no decoder knows")
                # FFmpeg's threads can deadlock: one that logs an error waits for the GIL, which is held by the thread
                # that frees the decoder and waits for FFmpeg's threads to end.
                stream.thread_type = "NONE"
                if stream.width * stream.height > MAX_PIXELS:
                    size = size_text((stream.height, stream.width))
                    raise LabError(f"{self.path} claims {size} pixels, at most {MAX_PIXELS:,} were expected")
                packets, size = 0, None
                for packet in container.demux(stream):
                    packets += bool(packet.size)  # the last, empty packet flushes the frames still in the decoder
                    if packet.is_corrupt:
                        raise LabError(f"{self.path} is damaged or truncated: its packet {packets} is not whole")
                    for frame in packet.decode():
                        if frame.is_corrupt:
                            raise LabError(f"{self.path} is damaged: a frame at {frame.time} s cannot be decoded whole")
                        matrix = _display_matrix(frame)
                        if not is_right_angled(matrix):
                            raise LabError(f"{self.path} must be rotated by a multiple of 90°, got {frame.rotation}°")
                        shown = (frame.width, frame.height) if matrix[0] else (frame.height, frame.width)
                        if shown != (size := size or shown):
                            raise LabError(
                                f"all frames of a clip must have one size: {self.path} begins with "
                                f"{size_text(size[::-1])} and has {size_text(shown[::-1])} at {frame.time} s"
                            )
                        yield frame
        except LabError:
            raise
        except FileNotFoundError as error:
            raise LabError(f"{self.path} is missing: a video was expected") from error
        except (self._av.FFmpegError, OSError, ValueError, OverflowError) as error:
            raise LabError(f"{self.path} cannot be read as a video: {failure_reason(error)}") from error

    def _moving(self, streams: Sequence[Any]) -> Any:
        """The first video stream that is no still picture, such as a cover; the first if all are."""
        cover = self._av.stream.Disposition.attached_pic | self._av.stream.Disposition.still_image
        moving = [stream for stream in streams if not stream.disposition & cover]
        return next((stream for stream in moving if stream.frames != 1), (moving or streams)[0])


Matrix = tuple[int, int, int, int]

IDENTITY: Matrix = (1, 0, 0, 1)


def is_right_angled(matrix: Matrix) -> bool:
    """Whether a display matrix only rotates by multiples of 90°, mirrors and scales."""
    a, b, c, d = map(bool, matrix)
    return a == d and b == c and a != b


def upright(pixels: Tensor, matrix: Matrix) -> Tensor:
    """Stored pixels as a player shows them.

    A display matrix (a, b, c, d) moves the pixel in column x and row y to column a·x + c·y and row b·x + d·y, up to an
    offset (ISO/IEC 14496-12, 6.2.2). Only the signs count here.

    Shapes: `pixels` (H, W, …) → (H, W, …), or (W, H, …) where b and c are not 0.

    Example:
        >>> import torch
        >>> from feelvos_lab.data.video import upright
        >>> upright(torch.tensor([[1, 2], [3, 4]]), (0, 1, -1, 0))  # a quarter turn clockwise
        tensor([[3, 1],
                [4, 2]])
    """
    a, b, c, d = matrix
    if b:
        pixels = pixels.transpose(0, 1)
    mirrored = [axis for axis, sign in ((0, b or d), (1, c or a)) if sign < 0]
    return pixels.flip(mirrored)


def _display_matrix(frame: av.VideoFrame) -> Matrix:
    """A frame's display matrix without offsets and perspective; the identity if it has none, or only zeros."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return IDENTITY
    a, b, _, c, d, *_ = struct.unpack("9i", bytes(data))
    return (a, b, c, d) if any((a, b, c, d)) else IDENTITY


def _pyav(purpose: str, otherwise: str = "") -> Any:
    try:
        import av
    except ImportError as error:
        raise LabError(f"{purpose} needs PyAV: pip install 'feelvos_lab[video]'{otherwise}") from error
    # PyAV raises ValueError for side data of a kind that it does not list, such as a frame's EXIF.
    av.sidedata.sidedata.Type._missing_ = classmethod(_unknown_kind)
    return av


def _unknown_kind(kinds: type[Enum], number: int) -> Enum:
    kind = object.__new__(kinds)
    kind._name_, kind._value_ = f"UNKNOWN_{number}", number
    return kind


AppendPicture = Callable[[np.ndarray], None]


class Timing(NamedTuple):
    """When the pictures of a video that is written are shown."""

    times: Sequence[float]  # in seconds, ascending: when each is shown, and last when the video ends, perhaps ∞
    sound: Path | None = None  # the video file whose sound between these times an mp4 gets


@contextmanager
def open_movie(path: Path, *, kind: str, timing: Timing | None = None) -> Iterator[AppendPicture]:
    """Open a video file to write; yields a function that appends one picture, uint8 (H, W, 3), all of one size.

    Memory is constant: a picture is encoded when it is appended.

    Args:
        kind: "mp4" (needs PyAV), "gif" or "none", which writes no file.
        timing: None: `FRAMES_PER_SECOND`, without sound. A GIF shows a picture for 0.02 to 655.35 s.
    """
    if kind == "none":
        yield lambda picture: None
    elif kind == "gif":
        with path.open("wb") as file:
            count = itertools.count()
            yield lambda picture: _append_to_gif(file, picture, _delay(timing, next(count)))
            file.write(b";")
    elif kind == "mp4":
        with _mp4(path, timing) as append:
            yield append
    else:
        raise LabError(f"a video's kind must be mp4, gif or none, got {kind!r}")


def require_writer(kind: str) -> Any:
    """Raise LabError before a long computation if its video could not be written at the end: mp4 without PyAV."""
    return _pyav("writing an mp4", ", or ask for a gif") if kind == "mp4" else None


def _shown(timing: Timing | None, index: int) -> float:
    """When a picture is shown, in seconds from the first one."""
    return index / FRAMES_PER_SECOND if timing is None else timing.times[index] - timing.times[0]


def _duration(timing: Timing | None, index: int) -> float:
    """For how long, in seconds; the last one as long as the one before where no end is known."""
    shown = _shown(timing, index)
    if math.isinf(end := _shown(timing, index + 1)):
        return shown - _shown(timing, index - 1) if index else 1 / FRAMES_PER_SECOND
    return end - shown


def _delay(timing: Timing | None, index: int) -> float:
    """`_duration` for a GIF, in milliseconds: whole hundredths of a second that add up to the right time."""
    if timing is None:
        return 1000 / FRAMES_PER_SECOND
    shown = _shown(timing, index)
    hundredths = round(100 * (shown + _duration(timing, index))) - round(100 * shown)
    return 10 * min(max(2, hundredths), LONGEST_DELAY)


@contextmanager
def _mp4(path: Path, timing: Timing | None) -> Iterator[AppendPicture]:
    av = require_writer("mp4")
    with av.open(str(path.absolute()), "w") as container:
        stream: Any = None
        sound: Sound | None = None
        count, last = 0, -1  # pictures so far, and when the last one is shown, in 1/TICKS s

        def append(picture: np.ndarray) -> None:
            nonlocal stream, sound, count, last
            even = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
            if stream is None:  # the encoder needs the size before its first frame, and yuv420p an even one
                rate = Fraction(FRAMES_PER_SECOND) if timing is None else _mean_rate(timing.times)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
                stream.height, stream.width, stream.pix_fmt = *even.shape[:2], "yuv420p"
                stream.codec_context.time_base = Fraction(1, TICKS)
                if timing and timing.sound:
                    sound = Sound(timing.sound, container, begin=timing.times[0])
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            last = max(last + 1, round(TICKS * _shown(timing, count)))  # two of one time are shown one after the other
            frame.pts, frame.time_base = last, Fraction(1, TICKS)
            mux(stream.encode(frame), _duration(timing, count))
            count += 1
            if sound:
                sound.write_until(timing.times[count])

        def mux(packets: Sequence[Any], duration: float) -> None:
            for packet in packets:
                packet.duration = round(TICKS * duration)  # of the last one; for others the next frame's time counts
                container.mux(packet)

        yield append
        if stream is not None:
            mux(stream.encode(), _duration(timing, count - 1))
        if sound:
            sound.close(timing.times[count])


def _mean_rate(times: Sequence[float]) -> Fraction:
    """Frames per second; with one frame, or all at one time, `FRAMES_PER_SECOND`."""
    shown = [time for time in times if not math.isinf(time)]
    if len(shown) < 2 or shown[-1] <= shown[0]:
        return Fraction(FRAMES_PER_SECOND)
    return Fraction((len(shown) - 1) / (shown[-1] - shown[0])).limit_denominator(1001)


def _append_to_gif(file: BinaryIO, picture: np.ndarray, milliseconds: float) -> None:
    """Write one frame, shown for so long, with a palette of its own; `Image.save` would keep all frames in memory."""
    image = Image.fromarray(picture)
    if image.width > GIF_WIDTH:
        image = image.resize((GIF_WIDTH, round(image.height * GIF_WIDTH / image.width)), Image.Resampling.BOX)
    image = image.quantize(256, dither=Image.Dither.NONE)
    if not file.tell():
        file.writelines(GifImagePlugin.getheader(image, info={"loop": 0})[0])  # 0: repeats for ever
    blocks = GifImagePlugin.getdata(image, duration=milliseconds, disposal=1, include_color_table=True)
    file.writelines(blocks)
    blocks.clear()  # Pillow keeps this list in a reference cycle, so the bytes would stay until the next full gc
