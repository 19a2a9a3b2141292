"""CRC-32C of long data with numpy: many lanes at once, joined by what a lane's length of zero bytes does to a CRC.

The CRC is linear over bits: crc(ab) is crc(a) moved on by len(b) zero bytes, xor crc(b), up to the start value.
"""

from __future__ import annotations

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_LANE = 4096  # bytes of a lane


def masked_crc32c(data: bytes) -> int:
    """The checksum as LevelDB and TensorFlow store it: turned by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720) of any bytes; of none it is 0."""
    table = _table()
    lanes = len(data) // _LANE
    crc = 0xFFFFFFFF
    if lanes:
        columns = np.frombuffer(data, np.uint8, lanes * _LANE).reshape(lanes, _LANE).T
        parts = np.zeros(lanes, np.uint32)  # each lane's own, from 0
        for column in np.ascontiguousarray(columns):
            parts = table[(parts ^ column) & 0xFF] ^ parts >> 8
        moved = _after_zeros(table)
        for part in parts.tolist():
            crc = (
                moved[0][crc & 255] ^ moved[1][crc >> 8 & 255] ^ moved[2][crc >> 16 & 255] ^ moved[3][crc >> 24] ^ part
            )
    plain = table.tolist()
    for byte in data[lanes * _LANE :]:
        crc = plain[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _table() -> np.ndarray:
    """What one byte does to a CRC of 0."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


def _after_zeros(table: np.ndarray) -> list[list[int]]:
    """What a lane of zero bytes makes of each value of each of a CRC's four bytes."""
    crc = (np.arange(256, dtype=np.uint32)[None] << np.array([[0], [8], [16], [24]], np.uint32)).astype(np.uint32)
    for _ in range(_LANE):
        crc = table[crc & 0xFF] ^ crc >> 8
    return crc.tolist()
