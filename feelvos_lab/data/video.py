"""Frames of a video file, decoded when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from feelvos_lab.errors import LabError

if TYPE_CHECKING:
    import av


class VideoFrames:
    """A video file as frames: `frames[t]` decodes up to frame t, uint8 RGB (3, H, W).

    Reading in order decodes each frame once and keeps one in memory; going back starts again from the beginning. The
    file is decoded once when opened, for its length: what the container claims is often wrong.

    Raises:
        LabError: PyAV is missing, the file is missing, damaged or holds no video.
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
            self._frame = next(self._stream)
            self._position += 1
        pixels = torch.from_numpy(self._frame.to_ndarray(format="rgb24"))  # (H, W, 3)
        return pixels.permute(2, 0, 1).contiguous()  # (3, H, W)

    def _rewind(self) -> None:
        self._stream, self._position = self._decoded(), 0
        self._frame = next(self._stream)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        try:
            with self._av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise LabError(f"{self.path} holds no video stream")
                container.streams.video[0].thread_type = "AUTO"
                yield from container.decode(video=0)
        except FileNotFoundError as error:
            raise LabError(f"{self.path} is missing: a video was expected") from error
        except (self._av.FFmpegError, OSError) as error:
            raise LabError(f"{self.path} cannot be read as a video: {error.strerror}") from error


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise LabError("reading a video file needs PyAV: pip install feelvos_lab[video]") from error
    return av
