"""Is there somebody who can click? And a figure that answers clicks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

from ipympl.backend_nbagg import Canvas, FigureManager
from IPython import get_ipython
from IPython.display import display
from ipywidgets import HTML, Widget
from matplotlib.figure import Figure

from feelvos_lab.errors import LabError


def is_live() -> bool:
    """Whether this cell was run from a page that shows widgets: a notebook by hand, or Voilà.

    A notebook that is executed as a file (papermill, nbconvert) says with each cell that nobody is there to answer a
    question; then nobody is there to click either. Voilà says so too, but names itself in the kernel's environment.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    return _is_voila() or bool(kernel.get_parent().get("content", {}).get("allow_stdin", False))


def _is_voila() -> bool:
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def live_canvas(figure: Figure) -> Canvas:
    """The figure as a widget that hands on clicks; it is not pyplot's, and has no toolbar."""
    canvas = Canvas(figure)
    canvas.header_visible = canvas.footer_visible = canvas.resizable = False
    canvas.toolbar_visible = False
    with (
        warnings.catch_warnings()
    ):  # ipympl's toolbar, which is hidden here, is made in a way that traitlets deprecates
        warnings.filterwarnings("ignore", message="Passing unrecognized arguments", category=DeprecationWarning)
        FigureManager(canvas, 0)

    def say_again(_: Canvas, content: dict[str, Any], __: Any) -> None:
        if content.get("type") == "initialized":  # a page that is connected late believes that it may be resized
            canvas.send_state("resizable")

    canvas.on_msg(say_again)
    return canvas


def show(widget: Widget, picture: Callable[[], Figure]) -> None:
    """Display a picture, and below it the widget where somebody can click.

    The picture stays in the notebook when the kernel is gone. Voilà keeps no page, so there the widget is enough.
    Outside IPython nothing is shown.
    """
    if get_ipython() is not None and not _is_voila():
        display(picture())
    if is_live():
        display(widget)


class Status(HTML):
    """One line below a widget: what it does, or in one sentence why it did not."""

    def say(self, text: str, *, refused: bool = False) -> None:
        """Replace the line."""
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        self.value = f'<span role="status" style="color:{"#a12" if refused else "#555"}">{escaped}</span>'
        self.text = text

    text = ""

    def guarded(self, action: Callable[..., Any]) -> Callable[..., None]:
        """The action as a handler: a refusal is told in the line, and nothing else is changed."""

        def handler(*arguments: Any) -> None:
            try:
                action(*arguments)
            except LabError as error:
                self.say(str(error), refused=True)

        return handler
