"""J, F and J&F by the rules of the official DAVIS evaluation.

The first frame (given) and the last one are not scored. An object absent from both masks scores 1; void pixels (255) in
the truth count as background. Two deliberate differences: the objects are `clip.object_ids` (officially 1 … the highest
id of the first frame, so an unused number in between scores 1), and decay is correct beyond 256 frames, where the
official indices overflow. Symbols: H W frame size, T frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import GivenMasks
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file

Mask = NDArray[np.bool_]

MEASURES = {  # official column name: ours
    "J&F-Mean": "JF",
    "J-Mean": "J",
    "J-Recall": "J_recall",
    "J-Decay": "J_decay",
    "F-Mean": "F",
    "F-Recall": "F_recall",
    "F-Decay": "F_decay",
}


def region_similarity(prediction: ArrayLike, truth: ArrayLike) -> float:
    """J = |prediction ∩ truth| / |prediction ∪ truth|, the Jaccard index.

    Shapes: two masks (H, W), tensors or arrays, true inside the object → a number in [0, 1]; 1 if both are empty.
    Masks of different sizes raise LabError.

    Example:
        >>> import numpy as np
        >>> from feelvos_lab.evaluation import region_similarity
        >>> truth = np.array([0, 1, 1, 1, 1, 0])[None]  # one row of pixels
        >>> region_similarity(truth & (np.arange(6) < 3), truth), region_similarity(0 * truth, 0 * truth)
        (0.5, 1.0)
    """
    prediction, truth = _pair(prediction, truth)
    union = np.count_nonzero(prediction | truth)
    return float(np.count_nonzero(prediction & truth) / union) if union else 1.0


def contour_accuracy(prediction: ArrayLike, truth: ArrayLike, *, tolerance: float = 0.008) -> float:
    """F = 2PR / (P + R) of the contours, which match within a tolerance.

    P (precision) is the share of predicted contour pixels within the tolerance of the true contour, R (recall) the
    share of true contour pixels within it of the predicted one (Perazzi et al., CVPR 2016, section 4.1). A
    `tolerance` below 1 is a fraction of the frame's diagonal, rounded up to whole pixels; from 1 on it is pixels.

    Shapes: two masks (H, W), tensors or arrays, true inside the object → a number in [0, 1]; 1 if neither mask has a
    contour, 0 if one of them has none. The frame's border is no contour, as officially. Masks of different sizes raise
    LabError.

    Example:
        >>> import numpy as np
        >>> from feelvos_lab.evaluation import contour_accuracy
        >>> truth = np.pad(np.ones((10, 10), bool), (10, 20))
        >>> shifted = np.roll(truth, 3, axis=1)
        >>> round(contour_accuracy(shifted, truth), 2), contour_accuracy(shifted, truth, tolerance=3)
        (0.5, 1.0)
    """
    prediction, truth = _pair(prediction, truth)
    height, width = truth.shape
    radius = math.ceil(tolerance * math.sqrt(height * height + width * width)) if tolerance < 1 else int(tolerance)
    box = _bounding_box(prediction | truth)
    contour, true_contour = _contour(prediction[box]), _contour(truth[box])
    length, true_length = np.count_nonzero(contour), np.count_nonzero(true_contour)
    if not length or not true_length:
        return float(length == true_length)
    precision = _count_near(contour, true_contour, radius=radius) / length
    recall = _count_near(true_contour, contour, radius=radius) / true_length
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def frame_scores(predicted: Iterable[ArrayLike], clip: Clip) -> list[dict[str, Any]]:
    """J and F of every object in every scored frame, ordered by frame, then by object.

    Args:
        predicted: T masks (H, W) of object ids, frame 0 included; a generator is consumed frame by frame.
        clip: its masks are the truth, its `object_ids` the objects; an object that enters later is scored after the
            frame that gives it.

    Returns:
        rows of clip, object, frame (1 … T−2), J, F; none for an object given in frame T−2 or later.

    Raises:
        LabError: fewer than three frames, a clip that is not annotated, or masks that do not fit the clip.

    Example:
        >>> from feelvos_lab.data import make_clip
        >>> from feelvos_lab.evaluation import frame_scores
        >>> clip = make_clip(1, height=32, width=32, frames=3)
        >>> rows = frame_scores(clip.masks, clip)  # the truth itself
        >>> {row["frame"] for row in rows}, {(row["J"], row["F"]) for row in rows}
        ({1}, {(1.0, 1.0)})
    """
    if len(clip) < 3:
        raise LabError(
            f"clip {clip.name!r} has {len(clip)} frames, the score needs 3 or more: it leaves out the first and last"
        )
    if len(clip.masks) != len(clip):
        raise LabError(f"clip {clip.name!r} has {len(clip)} frames and {len(clip.masks)} masks, the score needs all")
    if not clip.annotated:
        raise LabError(f"clip {clip.name!r} has masks of some frames only, the score needs all")
    rows, count = [], 0
    for frame, labels in enumerate(predicted):
        count += 1
        if 0 < frame < len(clip) - 1:
            rows += _one_frame(_array(labels), _array(clip.masks[frame]), clip, frame)
    if count != len(clip):
        raise LabError(f"clip {clip.name!r} has {len(clip)} frames, got {count} predicted masks")
    return rows


def drawn_scores(predicted: Iterable[ArrayLike], clip: Clip) -> list[dict[str, Any]]:
    """J and F in those frames of a clip whose masks were drawn, where the others have none, as in `film`.

    Args:
        predicted: T masks (H, W) of object ids, frame 0 included; a generator is consumed frame by frame.
        clip: with masks of some frames; each must show all objects that have entered by then.

    Returns: rows as of `frame_scores`, also of the last frame; none for the frame that gives an object.

    Raises:
        LabError: masks of all frames or of the first one alone, or predictions that do not fit the clip.

    Example:
        >>> from feelvos_lab import film
        >>> from feelvos_lab.evaluation import drawn_scores
        >>> clip = film("bunny")
        >>> still = drawn_scores([clip.masks[0]] * len(clip), clip)  # the first mask, copied
        >>> [f"frame {row['frame']}: {row['J']:.1f}" for row in still if row["object"] == 1]
        ['frame 8: 0.6', 'frame 16: 0.6', 'frame 24: 0.5', 'frame 32: 0.3', 'frame 40: 0.3']
    """
    if not isinstance(clip.masks, GivenMasks):
        raise LabError(
            f"clip {clip.name!r} has {len(clip.masks)} masks for {len(clip)} frames, drawn_scores needs masks of some "
            "frames: use frame_scores where all have one"
        )
    rows, count = [], 0
    for frame, labels in enumerate(predicted):
        count += 1
        if frame in clip.masks.paths:
            rows += _one_frame(_array(labels), _array(clip.masks[frame]), clip, frame)
    if count != len(clip):
        raise LabError(f"clip {clip.name!r} has {len(clip)} frames, got {count} predicted masks")
    return rows


def score_masks(predicted: Iterable[ArrayLike], clip: Clip) -> list[dict[str, Any]]:
    """The scores of every object of a clip: means over the frames 1 … T−2, recall and decay. Args: see `frame_scores`.

    Recall is the share of frames above 0.5; decay is the mean of the first quarter of the frames minus that of the
    last. JF is the mean of J and F.

    Returns: rows of clip, object, J, F, JF, J_recall, J_decay, F_recall, F_decay (fractions), frames (number scored).
    """
    return summarise(frame_scores(predicted, clip))


def summarise(scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `frame_scores`, of one or several clips → rows of `score_masks`."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in scores:
        groups.setdefault((row["clip"], row["object"]), []).append(row)
    return [_summary(clip, object_id, rows) for (clip, object_id), rows in groups.items()]


def write_scores(rows: Sequence[dict[str, Any]], folder: Path | str, *, official: bool = False) -> None:
    """Write rows of `score_masks` to `global.csv` (means over all objects) and `per_object.csv` in a folder.

    Columns and their order are those of the official result files. With `official` two more files are as those that
    the official code writes, with its names, columns and three decimals. Each file is written atomically. No rows, or
    a folder that cannot be written, raise LabError.
    """
    if not rows:
        raise LabError("there are no scores to write: expected at least one row, got none")
    overall = {name: np.mean([row[key] for row in rows]) for name, key in MEASURES.items()}
    order = {"J-Mean": "J", "F-Mean": "F"} | MEASURES  # officially J and F come first here
    objects = [
        {"Sequence": f"{row['clip']}_{row['object']}"} | {name: row[key] for name, key in order.items()} for row in rows
    ]
    tables = [("global", pd.DataFrame([overall]), "%.6f"), ("per_object", pd.DataFrame(objects), "%.6f")]
    if official:
        means = pd.DataFrame(objects)[["Sequence", "J-Mean", "F-Mean"]]
        tables += [("global_results-val", pd.DataFrame([overall]), "%.3f"), ("per-sequence_results-val", means, "%.3f")]
    for name, written, decimals in tables:
        with complete_file(Path(folder) / f"{name}.csv") as unfinished:
            written.to_csv(unfinished, index=False, float_format=decimals, lineterminator="\n")


def _array(values: ArrayLike) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _pair(prediction: ArrayLike, truth: ArrayLike) -> tuple[Mask, Mask]:
    prediction, truth = _array(prediction).astype(bool, copy=False), _array(truth).astype(bool, copy=False)
    if prediction.shape != truth.shape or truth.ndim != 2:
        raise LabError(f"two masks of one size (H, W) were expected, got {prediction.shape} and {truth.shape}")
    return prediction, truth


def _bounding_box(mask: Mask) -> tuple[slice, slice]:
    """The mask's bounding box and one pixel more, clipped to the frame; of an empty mask an empty box."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return slice(0), slice(0)
    tall = slice(max(0, rows[0] - 1), rows[-1] + 2)
    columns = np.flatnonzero(mask[tall].any(axis=0))
    return tall, slice(max(0, columns[0] - 1), columns[-1] + 2)


def _contour(mask: Mask) -> Mask:
    """Pixels that differ from their right, lower or lower right neighbour; the border is replicated outside."""
    across, down = mask[:, :-1] != mask[:, 1:], mask[:-1] != mask[1:]
    contour = np.zeros_like(mask)
    contour[:, :-1] |= across
    contour[:-1] |= down
    contour[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return contour


def _count_near(contour: Mask, other: Mask, *, radius: int) -> int:
    """How many pixels of `contour` lie within `radius` of a pixel of `other`.

    Instead of dilating `other`, count its pixels in the disk round each pixel of `contour`: a disk is a stack of
    2 radius + 1 horizontal runs, and a cumulative sum of `other` gives the count of each run by one subtraction.
    """
    together = np.count_nonzero(contour & other)
    y, x = np.nonzero(contour & ~other)
    margin = radius + 1
    stride = other.shape[1] + 2 * margin
    padded = np.zeros((other.shape[0] + 2 * margin, stride), dtype=bool)
    padded[margin:-margin, margin:-margin] = other
    upto = np.cumsum(padded, dtype=np.int32)  # pixels of `other` up to here, in row-major order
    near = np.zeros(len(y), dtype=bool)
    for dy in range(-radius, radius + 1):
        reach = math.isqrt(radius * radius - dy * dy)
        centre = (y + (margin + dy)) * stride + (x + margin)
        near |= upto[centre + reach] > upto[centre - (reach + 1)]
    return together + int(np.count_nonzero(near))


def _one_frame(labels: NDArray[Any], truth: NDArray[Any], clip: Clip, frame: int) -> list[dict[str, Any]]:
    where = f"frame {frame} of clip {clip.name!r}"
    if labels.shape != truth.shape:
        raise LabError(f"the predicted mask of {where} has shape {labels.shape}, its truth {truth.shape}")
    rows, known = [], np.count_nonzero(labels == 0)
    for object_id in clip.object_ids:
        prediction, mask = labels == object_id, truth == object_id
        known += np.count_nonzero(prediction)
        if frame <= clip.start_of(object_id):
            continue
        j, f = region_similarity(prediction, mask), contour_accuracy(prediction, mask)
        rows.append({"clip": clip.name, "object": object_id, "frame": frame, "J": j, "F": f})
    if known != labels.size:
        strange = sorted(set(np.unique(labels).tolist()) - {0, *clip.object_ids})
        raise LabError(f"the predicted mask of {where} holds ids {strange}, expected 0 and {list(clip.object_ids)}")
    return rows


def _summary(clip: str, object_id: int, scores: list[dict[str, Any]]) -> dict[str, Any]:
    values = {measure: np.array([row[measure] for row in scores]) for measure in ("J", "F")}
    j, f = float(values["J"].mean()), float(values["F"].mean())
    summary: dict[str, Any] = {"clip": clip, "object": object_id, "J": j, "F": f, "JF": (j + f) / 2}
    for measure, series in values.items():
        summary |= {f"{measure}_recall": float((series > 0.5).mean()), f"{measure}_decay": _decay(series)}
    return summary | {"frames": len(scores)}


def _decay(series: NDArray[np.float64]) -> float:
    """Mean of the first of four bins minus that of the last; officially, neighbouring bins share their border frame."""
    edges = np.round(np.linspace(1, len(series), 5) + 1e-10).astype(int) - 1  # a half is rounded up
    return float(series[edges[0] : edges[1] + 1].mean() - series[edges[3] : edges[4] + 1].mean())
