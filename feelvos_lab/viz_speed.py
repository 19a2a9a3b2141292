"""The roofline figure of the lessons on matching. As in `viz`, nothing is measured here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from feelvos_lab import style
from feelvos_lab.errors import LabError
from feelvos_lab.speed import Roofs, Way

_LEFT, _RIGHT = 0.03, 4000.0  # operations for each byte
_MARKERS = "o^sD"


@style.in_house_style
def roofline(roofs: Roofs, ways: Sequence[Way], *, title: str) -> Figure:
    """Each way as a point below the roofs of this machine: what it achieves against how much it asks of memory.

    Both axes are logarithmic, so the same step is the same factor everywhere.

    Raises:
        LabError: no way, or more than four.
    """
    if not 1 <= len(ways) <= len(style.LINES):
        raise LabError(f"a figure shows 1 to {len(style.LINES)} ways, got {len(ways)}")
    figure = style.new_figure(width=style.PAGE, height=3.0)
    axes = figure.add_subplot()
    x = np.geomspace(_LEFT, _RIGHT, 400)
    for bandwidth, line, name in ((roofs.memory, "-", "memory"), (roofs.cache, ":", "a cache")):
        axes.plot(x, np.minimum(bandwidth * x, roofs.operations) / 1e9, color=style.INK, linestyle=line, linewidth=1.0)
        at, beside = (0.5, {"xytext": (-5, 2), "ha": "right"}) if name == "a cache" else (0.034, {"xytext": (2, -15)})
        text, place = f"{name}: {bandwidth / 1e9:.0f} GB/s", (at, at * bandwidth / 1e9)
        axes.annotate(text, place, textcoords="offset points", color=style.QUIET, **beside)
    for rate, name, line in ((roofs.operations, "float32", "-"), (roofs.bfloat16, "bfloat16", "--")):
        if rate:
            start = rate / roofs.memory
            axes.plot([start, _RIGHT], [rate / 1e9] * 2, color=style.INK, linestyle=line, linewidth=1.0)
            above = name == "bfloat16"
            y, side = (rate * 1.1, "bottom") if above else (rate / 1.25, "top")
            axes.text(10, y / 1e9, f"{name}: {rate / 1e9:.0f}", va=side, color=style.QUIET)
    for way, (colour, _), marker in zip(ways, style.LINES, _MARKERS, strict=False):
        place, nanoseconds = (way.intensity, way.rate / 1e9), 1e9 * way.seconds / way.pairs
        axes.plot(*place, marker=marker, color=colour, markersize=7, linestyle="none")
        text = f"{way.name}, {nanoseconds:,.{0 if nanoseconds >= 10 else 1}f} ns a pair"
        beside = {"xytext": (8, -13), "ha": "left"} if way.intensity < 100 else {"xytext": (6, -22), "ha": "right"}
        axes.annotate(text, place, textcoords="offset points", color=colour, **beside)
    axes.set(xscale="log", yscale="log", xlim=(_LEFT, _RIGHT))
    lowest = min(way.rate for way in ways) / 1e9
    axes.set_ylim(min(lowest, roofs.memory * _LEFT / 1e9) / 3, 4 * (roofs.bfloat16 or roofs.operations) / 1e9)
    axes.set(xlabel="operations for each byte read or written", ylabel="billion operations a second", title=title)
    return figure
