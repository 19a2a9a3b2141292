"""A film written frame by frame: mp4 through PyAV, gif by Pillow; neither keeps a frame in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from feelvos_lab.errors import LabError

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
