"""A video whose masks are painted in some frames and predicted in the others: what the painter edits and saves.

Symbols: H W frame size, T frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from feelvos_lab.data.clip import Clip, FrameSource, check_clip
from feelvos_lab.data.images import VOID, colour_ids, object_ids, read_mask
from feelvos_lab.data.readers import frame_names, read_frames
from feelvos_lab.data.sample_video import FILMS, film
from feelvos_lab.data.video import require_writer
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.metrics import region_similarity
from feelvos_lab.files.atomic import complete_folder, refuse_occupied
from feelvos_lab.inference.output import Movie, write_segmentation
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets.mask_editor import Painting

_EVERY = 8  # frames from which a run can resume: more of them take memory, fewer take time

_KEPT = 1 << 29  # bytes of frames that stay in memory

Origin = Literal["painted", "predicted", "outdated", "empty"]


class PaintedMasks:
    """Masks of some frames, in memory: `masks[t]` is void (255) everywhere for the others."""

    def __init__(self, masks: Mapping[int, Tensor], *, length: int, size: tuple[int, int]) -> None:
        self._masks, self._length, self._size = masks, length, size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        return self._masks.get(index, torch.tensor(VOID).expand(self._size))


class KeptFrames:
    """Frames that stay in memory once they are read, up to a limit: going back in a video file decodes it again."""

    def __init__(self, frames: FrameSource) -> None:
        self._length = len(frames)
        self._read = lru_cache(maxsize=max(1, _KEPT // frames[0].numel()))(frames.__getitem__)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        return self._read(index)


@dataclass
class _Layer:
    """The painting of one frame."""

    painting: Painting
    base: Tensor  # (H, W), the labels without it
    whole: bool  # whether it began with a prediction, so that an object which it does not show is absent

    @property
    def used(self) -> bool:
        return not torch.equal(self.painting.labels, self.base)


class PaintedVideo:
    """Painted and predicted masks of one video.

    A frame counts as painted if its painting differs from what was there before. `propagate` takes each object from
    the first frame whose painting shows it; later paintings correct it. A painting that began with a prediction says
    where all objects are; one that began empty corrects those that it shows.

    Args:
        name: of the video.
        frames: T × (3, H, W) uint8.
        mask: int64 (H, W), painted in frame 0.
        truth: a clip of the same frames, whose masks are the truth.

    Raises:
        LabError: a mask of another size than the frames.

    Example:
        >>> from feelvos_lab import load_model, make_clip
        >>> from feelvos_lab.widgets.painted_video import PaintedVideo
        >>> clip = make_clip(1, height=32, width=48, frames=4)
        >>> video = PaintedVideo("mine", clip.frames, mask=clip.masks[0], truth=clip)
        >>> list(video.steps(load_model("reduced"))), video.origin(2)
        ([0, 1, 2, 3], 'predicted')
        >>> video.painting(2).replace(clip.masks[2])
        >>> video.changed(2)
        >>> video.origin(2), video.origin(3), video.scores(2)[1]
        ('painted', 'outdated', 1.0)
    """

    def __init__(
        self, name: str, frames: FrameSource, *, mask: Tensor | None = None, truth: Clip | None = None
    ) -> None:
        self.name, self.truth = name, truth
        self.size: tuple[int, int] = tuple(frames[0].shape[1:])
        self.frames = frames if isinstance(frames, Tensor) else KeptFrames(frames)
        self._names = frame_names(Clip(name, frames, [], ()))
        self.predicted: list[Tensor] = []  # of each frame so far, int64 (H, W)
        self.valid = 0  # frames whose predictions follow from the masks as they are painted
        self._points: dict[int, Prediction] = {}  # from which a run can resume
        self._layers: dict[int, _Layer] = {}
        self._true_ids: dict[int, int] | None = None  # of `true_ids`, until the next edit
        if mask is not None:
            self._layers[0] = _Layer(Painting(self.size, start=mask), self.labels(0), whole=False)

    def __len__(self) -> int:
        return len(self.frames)

    def painting(self, frame: int) -> Painting:
        """The mask of a frame to edit, which starts as `labels`. Call `changed` after an edit."""
        if frame not in self._layers:
            base = self.labels(frame)
            self._layers[frame] = _Layer(Painting(self.size, start=base), base, whole=frame < len(self.predicted))
        return self._layers[frame].painting

    def changed(self, frame: int) -> None:
        """Note that the painting of a frame was edited: predictions from this frame on are outdated."""
        self.valid, self._true_ids = min(self.valid, frame), None
        self._points = {t: point for t, point in self._points.items() if t <= frame}

    def forget(self, frame: int) -> bool:
        """Remove the painting of a frame, which is predicted again; False if there is none."""
        if not self.is_painted(frame):
            return False
        if frame < len(self.predicted):
            self.predicted[frame] = self._layers[frame].base
        del self._layers[frame]
        self.changed(frame)
        return True

    def is_painted(self, frame: int) -> bool:
        """Whether the frame's mask was painted."""
        return frame in self._layers and self._layers[frame].used

    def origin(self, frame: int) -> Origin:
        """Where the frame's labels come from; "outdated": from a prediction before the last edit."""
        if self.is_painted(frame):
            return "painted"
        if frame >= len(self.predicted) or (frame in self._layers and not self._layers[frame].whole):
            return "empty"
        return "predicted" if frame < self.valid else "outdated"

    def labels(self, frame: int) -> Tensor:
        """The mask of a frame as it stands: painted, predicted, or empty; int64 (H, W)."""
        if frame in self._layers:
            return self._layers[frame].painting.labels
        if frame < len(self.predicted):
            return self.predicted[frame]
        return torch.zeros(self.size, dtype=torch.int64)

    @property
    def key_frames(self) -> dict[int, Tensor]:
        """The painted masks, by frame."""
        return {t: self._layers[t].painting.labels for t in sorted(self._layers) if self._layers[t].used}

    @property
    def object_ids(self) -> tuple[int, ...]:
        """All objects that are painted in any frame, ascending."""
        return tuple(sorted({i for labels in self.key_frames.values() for i in object_ids(labels)}))

    def clip(self) -> Clip:
        """The video with its painted masks; LabError if no object is painted, or there is only one frame."""
        masks = self.key_frames
        starts: dict[int, int] = {}
        for t, labels in masks.items():
            for i in object_ids(labels):
                starts.setdefault(i, t)
        if not starts:
            raise LabError("the first mask is empty: paint at least one object, then propagate")
        ids, entries = tuple(sorted(starts)), tuple(starts[i] for i in sorted(starts))
        check_clip(Clip(self.name, self.frames, masks[min(entries)][None], ids, entries))
        return Clip(self.name, self.frames, PaintedMasks(masks, length=len(self), size=self.size), ids, entries)

    def explorable(self) -> Clip:
        """The video with the painted mask of frame 0 alone; what `clip` rejects, or a later object, raises LabError."""
        clip = self.clip()
        if late := [i for i in clip.object_ids if clip.start_of(i)]:
            raise LabError(
                f"the explorer needs all objects in frame 0, object {late[0]} enters in frame {clip.start_of(late[0])}"
            )
        return Clip(clip.name, clip.frames, clip.masks[0][None], clip.object_ids)

    def corrections(self, clip: Clip) -> dict[int, tuple[int, ...]]:
        """The objects that each painted frame corrects, see `propagate`."""
        stated = {t: clip.object_ids if self._layers[t].whole else object_ids(m) for t, m in self.key_frames.items()}
        return {t: tuple(i for i in ids if clip.start_of(i) < t) for t, ids in stated.items()}

    def steps(self, model: Feelvos, *, height: int = 0) -> Iterator[int]:
        """Predict the masks that the last edit left outdated, one frame per step, and yield its number.

        The run resumes at the last frame before the edit that was kept for this, so that frames before it cost nothing.
        Always call it with the same model and height. What `clip` rejects, or a video without anything outdated, raises
        LabError.
        """
        clip = self.clip()
        if self.valid == len(self):
            raise LabError("all frames are segmented by these masks: correct one of them, then propagate again")
        resume = None
        if model.config.adapt_margin == 0:  # its confident pixels are not kept
            resume = self._points.get(max((t for t in self._points if t <= self.valid), default=0))
        run = propagate(model, clip, height=height, corrections=self.corrections(clip), resume=resume)
        for prediction in run:
            t = prediction.frame
            if t in self._layers and not self._layers[t].used:
                del self._layers[t]  # it shows the labels that are replaced now
            self.predicted[t : t + 1] = [prediction.labels]
            self.valid = max(self.valid, t + 1)
            if prediction.references is not None and t % _EVERY == 0:
                empty = torch.empty(0)
                self._points[t] = prediction._replace(labels=empty, probabilities=empty, cues=None, image=None)
            yield t

    def true_ids(self) -> dict[int, int]:
        """The true object that each painted one was first painted on, whatever their numbers.

        Empty where the truth of later frames, or of one painted object, is not known, or two are one true object.
        """
        if self._true_ids is None:
            self._true_ids = self._matched() if self.truth and set(self.truth.annotated_frames) > {0} else {}
        return self._true_ids

    def _matched(self) -> dict[int, int]:
        ids: dict[int, int] = {}
        for t, labels in self.key_frames.items():
            for i in object_ids(labels):
                if i in ids:
                    continue
                true = self.true_mask(t)
                below = torch.zeros(0) if true is None else true[(labels == i) & (true > 0) & (true != VOID)]
                if not len(below):
                    return {}
                ids[i] = int(below.mode().values)
        return ids if len(set(ids.values())) == len(ids) else {}

    def scores(self, frame: int) -> dict[int, float]:
        """J of each painted object, see `true_ids`; empty where this frame has no true mask, or objects no truth."""
        true = self.true_mask(frame)
        if true is None:
            return {}
        labels = self.labels(frame)
        return {i: region_similarity(labels == i, true == k) for i, k in self.true_ids().items()}

    def areas(self, frame: int) -> dict[int, int]:
        """The number of pixels of each painted object."""
        counts = self.labels(frame).flatten().bincount(minlength=VOID + 1)
        return {i: int(counts[i]) for i in self.object_ids}

    def true_mask(self, frame: int) -> Tensor | None:
        """The mask that came with the video; None if this frame has none."""
        if self.truth is None or frame not in self.truth.annotated_frames:
            return None
        return self.truth.masks[frame]

    def save(self, folder: Path | str, *, movie: Movie = "none") -> None:
        """Write one indexed PNG per frame, and a movie, to a new or empty folder, as `feelvos-lab segment` does.

        LabError: nothing is predicted yet, or predictions are outdated; an occupied folder, or mp4 without PyAV.
        """
        if not self.predicted:
            raise LabError("there is no result to save yet: paint a mask and propagate it")
        if self.valid < len(self.predicted):
            raise LabError(f"frame {self.valid} was edited, what follows is outdated: propagate it, then save")
        refuse_occupied(folder)
        require_writer(movie)
        done = (Prediction(t, labels, labels, None) for t, labels in enumerate(self.predicted))
        with complete_folder(folder) as unfinished:
            write_segmentation(done, self.clip(), unfinished, movie=movie, names=self._names)


def open_video(video: Clip | Path | str, mask: Tensor | Path | str | None = None) -> PaintedVideo:
    """A clip, a folder of numbered frames, a video file or a film (see `film`), with a first mask to correct.

    Raises:
        LabError: a video or mask that cannot be read, or a mask of another size than the frames.
    """
    first = mask if isinstance(mask, Tensor) or mask is None else read_mask(mask, colours=colour_ids([mask]))
    if not isinstance(video, Clip) and str(video) in FILMS and not Path(video).exists():
        video = film(str(video))
    if isinstance(video, Clip):
        return PaintedVideo(video.name, video.frames, mask=first, truth=video)
    name, frames = read_frames(Path(video).expanduser())
    return PaintedVideo(name, frames, mask=first)
