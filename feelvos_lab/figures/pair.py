"""The figure of a pair of vectors in the plane, next to its place on the curve of Eq. 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feelvos_lab.figures import style

Point = tuple[float, float]

SIDE = 1.5  # the plane is −SIDE … SIDE in both directions, so that squared distances stay below 18

_FURTHEST = 20.0  # squared distance up to which the curve is drawn


class PairSheet:
    """Two vectors on the left, and on the right d over their squared distance, with its slope.

    The figure stays the same one when the pair moves, so its canvas can stay in a page.

    Args:
        distance: squared distances, any shape → d in [0, 1], such as `normalise_distance`.

    Example:
        >>> import numpy as np
        >>> from feelvos_lab.figures.pair import PairSheet
        >>> sheet = PairSheet(lambda square: np.tanh(square / 2))
        >>> figure = sheet.show((0.0, 0.0), (1.0, 0.0))
        >>> sheet.plane.get_title(loc="left")
        '‖e − e′‖² = 1.00'
    """

    @style.in_house_style
    def __init__(self, distance: Callable[[np.ndarray], np.ndarray], *, dpi: int = style.DPI) -> None:
        self.distance = distance
        self.figure = style.new_figure(width=style.PAGE, height=2.7)
        self.figure.set_dpi(dpi)
        grid = self.figure.add_gridspec(1, 2, width_ratios=[2, 3])
        self.plane: Axes = self.figure.add_subplot(grid[0])
        self.plane.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal", xlabel="first number of the vector")
        self.plane.set(title="‖e − e′‖² = 00.00", ylabel="second number")
        (self._between,) = self.plane.plot([], [], color=style.QUIET, linewidth=1)
        self._points = [
            self.plane.plot([], [], marker=marker, markersize=9, color=colour, linestyle="none", label=name)[0]
            for name, marker, (colour, _) in zip(("e", "e′"), "os", style.LINES, strict=False)
        ]
        self.plane.legend(frameon=False, loc="upper left", ncols=2, handletextpad=0.1, columnspacing=0.8)
        self.curve: Axes = self.figure.add_subplot(grid[1])
        squares = np.linspace(0, _FURTHEST, 401)
        d = distance(squares)
        self._slope = (squares, np.gradient(d, squares))
        lines = {"d, Eq. 1": d, "its slope": self._slope[1]}
        for (colour, dashes), (name, y) in zip(style.LINES, lines.items(), strict=False):
            self.curve.plot(squares, y, color=colour, linestyle=dashes, label=name)
        (self._place,) = self.curve.plot([], [], marker="o", markersize=7, color=style.INK, linestyle="none")
        self._drop = self.curve.axvline(0, color=style.QUIET, linewidth=0.8)
        self.curve.set(
            xlim=(-0.4, _FURTHEST), ylim=(0, 1.05), xlabel="squared distance", title="d = 0.000, slope 0.000"
        )
        self.curve.legend(frameon=False, loc="center right")
        style.freeze_layout(self.figure)

    @style.in_house_style
    def show(self, first: Point, second: Point) -> Figure:
        """Draw another pair; returns the same figure."""
        square = float((first[0] - second[0]) ** 2 + (first[1] - second[1]) ** 2)
        d = float(self.distance(np.array(square)))
        for line, (x, y) in zip(self._points, (first, second), strict=True):
            line.set_data([x], [y])
        self._between.set_data(*zip(first, second, strict=True))
        self._place.set_data([square], [d])
        self._drop.set_xdata([square, square])
        self.plane.set_title(f"‖e − e′‖² = {square:.2f}")
        self.curve.set_title(f"d = {d:.3f}, slope {np.interp(square, *self._slope):.3f}")
        return self.figure
