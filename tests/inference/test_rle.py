"""Laws of run lengths in COCO's form. The expected texts were computed once by pycocotools 2.0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feelvos_lab.errors import LabError
from feelvos_lab.inference.rle import decode_rle, encode_rle


def two_boxes() -> np.ndarray:
    mask = np.zeros((480, 854), bool)
    mask[100:300, 200:500] = mask[50:60, 10:20] = True
    return mask


def noise(height: int, width: int) -> np.ndarray:
    """The nth drawn of one generator, in the order in which pycocotools was given them."""
    rng = np.random.default_rng(0)
    for size in [(1, 1), (1, 7), (5, 1), (13, 17)]:
        mask = rng.random(size) < 0.4
        if size == (height, width):
            return mask
    raise AssertionError


KNOWN = [
    (np.array([[0, 1, 1], [0, 1, 0]]), "231"),  # down the columns, not along the rows
    (np.zeros((3, 4)), "<"),
    (np.ones((3, 4)), "0<"),  # a first run of 0
    (two_boxes(), "bg4:f>" + "0" * 17 + "b]d2n5`\\[M" + "0" * 597 + "ljU5"),
    (noise(1, 1), "1"),
    (noise(1, 7), "034"),
    (noise(5, 1), "311"),
    (
        noise(13, 17),
        "012030L0113OM0O10O12ON60K0O120OO0002ON10O020O00010O1OO0010O20N004000O071FO020O0O110OO0002011MO210O01000O00N12ON010"
        "41M",
    ),
]


@pytest.mark.parametrize(("mask", "text"), KNOWN)
def test_runs_are_those_of_pycocotools(mask: np.ndarray, text: str) -> None:
    found = encode_rle(torch.from_numpy(mask))
    assert found == {"size": list(mask.shape), "counts": text}
    assert torch.equal(decode_rle(found), torch.from_numpy(mask != 0))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.5, 0.99]))
def test_what_is_decoded_was_encoded(height: int, width: int, seed: int, share: float) -> None:
    mask = torch.from_numpy(np.random.default_rng(seed).random((height, width)) < share)
    assert torch.equal(decode_rle(encode_rle(mask)), mask)


@pytest.mark.parametrize("text", ["", "2", "2314", "23", "2 1", "é"])
def test_runs_that_do_not_fill_the_size_are_rejected(text: str) -> None:
    with pytest.raises(LabError, match="the runs of a mask"):
        decode_rle({"size": [2, 3], "counts": text})
