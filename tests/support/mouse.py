"""What a canvas is told when somebody moves the mouse over a picture or presses a key, without a browser."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.backend_bases import KeyEvent, MouseEvent


def mouse(axes: Any, what: str, *, row: float, column: float, button: int | None = 1, **more: Any) -> None:
    """The mouse does something at a pixel of the frame."""
    canvas = axes.figure.canvas
    x, y = axes.transData.transform((column, row))
    canvas.callbacks.process(what, MouseEvent(what, canvas, x, y, button=button, **more))


def drag(axes: Any, *points: tuple[float, float], **more: Any) -> None:
    """Press a button at the first place, move over the others, and release it at the last one."""
    mouse(axes, "button_press_event", row=points[0][0], column=points[0][1], **more)
    for row, column in points[1:]:
        mouse(axes, "motion_notify_event", row=row, column=column, **more)
    mouse(axes, "button_release_event", row=points[-1][0], column=points[-1][1], **more)


def press_key(canvas: Any, key: str) -> None:
    """A key goes down while the picture has the focus."""
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def pixels_of(canvas: Any) -> np.ndarray:
    """The picture as it is drawn now: (height, width, 4)."""
    canvas.draw()
    return np.asarray(canvas.renderer.buffer_rgba()).copy()


def texts(figure: Any) -> str:
    """All that a figure says."""
    return " | ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text())
