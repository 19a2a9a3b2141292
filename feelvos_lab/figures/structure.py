"""The structure of the network, drawn: three frames, one encoder, two matchings, a head for each object."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle

from feelvos_lab.data.images import PALETTE
from feelvos_lab.figures import style

_WIDTH, _HEIGHT = 138, 66  # of the drawing, in its own units

_FIRST, _PREVIOUS, _CURRENT = 53, 32, 11  # heights of the three rows

_FILL = {"weights": "#dce8f5", "matching": "#e6f0d8", "cue": "#fbf3d5", "plain": "white"}


@style.in_house_style
def structure() -> Figure:
    """The network at frame t (paper, Figure 2), from left to right.

    Blue boxes have weights that are trained; green ones, the matching, have none; yellow ones are the cues, each drawn
    for two objects. The dashed line leads from the mask of frame t to the step for frame t + 1.

    Example:
        >>> from feelvos_lab.figures.structure import structure
        >>> figure = structure()
        >>> sorted(text.get_text() for text in figure.axes[0].texts if text.get_text().startswith("Frame"))
        ['Frame 0', 'Frame t', 'Frame t − 1']
    """
    figure = style.new_figure(width=style.PAGE, height=style.PAGE * _HEIGHT / _WIDTH)
    axes = figure.add_subplot()
    axes.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT), aspect="equal")
    style.hide_axes(axes)
    _frames(axes)
    _encoder(axes)
    _matching(axes)
    _cues_and_head(axes)
    return figure


def _frames(axes: Axes) -> None:
    for y, name, caption, masked, x in (
        (_FIRST, "Frame 0", "and its given mask", True, 5.5),
        (_PREVIOUS, "Frame t − 1", "and its prediction", True, 8.0),
        (_CURRENT, "Frame t", "to be segmented", False, 9.5),
    ):
        axes.add_patch(Rectangle((1, y - 5.5), 17, 11, facecolor="#cfe3ea", edgecolor=style.INK, linewidth=0.8))
        axes.add_patch(Rectangle((1, y - 5.5), 17, 4, facecolor="#c9d6b0", edgecolor="none"))
        ball, tent = (PALETTE[i] / 255 if masked else colour for i, colour in ((1, "#a08070"), (2, "#8a8f80")))
        axes.add_patch(Circle((x, y), 2.4, facecolor=ball, edgecolor=style.INK, linewidth=0.5))
        axes.add_patch(
            Polygon(
                [(12, y - 3.2), (16.4, y - 3.2), (14.2, y + 2.2)], facecolor=tent, edgecolor=style.INK, linewidth=0.5
            )
        )
        axes.text(1, y + 6.3, name, weight="bold", va="bottom")
        axes.text(1, y - 6.3, caption, color=style.QUIET, va="top", fontsize=7)


def _encoder(axes: Axes) -> None:
    bottom, top = _CURRENT - 6, _FIRST + 6
    _box(axes, 25, bottom, 19, top - bottom, "", "weights")
    for y, text in (
        (_FIRST, "backbone"),
        (_PREVIOUS, "decoder"),
        (_CURRENT, "embedding\nlayer"),
    ):
        axes.text(34.5, y, text, ha="center", va="center")
    for upper, lower in ((_FIRST, _PREVIOUS), (_PREVIOUS, _CURRENT)):
        _arrow(axes, (34.5, upper - 5), (34.5, lower + 5), colour=style.QUIET)
    axes.text(34.5, top + 3.4, "the same for each frame", ha="center", va="bottom", color=style.QUIET, fontsize=7)
    for y, name in ((_FIRST, "$e_0$"), (_PREVIOUS, "$e_{t-1}$"), (_CURRENT, "$e_t$")):
        _arrow(axes, (18.3, y), (24.7, y))
        _arrow(axes, (44.3, y), (49.7, y))
        _grid(axes, 50, y - 3.5, name)
    axes.text(54.5, _FIRST + 6.3, "embeddings", ha="center", va="bottom", weight="bold")
    axes.text(54.2, _FIRST - 4.6, "a vector for\n4×4 pixels", ha="center", va="top", color=style.QUIET, fontsize=6.5)


def _matching(axes: Axes) -> None:
    for y, text, labels in (
        (_FIRST, "global\nmatching\nEq. 2", "with the mask of frame 0"),
        (_PREVIOUS, "local\nmatching\nEq. 4", "with that of frame t − 1"),
    ):
        _box(axes, 66, y - 5.5, 15, 11, text, "matching")
        axes.text(64, y - 6.2, labels, va="top", color=style.QUIET, fontsize=6.5)
        _arrow(axes, (58.4, y + 1), (65.7, y + 1))
        _arrow(axes, (81.3, y), (88.7, y))
        _arrow(axes, (62, y - 3), (65.7, y - 3))
    _line(axes, (58.4, _CURRENT + 1), (62, _CURRENT + 1), (62, _FIRST - 3))


def _cues_and_head(axes: Axes) -> None:
    axes.text(95.5, _FIRST + 6.3, "cues of object $o$", ha="center", va="bottom", weight="bold")
    below = _CURRENT + 3
    for y, text in (
        (_FIRST, "global map\n$G_{t,o}$"),
        (_PREVIOUS, "local map\n$L_{t,o}$"),
        (below, "previous\nmask $M_{t,o}$"),
    ):
        _box(axes, 90.2, y - 3.3, 13, 9, "", "cue")  # a sheet for each object
        _box(axes, 89, y - 4.5, 13, 9, text, "cue")
        _line(axes, (103.2, y), (106.5, y))
    _line(
        axes,
        (106.5, _FIRST),
        (106.5, _CURRENT - 6.5),
        (58.4, _CURRENT - 6.5),
        (58.4, _CURRENT - 4),
        (44.2, _CURRENT - 4),
    )
    axes.text(62, _CURRENT - 6, "features of frame t", va="bottom", color=style.QUIET, fontsize=6.5)
    _line(axes, (18, _PREVIOUS - 3), (21.5, _PREVIOUS - 3), (21.5, 1.5), (85, 1.5), (85, below))
    _arrow(axes, (85, below), (88.7, below))
    axes.text(24, 1, "mask of frame t − 1", va="top", color=style.QUIET, fontsize=6.5)
    _arrow(axes, (106.5, _PREVIOUS), (109.7, _PREVIOUS))
    _box(axes, 111.2, _PREVIOUS - 6.8, 11, 16, "", "weights")
    _box(axes, 110, _PREVIOUS - 8, 11, 16, "head\n\nonce for\neach\nobject", "weights")
    _arrow(axes, (122.4, _PREVIOUS), (125.7, _PREVIOUS))
    _box(axes, 126, _PREVIOUS - 6, 11, 12, "softmax\nover the\nobjects", "plain")
    _arrow(axes, (131.5, _PREVIOUS + 6.2), (131.5, _PREVIOUS + 12))
    axes.text(131.5, _PREVIOUS + 12.5, "mask of\nframe t", ha="center", va="bottom", weight="bold")
    _arrow(axes, (131.5, _PREVIOUS + 19.5), (131.5, _PREVIOUS + 25), dashed=True)
    axes.text(131.5, _PREVIOUS + 25.5, "to frame t + 1", ha="center", va="bottom", color=style.QUIET, fontsize=6.5)


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, kind: str) -> None:
    shape = FancyBboxPatch(
        (x, y),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=1",
        facecolor=_FILL[kind],
        edgecolor=style.INK,
        linewidth=0.8,
    )
    axes.add_patch(shape)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=7.5)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], *, colour: str = style.INK, dashed: bool = False
) -> None:
    line = {"color": colour, "linewidth": 0.9, "linestyle": "--" if dashed else "-"}
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8, **line}
    )


def _line(axes: Axes, *points: tuple[float, float]) -> None:
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=style.INK, linewidth=0.9)


def _grid(axes: Axes, x: float, y: float, name: str) -> None:
    for shift in (1.4, 0.7, 0):  # D numbers a cell
        axes.add_patch(Rectangle((x + shift, y + shift), 6, 6, facecolor="white", edgecolor=style.INK, linewidth=0.6))
    for part in (2, 4):
        _thin(axes, (x + part, y), (x + part, y + 6))
        _thin(axes, (x, y + part), (x + 6, y + part))
    axes.text(
        x + 3, y + 3, name, ha="center", va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    )


def _thin(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.plot([start[0], end[0]], [start[1], end[1]], color="#aaaaaa", linewidth=0.5)
