"""Query a network about single pixels: distances to the first and previous frame, and results with cues switched off.

The head expects all its channels, so a cue that is switched off is replaced by a constant, the same for every object:
distance 1, as for an object without pixels, or probability 1/K.

Symbols: K objects including background, D embedding, H W frame size, h w the stride-4 grid, whose pixels are cells.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from feelvos_lab.config import ModelConfig
from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import Prediction, decide, propagate
from feelvos_lab.model.feelvos import Cues, Feelvos, Labelled
from feelvos_lab.model.grid import cell_at
from feelvos_lab.model.matching import global_matching, local_matching, normalise_distance, pairwise_sq_dist

Cell = tuple[int, int]  # row and column of the stride-4 grid


@dataclass(frozen=True)
class Switches:
    """The cues that the head sees in one frame, named as in `ModelConfig`; "none" and False stand for the constants."""

    first_matching: Literal["global", "none"]
    previous_matching: Literal["local", "global", "none"]
    previous_mask: bool
    radius: int  # of the local window, in cells

    @classmethod
    def of(cls, config: ModelConfig) -> Switches:
        """The cues the network was trained with."""
        return cls(config.first_matching, config.previous_matching, config.previous_mask, config.radius)

    def off(self, trained: Switches) -> tuple[str, ...]:
        """Names of the cues that the network was trained with and that are switched off here."""
        names = {"first_matching": "first frame", "previous_matching": "previous frame", "previous_mask": "mask"}
        return tuple(
            words
            for name, words in names.items()
            if getattr(self, name) in ("none", False) and getattr(trained, name) not in ("none", False)
        )


class NearestCell(NamedTuple):
    """The nearest cell and its distance."""

    row: int
    column: int
    distance: float  # in [0, 1]


class Answer(NamedTuple):
    """A frame segmented from some cues."""

    labels: Tensor  # (H, W) int64, the clip's object ids
    probabilities: Tensor  # (K, H, W) in [0, 1]
    cues: Cues


class PixelView(NamedTuple):
    """Everything about one cell of one frame and one object that the explorer shows."""

    frame: int
    object_id: int
    cell: Cell
    first_distance: Tensor  # (h, w) in [0, 1], from the cell to every cell of frame 0
    previous_distance: Tensor  # (h, w) in [0, 1], to every cell of the frame before
    first_object: Tensor  # (h, w) bool: the object's mask in frame 0
    previous_object: Tensor  # (h, w) bool: its predicted mask in the frame before
    first_match: NearestCell | None  # None if the cue is off, or there is nothing to match
    previous_match: NearestCell | None
    window: int | None  # radius of the window of the previous match; None if that cue has no window or is off
    previous_labels: Tensor  # (H, W) int64, predicted with all cues (frame 0: given)
    labels: Tensor  # (H, W) int64, of this frame, from the cues that are on
    probability: float  # of the object, at the cell
    switches: Switches
    trained: Switches
    off: tuple[str, ...]  # the cues that are switched off


class DistanceMaps(NamedTuple):
    """The distance maps of one frame; channels as in `Clip.channel`. A map that the model does without is None."""

    global_map: Tensor | None  # (K, h, w) float, 0 near … 1 far: to the first frame
    local_map: Tensor | None  # (K, h, w), to the previous frame


def distance_maps(clip: Clip, model: Feelvos, frame: int, *, height: int = 0) -> DistanceMaps:
    """Propagate the clip's masks up to a frame, and return its distance maps on the CPU. Arguments: see `propagate`.

    Raises:
        LabError: a frame that the clip lacks, or that has no maps because its mask is given.

    Example:
        >>> from feelvos_lab import distance_maps, load_model, make_clip
        >>> clip = make_clip(1, height=32, width=48, frames=3)
        >>> maps = distance_maps(clip, load_model("reduced"), 2)
        >>> near = maps.global_map[clip.channel(1)]  # of object 1: one value for each cell of the stride-4 grid
        >>> tuple(near.shape), bool(near.min() >= 0), bool(near.max() <= 1)
        ((8, 12), True, True)
    """
    first = clip.start_of(0) + 1
    if not first <= frame < len(clip):
        raise LabError(
            f"a frame with distance maps must be {first} to {len(clip) - 1} in clip {clip.name!r}, got {frame}"
        )
    cues = next(islice(propagate(model, clip, height=height), frame, None)).cues
    return DistanceMaps(*(None if m is None else m.cpu() for m in (cues.global_map, cues.local_map)))


class Probe:
    """Answers queries about single pixels of a clip.

    Frames are computed on first use, with all those before them, and their C + D numbers a cell are kept. A query
    about a kept frame costs at most one distance map and the head.

    Args: see `propagate`; `keep`: the only frames that are kept, those asked about and the one before each. A network
    without a head (`method: pml`), or a clip with objects that enter after frame 0, raises LabError.

    Example:
        >>> from feelvos_lab import load_model, make_clip
        >>> from feelvos_lab.inference import Probe
        >>> probe = Probe(load_model("reduced"), make_clip(1, height=32, width=48, frames=3))
        >>> view = probe.look(2, object_id=1, cell=(4, 6))
        >>> match = view.first_match  # the cell of object 1 in frame 0 with the smallest distance to cell (4, 6)
        >>> match.distance == float(view.first_distance[view.first_object].min())
        True
    """

    def __init__(self, model: Feelvos, clip: Clip, *, height: int = 0, keep: Collection[int] | None = None) -> None:
        if model.config.method != "feelvos":
            raise LabError(f"a probe needs a network with a head and cues, got one of method {model.config.method!r}")
        if any(clip.starts):
            raise LabError(f"a probe needs a clip whose objects are all given in frame 0, got starts {clip.starts}")
        self.model, self.clip = model, clip
        self.trained = Switches.of(model.config)
        self._run, self._keep = propagate(model, clip, height=height), keep
        self._kept: dict[int, Prediction] = {}  # without probabilities
        self._read = 0  # frames so far
        self._previous_map = lru_cache(maxsize=32)(self._match_previous)  # a slider moves back and forth

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        return tuple(self.clip.frames[0].shape[-2:])

    @property
    def grid(self) -> tuple[int, int]:
        """h and w."""
        kept = 1 if self._keep is None else max(self._keep)
        return tuple(self._frame(kept).cues.features.shape[-2:])

    def cell_at(self, row: float, column: float) -> Cell:
        """The cell nearest to a pixel of the frame; pixels outside are clamped to its border."""
        return cell_at((row, column), self.size, self.grid)

    def centre_of(self, frame: int, object_id: int) -> Cell:
        """The cell of the predicted object nearest to its centroid; the frame's middle if it was not predicted."""
        where = (self._frame(frame).labels == object_id).nonzero()  # (N, 2)
        if not len(where):
            return self.grid[0] // 2, self.grid[1] // 2
        inner = (where - where.float().mean(0)).square().sum(1).argmin()
        return self.cell_at(*where[inner].tolist())

    def distances(self, frame: int, cell: Cell) -> tuple[Tensor, Tensor]:
        """Eq. 1 from one cell to every cell of frame 0 and of the frame before: (h, w) in [0, 1] each."""
        cues, (first, previous) = self._frame(frame).cues, self.references(frame)
        if not (0 <= cell[0] < self.grid[0] and 0 <= cell[1] < self.grid[1]):
            raise LabError(f"a cell must lie on the grid of {self.grid[0]}×{self.grid[1]}, got {cell}")
        own = cues.embeddings[:, cell[0], cell[1]][None]  # (1, D)
        with torch.inference_mode():
            to_first, to_previous = (
                normalise_distance(pairwise_sq_dist(own, other.embeddings.flatten(1).t())).view(self.grid).cpu()
                for other in (first, previous)
            )
        return to_first, to_previous

    def answer(self, frame: int, switches: Switches | None = None) -> Answer:
        """Segment the frame again from the cues that are on; earlier frames stay as predicted with all cues.

        With `switches` None, the result is that of `propagate`. A frame that is not predicted, or a cue switched on
        that the network was trained without, raises LabError.
        """
        cues = self._cues(frame, switches or self.trained)
        with torch.inference_mode():
            labels, probabilities = decide(self.model.segment([cues])[0], self.size)  # (H, W), (K, H, W)
        return Answer(torch.tensor([0, *self.clip.object_ids])[labels.cpu()], probabilities.cpu(), cues)

    def look(self, frame: int, *, object_id: int, cell: Cell, switches: Switches | None = None) -> PixelView:
        """Everything about one cell and one object; 0 is the background. What does not exist raises LabError."""
        switches = switches or self.trained
        k = self.clip.channel(object_id)
        answer = self.answer(frame, switches)
        first_distance, previous_distance = self.distances(frame, cell)
        first_object, previous_object = (r.labels.view(self.grid).cpu() == k for r in self.references(frame))
        first_match, previous_match, window = None, None, _window(switches)
        if switches.first_matching == "global":
            first_match = nearest(first_distance, first_object)
        if switches.previous_matching != "none":
            around = previous_object if window is None else previous_object & window_round(cell, window, self.grid)
            previous_match = nearest(previous_distance, around)
        y, x = cell_at(cell, self.grid, self.size)  # grid and frame swapped: the pixel nearest to the cell
        return PixelView(
            frame=frame,
            object_id=object_id,
            cell=cell,
            first_distance=first_distance,
            previous_distance=previous_distance,
            first_object=first_object,
            previous_object=previous_object,
            first_match=first_match,
            previous_match=previous_match,
            window=window,
            previous_labels=self._frame(frame - 1).labels,
            labels=answer.labels,
            probability=float(answer.probabilities[k, y, x]),
            switches=switches,
            trained=self.trained,
            off=switches.off(self.trained),
        )

    def _frame(self, frame: int) -> Prediction:
        if not 0 <= frame < len(self.clip):
            raise LabError(f"a frame must be 0 to {len(self.clip) - 1} in clip {self.clip.name!r}, got {frame}")
        if self._keep is not None and frame not in self._keep:
            raise LabError(f"frame {frame} is not kept: expected one of {sorted(self._keep)}")
        while self._read <= frame:
            prediction = next(self._run)._replace(probabilities=torch.empty(0))  # K·H·W numbers, never asked for
            if self._keep is None or prediction.frame in self._keep:
                self._kept[prediction.frame] = prediction
            self._read += 1
        return self._kept[frame]

    def references(self, frame: int) -> tuple[Labelled, Labelled]:
        """The labelled pixels of frame 0 and of the frame before, that a frame from 1 on is matched with."""
        if frame == 0:
            raise LabError("frame 0 is given, not predicted: nothing is matched there, a frame from 1 was expected")
        return self._frame(frame).references

    def _cues(self, frame: int, switches: Switches) -> Cues:
        trained = self.trained
        for name in ("first_matching", "previous_matching", "previous_mask"):
            if getattr(trained, name) in ("none", False) and getattr(switches, name) != getattr(trained, name):
                raise LabError(f"this network was trained without {name}, which cannot be switched on")
        self.references(frame)  # raises for a frame that is not predicted
        cues, off = self._frame(frame).cues, switches.off(trained)
        if "first frame" in off:
            cues = cues._replace(global_map=torch.ones_like(cues.global_map))
        if "previous frame" in off:
            cues = cues._replace(local_map=torch.ones_like(cues.local_map))
        elif trained.previous_matching != "none" and _window(switches) != _window(trained):
            cues = cues._replace(local_map=self._previous_map(frame, _window(switches)))
        if "mask" in off:
            cues = cues._replace(previous_mask=torch.full_like(cues.previous_mask, 1 / len(cues.previous_mask)))
        return cues

    def _match_previous(self, frame: int, window: int | None) -> Tensor:
        """The distance map to the previous frame, within a window of this radius or without one."""
        embeddings, (_, previous) = self._frame(frame).cues.embeddings, self.references(frame)
        reference, objects = previous[:2], len(previous.probabilities)
        with torch.inference_mode():
            if window is None:
                return global_matching(embeddings, *reference, num_objects=objects)
            return local_matching(embeddings, *reference, num_objects=objects, radius=window)


def _window(switches: Switches) -> int | None:
    """The radius within which the previous frame is matched; None if anywhere, or not at all."""
    return switches.radius if switches.previous_matching == "local" else None


def window_round(cell: Cell, radius: int, grid: tuple[int, int]) -> Tensor:
    """N(p) of Eq. 4: the cells at most `radius` rows and columns away → (h, w) bool."""
    rows, columns = torch.arange(grid[0]), torch.arange(grid[1])
    return ((rows - cell[0]).abs() <= radius)[:, None] & ((columns - cell[1]).abs() <= radius)


def nearest(distance: Tensor, allowed: Tensor) -> NearestCell | None:
    """The cell with the smallest distance (h, w) among those allowed (h, w) bool; None if none is."""
    if not allowed.any():
        return None
    row, column = divmod(int(distance.where(allowed, torch.inf).argmin()), distance.shape[1])
    return NearestCell(row, column, float(distance[row, column]))
