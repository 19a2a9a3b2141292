"""The distance-map figures of a paper, in its column width: a sheet of cues, a strip over time, arrows to the matches.

Every part is placed in inches (`Page`), so another row or a wider frame moves what follows and never changes the text.
Symbols: K objects including background, H W frame size, h w the stride-4 grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
from feelvos_lab.figures.basic import draw_map, draw_outline, draw_picture, window_bounds
from feelvos_lab.figures.page import GAP, LINE, TALLEST, Page
from feelvos_lab.inference.matches import PixelMatches
from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.model.grid import cell_spacing

CUES = ("frame", "given", "global_map", "local_map", "previous_mask", "result")  # a sheet's columns on a page

IN_COLUMN = (("given", "previous_mask", "frame"), ("global_map", "local_map", "result"))  # its two rows in a column

STRIP_FRAMES = {style.COLUMN: 4, style.PAGE: 8}  # at most, so that each frame is large enough to read


@style.in_house_style
def sheet(
    clip: Clip, prediction: Prediction, *, objects: Sequence[int], width: float = style.PAGE, radius: int | None = None
) -> Figure:
    """The cues of one frame, a row for each object: the paper's figure for any clip.

    On a page the row is: frame, given mask, global map, local map, previous prediction, result. In a column each
    object has two rows of three, each cue below its source. If the clip is annotated, a white line is the object's
    true outline. A frame without cues, or more rows than fit on a page, raise LabError.

    Args:
        prediction: what `propagate` yields for the frame.
        objects: ids of the clip; 0 is the background.
        width: in inches: `style.COLUMN` or `style.PAGE`.
        radius: of the local window in cells; None if the previous frame is matched without a window.
    """
    _check(clip, objects, width, {prediction.frame: prediction})
    t, page = prediction.frame, Page(width)
    page.heading(clip.name, f", frame {t}: what the network sees of each object", f", frame {t}")
    headers = dict(zip(CUES, _headers(clip, objects, t, radius), strict=True))
    wide = width == style.PAGE
    for number, o in enumerate(objects):
        if wide and number == 0:
            page.headers(list(headers.values()))
        page.object_line(o, f"given in frame {clip.start_of(o)}" if len(set(clip.starts)) > 1 else "")
        for cues in (CUES,) if wide else IN_COLUMN:
            if not wide:
                page.headers([headers[cue] for cue in cues])
            for axes, cue in zip(page.panels(len(cues), _size(clip)), cues, strict=True):
                _cue_panel(axes, cue, clip, prediction, o)
        page.y += GAP
    first, of = (2, 6) if wide else (0, 3)
    page.bars(("distance", first, 2), ("probability", first + 2, 1), of=of)
    page.notes([_window_note(prediction, radius), _truth_note(clip)])
    return page.finished()


@style.in_house_style
def strip(
    clip: Clip,
    predictions: Mapping[int, Prediction],
    *,
    objects: Sequence[int],
    frames: Sequence[int],
    width: float = style.PAGE,
    radius: int | None = None,
) -> Figure:
    """A film strip, a column for each frame: the prediction, then each object's global and local map.

    Args:
        predictions: by frame number. The other arguments are those of `sheet`.
        frames: ascending; 1 to 4 in a column, 1 to 8 on a page.
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
        draw_picture(axes, overlay(clip.frames[t], predictions[t].labels))
        for o in objects:
            _outline(axes, clip, t, o)
    for o in objects:
        rows = (
            ("global_map", "Global map", f"to frame {clip.start_of(o)}"),
            ("local_map", _local_name(radius), "to the frame before"),
        )
        for field, name, where in rows:
            page.object_line(o, where, name)
            for axes, t in zip(page.panels(len(frames), _size(clip), of=of), frames, strict=True):
                _map(axes, clip, t, getattr(predictions[t].cues, field), o)
    page.y += GAP
    page.bars(("distance", 0, 1), of=2 if width == style.PAGE else 1)
    page.notes([_window_note(predictions[frames[-1]], radius), _truth_note(clip)])
    return page.finished()


@style.in_house_style
def arrows(
    clip: Clip,
    prediction: Prediction,
    links: Sequence[PixelMatches],
    *,
    object_id: int,
    before: Tensor,
    width: float = style.PAGE,
    radius: int | None = None,
) -> Figure:
    """Arrows from cells of a frame to the object's nearest neighbours in the first and in the previous frame.

    An arrow has the colour of its distance. In the previous frame the window of each cell is drawn, dashed if the
    object has no pixel in it. Matches can only lie on tinted pixels.

    Args:
        prediction, width, radius: as for `sheet`.
        links: the matches, numbered in this order.
        before: int64 (H, W), the labels of the previous frame.
    """
    _check(clip, [object_id], width, {prediction.frame: prediction})
    if not links:
        raise LabError(f"{style.name_of(object_id)} has no cell to draw an arrow from")
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
            draw_picture(axes, overlay(clip.frames[frame], _only(labels, o)))
        else:
            _map(axes, clip, frame, None, o)
    spacing = cell_spacing(_size(clip), prediction.cues.embeddings.shape[-2:])
    _draw_links(page.figure, (first, current, previous), links, spacing, radius)
    page.y += GAP
    page.bars(("distance", 0, 1), of=2 if width == style.PAGE else 1)
    windows = radius is not None and prediction.cues.local_map is not None
    dashed = windows and any(link.previous is None for link in links)
    window = f"Square: the window, {radius} cells around{'; dashed: no match in it' if dashed else ''}."
    page.notes(["Tinted: where matches may lie.", window if windows else ""])
    return page.finished()


def _cue_panel(axes: Axes, cue: str, clip: Clip, prediction: Prediction, o: int) -> None:
    """One of a sheet's panels for object o."""
    t = prediction.frame
    if cue == "frame":
        draw_picture(axes, overlay(clip.frames[t], torch.zeros_like(prediction.labels)))
    elif cue == "given":
        start = clip.start_of(o)
        draw_picture(axes, overlay(clip.frames[start], _only(clip.masks[start], o)))
    elif cue == "result":
        draw_picture(axes, overlay(clip.frames[t], _only(prediction.labels, o)))
        _outline(axes, clip, t, o)
    else:
        _map(axes, clip, t, getattr(prediction.cues, cue), o, "probability" if cue == "previous_mask" else "distance")


def _map(axes: Axes, clip: Clip, t: int, cue: Tensor | None, o: int, kind: style.Kind = "distance") -> None:
    """Object o's channel of a cue; the true outline is drawn on distances."""
    if draw_map(axes, cue, clip.channel(o), _size(clip), kind) and kind == "distance":
        _outline(axes, clip, t, o)


def _outline(axes: Axes, clip: Clip, t: int, o: int) -> None:
    if clip.annotated:
        draw_outline(axes, clip.masks[t] == o)


def _only(labels: Tensor, o: int) -> Tensor:
    """The labels of one object; for the background those of all objects, which leave it untinted."""
    return torch.where(labels == VOID if o == 0 else labels != o, 0, labels)


def _draw_links(
    figure: Figure,
    panels: tuple[Axes, Axes, Axes],
    links: Sequence[PixelMatches],
    spacing: tuple[float, float],
    radius: int | None,
) -> None:
    """Arrows from cells of the middle panel to the two others, the windows, and the cells' numbers."""
    first, current, previous = panels
    down, across = spacing
    for number, link in enumerate(links, start=1):
        place = (link.query[1] * across, link.query[0] * down)  # x, y
        if radius is not None and previous.images:
            left, top, width, height = window_bounds(link.query, radius, spacing)
            look = {"fill": False, "linestyle": "-" if link.previous is not None else (0, (3, 2))}
            for colour, line in ((style.INK, 1.8), ("white", 0.9)):
                previous.add_patch(
                    Rectangle((left, top), width, height, edgecolor=colour, linewidth=line, clip_on=True, **look)
                )
        ends = ((first, link.first, link.first_distance), (previous, link.previous, link.previous_distance))
        for axes, target, distance in ends:
            if target is not None:
                end = (target[1] * across, target[0] * down)
                _draw_arrow(figure, (current, place), (axes, end), style.colour_scale("distance").to_rgba(distance))
        circle = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": style.INK, "linewidth": 0.6}
        look = {"ha": "center", "va": "center_baseline", "weight": "bold"}  # of the number, on top of the arrows
        figure.add_artist(Annotation(str(number), place, xycoords=current.transData, zorder=11, bbox=circle, **look))


def _draw_arrow(figure: Figure, start: tuple[Axes, Any], end: tuple[Axes, Any], colour: Any) -> None:
    """An arrow from a pixel of one panel to a pixel of another, on top of both and visible on any picture."""
    arrow = ConnectionPatch(
        xyA=start[1], coordsA="data", axesA=start[0], xyB=end[1], coordsB="data", axesB=end[0], color=colour
    )
    arrow.set(arrowstyle="-|>", mutation_scale=7, linewidth=1.1, zorder=10)
    arrow.shrinkA = arrow.shrinkB = 0
    strokes = [Stroke(linewidth=2.6, foreground="white"), Stroke(linewidth=1.9, foreground=style.INK), Normal()]
    arrow.set_path_effects(strokes)
    figure.add_artist(arrow)


def _columns(page: Page, clip: Clip, *, rows: int, frames: int) -> int:
    """The number of columns that makes a strip's panels small enough for all rows to fit; at least `frames`."""
    most, (height, width) = STRIP_FRAMES[page.width], _size(clip)
    room = (TALLEST - 1.1) / rows - LINE - GAP - 0.01  # height of a panel in inches
    return next((n for n in range(frames, most) if page.panel_width(n) * height / width <= room), most)


def _size(clip: Clip) -> tuple[int, int]:
    return tuple(clip.frames[0].shape[-2:])


def _headers(clip: Clip, objects: Sequence[int], t: int, radius: int | None) -> list[tuple[str, str]]:
    """Title and caption of a sheet's panels in the order of `CUES`, short enough for a sixth of a page."""
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


def _window_note(prediction: Prediction, radius: int | None) -> str:
    if prediction.cues.local_map is None:
        return ""
    if radius is None:
        return "Global map 2: to the previous frame, without a window."
    return f"Local map: at most {radius} cells away."


def _truth_note(clip: Clip) -> str:
    return "White line: the truth." if clip.annotated else ""


def _check(clip: Clip, objects: Sequence[int], width: float, predictions: Mapping[int, Prediction]) -> None:
    if width not in (style.COLUMN, style.PAGE):
        raise LabError(f"a figure is {style.COLUMN} or {style.PAGE} inches wide, got {width}")
    for o in objects:
        clip.channel(o)  # raises for an object that the clip lacks
    if not objects:
        raise LabError("a figure of distance maps needs an object, got none")
    for t, prediction in predictions.items():
        if prediction.cues is None:
            raise LabError(
                f"a figure of distance maps needs a predicted frame, and frame {t} is given or has no mask yet"
            )
