"""A slider below a figure of a lesson: the figure is drawn again for each value, in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from IPython import get_ipython
from IPython.display import DisplayHandle, display
from ipywidgets import HBox, Layout, Play, SelectionSlider, VBox
from matplotlib.figure import Figure

from feelvos_lab.errors import LabError
from feelvos_lab.widgets.notebook import Status, is_live

_MILLISECONDS = 700  # of a value in motion: a figure takes up to half a second


class Slide(VBox):
    """The widget of `slide`. `picture` receives each figure; None: it is only kept in `figure`."""

    def __init__(
        self,
        draw: Callable[[Any], Figure],
        name: str,
        values: Sequence[Any],
        *,
        start: Any,
        play: bool = False,
        picture: DisplayHandle | None = None,
    ) -> None:
        self.draw, self.picture = draw, picture
        self.figure: Figure | None = None
        options = [(f"{value:g}" if isinstance(value, float) else str(value), value) for value in values]
        self.slider = SelectionSlider(
            options=options, value=start, description=name, continuous_update=False, layout=Layout(width="420px")
        )
        self.status = Status()
        self.slider.observe(self.status.guarded(self._moved), "value")
        controls = [self.slider]
        if play:
            self.play = Play(value=self.slider.index, min=0, max=len(values) - 1, interval=_MILLISECONDS)
            self.play.observe(self._step, "value")
            controls.insert(0, self.play)
        super().__init__([HBox(controls), self.status])
        self.add_class("feelvos-slide")

    def _step(self, change: dict[str, Any]) -> None:
        self.slider.index = change["new"]

    def _moved(self, change: dict[str, Any]) -> None:
        self.status.say("")
        self.figure = self.draw(change["new"])
        if self.picture is not None:
            self.picture.update(self.figure)


def slide(draw: Callable[[Any], Figure], name: str, values: Sequence[Any], *, start: Any, play: bool = False) -> None:
    """Display `draw(start)`, and below it a slider over `values` if the front end is live; the figure follows it.

    Without a live front end, as under papermill, the figure alone is displayed, and nothing at all outside IPython.

    Args:
        draw: value → figure.
        name: what the slider is called, such as "frame".
        values: of which `start` is shown first; numbers or words.
        play: with a button that moves the slider from value to value.

    Raises:
        LabError: `start` is not among the values.

    Example:
        >>> from feelvos_lab.figures import panels
        >>> from feelvos_lab.widgets import slide
        >>> def power(n):
        ...     return panels.curves([0, 1, 2], {"y": [x**n for x in (0, 1, 2)]}, title="", xlabel="x", ylabel="y")
        >>> slide(power, "n", range(1, 4), start=2)  # no front end here
    """
    if start not in values:
        raise LabError(f"{name} must be one of {_listed(values)}, got {start!r}")
    if get_ipython() is None:
        return
    picture = display(draw(start), display_id=True)
    if is_live():
        display(Slide(draw, name, values, start=start, play=play, picture=picture))


def _listed(values: Sequence[Any]) -> str:
    if isinstance(values, range) and values.step == 1:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))
