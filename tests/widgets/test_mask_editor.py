"""A mask is what was painted, stroke by stroke, and back."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from feelvos_lab.errors import LabError
from feelvos_lab.widgets.mask_editor import Painting


def test_a_dot_is_a_disc_and_a_stroke_is_all_within_the_radius_of_its_line() -> None:
    painting = Painting((40, 50))
    painting.stroke((20, 25), (20, 25), radius=5, object_id=1)
    y, x = torch.meshgrid(torch.arange(40), torch.arange(50), indexing="ij")
    disc = (y - 20) ** 2 + (x - 25) ** 2 < 25
    assert torch.equal(painting.labels, disc.long())
    painting.stroke((10, 10), (10, 30), radius=3, object_id=2)
    ends = ((y - 10) ** 2 + (x - 10) ** 2 < 9) | ((y - 10) ** 2 + (x - 30) ** 2 < 9)
    bar = ((y - 10).abs() < 3) & (x >= 10) & (x <= 30)
    assert torch.equal(painting.labels == 2, ends | bar)


def test_a_stroke_is_the_same_from_both_ends_and_in_pieces() -> None:
    whole, back, pieces = (Painting((30, 30)) for _ in range(3))
    whole.stroke((3, 4), (24, 18), radius=2.5, object_id=1)
    back.stroke((24, 18), (3, 4), radius=2.5, object_id=1)
    points = [(3 + 21 * i / 7, 4 + 14 * i / 7) for i in range(8)]
    for start, end in pairwise(points):
        pieces.stroke(start, end, radius=2.5, object_id=1)
    assert torch.equal(whole.labels, back.labels)
    assert int((whole.labels != pieces.labels).sum()) <= 2  # rounding at the rim


def test_the_smallest_brush_paints_one_pixel() -> None:
    painting = Painting((9, 9))
    painting.stroke((4, 5), (4, 5), radius=1, object_id=3)
    assert painting.labels.nonzero().tolist() == [[4, 5]]


def test_object_0_erases_and_nothing_else() -> None:
    painting = Painting((20, 20), start=torch.full((20, 20), 2))
    painting.stroke((10, 10), (10, 10), radius=4, object_id=0)
    assert int((painting.labels == 0).sum()) == int(disc_of(4).sum())
    assert set(painting.labels.unique().tolist()) == {0, 2}


def disc_of(radius: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    return (y - 10) ** 2 + (x - 10) ** 2 < radius**2


def test_undo_goes_back_a_stroke_at_a_time_through_clearing_and_replacing() -> None:
    painting = Painting((20, 20))
    history = []
    for number, (at, object_id) in enumerate([((5, 5), 1), ((10, 10), 2), ((10, 11), 0)]):
        history.append(painting.labels)
        painting.begin()
        painting.stroke(at, at, radius=3, object_id=object_id)
        painting.stroke(at, (at[0], at[1] + number), radius=3, object_id=object_id)  # dragged: undone together
    history.append(painting.labels)
    painting.clear()
    assert painting.object_ids == ()
    history.append(painting.labels)
    painting.replace(torch.full((20, 20), 4))
    for expected in reversed(history):
        assert painting.undo()
        assert torch.equal(painting.labels, expected)
    assert not painting.undo()


def test_what_lies_outside_the_frame_is_cut() -> None:
    painting = Painting((10, 10))
    painting.stroke((-50, -50), (-40, -40), radius=3, object_id=1)
    painting.stroke((5, 90), (5, 95), radius=3, object_id=1)
    assert painting.object_ids == ()
    painting.stroke((-1, 5), (-1, 5), radius=3, object_id=1)
    assert painting.labels.nonzero()[:, 0].max() == 1
    painting.stroke((11.5, 5), (11.5, 5), radius=3, object_id=2)
    assert (painting.labels == 2).nonzero()[:, 0].tolist() == [9] * 3


def test_a_mask_to_correct_is_copied_and_its_void_is_background() -> None:
    start = torch.tensor([[0, 1], [255, 2]])
    painting = Painting((2, 2), start=start)
    assert painting.labels.tolist() == [[0, 1], [0, 2]]
    painting.stroke((0, 0), (0, 0), radius=1, object_id=3)
    painting.labels.zero_()  # a copy, too
    assert start.tolist() == [[0, 1], [255, 2]]
    assert painting.object_ids == (1, 2, 3)


def test_what_is_undone_is_done_again_until_something_else_is_done() -> None:
    painting, states = Painting((20, 20)), []
    for at in ((5, 5), (10, 10), (15, 15)):
        states.append(painting.labels)
        painting.begin()
        painting.stroke(at, at, radius=3, object_id=1)
    states.append(painting.labels)
    assert not painting.redo()
    for expected in reversed(states[:-1]):
        assert painting.undo() and torch.equal(painting.labels, expected)
    for expected in states[1:]:
        assert painting.redo() and torch.equal(painting.labels, expected)
    painting.undo()
    painting.clear()
    assert not painting.redo()
    assert painting.undo() and torch.equal(painting.labels, states[2])


def test_a_fill_reaches_the_labels_around_it_and_the_frames_edge() -> None:
    start = torch.zeros(9, 12, dtype=torch.int64)
    start[4, :] = 1  # from edge to edge: the upper part has an open left, top and right side, and is enclosed
    start[6:8, 2:5] = 3
    painting = Painting((9, 12), start=start)
    painting.fill((0, 0), object_id=2)
    assert (painting.labels[:4] == 2).all() and torch.equal(painting.labels[4:], start[4:])
    painting.fill((6.4, 3.2), object_id=0)
    assert not (painting.labels == 3).any()
    assert painting.undo() and painting.undo() and torch.equal(painting.labels, start)


def test_a_fill_that_nothing_encloses_is_refused_and_is_no_step() -> None:
    painting = Painting((9, 9))
    painting.stroke((4, 2), (4, 6), radius=1, object_id=1)  # an outline with two open ends
    before = painting.labels
    with pytest.raises(LabError, match="nothing encloses this place: close the outline around it, then fill it"):
        painting.fill((1, 1), object_id=1)
    assert torch.equal(painting.labels, before) and not painting.undo()
    start = torch.zeros(9, 9, dtype=torch.int64)
    start[2:7, 2:7] = torch.eye(5, dtype=torch.int64)  # diagonal neighbours close an outline
    start[2, 2:7] = start[6, 2:7] = 1
    start[2:7, 2] = 1
    closed = Painting((9, 9), start=start)
    closed.fill((4, 3), object_id=1)
    assert int(closed.labels.sum()) == 16 + 3


def test_what_is_no_brush_is_refused() -> None:
    painting = Painting((5, 5))
    with pytest.raises(LabError, match="1 to 32, or 0 to erase, got 33"):
        painting.stroke((1, 1), (1, 1), radius=1, object_id=33)
    with pytest.raises(LabError, match="radius must be greater than 0, got 0"):
        painting.stroke((1, 1), (1, 1), radius=0, object_id=1)
    with pytest.raises(LabError, match="1 to 32, or 0 to erase, got -1"):
        painting.fill((1, 1), object_id=-1)
    with pytest.raises(LabError, match="5×5 like the frames, got 5×6"):
        painting.replace(torch.zeros(5, 6, dtype=torch.int64))
