"""Frames of a video file, decoded when asked for.

A film written frame by frame: mp4 through PyAV, gif by Pillow; neither keeps a frame in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from feelvos_lab.data.images import MAX_PIXELS
from feelvos_lab.errors import LabError

if TYPE_CHECKING:
    import av


class VideoFrames:
    """A video file as frames: `frames[t]` decodes up to frame t, uint8 RGB (3, H, W).

    A film that was taken on its side and says so, as phones do, has upright frames, as players show them.
    Reading in order decodes each frame once and keeps one in memory; going back starts again from the beginning. The
    file is decoded once when opened, for its length: what the container claims is often wrong. A file that ends before
    the frames or, as Matroska, the time that it claims is refused, and so is a damaged one where FFmpeg notices it.

    Raises:
        LabError: PyAV is missing, the file is missing, truncated, damaged, too large or holds no video.
    """

    def __init__(self, path: Path) -> None:
        self._av = _pyav()
        self.path = path
        self._length = sum(1 for _ in self._decoded())
        if not self._length:
            raise LabError(f"{path} holds no video frame")
        self._rewind()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        if not -self._length <= index < self._length:
            raise IndexError(f"frame {index} of {self._length}")
        index %= self._length
        if index < self._position:
            self._rewind()
        while self._position < index:
            self._frame = self._following()
            self._position += 1
        pixels = torch.from_numpy(self._frame.to_ndarray(format="rgb24"))  # (H, W, 3)
        upright = pixels.rot90(self._frame.rotation // 90)  # counterclockwise; (H, W, 3), or (W, H, 3) as it lay
        return upright.permute(2, 0, 1).contiguous()  # (3, H, W)

    def _rewind(self) -> None:
        self._stream, self._position = self._decoded(), 0
        self._frame = self._following()

    def _following(self) -> av.VideoFrame:
        for frame in self._stream:
            return frame
        raise LabError(f"{self.path} has fewer frames than the {self._length} it had when it was opened")

    def _decoded(self) -> Iterator[av.VideoFrame]:
        try:
            # A file may be a list of other files or addresses: none but files are opened.
            with self._av.open(str(self.path.absolute()), options={"protocol_whitelist": "file"}) as container:
                if not container.streams.video:
                    raise LabError(f"{self.path} holds no video stream")
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise LabError(f"{self.path} holds a video stream that no decoder knows")
                # No threads of FFmpeg's: one that has an error to log waits for the interpreter, and where the decoder
                # is freed the interpreter waits for that thread, for ever.
                stream.thread_type = "NONE"
                if stream.width * stream.height > MAX_PIXELS:
                    raise LabError(
                        f"{self.path} claims {stream.width}×{stream.height} pixels, "
                        f"at most {MAX_PIXELS:,} were expected"
                    )
                packets, until = 0, 0.0
                for packet in container.demux(video=0):
                    packets += bool(packet.size)  # the last, empty one asks for the frames that are still held back
                    if packet.pts is not None:
                        until = max(until, float((packet.pts + 1.5 * (packet.duration or 0)) * packet.time_base))
                    if packet.is_corrupt:
                        raise LabError(f"{self.path} is damaged or truncated: its packet {packets} is not whole")
                    for frame in packet.decode():
                        if frame.is_corrupt:
                            raise LabError(f"{self.path} is damaged: a frame at {frame.time} s cannot be decoded whole")
                        if frame.rotation % 90:
                            raise LabError(f"{self.path} must be turned by quarters, it says {frame.rotation}°")
                        yield frame
                if packets < stream.frames:
                    raise LabError(f"{self.path} is truncated: it holds {packets} of its {stream.frames} frames")
                # Matroska counts no frames; another stream may be the longer one
                timed = "matroska" in container.format.name and len(container.streams) == 1
                if timed and packets and until < (whole := (container.duration or 0) / 1e6):
                    raise LabError(f"{self.path} is truncated: it ends before the {whole:.1f} s that it claims")
        except FileNotFoundError as error:
            raise LabError(f"{self.path} is missing: a video was expected") from error
        except (self._av.FFmpegError, OSError, ValueError, OverflowError) as error:
            if isinstance(error, LabError):
                raise
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            raise LabError(f"{self.path} cannot be read as a video: {reason}") from error


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise LabError("reading a video file needs PyAV: pip install feelvos_lab[video]") from error
    return av


FRAMES_PER_SECOND = 12  # slow enough to look at the masks

GIF_WIDTH = 480  # pixels; wider frames are scaled down

Append = Callable[[np.ndarray], None]


@contextmanager
def open_movie(path: Path, *, kind: str) -> Iterator[Append]:
    """A function that appends one picture, uint8 (H, W, 3), to the film at `path`; all of one size.

    Args:
        kind: "mp4", "gif", or "none", which writes no file.

    Raises:
        LabError: another kind, or mp4 without PyAV.
    """
    if kind == "none":
        yield lambda picture: None
    elif kind == "gif":
        with path.open("wb") as file:
            yield _GifStream(file).append
            file.write(b";")
    elif kind == "mp4":
        with _mp4(path) as append:
            yield append
    else:
        raise LabError(f"a film's kind must be mp4, gif or none, got {kind!r}")


def require_writer(kind: str) -> None:
    """Stop before the work begins if the film could not be written at its end.

    Raises:
        LabError: mp4 without PyAV.
    """
    if kind == "mp4":
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise LabError(
                "an mp4 needs the package av, which is not installed: run `pip install 'feelvos_lab[video]'`, "
                "or ask for a gif"
            ) from error


@contextmanager
def _mp4(path: Path) -> Iterator[Append]:
    require_writer("mp4")
    import av

    with av.open(str(path.absolute()), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20"}
        started = False

        def append(picture: np.ndarray) -> None:
            nonlocal started
            even = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
            if not started:  # the encoder wants its size before the first frame, and even numbers
                stream.height, stream.width = even.shape[:2]
                started = True
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

        yield append
        if started:
            container.mux(stream.encode())


class _GifStream:
    """GIF89a, one image block a frame, each with its own colours.

    Pillow writes a film only from all its frames at once. So each frame is encoded as a picture of its own, and its
    image block is moved over with the colour table in front of it.
    """

    def __init__(self, file: object) -> None:
        self.file, self.started = file, False

    def append(self, picture: np.ndarray) -> None:
        image = Image.fromarray(picture)
        if image.width > GIF_WIDTH:
            image = image.resize((GIF_WIDTH, round(image.height * GIF_WIDTH / image.width)), Image.Resampling.BOX)
        single = BytesIO()
        image.quantize(256, dither=Image.Dither.NONE).save(single, "GIF", interlace=0)
        if not self.started:
            screen = struct.pack("<HHBBB", image.width, image.height, 0, 0, 0)
            self.file.write(b"GIF89a" + screen + b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # repeats for ever
            self.started = True
        table, descriptor, pixels, bits = _image_block(single.getvalue())
        delay = struct.pack("<H", round(100 / FRAMES_PER_SECOND))
        self.file.write(b"!\xf9\x04\x04" + delay + b"\x00\x00" + descriptor + bytes([0x80 | bits]) + table + pixels)


def _image_block(gif: bytes) -> tuple[bytes, bytes, bytes, int]:
    """Colour table, image descriptor without its flags, compressed pixels and size bits of a one-picture GIF."""
    bits = gif[10] & 7
    start = 13 + 3 * 2 ** (bits + 1)
    table = gif[13:start]
    while gif[start] == 0x21:  # extension blocks: skipped one sub-block after the other
        start += 2
        while gif[start]:
            start += gif[start] + 1
        start += 1
    return table, gif[start : start + 9], gif[start + 10 : -1], bits
