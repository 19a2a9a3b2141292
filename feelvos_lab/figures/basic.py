"""Pictures of the method: data in, a matplotlib Figure out. Nothing is computed here but colours.

Letters: T frames, K objects counting the background, H W frame size, h w the stride-4 grid.
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
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style


def grid_extent(size: tuple[int, int], grid: tuple[int, int]) -> tuple[float, float, float, float]:
    """Where to draw a grid h×w over the pixels of a frame H×W: left, right, bottom, top, for `imshow`.

    Cell i lies on pixel i (H − 1) / (h − 1), so the outer cells reach half a cell beyond.
    """
    (height, width), (h, w) = size, grid
    down, across = (height - 1) / max(1, h - 1) / 2, (width - 1) / max(1, w - 1) / 2
    return -across, width - 1 + across, height - 1 + down, -down


@style.in_house_style
def loss_curve(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Training loss by step: as it was logged in grey, a running mean over a tenth of the training in blue.

    Args:
        history: rows with `step` and `loss`, as `train` returns them.

    Raises:
        LabError: an empty history.
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
    axes.plot(steps[window - 1 :], means, color=style.LINE, marker="o" if len(means) == 1 else None)  # no line of one
    axes.set(title="Training loss", xlabel="step", ylabel="cross entropy, hardest pixels")
    axes.set_ylim(0, 1.35 * losses.max() or 1.0)  # room for the note, wherever the curve ends
    axes.margins(x=0.01)
    apart = int(steps[1] - steps[0]) if len(steps) > 1 else 1
    note = f"grey: as logged\nblue: mean of {window * apart} steps" if window > 1 else "as logged"
    axes.text(0.98, 0.96, note, transform=axes.transAxes, ha="right", va="top", color=style.QUIET)
    return figure


@style.in_house_style
def cue_sheet(
    clip: Clip, predictions: Iterable[Any], *, object_id: int, frame: int, previous_matching: str = "local"
) -> Figure:
    """What the segmentation head sees for one object in one frame, and what it makes of it.

    Each cue stands below what it comes from: the global map below the first frame, the local map below the
    previous prediction, the result below the frame. A cue that is switched off is shown as "not used". Where
    the clip is annotated, a white line in the result is the truth's outline.

    Args:
        predictions: what `propagate` yields; the one of `frame` must be among them.
        object_id: 0 for the background, or one of the clip's ids.
        frame: 1 … T−1; frame 0 is given, so nothing is matched there.
        previous_matching: how the model matches to the previous frame, for the caption: "local" or "global".

    Raises:
        LabError: an id the clip does not have, or a frame without cues.
    """
    channels = (0, *clip.object_ids)
    if object_id not in channels:
        raise LabError(f"object_id must be one of {_words(channels)} in clip {clip.name!r}, got {object_id}")
    shown = next((p for p in predictions if p.frame == frame), None)
    if shown is None or shown.cues is None:
        reason = "it is given, not predicted" if frame == 0 else "it is not among the predictions"
        raise LabError(f"a cue sheet needs a predicted frame, got frame {frame}: {reason}")
    k = channels.index(object_id)
    size = tuple(clip.frames[0].shape[-2:])
    who = "the background" if object_id == 0 else f"object {object_id}"

    panel = (style.PAGE / 3 - 0.1) * size[0] / size[1]
    figure = style.new_figure(width=style.PAGE, height=2 * panel + 1.35)
    figure.suptitle(f"What the network sees of {who} in frame {frame} of “{clip.name}”", x=0.005, ha="left")
    grid = figure.add_gridspec(3, 3, height_ratios=[panel, panel, 0.08])
    first, previous, current = (figure.add_subplot(grid[0, i]) for i in range(3))
    near_first, near_previous, result = (figure.add_subplot(grid[1, i]) for i in range(3))

    first_mask = clip.masks[0]
    _picture(first, overlay(clip.frames[0], first_mask), "A · Frame 0 with its mask", "given: defines the objects")
    draw_outline(first, first_mask == object_id)
    seen = draw_map(previous, shown.cues.previous_mask, k, size, style.probability_scale())
    _captions(previous, f"B · Prediction for frame {frame - 1}", f"white: surely {who}" if seen else "")
    _picture(current, _image(clip.frames[frame]), f"C · Frame {frame}", "to be segmented")

    seen = draw_map(near_first, shown.cues.global_map, k, size, style.distance_scale())
    _captions(near_first, "A → C · Global map", f"distance to {who} in frame 0" if seen else "")
    seen = draw_map(near_previous, shown.cues.local_map, k, size, style.distance_scale())
    where = "nearby " if previous_matching == "local" else ""
    title = "B → C · Local map" if previous_matching == "local" else "B → C · Global map"
    _captions(near_previous, title, f"distance to {who} {where}in frame {frame - 1}" if seen else "")
    annotated = clip.annotated
    truth = f"white line: true {who}" if annotated else "all objects, from all cues"
    _picture(result, overlay(clip.frames[frame], shown.labels), f"Result for frame {frame}", truth)
    if annotated:
        draw_outline(result, clip.masks[frame] == object_id)
    style.add_bar(figure, figure.add_subplot(grid[2, :2]), style.distance_scale(), ends=("near", "far"))
    return figure


@style.in_house_style
def film_strip(clip: Clip, labels: Mapping[int, Tensor] | Sequence[Tensor], frames: Sequence[int]) -> Figure:
    """Some frames of a clip side by side with their labels, above them the truth where the clip has it.

    Args:
        labels: int64 (H, W) by frame number: a list as long as the clip, or a mapping.
        frames: which frames, in the order shown; 1 … 8 of them.

    Raises:
        LabError: no frame, more than eight, or one without labels.
    """
    if not 1 <= len(frames) <= 8:
        raise LabError(f"a film strip shows 1 to 8 frames, got {len(frames)}")
    for t in frames:
        if t not in (labels if isinstance(labels, Mapping) else range(len(labels))):
            raise LabError(f"a film strip needs the labels of each of its frames, got none for frame {t}")
    annotated = clip.annotated
    height, width = clip.frames[0].shape[-2:]
    rows = 2 if annotated else 1
    panel = (style.PAGE - 0.2) / len(frames) * height / width
    figure = style.new_figure(width=style.PAGE, height=rows * (panel + 0.03) + 0.42)
    figure.suptitle(
        f"“{clip.name}”: one colour an object; frame 0 is given, all others are predicted", x=0.01, ha="left"
    )
    grid = figure.subplots(rows, len(frames), squeeze=False)
    for column, t in enumerate(frames):
        if annotated:
            _picture(grid[0, column], overlay(clip.frames[t], clip.masks[t]), f"frame {t}", "")
        _picture(grid[-1, column], overlay(clip.frames[t], labels[t]), "" if annotated else f"frame {t}", "")
    if annotated:
        grid[0, 0].set_ylabel("truth")
    grid[-1, 0].set_ylabel("prediction")
    return figure


@style.in_house_style
def score_by_frame(scores: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """J of each frame, mean over the objects, one line for each way of predicting.

    Args:
        scores: a name for each line and its rows with `frame` and `J` (fractions), as `frame_scores` returns them.

    Raises:
        LabError: no rows.
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


def _picture(axes: Axes, picture: np.ndarray, title: str, caption: str) -> None:
    axes.imshow(picture, interpolation="nearest" if picture.shape[1] < 400 else "antialiased")
    _captions(axes, title, caption)


def draw_map(axes: Axes, cue: Tensor | None, k: int, size: tuple[int, int], scale: Any) -> bool:
    """Channel k of a cue (K, h, w), laid over the frame's pixels; grey, hatched and False where the cue is off."""
    height, width = size
    if cue is None:
        axes.set_facecolor(style.PAPER)
        axes.patch.set_hatch("///")
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
        axes.text(0.5, 0.5, "not used", transform=axes.transAxes, ha="center", va="center", backgroundcolor=style.PAPER)
        return False
    values = cue[k].detach().cpu().numpy()  # (h, w)
    extent = grid_extent(size, values.shape)
    axes.imshow(values, norm=scale.norm, cmap=scale.cmap, extent=extent, interpolation="nearest")
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return True


def _captions(axes: Axes, title: str, caption: str) -> None:
    """A bold title above a picture, a quiet caption below it, and no axes."""
    if title:
        axes.set_title(title)
    if caption:
        axes.set_xlabel(caption, color=style.QUIET, loc="left", labelpad=2)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_outline(axes: Axes, mask: Tensor) -> None:
    """A white line round a mask, bool (H, W); none where there is nothing to surround."""
    if mask.any() and not mask.all():
        axes.contour(mask.cpu().numpy(), levels=[0.5], colors="white", linewidths=0.9)


def _image(frame: Tensor) -> np.ndarray:
    return frame.permute(1, 2, 0).cpu().numpy()


def _words(values: Iterable[Any]) -> str:
    return ", ".join(str(v) for v in values)
