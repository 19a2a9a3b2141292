"""Detect a live notebook front end; show a matplotlib figure as a clickable canvas; a status line."""

from __future__ import annotations

import io
import os
import warnings
from base64 import b64encode
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
from ipympl.backend_nbagg import Canvas, FigureManager
from IPython import get_ipython
from IPython.display import display
from ipywidgets import HTML, Widget
from matplotlib.figure import Figure

from feelvos_lab.errors import LabError


def is_live() -> bool:
    """Whether a front end displays this cell's widgets: an open notebook, or Voilà.

    papermill, nbconvert and Voilà send each cell with `allow_stdin` false; of these Voilà alone has users.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and (_is_voila() or bool(kernel.get_parent().get("content", {}).get("allow_stdin")))


def _is_voila() -> bool:
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def live_canvas(figure: Figure) -> Canvas:
    """The figure as a widget that passes on mouse and key events, without pyplot and without a toolbar.

    Keep one canvas for a figure whose content or size changes, and call `resized`: the page never removes a canvas that
    is replaced in a box, and the old one above the new one takes its clicks.
    """
    _whole_pixels(figure)
    canvas = Canvas(figure)
    canvas.header_visible = canvas.footer_visible = canvas.resizable = False
    canvas.toolbar_visible = False
    with warnings.catch_warnings():  # ipympl creates its toolbar, hidden here, in a way that traitlets deprecates
        warnings.filterwarnings("ignore", message="Passing unrecognized arguments", category=DeprecationWarning)
        FigureManager(canvas, 0)

    def resend_state(_: Canvas, content: dict[str, Any], __: Any) -> None:
        if content.get("type") == "initialized":  # a page that connects late assumes a resizable canvas
            canvas.send_state("resizable")

    canvas.on_msg(resend_state)
    return canvas


def resized(canvas: Canvas) -> None:
    """Give the canvas in the page the size of its figure, which has changed, and draw it again."""
    _whole_pixels(canvas.figure)
    canvas.manager.resize(*canvas.figure.bbox.size)
    canvas.draw_idle()


def _whole_pixels(figure: Figure) -> None:
    """Round the figure's size to whole pixels; else a page stretches the picture, which blurs it."""
    figure.set_size_inches(np.round(figure.get_size_inches() * figure.dpi) / figure.dpi)


class Picture:
    """A figure that is displayed with a text for those who cannot see it."""

    def __init__(self, figure: Figure, text: str) -> None:
        self.figure, self.text = figure, text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """JupyterLab shows a PNG without its text, so the picture is an HTML image."""
        with io.BytesIO() as png:
            self.figure.savefig(png, format="png", dpi=100)
            data = b64encode(png.getvalue()).decode()
        html = f'<img alt="{escape(self.text)}" style="max-width:100%" src="data:image/png;base64,{data}">'
        return {"text/html": html, "text/plain": self.text}


def show(widget: Widget, picture: Callable[[], Picture]) -> None:
    """Display a picture, and below it the widget if the front end is live.

    The picture remains in the notebook without a kernel. Voilà keeps no page, so it shows the widget alone. Outside
    IPython nothing is displayed.
    """
    if get_ipython() is not None and not _is_voila():
        display(picture())
    if is_live():
        display(widget)


class Status(HTML):
    """A line below a widget for progress and error messages, readable in a light and in a dark theme."""

    text = ""
    failed = False  # whether the text is an error message

    def say(self, text: str, *, error: bool = False) -> None:
        """Replace the text; errors are red and begin with a sign."""
        colour = "var(--jp-error-color1, #d32f2f)" if error else "var(--jp-ui-font-color1, inherit)"
        shown = escape(f"⚠ {text}" if error else text)
        self.value = f'<span role="status" style="color:{colour}">{shown}</span>'
        self.text, self.failed = text, error

    def guarded(self, action: Callable[..., Any]) -> Callable[..., None]:
        """The action as an event handler that shows the message of a `LabError` here, and that anything else failed."""

        def handler(*arguments: Any) -> None:
            try:
                action(*arguments)
            except LabError as error:
                self.say(str(error), error=True)
            except Exception as error:
                self.say(f"this failed: {type(error).__name__}: {error}", error=True)
                raise  # the traceback goes to Jupyter's log, which few people have open

        return handler
