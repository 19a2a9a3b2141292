"""One picture of the method on a video: the given masks, two results, and the cues of the second.

Symbols: T frames, K objects including background, H W frame size, h w the stride-4 grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import overlay
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style
from feelvos_lab.figures.basic import draw_map, draw_picture
from feelvos_lab.inference.propagation import Prediction


@style.in_house_style
def overview(
    clip: Clip,
    predictions: Mapping[int, Prediction] | Sequence[Prediction],
    *,
    frames: tuple[int, int],
    object_id: int,
    who: str = "",
    credit: str = "",
) -> Figure:
    """Above: frame 0 with its masks, and two later frames with the predicted ones. Below: the cues of the last frame.

    The cues are those of one object: global map, local map and the mask of the frame before.

    Args:
        predictions: by frame number: a list that starts with frame 0, or a mapping.
        frames: two predicted frames, ascending.
        who: what captions call the object, such as "the bunny"; "": by its number.
        credit: whose video it is, for a line below; "": no line.

    Raises:
        LabError: an object that the clip lacks, frames that are not ascending, or one without cues.

    Example:
        >>> from feelvos_lab import load_model, make_clip, propagate
        >>> from feelvos_lab.figures.overview import overview
        >>> clip = make_clip(1, height=32, width=32, frames=3)
        >>> figure = overview(clip, list(propagate(load_model("reduced"), clip)), frames=(1, 2), object_id=1)
        >>> [axes.get_title(loc="left") for axes in figure.axes[3:6]]
        ['Global map of frame 2', 'Local map of frame 2', 'Previous mask']
    """
    k, who = clip.channel(object_id), who or style.name_of(object_id)
    known = predictions if isinstance(predictions, Mapping) else dict(enumerate(predictions))
    middle, last = frames
    if not 0 < middle < last or any(t not in known or known[t].cues is None for t in frames):
        raise LabError(f"an overview needs two predicted frames, ascending, got {middle} and {last}")
    size, cues = tuple(clip.frames[0].shape[-2:]), known[last].cues

    panel = (style.PAGE / 3 - 0.1) * size[0] / size[1]
    figure = style.new_figure(width=style.PAGE, height=2 * panel + (1.3 if credit else 1.15))
    grid = figure.add_gridspec(3, 3, height_ratios=[panel, panel, 0.08])
    above, below = ([figure.add_subplot(grid[row, i]) for i in range(3)] for row in range(2))

    draw_picture(above[0], overlay(clip.frames[0], clip.masks[0]))
    style.label(above[0], "Frame 0", "given: the mask of each object")
    for axes, t in zip(above[1:], frames, strict=True):
        draw_picture(axes, overlay(clip.frames[t], known[t].labels))
        style.label(axes, f"Frame {t}", "predicted")

    used = draw_map(below[0], cues.global_map, k, size, "distance")
    style.label(below[0], f"Global map of frame {last}", f"distance to {who} of frame 0" if used else "")
    used = draw_map(below[1], cues.local_map, k, size, "distance")
    style.label(below[1], f"Local map of frame {last}", f"distance to it in frame {last - 1}, nearby" if used else "")
    used = draw_map(below[2], cues.previous_mask, k, size, "probability")
    style.label(below[2], "Previous mask", f"prediction for frame {last - 1}" if used else "")
    for column, kind in ((slice(0, 2), "distance"), (slice(2, 3), "probability")):
        style.add_bar(figure, figure.add_subplot(grid[2, column]), kind)
    style.credit(figure, credit)
    return figure
