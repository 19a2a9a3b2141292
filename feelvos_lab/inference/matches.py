"""Which pixels of the first and the previous frame a pixel is matched with. Cells: pixels of the h×w stride-4 grid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.grid import resize_labels
from feelvos_lab.model.matching import Match, nearest_global, nearest_local, normalise_distance


class PixelMatches(NamedTuple):
    """The nearest neighbours of a cell among an object's pixels; cells are (row, column) of the stride-4 grid."""

    query: tuple[int, int]
    first: tuple[int, int] | None  # in the first frame; None if the cue is off
    first_distance: float
    previous: tuple[int, int] | None  # in the previous frame; None if the window has none, or the cue is off
    previous_distance: float


def run_to_frames(model: Feelvos, clip: Clip, frames: Collection[int], *, height: int = 0) -> dict[int, Prediction]:
    """Propagate up to the last of `frames`; returns the predictions of these and of the frame before each."""
    run = islice(propagate(model, clip, height=height), max(frames) + 1)
    return {p.frame: p for p in run if p.frame in frames or p.frame + 1 in frames}


@torch.inference_mode()
def find_links(
    prediction: Prediction, object_id: int, clip: Clip, cells: Sequence[tuple[int, int]], *, model: Feelvos
) -> list[PixelMatches]:
    """The nearest neighbours of some cells of a frame, in the first and in the previous frame.

    They attain the minima of Eq. 2 and 4; the distances are those of the maps in these cells. A frame that was not
    matched with exactly one first frame raises LabError.
    """
    if prediction.references is None or prediction.references[0].embeddings.dim() != 3:
        raise LabError(
            "arrows lead to one first frame, and this one was matched with the pixels of several, or of none"
        )
    (first_frame, previous_frame), cues = prediction.references, prediction.cues
    now, config, k = cues.embeddings, model.config, clip.channel(object_id)
    count, columns = 1 + len(clip.object_ids), now.shape[-1]
    first = previous = None
    if cues.global_map is not None:
        first = nearest_global(now, *first_frame[:2], num_objects=count)
    if cues.local_map is not None and config.previous_matching == "local":
        previous = nearest_local(now, *previous_frame[:2], num_objects=count, radius=config.radius)
    elif cues.local_map is not None:
        previous = nearest_global(now, *previous_frame[:2], num_objects=count)

    def nearest(match: Match | None, cell: tuple[int, int]) -> tuple[tuple[int, int] | None, float]:
        if match is None or (index := int(match.index[k, cell[0], cell[1]])) < 0:
            return None, 1.0
        return divmod(index, columns), float(normalise_distance(match.sq_distance[k, cell[0], cell[1]]))

    return [PixelMatches(cell, *nearest(first, cell), *nearest(previous, cell)) for cell in cells]


def choose_cells(prediction: Prediction, object_id: int, clip: Clip) -> list[tuple[int, int]]:
    """Up to three cells well inside the predicted object and far apart, and its best look-alike.

    The look-alike is the cell outside the prediction with the smallest distance to the object in the first frame, or
    in the previous one if there is no global map.
    """
    cues = prediction.cues
    h, w = cues.embeddings.shape[-2:]
    inside = resize_labels(prediction.labels, (h, w)) == object_id  # (h, w)
    core = ~_dilate(~inside, 1)
    candidates = (core if core.any() else inside).nonzero().float()  # (N, 2)
    chosen = []
    if len(candidates):
        chosen = [candidates[(candidates - candidates.mean(0)).square().sum(1).argmin()]]
        while len(chosen) < 3:
            apart = torch.stack([(candidates - c).square().sum(1) for c in chosen]).amin(0)
            if apart.max() < max(2, 0.07 * w) ** 2:  # their numbers would overlap in the figure
                break
            chosen.append(candidates[apart.argmax()])
    maps = cues.global_map if cues.global_map is not None else cues.local_map
    outside = ~_dilate(inside, 3)  # within 3 cells of an object, features mix object and background
    if maps is not None and outside.any():
        near = maps[clip.channel(object_id)].cpu().where(outside, torch.inf)
        chosen.append(torch.tensor(divmod(int(near.argmin()), w)))
    return [(int(y), int(x)) for y, x in chosen]


def _dilate(mask: Tensor, cells: int) -> Tensor:
    """Dilate a mask (h, w) by a square of 2 `cells` + 1; outside the frame it is empty."""
    return F.max_pool2d(mask.float()[None], 2 * cells + 1, stride=1, padding=cells)[0] > 0
