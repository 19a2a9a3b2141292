"""The distance-map figures of a paper, in its column width: a sheet of cues, a strip over time, arrows to the matches.

As in `viz`, nothing is measured here: predictions and matches are given. Unlike there, every part has its place in
inches, so that a row more or a wider frame moves what follows and never the letters.
Letters: K objects counting the background, H W frame size, h w the stride-4 grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.text import Annotation
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import VOID, overlay
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style
from feelvos_lab.figures.basic import draw_map, draw_outline
from feelvos_lab.figures.page import GAP, LINE, TALLEST, Page, name_of
from feelvos_lab.inference.matches import PixelMatches

CUES = ("frame", "given", "global_map", "local_map", "previous_mask", "result")  # a sheet's columns on a page

IN_COLUMN = (("given", "previous_mask", "frame"), ("global_map", "local_map", "result"))  # its two rows in a column

STRIP_FRAMES = {style.COLUMN: 4, style.PAGE: 8}  # the most that can be told apart


@style.in_house_style
def sheet(
    clip: Clip, prediction: Any, *, objects: Sequence[int], width: float = style.PAGE, radius: int | None = None
) -> Figure:
    """What the network sees of each object in one frame, an object a row: the paper's figure for any clip.

    On a page the row is: frame, mask that was given, global map, local map, previous prediction, result. In a column
    each object has two rows of three, and each cue stands below what it comes from. A row is about its object alone.
    Where the clip is annotated a white line is the object's true outline.

    Args:
        prediction: what `propagate` yields for the frame.
        objects: 0 for the background, or some of the clip's ids.
        width: in inches: `style.COLUMN` or `style.PAGE`.
        radius: of the local window in cells; None where the previous frame is matched without one.

    Raises:
        LabError: another width, an object the clip does not have, a frame without cues, or more rows than a page holds.
    """
    _check(clip, objects, width, {prediction.frame: prediction})
    t, page = prediction.frame, Page(width)
    page.heading(clip.name, f", frame {t}: what the network sees of each object", f", frame {t}")
    headers = dict(zip(CUES, _headers(clip, objects, t, radius), strict=True))
    wide = width == style.PAGE
    for number, o in enumerate(objects):
        if wide and number == 0:
            page.headers(list(headers.values()))
        page.object_line(o, _entry(clip, o))
        for cues in (CUES,) if wide else IN_COLUMN:
            if not wide:
                page.headers([headers[cue] for cue in cues])
            for axes, cue in zip(page.panels(len(cues), _size(clip)), cues, strict=True):
                _cue_panel(axes, cue, clip, prediction, o)
        page.space(GAP)
    first, of = (2, 6) if wide else (0, 3)
    page.bars(("distance", first, 2), ("probability", first + 2, 1), of=of)
    page.notes([_window_note(prediction, radius), _truth_note(clip)])
    return page.finished()


@style.in_house_style
def strip(
    clip: Clip,
    predictions: Mapping[int, Any],
    *,
    objects: Sequence[int],
    frames: Sequence[int],
    width: float = style.PAGE,
    radius: int | None = None,
) -> Figure:
    """A film strip: a column a frame; the frame with the prediction, then each object's global and local map.

    Args:
        predictions: by frame number; as for `sheet`, and so are the others.
        frames: ascending, 1 to 4 in a column and 1 to 8 on a page.

    Raises:
        LabError: as `sheet`; too many frames, or one that is not among the predictions.
    """
    if not 1 <= len(frames) <= STRIP_FRAMES.get(width, 8):
        raise LabError(f"a strip of this width shows 1 to {STRIP_FRAMES.get(width, 8)} frames, got {len(frames)}")
    if missing := [t for t in frames if t not in predictions]:
        raise LabError(f"a strip needs the prediction of each of its frames, got none for frame {missing[0]}")
    _check(clip, objects, width, {t: predictions[t] for t in frames})
    page = Page(width)
    page.heading(clip.name, ": the distance maps over time", "")
    of = _columns(page, clip, rows=1 + 2 * len(objects), frames=len(frames))
    page.headers([(f"Frame {t}", "") for t in frames], lines=1, of=of)
    page.words("Prediction, one colour an object")
    for axes, t in zip(page.panels(len(frames), _size(clip), of=of), frames, strict=True):
        _picture(axes, overlay(clip.frames[t], predictions[t].labels))
        for o in objects if clip.annotated else ():
            draw_outline(axes, clip.masks[t] == o)
    for o in objects:
        rows = (
            ("global_map", "Global map", f"to frame {clip.start_of(o)}"),
            ("local_map", _local_name(radius), "to the frame before"),
        )
        for field, name, where in rows:
            page.object_line(o, where, name)
            for axes, t in zip(page.panels(len(frames), _size(clip), of=of), frames, strict=True):
                _map(axes, clip, t, getattr(predictions[t].cues, field), o)
    page.space(GAP)
    page.bars(("distance", 0, 1), of=2 if width == style.PAGE else 1)
    page.notes([_window_note(predictions[frames[-1]], radius), _truth_note(clip)])
    return page.finished()


@style.in_house_style
def arrows(
    clip: Clip,
    prediction: Any,
    links: Sequence[PixelMatches],
    *,
    object_id: int,
    before: Tensor,
    width: float = style.PAGE,
    radius: int | None = None,
) -> Figure:
    """Where an object's nearest neighbours lie: arrows from cells of the frame to their matches in two others.

    They lie in the first frame and in the previous one. An arrow has the colour of its distance. Round the place of
    each cell in the previous frame its window is drawn, dashed where it holds nothing of the object. Only the pixels
    that are tinted could be chosen.

    Args:
        prediction: what `propagate` yields for the frame.
        links: the matches, numbered in this order.
        before: int64 (H, W), the labels of the previous frame.
        width, radius: as for `sheet`.

    Raises:
        LabError: as `sheet`, or no link.
    """
    _check(clip, [object_id], width, {prediction.frame: prediction})
    if not links:
        raise LabError(f"{name_of(object_id)} has no cell to draw an arrow from")
    t, start, o, page = prediction.frame, clip.start_of(object_id), object_id, Page(width)
    page.heading(clip.name, f", frame {t}: where the nearest pixels of an object lie", f", frame {t}")
    headers = [
        (f"Frame {start}", "nearest, anywhere"),
        (f"Frame {t}", "the cells that ask"),
        (f"Frame {t - 1}", "nearest, anywhere" if radius is None else "nearest, in the window"),
    ]
    page.object_line(o, "")
    if width == style.PAGE:
        page.headers(headers)
        first, current, previous = page.panels(3, _size(clip))
    else:
        page.headers(headers[1:2])
        (current,) = page.panels(1, _size(clip))
        first, previous = page.panels(2, _size(clip))
        page.headers([headers[0], headers[2]])  # below, so that no arrow crosses them
    pictures = (
        (current, t, prediction.labels, True),
        (first, start, clip.masks[start], prediction.cues.global_map is not None),
        (previous, t - 1, before, prediction.cues.local_map is not None),
    )
    for axes, frame, labels, used in pictures:
        if used:
            _picture(axes, overlay(clip.frames[frame], _alone(labels, o)))
        else:
            _map(axes, clip, frame, None, o)
    _draw_links(page.figure, (first, current, previous), links, _spacing(clip, prediction), radius)
    page.space(GAP)
    page.bars(("distance", 0, 1), of=2 if width == style.PAGE else 1)
    windows = radius is not None and prediction.cues.local_map is not None
    dashed = windows and any(link.previous is None for link in links)
    window = f"Square: the window, {radius} cells around{'; dashed: no match in it' if dashed else ''}."
    page.notes(["Tinted: where matches may lie.", window if windows else ""])
    return page.finished()


def _cue_panel(axes: Axes, cue: str, clip: Clip, prediction: Any, o: int) -> None:
    """One of a sheet's panels for object o."""
    t = prediction.frame
    if cue == "frame":
        _picture(axes, overlay(clip.frames[t], torch.zeros_like(prediction.labels)))
    elif cue == "given":
        start = clip.start_of(o)
        _picture(axes, overlay(clip.frames[start], _alone(clip.masks[start], o)))
    elif cue == "result":
        _picture(axes, overlay(clip.frames[t], _alone(prediction.labels, o)))
        _outline(axes, clip, t, o)
    else:
        _map(axes, clip, t, getattr(prediction.cues, cue), o, probability=cue == "previous_mask")


def _map(axes: Axes, clip: Clip, t: int, cue: Tensor | None, o: int, *, probability: bool = False) -> None:
    """The channel of object o of a cue, with the true outline where it is a distance."""
    scale = style.probability_scale() if probability else style.distance_scale()
    drawn = draw_map(axes, cue, (0, *clip.object_ids).index(o), _size(clip), scale)
    if drawn and not probability:
        _outline(axes, clip, t, o)
    _bare(axes)


def _picture(axes: Axes, picture: np.ndarray) -> None:
    axes.imshow(picture, interpolation="nearest" if picture.shape[1] < 400 else "antialiased")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outline(axes: Axes, clip: Clip, t: int, o: int) -> None:
    if clip.annotated:
        draw_outline(axes, clip.masks[t] == o)


def _alone(labels: Tensor, o: int) -> Tensor:
    """The labels of one object, or for the background those of all, since what is left is the background."""
    return torch.where(labels == VOID if o == 0 else labels != o, 0, labels)


def _draw_links(
    figure: Figure,
    panels: tuple[Axes, Axes, Axes],
    links: Sequence[PixelMatches],
    spacing: tuple[float, float],
    radius: int | None,
) -> None:
    """Arrows from the middle panel's cells to the two others', the windows, and the cells' numbers."""
    first, current, previous = panels
    down, across = spacing
    for number, link in enumerate(links, start=1):
        place = (link.query[1] * across, link.query[0] * down)  # x, y
        if radius is not None and previous.images:
            sides = ((2 * radius + 1) * across, (2 * radius + 1) * down)
            _window(previous, place, sides, found=link.previous is not None)
        ends = ((first, link.first, link.first_distance), (previous, link.previous, link.previous_distance))
        for axes, target, distance in ends:
            if target is not None:
                end = (target[1] * across, target[0] * down)
                _arrow(figure, (current, place), (axes, end), style.distance_scale().to_rgba(distance))
        _number(figure, current, place, number)


def _arrow(figure: Figure, start: tuple[Axes, Any], end: tuple[Axes, Any], colour: Any) -> None:
    """An arrow from a pixel of one panel to a pixel of another, above both, readable on any picture."""
    arrow = ConnectionPatch(
        xyA=start[1], coordsA="data", axesA=start[0], xyB=end[1], coordsB="data", axesB=end[0], color=colour
    )
    arrow.set(arrowstyle="-|>", mutation_scale=7, linewidth=1.1, zorder=10)
    arrow.shrinkA = arrow.shrinkB = 0
    strokes = [Stroke(linewidth=2.6, foreground="white"), Stroke(linewidth=1.9, foreground=style.INK), Normal()]
    arrow.set_path_effects(strokes)
    figure.add_artist(arrow)


def _window(axes: Axes, place: tuple[float, float], sides: tuple[float, float], *, found: bool) -> None:
    corner = (place[0] - sides[0] / 2, place[1] - sides[1] / 2)
    for colour, line in ((style.INK, 1.8), ("white", 0.9)):
        dashes = "-" if found else (0, (3, 2))
        axes.add_patch(
            Rectangle(corner, *sides, fill=False, edgecolor=colour, linewidth=line, linestyle=dashes, clip_on=True)
        )


def _number(figure: Figure, axes: Axes, place: tuple[float, float], number: int) -> None:
    """A cell's number on it, above the arrows."""
    round_ = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": style.INK, "linewidth": 0.6}
    look = {"ha": "center", "va": "center_baseline", "weight": "bold"}
    figure.add_artist(Annotation(str(number), place, xycoords=axes.transData, zorder=11, bbox=round_, **look))


def _columns(page: Page, clip: Clip, *, rows: int, frames: int) -> int:
    """Of how many columns a strip's panels must be one, so that all rows fit on a page; never fewer than `frames`."""
    most, (height, width) = STRIP_FRAMES[page.width], _size(clip)
    room = (TALLEST - 1.1) / rows - LINE - GAP - 0.01  # inches of a panel
    return next((n for n in range(frames, most) if page.panel_width(n) * height / width <= room), most)


def _size(clip: Clip) -> tuple[int, int]:
    return tuple(clip.frames[0].shape[-2:])


def _spacing(clip: Clip, prediction: Any) -> tuple[float, float]:
    """Pixels from one cell of the stride-4 grid to the next, down and across; outer cells lie on outer pixels."""
    rows, columns = prediction.cues.embeddings.shape[-2:]
    height, width = _size(clip)
    return (height - 1) / max(1, rows - 1), (width - 1) / max(1, columns - 1)


def _headers(clip: Clip, objects: Sequence[int], t: int, radius: int | None) -> list[tuple[str, str]]:
    """Title and explanation of a sheet's panels in the order of `CUES`, short enough for a sixth of a page."""
    starts = {clip.start_of(o) for o in objects}
    where = f"frame {starts.pop()}" if len(starts) == 1 else "given frame"
    return [
        (f"Frame {t}", "to segment"),
        ("Given mask", where),
        ("Global map", f"to {where}"),
        (_local_name(radius), f"to frame {t - 1}"),
        ("Previous mask", f"of frame {t - 1}"),
        ("Result", f"frame {t}"),
    ]


def _local_name(radius: int | None) -> str:
    return "Local map" if radius is not None else "Global map 2"


def _entry(clip: Clip, o: int) -> str:
    """Where an object enters, if not all do so in one frame."""
    return f"given in frame {clip.start_of(o)}" if len(set(clip.starts)) > 1 else ""


def _window_note(prediction: Any, radius: int | None) -> str:
    if prediction.cues.local_map is None:
        return ""
    if radius is None:
        return "Global map 2: to the previous frame, without a window."
    return f"Local map: at most {radius} cells away."


def _truth_note(clip: Clip) -> str:
    return "White line: the truth." if clip.annotated else ""


def _check(clip: Clip, objects: Sequence[int], width: float, predictions: Mapping[int, Any]) -> None:
    if width not in (style.COLUMN, style.PAGE):
        raise LabError(f"a figure is {style.COLUMN} or {style.PAGE} inches wide, got {width}")
    known = (0, *clip.object_ids)
    for o in objects:
        if o not in known:
            raise LabError(
                f"there is no object {o} in clip {clip.name!r}: it has {', '.join(map(str, known))}, 0 the background"
            )
    if not objects:
        raise LabError("a figure of distance maps needs an object, got none")
    for t, prediction in predictions.items():
        if prediction.cues is None:
            raise LabError(
                f"a figure of distance maps needs a predicted frame, and frame {t} is given or has no mask yet"
            )
