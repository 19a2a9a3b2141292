"""Figures of a training and of a segmented clip, and how pictures, maps and outlines are drawn in all figures.

Symbols: T frames, K objects including background, H W frame size, h w the stride-4 grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import overlay
from feelvos_lab.data.sample_video import CREDITS
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style
from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.model.grid import cell_spacing


def grid_extent(size: tuple[int, int], grid: tuple[int, int]) -> tuple[float, float, float, float]:
    """The extent (left, right, bottom, top) for `imshow` of an h×w grid over the pixels of an H×W frame.

    Cell i lies on pixel i (H − 1) / (h − 1), so the outer cells reach half a cell beyond the outer pixels.
    """
    down, across = cell_spacing(size, grid)
    return -across / 2, size[1] - 1 + across / 2, size[0] - 1 + down / 2, -down / 2


def window_bounds(
    cell: tuple[int, int], radius: int, spacing: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Left, top, width and height in pixels of the cells at most `radius` rows and columns from a cell."""
    (row, column), (down, across) = cell, spacing
    width, height = (2 * radius + 1) * across, (2 * radius + 1) * down
    return column * across - width / 2, row * down - height / 2, width, height


@style.in_house_style
def loss_curve(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Training loss by step: as logged in grey, a running mean over a tenth of the training in blue.

    Args:
        history: rows with `step` and `loss`, as `train` returns them.
    """
    if not history:
        raise LabError("a loss curve needs at least one row, got an empty history")
    steps = np.array([row["step"] for row in history], dtype=float)
    losses = np.array([row["loss"] for row in history], dtype=float)
    window = max(1, len(losses) // 10)
    sums = np.cumsum(np.concatenate([[0.0], losses]))
    means = (sums[window:] - sums[:-window]) / window  # at the last step of each window
    figure = style.new_figure(width=style.COLUMN, height=2.2)
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="#bbbbbb", linewidth=0.7)
    axes.plot(steps[window - 1 :], means, color=style.LINE, marker="o" if len(means) == 1 else None)
    axes.set(title="Training loss", xlabel="step", ylabel="cross entropy, hardest pixels")
    axes.set_ylim(0, 1.35 * losses.max() or 1.0)  # room for the note
    axes.margins(x=0.01)
    apart = int(steps[1] - steps[0]) if len(steps) > 1 else 1
    note = f"grey: as logged\nblue: mean of {window * apart} steps" if window > 1 else "as logged"
    axes.text(0.98, 0.96, note, transform=axes.transAxes, ha="right", va="top", color=style.QUIET)
    return figure


@style.in_house_style
def cue_sheet(
    clip: Clip, predictions: Iterable[Prediction], *, object_id: int, frame: int, previous_matching: str = "local"
) -> Figure:
    """The cues of the segmentation head for one object in one frame, and the result.

    Each cue is below its source: the global map below the first frame, the local map below the previous prediction,
    the result below the frame. A cue that is switched off is shown as "not used". If the clip is annotated, a white
    line in the result is the true outline.

    Args:
        predictions: what `propagate` yields; the one of `frame` must be among them.
        object_id: 0 for the background, or one of the clip's ids.
        frame: 1 … T−1; frame 0 is given, so nothing is matched there.
        previous_matching: how the model matches to the previous frame, for the caption: "local" or "global".

    Raises:
        LabError: an id the clip does not have, or a frame without cues.

    Example:
        >>> from feelvos_lab import load_model, make_clip, propagate
        >>> from feelvos_lab.figures.basic import cue_sheet
        >>> clip = make_clip(1, height=32, width=32, frames=3)
        >>> figure = cue_sheet(clip, propagate(load_model("reduced"), clip), object_id=1, frame=2)
        >>> [axes.get_title(loc="left") for axes in figure.axes[3:6]]  # the lower row; distances: 0 near … 1 far
        ['A → C · Global map', 'B → C · Local map', 'Result for frame 2']
    """
    k = clip.channel(object_id)
    shown = next((p for p in predictions if p.frame == frame), None)
    if shown is None or shown.cues is None:
        reason = "it is given, not predicted" if frame == 0 else "it is not among the predictions"
        raise LabError(f"a cue sheet needs a predicted frame, got frame {frame}: {reason}")
    size, who = tuple(clip.frames[0].shape[-2:]), style.name_of(object_id)

    panel, credit = (style.PAGE / 3 - 0.1) * size[0] / size[1], CREDITS.get(clip.name, "")
    figure = style.new_figure(width=style.PAGE, height=2 * panel + 1.35 + 0.15 * bool(credit))
    figure.suptitle(f"What the network sees of {who} in frame {frame} of “{clip.name}”", x=0.005, ha="left")
    grid = figure.add_gridspec(3, 3, height_ratios=[panel, panel, 0.08])
    first, previous, current = (figure.add_subplot(grid[0, i]) for i in range(3))
    near_first, near_previous, result = (figure.add_subplot(grid[1, i]) for i in range(3))

    draw_picture(first, overlay(clip.frames[0], clip.masks[0]))
    draw_outline(first, clip.masks[0] == object_id)
    style.label(first, "A · Frame 0 with its mask", "given: defines the objects")
    draw_picture(current, clip.frames[frame].permute(1, 2, 0).cpu().numpy())
    style.label(current, f"C · Frame {frame}", "to be segmented")
    draw_picture(result, overlay(clip.frames[frame], shown.labels))
    if clip.annotated:
        draw_outline(result, clip.masks[frame] == object_id)
    truth = f"white line: true {who}" if clip.annotated else "all objects, from all cues"
    style.label(result, f"Result for frame {frame}", truth)

    used = draw_map(previous, shown.cues.previous_mask, k, size, "probability")
    style.label(previous, f"B · Prediction for frame {frame - 1}", f"white: surely {who}" if used else "")
    used = draw_map(near_first, shown.cues.global_map, k, size, "distance")
    style.label(near_first, "A → C · Global map", f"distance to {who} in frame 0" if used else "")
    used = draw_map(near_previous, shown.cues.local_map, k, size, "distance")
    kind, where = ("Local", "nearby ") if previous_matching == "local" else ("Global", "")
    caption = f"distance to it {where}in frame {frame - 1}" if used else ""  # "the background" would not fit
    style.label(near_previous, f"B → C · {kind} map", caption)
    style.add_bar(figure, figure.add_subplot(grid[2, :2]), "distance")
    style.credit(figure, credit)
    return figure


@style.in_house_style
def given_strip(clip: Clip, frames: Sequence[int]) -> Figure:
    """Frames of a clip side by side as the network is given them: with a mask only where that gives an object.

    Args:
        frames: 1 … 8 frame numbers, in the order shown.
    """
    if not 1 <= len(frames) <= 8:
        raise LabError(f"a strip shows 1 to 8 frames, got {len(frames)}")
    height, width = clip.frames[0].shape[-2:]
    credit, across = CREDITS.get(clip.name, ""), (style.PAGE - 0.1) / max(4, len(frames))
    panel = across * height / width
    figure = style.new_figure(width=style.PAGE, height=panel + 0.3 + 0.2 * bool(credit))
    grid = figure.subplots(1, max(4, len(frames)), squeeze=False)[0]
    for axes, t in zip(grid, frames, strict=False):
        given = clip.given_in(t)
        draw_picture(axes, overlay(clip.frames[t], clip.masks[t]) if given else clip.frames[t].permute(1, 2, 0).numpy())
        axes.set_title(f"frame {t}, given" if given else f"frame {t}")
    for axes in grid[len(frames) :]:
        axes.set_visible(False)
    style.credit(figure, credit)
    return figure


@style.in_house_style
def film_strip(clip: Clip, labels: Mapping[int, Tensor] | Sequence[Tensor], frames: Sequence[int]) -> Figure:
    """Some frames of a clip side by side with their labels, and a row of the truth above if the clip is annotated.

    Below is a line with the credit of a sample video.

    Args:
        labels: int64 (H, W) by frame number: a list as long as the clip, or a mapping.
        frames: 1 … 8 frame numbers, in the order shown.
    """
    if not 1 <= len(frames) <= 8:
        raise LabError(f"a film strip shows 1 to 8 frames, got {len(frames)}")
    for t in frames:
        if t not in (labels if isinstance(labels, Mapping) else range(len(labels))):
            raise LabError(f"a film strip needs the labels of each of its frames, got none for frame {t}")
    height, width = clip.frames[0].shape[-2:]
    rows, credit = 2 if clip.annotated else 1, CREDITS.get(clip.name, "")
    panel = (style.PAGE - 0.2) / len(frames) * height / width
    figure = style.new_figure(width=style.PAGE, height=rows * (panel + 0.03) + 0.42 + 0.2 * bool(credit))
    figure.suptitle(
        f"“{clip.name}”: one colour an object; frame 0 is given, all others are predicted", x=0.01, ha="left"
    )
    grid = figure.subplots(rows, len(frames), squeeze=False)
    for column, t in enumerate(frames):
        if clip.annotated:
            draw_picture(grid[0, column], overlay(clip.frames[t], clip.masks[t]))
        draw_picture(grid[-1, column], overlay(clip.frames[t], labels[t]))
        grid[0, column].set_title(f"frame {t}")
    if clip.annotated:
        grid[0, 0].set_ylabel("truth")
    grid[-1, 0].set_ylabel("prediction")
    style.credit(figure, credit)
    return figure


@style.in_house_style
def score_by_frame(scores: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """J of each frame in percent, mean over the objects, one line for each method.

    Args:
        scores: a name for each line, and its rows with `frame` and `J` (fractions) as `frame_scores` returns them.
    """
    if not scores or not all(scores.values()):
        raise LabError("a curve of scores needs rows for each of its lines, got none")
    figure = style.new_figure(width=style.COLUMN, height=2.2)
    axes = figure.add_subplot()
    for number, (name, rows) in enumerate(scores.items()):
        frames = sorted({row["frame"] for row in rows})
        means = [100 * np.mean([row["J"] for row in rows if row["frame"] == t]) for t in frames]
        colour, dashes = style.LINES[number % len(style.LINES)]
        axes.plot(frames, means, color=colour, linestyle=dashes, label=name)
    axes.set(title="Overlap with the truth, mean over objects", xlabel="frame", ylabel="J in %", ylim=(0, 100))
    axes.legend(frameon=False, loc="best")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    return figure


def draw_picture(axes: Axes, picture: np.ndarray) -> None:
    """A picture (H, W, 3) without axes; the pixels of a small one keep their edges."""
    axes.imshow(picture, interpolation="nearest" if picture.shape[1] < 400 else "antialiased")
    style.hide_axes(axes)


def draw_map(axes: Axes, cue: Tensor | None, k: int, size: tuple[int, int], kind: style.Kind) -> bool:
    """Channel k of a cue (K, h, w) over the frame's pixels; hatched grey, and False, if the cue is off (None)."""
    axes.set(xlim=(-0.5, size[1] - 0.5), ylim=(size[0] - 0.5, -0.5), aspect="equal")
    style.hide_axes(axes)
    if cue is None:
        axes.set_facecolor(style.PAPER)
        axes.patch.set_hatch("///")
        axes.text(0.5, 0.5, "not used", transform=axes.transAxes, ha="center", va="center", backgroundcolor=style.PAPER)
        return False
    values = cue[k].detach().cpu().numpy()  # (h, w)
    scale, extent = style.colour_scale(kind), grid_extent(size, values.shape)
    axes.imshow(values, norm=scale.norm, cmap=scale.cmap, extent=extent, interpolation="nearest")
    return True


def draw_outline(axes: Axes, mask: Tensor) -> None:
    """A white line round a mask, bool (H, W); none round an empty or a full one."""
    if mask.any() and not mask.all():
        axes.contour(mask.cpu().numpy(), levels=[0.5], colors="white", linewidths=0.9)
