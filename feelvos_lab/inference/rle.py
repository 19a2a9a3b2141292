"""Masks as run lengths in COCO's form, whose text the package pycocotools reads and writes.

The runs go down each column, column by column, and alternate between background and object; the first is of
background and may be 0. From the fourth on, a run is stored as its difference to the one two before. Each number is
written in digits of five bits, the lowest first, as characters from "0" on, with a sixth bit if another digit follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from feelvos_lab.errors import LabError


class Rle(TypedDict):
    """A mask: height and width, and its runs as text."""

    size: list[int]
    counts: str


def encode_rle(mask: Tensor) -> Rle:
    """A mask (H, W), of which all but 0 is object, as COCO's run lengths.

    Example:
        >>> import torch
        >>> from feelvos_lab.inference.rle import decode_rle, encode_rle
        >>> encode_rle(torch.tensor([[0, 1, 1], [0, 1, 0]]))  # runs of 2, 3 and 1
        {'size': [2, 3], 'counts': '231'}
        >>> decode_rle({"size": [2, 3], "counts": "231"})
        tensor([[False,  True,  True],
                [False,  True, False]])
    """
    if mask.ndim != 2:
        raise LabError(f"a mask to encode must have shape (H, W), got {tuple(mask.shape)}")
    pixels = np.asarray(mask.cpu() != 0).ravel(order="F")
    borders = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff([0, *borders.tolist(), len(pixels)])
    first = [0] if len(pixels) and pixels[0] else []
    return Rle(size=list(mask.shape), counts=_text([*first, *runs.tolist()]))


def decode_rle(rle: Rle) -> Tensor:
    """The mask (H, W) bool that `encode_rle` encoded; LabError for runs that do not fill the size."""
    height, width = rle["size"]
    runs = list(_numbers(rle["counts"]))
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise LabError(f"the runs of a mask of {width}×{height} must add up to {height * width}, got {sum(runs)}")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return torch.from_numpy(pixels.reshape(width, height).T.copy())


def _text(runs: Iterable[int]) -> str:
    runs = list(runs)
    digits = []
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        while True:
            digit, number = number & 31, number >> 5
            more = number != (-1 if digit & 16 else 0)  # the sign is the highest bit of the last digit
            digits.append(chr(48 + digit + 32 * more))
            if not more:
                break
    return "".join(digits)


def _numbers(text: str) -> Iterator[int]:
    runs: list[int] = []
    number = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise LabError(f"the runs of a mask must be COCO's text, got {character!r}")
        number |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        yield runs[-1]
        number = shift = 0
