"""The local search for GPUs finds what the one for CPUs finds, in few operations; here both run on the CPU.

The laws of `test_matching.py` and the official numbers of `test_golden_matching.py` hold for it too.
"""

from __future__ import annotations

import pytest
import torch
from gpu_searches import searches_for_gpus
from launches import Launches
from torch import Generator, Tensor

from feelvos_lab.model.matching import local_matching
from feelvos_lab.model.matching.local_search import nearest_around
from feelvos_lab.model.matching.window_search import nearest_in_windows

MOST = 60  # launches of a search in one block; 58 as counted here
MOST_OF_A_MAP = 78  # with the checks of the input and the distances to the pixels found


def frames(size: tuple[int, int], *, num_objects: int, dim: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """A query, a previous frame far from the origin, and labels of which some are ignored and 1 does not occur."""
    random = Generator().manual_seed(sum(size))
    query, previous = (3 + torch.randn(dim, *size, generator=random, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(-1, num_objects + 1, size, generator=random)
    return query, previous, labels.where(labels != 1, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (13, 12), (12, 24), (30, 37), (41, 5)])
@pytest.mark.parametrize("radius", [0, 1, 4, 15, 60])
@pytest.mark.parametrize("num_objects", [1, 3, 20])
def test_it_finds_the_pixels_of_the_search_for_cpus(size: tuple[int, int], radius: int, num_objects: int) -> None:
    inputs = frames(size, num_objects=num_objects)
    found = nearest_in_windows(*inputs, num_objects, radius)
    assert torch.equal(found, nearest_around(*inputs, num_objects, radius))
    assert found.is_contiguous() and (num_objects == 1 or (found[1] == -1).all())


@pytest.mark.parametrize("block_bytes", [1, 10**6, 10**9])
def test_blocks_of_any_size_find_the_same_pixels(block_bytes: int) -> None:
    inputs = frames((40, 50), num_objects=4)
    expected = nearest_in_windows(*inputs, 4, 7)
    assert torch.equal(nearest_in_windows(*inputs, 4, 7, block_bytes=block_bytes), expected)


def test_nothing_is_nearest_where_every_pixel_is_ignored() -> None:
    query, previous, labels = frames((20, 30), num_objects=2)
    assert (nearest_in_windows(query, previous, torch.full_like(labels, 255), 2, 3) == -1).all()


@pytest.mark.parametrize(("size", "num_objects"), [((30, 54), 2), ((30, 54), 10), ((60, 107), 4), ((9, 5), 3)])
def test_launches_depend_neither_on_the_grid_nor_on_the_objects(size: tuple[int, int], num_objects: int) -> None:
    query, previous, labels = (t.float() if t.is_floating_point() else t for t in frames(size, num_objects=num_objects))
    with Launches() as launches:
        nearest_in_windows(query, previous, labels, num_objects, 15)
    assert launches.total <= MOST and launches.waits == 0, launches.by_name
    with searches_for_gpus(), Launches() as launches:
        local_matching(query, previous, labels, num_objects=num_objects, radius=15)
    assert launches.total <= MOST_OF_A_MAP and launches.waits <= 3, launches.by_name


@pytest.mark.parametrize("num_objects", [1, 6, 40])
def test_no_intermediate_result_is_larger_than_the_block(num_objects: int) -> None:
    inputs = frames((72, 96), num_objects=num_objects)
    largest = {}
    for block_bytes in (2**25, 2**30):
        with Launches() as launches:
            nearest_in_windows(*inputs, num_objects, 15, block_bytes=block_bytes)
        largest[block_bytes] = launches.largest
    assert largest[2**25] < 2**25 < largest[2**30]
