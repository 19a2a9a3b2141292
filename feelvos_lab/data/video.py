"""Frames of a video file, decoded when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
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
