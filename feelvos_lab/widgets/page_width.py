"""How wide the page shows a widget, which only the browser knows."""

from __future__ import annotations

from collections.abc import Callable

from ipywidgets import HTML, HBox, IntText

# The browser runs the handler because the picture does not load. It writes the width into the number field beside it,
# as a hand would, at first and whenever the width changes.
_MEASURE = """<img alt="" src="data:," style="display:none" onerror="
  const box = this.closest('.feelvos-width'), field = box.querySelector('input');
  let last = 0, waiting = 0;
  new ResizeObserver(() => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const width = Math.floor(box.clientWidth);
      if (!width || width === last) return;
      field.value = last = width;
      field.dispatchEvent(new Event('change', {bubbles: true}));
    }, 150);
  }).observe(box);
">"""


class PageWidth(HBox):
    """An empty row as wide as the page allows; `call` calls back with its width in pixels.

    A page that runs no handlers of its own never calls back.
    """

    def __init__(self) -> None:
        self._field = IntText(0, layout={"display": "none"})
        super().__init__([self._field, HTML(_MEASURE)], layout={"width": "100%", "height": "0", "overflow": "hidden"})
        self.add_class("feelvos-width")

    @property
    def width(self) -> int:
        """In pixels; 0 before the page says it."""
        return self._field.value

    def call(self, action: Callable[[], None]) -> None:
        """Call the action whenever the width has changed."""
        self._field.observe(lambda _: action(), "value")

    def set(self, width: int) -> None:
        """Report a width, as the page does."""
        self._field.value = width
