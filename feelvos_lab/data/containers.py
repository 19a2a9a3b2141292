"""Whether a video file breaks off: the sizes that its container declares, compared with the file's own.

A container's count of frames and its duration do not tell: an edit list of a trimmed video hides frames, and
some recorders write more than they store.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_TENTH_OF_A_SECOND = bytes.fromhex("21f904000a000000")  # as a GIF's graphic control extension

_SEGMENT = b"\x18\x53\x80\x67"  # Matroska's element that holds all frames

_CLUSTER = b"\x1f\x43\xb6\x75"  # and some of them


def breaks_off(path: Path | str, container: str) -> bool:
    """Whether a video file ends before the data that its container declares.

    Args:
        container: FFmpeg's name of the format. Known are mp4 and mov, Matroska and WebM, AVI and GIF; others declare no
            size, so nothing is found.

    Example:
        >>> from pathlib import Path
        >>> from feelvos_lab.data.containers import breaks_off
        >>> _ = Path("clip.mp4").write_bytes(b"\\0\\0\\0\\x20mdat" + bytes(10))  # a box of 32 bytes, cut after 18
        >>> breaks_off("clip.mp4", "mov,mp4,m4a,3gp,3g2,mj2")
        True
    """
    names = container.split(",")
    with open(path, "rb") as file:
        whole = file.seek(0, 2)
        file.seek(0)
        if "mp4" in names:
            return _last_box_ends(file, whole) > whole
        if "matroska" in names:
            return _segment_ends(file) > whole
        if "avi" in names:
            return _last_riff_ends(file) > whole
        if "gif" in names:
            return _gif_breaks_off(file)
    return False


def _last_box_ends(file: BinaryIO, whole: int) -> int:
    """Where the top-level boxes that hold frames or their index end (ISO/IEC 14496-12, 4.2).

    Behind the end of the file where it breaks off in a box's head, or before the frames of a fragment's index.
    """
    place = end = 0
    kind = b""
    while place + 8 <= whole:
        file.seek(place)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:  # a 64-bit size follows
            size = int.from_bytes(file.read(8), "big")
        if size < 8:  # 0: to the end of the file; otherwise no box
            break
        place += size
        if kind in (b"mdat", b"moov", b"moof"):
            end = place
    file.seek(min(place, whole))
    if (place == whole and kind == b"moof") or (whole - 8 < place < whole and any(file.read())):  # zeros may end a file
        return whole + 1
    return end


def _last_riff_ends(file: BinaryIO) -> int:
    """Where the last of the RIFF lists of an AVI ends: each holds 1 GB or so of a long one."""
    end = 0
    while (head := file.read(8))[:4] == b"RIFF" and len(head) == 8:
        end += 8 + struct.unpack("<I", head[4:])[0]
        file.seek(end)
    return end


def _segment_ends(file: BinaryIO) -> int:
    """Where Matroska's segment ends, or the last of its parts if it has no declared size (RFC 8794, 4 and 6.2)."""
    end = 0
    while len(name := file.read(1)) == 1 and name[0]:
        name += file.read(8 - name[0].bit_length())
        if not (head := file.read(1)) or not head[0]:
            break
        more = 8 - head[0].bit_length()  # bytes after the first; a leading 1 marks the length
        size = int.from_bytes(bytes([head[0] & (0x7F >> more)]) + file.read(more), "big")
        unknown = size == (1 << 7 * (more + 1)) - 1
        if unknown and name in (_SEGMENT, _CLUSTER):  # of a live recording: its parts follow
            continue
        end = file.tell() + size
        if unknown or name == _SEGMENT:
            break
        file.seek(end)
    return end


def gif_with_delays(path: Path | str) -> bytes | None:
    """A GIF with a delay before each image that has none; None for another file, or one where no image lacks it.

    FFmpeg takes images without a delay (a graphic control extension) for part of the next packet and loses them.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"GIF8":
            return None
        file.seek(0)
        try:
            bare = [place for place, delayed in _gif_images(file) if not delayed]
        except EOFError:  # told by `breaks_off`
            return None
        if not bare:
            return None
        file.seek(0)
        parts = [file.read(end - start) for start, end in itertools.pairwise([0, *bare])]
        return b"".join(part + _TENTH_OF_A_SECOND for part in parts) + file.read()


def _gif_breaks_off(file: BinaryIO) -> bool:
    try:
        for _ in _gif_images(file):
            pass
    except EOFError:
        return True
    return False


def _gif_images(file: BinaryIO) -> Iterator[tuple[int, bool]]:
    """Where each image of a GIF begins, and whether a delay stands before it (GIF89a specification).

    EOFError where the file ends within a block; one that only lacks the closing byte is whole.
    """
    head = _exactly(file, 13)
    _skip_palette(file, head[10])
    delayed = False
    while kind := file.read(1):
        if kind == b",":
            yield file.tell() - 1, delayed
            delayed = False
            _skip_palette(file, _exactly(file, 9)[8])
            _exactly(file, 1)  # the size of its codes
        elif kind == b"!":  # an extension
            delayed |= _exactly(file, 1) == b"\xf9"
        else:  # the closing byte, or what no reader knows
            return
        while size := _exactly(file, 1)[0]:
            _exactly(file, size)


def _exactly(file: BinaryIO, count: int) -> bytes:
    if len(content := file.read(count)) < count:
        raise EOFError
    return content


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        _exactly(file, 3 << (flags & 7) + 1)
