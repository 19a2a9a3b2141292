"""TensorFlow's checkpoint format, version 2, read without TensorFlow (the extra `[tensorflow]`, for checksums).

`NAME.index` is a sorted table in LevelDB's layout: blocks of key–value pairs, a block that lists the blocks, and a
footer of 48 bytes. Each value is a protocol buffer that says where in `NAME.data-00000-of-00001` the bytes of a
variable are. Blocks and variables carry a masked CRC-32C, which is verified.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from feelvos_lab.errors import LabError

_MAGIC = 0xDB4775248B80FB57

_DTYPES = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    19: np.dtype("<f2"),
}  # by number of TensorFlow's `DataType`, those of a network's checkpoint


class Entry(NamedTuple):
    """Type, shape and place of a variable."""

    dtype: int  # number of TensorFlow's `DataType`
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int  # bytes
    crc: int
    partitioned: bool


class Bundle:
    """A checkpoint of version 2: `entries` are its variables by name, `read` loads the values of one.

    Args:
        prefix: the path without `.index`, such as `model.ckpt-200004`, or the index file.

    Raises:
        LabError: no such checkpoint, or a file that is damaged or of another format.
    """

    def __init__(self, prefix: Path) -> None:
        prefix = Path(prefix)
        self.prefix = prefix.with_suffix("") if prefix.suffix == ".index" else prefix
        self.index = self.prefix.with_name(self.prefix.name + ".index")
        if not self.index.is_file():
            raise LabError(f"no TensorFlow checkpoint at {prefix}: {self.index} is missing")
        try:
            pairs = list(_table(self.index.read_bytes(), self.index))
            if not pairs or pairs[0][0] != b"":
                raise LabError(f"{self.index} must begin with a header, it has none")
            header = _fields(pairs[0][1])
            self.shards = int(header.get(1, [1])[0])
            if header.get(2, [0])[0] != 0:
                raise LabError(f"{self.index} must be little-endian, is not")
            # keys that begin with a zero byte are the slices of partitioned variables
            self.entries = {key.decode(): _entry(value) for key, value in pairs[1:] if not key.startswith(b"\0")}
        except (IndexError, struct.error, ValueError, OverflowError, AttributeError, TypeError, KeyError) as error:
            if isinstance(error, LabError):
                raise
            raise LabError(f"{self.index} is damaged: {error}") from error

    def read(self, name: str) -> np.ndarray:
        """The values of a variable, after its checksum was verified; a LabError if there is none or it is damaged."""
        if name not in self.entries:
            raise LabError(f"{self.index} has no variable {name!r}")
        entry = self.entries[name]
        if entry.partitioned:
            raise LabError(f"variable {name} of {self.index} is partitioned, which is not read here")
        if entry.dtype not in _DTYPES:
            raise LabError(
                f"variable {name} of {self.index} has TensorFlow's type {entry.dtype}, which is not read here"
            )
        dtype = _DTYPES[entry.dtype]
        if entry.size != dtype.itemsize * int(np.prod(entry.shape)):
            raise LabError(f"{self.index} is damaged: {name} of shape {entry.shape} cannot have {entry.size} bytes")
        path = self.prefix.with_name(f"{self.prefix.name}.data-{entry.shard:05d}-of-{self.shards:05d}")
        if not path.is_file():
            raise LabError(f"the checkpoint's data file {path} is missing")
        available = max(0, path.stat().st_size - entry.offset)
        if available < entry.size:  # before memory is allocated by what the index claims
            raise LabError(f"{path} is truncated: {name} needs {entry.size} bytes at {entry.offset}, has {available}")
        with path.open("rb") as file:
            file.seek(entry.offset)
            data = file.read(entry.size)
        if masked_crc32c(data) != entry.crc:
            raise LabError(f"{path} is damaged: the checksum of {name} is wrong")
        return np.frombuffer(data, dtype).reshape(entry.shape).copy()


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C (RFC 3720) of `data` as LevelDB and TensorFlow store it: rotated by 15 bits, plus a constant."""
    try:
        import google_crc32c
    except ImportError as error:
        raise LabError(
            "a TensorFlow checkpoint needs the package google-crc32c, which is not installed: "
            "run `pip install 'feelvos_lab[tensorflow]'`"
        ) from error
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _table(data: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """All key–value pairs of a LevelDB table, in order."""
    if len(data) < 48 or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise LabError(f"{path} must be the index of a TensorFlow checkpoint (version 2), or is truncated")
    _, _, position = _handle(data, len(data) - 48)  # the handle of the meta index, which is not needed
    offset, size, _ = _handle(data, position)
    for _, value in _block(data, offset, size, path):
        yield from _block(data, *_handle(value, 0)[:2], path)


def _block(data: bytes, offset: int, size: int, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of one block. A key is stored as the length of its common prefix with the key before, and the rest."""
    if data[offset + size] != 0:
        raise LabError(f"{path} is compressed, which TensorFlow's own checkpoints are not")
    if masked_crc32c(data[offset : offset + size + 1]) != struct.unpack_from("<I", data, offset + size + 1)[0]:
        raise LabError(f"{path} is damaged: the checksum of a block is wrong")
    block, position, key = data[offset : offset + size], 0, b""
    end = size - 4 - 4 * struct.unpack_from("<I", block, size - 4)[0]
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + own]
        position += own
        yield key, block[position : position + length]
        position += length


def _handle(data: bytes, position: int) -> tuple[int, int, int]:
    """Offset and size of a block, and the position after them."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return offset, size, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """An integer in groups of seven bits, the lowest first, and the position after it."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The fields of a protocol buffer message by number: integers, or the bytes of nested messages."""
    found: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        value: int | bytes
        if tag & 7 == 0:
            value, position = _varint(message, position)
        elif tag & 7 == 2:
            length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        elif tag & 7 == 5:
            value, position = struct.unpack_from("<I", message, position)[0], position + 4
        else:
            raise KeyError(f"a field of wire type {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _entry(message: bytes) -> Entry:
    """Parse a `BundleEntryProto`."""
    fields = _fields(message)
    shape = _fields(fields[2][0]) if 2 in fields else {}
    numbers = {
        name: fields.get(i, [0])[0] for name, i in {"dtype": 1, "shard": 3, "offset": 4, "size": 5, "crc": 6}.items()
    }
    return Entry(
        shape=tuple(int(_fields(dim).get(1, [0])[0]) for dim in shape.get(2, [])), partitioned=7 in fields, **numbers
    )
