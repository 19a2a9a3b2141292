"""A figure laid out from the top in inches, in one of the paper's two widths.

Text and panels keep their sizes whatever stands next to them; the height follows from what was placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from feelvos_lab.data.images import PALETTE
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style

LINE, GAP, BAR = 0.15, 0.06, 0.08  # inches: a line of text, the space between two panels, a colour bar

TALLEST = 9.2  # inches: the text height of a page


class Page:
    """A figure that is filled from the top; positions are in inches, the height is known at the end."""

    def __init__(self, width: float) -> None:
        self.figure = style.new_figure(width=width, height=1.0)
        self.figure.set_layout_engine("none")
        self.width, self.y = width, 0.04
        self.placed: list[tuple[Any, float, float, float, float]] = []  # what, left, top, width, height

    def axes(self, left: float, width: float, height: float) -> Axes:
        """New axes at the current height."""
        axes = self.figure.add_axes((0, 0, 1, 1), label=f"part {len(self.placed)}")
        self.placed.append((axes, left, self.y, width, height))
        return axes

    def text(self, left: float, words: str, **how: Any) -> None:
        """Text at the current height; it takes no space by itself."""
        text = self.figure.text(0, 0, words, va="top", **how)
        self.placed.append((text, left, self.y, 0.0, 0.0))

    def heading(self, name: str, *rest: str) -> None:
        """The clip's name and the first of `rest` that fits next to it; if none fits, the last, and the name is cut."""
        fits = [words for words in rest if inches(f"“{name}”{words}") <= self.width]
        words, shown = (fits or rest[-1:])[0], name
        while len(shown) > 2 and inches(f"“{shown}”{words}") > self.width:
            shown = f"{shown.rstrip('…')[:-1]}…"
        self.text(0, f"“{shown}”{words}")
        self.y += LINE + 0.05

    def headers(self, headers: Sequence[tuple[str, str]], *, lines: int = 2, of: int = 0) -> None:
        """A bold and a quiet line above each of `of` equal panels (default: as many as headers)."""
        across = self.panel_width(of or len(headers))
        for number, (bold, quiet) in enumerate(headers):
            self.text(number * (across + GAP), bold, weight="bold")
            if lines == 2:
                self.y += LINE
                self.text(number * (across + GAP), quiet, color=style.QUIET)
                self.y -= LINE
        self.y += lines * LINE + 0.02

    def object_line(self, o: int, quiet: str, bold: str = "") -> None:
        """The object's colour and number, and what the row shows of it."""
        self.text(0, "■", color=PALETTE[o] / 255)
        left = 0.13
        name = style.name_of(o).removeprefix("the ")
        words = f"{name} · {bold}" if bold else name
        self.text(left, words, weight="bold")
        if quiet:
            self.text(left + inches(words, bold=True) + 0.04, quiet, color=style.QUIET)
        self.y += LINE + 0.01

    def words(self, words: str) -> None:
        """A quiet line."""
        self.text(0, words, color=style.QUIET)
        self.y += LINE

    def panel_width(self, columns: int) -> float:
        """The width in inches of one of so many equal panels side by side."""
        return (self.width - (columns - 1) * GAP) / columns

    def panels(self, columns: int, shape: tuple[int, int], *, of: int = 0) -> list[Axes]:
        """A row of equal panels for pictures (H, W); as wide as if there were `of` of them."""
        across = self.panel_width(of or columns)
        height = across * shape[0] / shape[1]
        row = [self.axes(i * (across + GAP), across, height) for i in range(columns)]
        self.y += height + GAP
        return row

    def bars(self, *bars: tuple[style.Kind, int, int], of: int) -> None:
        """Colour bars, named above, below some of `of` columns: kind, first column, number of columns."""
        across = self.panel_width(of)
        for kind, first, _ in bars:
            self.text(first * (across + GAP), kind)
        self.y += LINE + 0.01
        for kind, first, columns in bars:
            axes = self.axes(first * (across + GAP), columns * (across + GAP) - GAP - 0.03, BAR)
            style.add_bar(self.figure, axes, kind)
        self.y += BAR + LINE + 0.07

    def notes(self, sentences: Sequence[str]) -> None:
        """Quiet sentences below everything, wrapped at the width."""
        line = ""
        for word in " ".join(s for s in sentences if s).split():
            if line and inches(f"{line} {word}") > self.width:
                self.words(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        if line:
            self.words(line)

    def finished(self) -> Figure:
        """The figure, with everything in its place; LabError if it is taller than a page."""
        height = self.y + 0.04
        if height > TALLEST:
            raise LabError(
                f"the figure would be {height:.1f} inches high, a page has {TALLEST}: choose fewer objects, or the "
                "wider page"
            )
        self.figure.set_size_inches(self.width, height)
        for part, left, top, width, tall in self.placed:
            if isinstance(part, Axes):
                part.set_position((left / self.width, 1 - (top + tall) / height, width / self.width, tall / height))
            else:
                part.set_position((left / self.width, 1 - top / height))
        return self.figure


def inches(words: str, *, bold: bool = False) -> float:
    """An upper bound of a line's width in the figure's font: screens round each glyph to whole pixels."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return 0.01 + 1.04 * TextPath((0, 0), words, size=8, prop=font).get_extents().x1 / 72
