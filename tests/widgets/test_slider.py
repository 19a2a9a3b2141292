"""The slider below a lesson's figure: the figure follows it, and is there without it."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.figure import Figure

from feelvos_lab.errors import LabError
from feelvos_lab.widgets import slide, slider
from feelvos_lab.widgets.slider import Slide


class Picture:
    """Stands in for IPython's display handle."""

    def __init__(self) -> None:
        self.shown: list[Figure] = []

    def update(self, figure: Figure) -> None:
        self.shown.append(figure)


def drawn(value: Any) -> Figure:
    if value == 3:
        raise LabError("nothing is drawn for 3")
    figure = Figure()
    figure.suptitle(str(value))
    return figure


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is displayed inside IPython."""
    found: list[Any] = []

    def display(thing: Any, *, display_id: bool = False) -> Picture:
        found.append(thing)
        return Picture()

    monkeypatch.setattr(slider, "display", display)
    monkeypatch.setattr(slider, "get_ipython", lambda: object())
    return found


def test_the_figure_follows_the_slider_in_its_place(displayed, monkeypatch) -> None:
    monkeypatch.setattr(slider, "is_live", lambda: True)
    slide(drawn, "frame", range(1, 6), start=2)
    first, widget = displayed
    assert first.get_suptitle() == "2"
    for value in (5, 1):
        widget.slider.value = value
        assert widget.picture.shown[-1].get_suptitle() == str(value)
    assert len(widget.picture.shown) == 2 and len(displayed) == 2


def test_an_error_is_shown_below_and_goes_with_the_next_value(displayed, monkeypatch) -> None:
    monkeypatch.setattr(slider, "is_live", lambda: True)
    slide(drawn, "frame", range(1, 6), start=2)
    widget = displayed[1]
    widget.slider.value = 3
    assert widget.status.text == "nothing is drawn for 3" and widget.picture.shown == []
    widget.slider.value = 4
    assert widget.status.text == "" and len(widget.picture.shown) == 1


def test_in_motion_the_slider_goes_from_value_to_value() -> None:
    widget = Slide(drawn, "radius", (0, 1, 2.5), start=1, play=True)
    assert widget.play.value == 1 and widget.play.max == 2
    widget.play.value = 2
    assert widget.slider.value == 2.5 and widget.figure.get_suptitle() == "2.5"


def test_without_a_front_end_the_figure_alone_is_displayed(displayed, monkeypatch) -> None:
    monkeypatch.setattr(slider, "is_live", lambda: False)
    slide(drawn, "frame", range(1, 6), start=4)
    assert [figure.get_suptitle() for figure in displayed] == ["4"]
    monkeypatch.setattr(slider, "get_ipython", lambda: None)
    slide(drawn, "frame", range(1, 6), start=4)
    assert len(displayed) == 1


def test_a_start_that_is_no_value_is_rejected_before_anything_is_drawn(displayed) -> None:
    with pytest.raises(LabError, match="frame must be one of 1 to 5, got 6"):
        slide(drawn, "frame", range(1, 6), start=6)
    with pytest.raises(LabError, match="radius must be one of 0, 2, 4, got 3"):
        slide(drawn, "radius", (0, 2, 4), start=3)
    assert displayed == []
