"""The slow twins that lessons time beside the library's maps, what is counted of them, and the roofline figure."""

from __future__ import annotations

import pytest
import torch

from feelvos_lab.errors import LabError
from feelvos_lab.lessons import roofline
from feelvos_lab.model.matching import dense, naive

ROOFS = roofline.Roofs(operations=1e11, bfloat16=2e11, memory=2e10, cache=9e10)


def _frames() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, 3, (5, 7), generator=generator)  # object 3 has no pixel, and some belong to nobody
    return torch.randn(3, 5, 7, generator=generator), torch.randn(3, 5, 7, generator=generator), labels


def test_the_dense_global_map_is_its_loop_twin() -> None:
    maps = [module.global_matching(*_frames(), num_objects=4) for module in (dense, naive)]
    torch.testing.assert_close(*maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize("radius", [0, 1, 3, 9])
def test_the_dense_local_map_is_its_loop_twin(radius: int) -> None:
    maps = [module.local_matching(*_frames(), num_objects=4, radius=radius) for module in (dense, naive)]
    torch.testing.assert_close(*maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize("radius", [0, 2, 30])
def test_the_pairs_of_a_window_are_counted_as_the_loops_meet_them(radius: int) -> None:
    ways = roofline.local_ways(height=20, width=30, dim=2, num_objects=2, radius=radius)
    for way in ways:
        h, w = way.grid
        cells = [(y, x) for y in range(h) for x in range(w)]
        met = sum(abs(y - v) <= radius and abs(x - u) <= radius for y, x in cells for v, u in cells)
        assert way.pairs == met and way.operations == 2 * 2 * met
    assert ways[0].grid == (2, 3) and ways[1].grid == ways[2].grid == (20, 30)


def test_the_library_moves_least_and_the_table_less_than_loops_for_each_pair() -> None:
    loops, table, library = roofline.global_ways(height=20, width=30, dim=50, num_objects=2)
    assert table.pairs == library.pairs == 600**2
    assert table.traffic == 4 * (2 * 600 * 50 + 11 * 600**2)
    assert library.intensity > 10 * table.intensity > 10 * loops.intensity == 2.5


def test_measuring_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[int] = []
        roofline.fastest(lambda: seen.append(torch.get_num_threads()))
        assert set(seen) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_roofs_are_those_of_a_computer() -> None:
    roofs = roofline.measure_roofs()
    assert roofs.cache > 0.5 * roofs.memory > 1e8 and roofs.operations > 1e8  # no computer with torch is slower
    assert roofs.bfloat16 is None or roofs.bfloat16 > 1e8


def test_the_table_says_how_many_times_faster_a_pair_is_than_the_first_way() -> None:
    ways = [roofline.Way("a", (1, 1), 10, 20, 40, 1.0), roofline.Way("b", (2, 3), 1000, 2000, 40, 0.5)]
    table = roofline.table(ways)
    assert list(table.index) == ["a", "b"]
    assert list(table["times faster"]) == ["1", "200"] and table.loc["b", "grid"] == "2×3"


def test_every_way_of_the_figure_is_named_and_lies_inside() -> None:
    ways = roofline.global_ways(height=20, width=30, dim=50, num_objects=2)
    for roofs in (ROOFS, ROOFS._replace(bfloat16=None)):
        figure = roofline.roofline(roofs, ways, title="Three ways")
        figure.draw_without_rendering()
        (axes,) = figure.axes
        texts = " ".join(t.get_text() for t in axes.texts)
        assert all(way.name in texts for way in ways)
        assert ("bfloat16" in texts) == (roofs.bfloat16 is not None)
        for way in ways:
            assert axes.get_xlim()[0] < way.intensity < axes.get_xlim()[1]
            assert axes.get_ylim()[0] < way.rate / 1e9 < axes.get_ylim()[1]


@pytest.mark.parametrize("wrong", [{"height": 0}, {"dim": 0}, {"num_objects": -1}])
def test_sizes_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(LabError, match="must be at least 1"):
        roofline.global_ways(**wrong)
    with pytest.raises(LabError, match="must be at least 1"):
        roofline.local_ways(**wrong)


def test_a_negative_radius_and_an_empty_figure_are_refused() -> None:
    with pytest.raises(LabError, match="radius must not be negative, got -1"):
        roofline.local_ways(height=10, width=10, radius=-1)
    with pytest.raises(LabError, match="1 to 4 ways, got 0"):
        roofline.roofline(ROOFS, [], title="")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0036, "0.0036"), (0.13, "0.13"), (7.8, "7.8"), (41.2, "41"), (1.1e5, "110,000"), (99.9, "100"), (1.0, "1.0")],
)
def test_a_number_of_the_table_has_two_digits_and_no_exponent(number: float, text: str) -> None:
    assert roofline._two_digits(number) == text
