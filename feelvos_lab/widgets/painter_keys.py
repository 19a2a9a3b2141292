"""The painter's keys, which work while its picture has the focus: after a click into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Key(NamedTuple):
    """Names of a key as matplotlib reports them, how a page shows it, and what it does to the painter."""

    names: tuple[str, ...]
    shown: str
    meaning: str
    action: Callable[[Any], None]


def _plain(*keys: str) -> tuple[str, ...]:
    """The keys with the modifiers that some keyboards need to type them."""
    return tuple(modifier + key for key in keys for modifier in ("", "ctrl+", "alt+", "shift+"))


KEYS = (
    Key(("b",), "B", "brush", lambda p: p.choose_tool("brush")),
    Key(("e",), "E", "eraser", lambda p: p.choose_tool("eraser")),
    Key(("f",), "F", "fill: click inside a closed outline", lambda p: p.choose_tool("fill")),
    *(Key((str(i),), str(i), f"object {i}", lambda p, i=i: p.choose_object(i)) for i in range(1, 10)),
    Key(_plain("["), "[", "smaller brush", lambda p: p.grow(-1)),
    Key(_plain("]"), "]", "larger brush", lambda p: p.grow(1)),
    Key(("ctrl+z", "cmd+z", "z"), "Ctrl+Z", "undo in this frame", lambda p: p.take_back()),
    Key(("ctrl+y", "ctrl+Z", "cmd+Z", "Z", "y"), "Ctrl+Y", "redo", lambda p: p.do_again()),
    Key(("left",), "←", "one frame back", lambda p: p.go(p.frame.value - 1)),
    Key(("right",), "→", "one frame on", lambda p: p.go(p.frame.value + 1)),
    Key(("home",), "Home", "first frame", lambda p: p.go(0)),
    Key(("end",), "End", "last frame", lambda p: p.go(p.frame.max)),
    Key((" ", "space"), "Space", "play or pause", lambda p: p.toggle_play()),
    Key(_plain("+", "="), "+", "zoom in", lambda p: p.view.zoom(1.5)),
    Key(_plain("-", "_"), "−", "zoom out", lambda p: p.view.zoom(1 / 1.5)),
    Key(("0",), "0", "whole frame", lambda p: p.view.whole()),
    Key(("enter",), "Enter", "propagate, or stop", lambda p: p.propagate_or_stop()),
)

_ACTIONS = {name: key.action for key in KEYS for name in key.names}


def action_of(key: str | None) -> Callable[[Any], None] | None:
    """What a key does; None for one without a meaning."""
    return _ACTIONS.get(key or "")


def keys_as_html() -> str:
    """The keys and what the mouse does, folded away."""
    listed = [(key.shown, key.meaning) for key in KEYS if not key.shown.isdigit() or key.shown == "0"]
    listed.insert(3, ("1 … 9", "choose an object"))
    rows = " · ".join(f"<kbd>{shown}</kbd> {meaning}" for shown, meaning in listed)
    mouse = "Mouse wheel: zoom, once the picture is clicked · right button, or Shift and the left one: move the view"
    return f"<details><summary>Keys, after a click into the picture</summary>{rows}<br>{mouse}</details>"
