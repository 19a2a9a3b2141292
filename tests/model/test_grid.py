"""Laws of the stride-4 grid: every given object keeps a cell, and nothing else differs from nearest neighbour."""

from __future__ import annotations

import pytest
import torch

from feelvos_lab.model.grid import label_cells, resize_labels, stride4_size


@pytest.mark.parametrize("side", [1, 2, 5])
def test_an_object_between_the_cells_keeps_the_nearest_one(side: int) -> None:
    for top in range(0, 30 - side, 3):
        labels = torch.zeros(65, 97, dtype=torch.int64)
        labels[top : top + side, 20 : 20 + side] = 7
        small = label_cells(labels, (5, 7))  # a cell every 16 pixels
        assert (small == 7).any()
        row, column = (small == 7).nonzero()[0].tolist()
        assert abs(16 * row - top) <= 8 + side and abs(16 * column - 20) <= 8 + side


def test_where_every_object_has_a_cell_it_is_nearest_neighbour() -> None:
    torch.manual_seed(0)
    labels = torch.randint(-1, 4, (37, 50)).repeat_interleave(5, 0).repeat_interleave(5, 1)
    assert torch.equal(label_cells(labels, stride4_size((185, 250))), resize_labels(labels, stride4_size((185, 250))))


def test_no_object_takes_the_only_cell_of_another() -> None:
    labels = torch.zeros(33, 33, dtype=torch.int64)
    labels[16, 16], labels[17, 17], labels[15, 18] = 1, 2, 3  # all three are nearest to the one cell at 16, 16
    assert label_cells(labels, (3, 3)).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    labels[17, 8:30] = 2  # and now object 2 also reaches the cells left and right of it
    found = label_cells(labels, (3, 3))
    assert found[1, 1] == 1 and (found == 2).sum() == 1 and not (found == 3).any()
