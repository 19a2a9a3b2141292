"""Distance-map figures of any clip: run the network up to a frame, find matches, draw and save.

Notebook 08 and `feelvos-lab figure` share this code; the drawing itself is in `figures/distance_maps.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.difficulty_sweep import Difficulty
from feelvos_lab.data.readers import read_clip
from feelvos_lab.data.sample_video import FILMS, film
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError, did_you_mean
from feelvos_lab.figures import distance_maps, style
from feelvos_lab.figures.save import save_figure
from feelvos_lab.inference.matches import choose_cells, find_links, run_to_frames
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.grid import cell_at

LAYOUTS = ("sheet", "strip", "arrows")

WIDTHS = {"column": style.COLUMN, "page": style.PAGE}

SPREAD = {"column": 4, "page": 6}  # columns of a strip that is asked for by its last frame alone

DOUBLES = Difficulty(far_lookalikes=1.0, speed=0.3, drift=0.2)  # the lessons' clip: each object has a look-alike
_SYNTHETIC = re.compile(r"(shapes|doubles)-(\d+)")


class Source(NamedTuple):
    """A clip, and the names it was requested by."""

    clip: Clip
    video: str  # a path, or the name of a synthetic clip
    mask: str  # a path, "" for a synthetic clip


@dataclass(frozen=True)
class Request:
    """The settings of a figure, from notebook 08 or the command line; checked on construction."""

    layout: str = "sheet"  # sheet, strip or arrows
    frames: Sequence[int] = (12,)  # one figure each (arrows: each object); for a strip its columns, or the last one
    objects: Sequence[int] = ()  # ids, 0 the background; empty: all but the background
    width: str = "page"  # column or page
    height: int = 0  # taller frames are downscaled to it for the network; 0: never
    points: Sequence[Sequence[int]] = ()  # (row, column) pixels where arrows begin; empty: chosen automatically

    def __post_init__(self) -> None:
        for name, value, known in (("layout", self.layout, LAYOUTS), ("width", self.width, tuple(WIDTHS))):
            if value not in known:
                raise LabError(
                    f"there is no {name} {value!r}{did_you_mean(value, known)}: it must be one of {', '.join(known)}"
                )
        if not self.frames:
            raise LabError("a figure needs a frame, got none")

    def columns(self) -> list[int]:
        """A strip's frames, ascending: those named, or evenly spaced ones from 1 to a single one."""
        if len(self.frames) > 1:
            return sorted(set(self.frames))
        last, count = self.frames[0], SPREAD[self.width]
        return sorted({round(1 + (last - 1) * i / (count - 1)) for i in range(count)})

    def check(self, clip: Clip) -> None:
        """Check before the network runs that the clip has the frames, objects and points, and maps for them."""
        given = clip.start_of(0)
        for t in self.frames:
            if not 0 <= t < len(clip):
                raise LabError(f"there is no frame {t} in clip {clip.name!r}: it has frames 0 to {len(clip) - 1}")
            if t <= given:
                raise LabError(
                    f"frame {t} of clip {clip.name!r} has no distance maps, since its mask is given or comes later: "
                    f"ask for {given + 1} to {len(clip) - 1}"
                )
        for o in self.objects:
            if clip.start_of(o) >= (max if self.layout == "strip" else min)(self.frames):
                raise LabError(
                    f"object {o} of clip {clip.name!r} is given in frame {clip.start_of(o)} only: ask for a later one"
                )
        if self.layout == "arrows" and len(set(clip.starts)) > 1:
            raise LabError(
                f"the objects of clip {clip.name!r} are given in several frames, and arrows lead to one first frame: "
                "choose sheet or strip"
            )
        size = tuple(clip.frames[0].shape[1:])
        for point in self.points:
            if len(point) != 2 or not all(0 <= place < side for place, side in zip(point, size, strict=True)):
                raise LabError(
                    f"a point must be a row and a column of a frame of {size[0]}×{size[1]} pixels, got {tuple(point)}"
                )


def find_clips(videos: Sequence[str], masks: Sequence[str] = ()) -> list[Source]:
    """Read clips by name: a video file, a folder of frames, `shapes-SEED`, `doubles-SEED` or `bunny`.

    `shapes-7` is the synthetic clip of seed 7 with random difficulties, `doubles-7` one of two objects with a
    look-alike each, as in the lessons; `bunny` is the sample video (see `film`). None of them needs a mask. Two
    clips of one name raise LabError.

    Args:
        masks: one for each video or folder, in order: a first mask, or a folder of masks.
    """
    files = [video for video in videos if not (is_synthetic(video) or _is_film(video))]
    if len(masks) != len(files):
        raise LabError(
            f"each video needs the mask of its first frame, and synthetic clips need none: got {len(files)} videos and "
            f"{len(masks)} masks"
        )
    if not videos:
        raise LabError("a figure needs a clip, got none")
    given = iter(masks)
    sources = []
    for video in videos:
        if is_synthetic(video) or _is_film(video):
            sources.append(Source(film(video) if _is_film(video) else _synthetic(video), str(video), ""))
            continue
        mask = str(next(given))
        sources.append(Source(read_clip(video, mask), str(video), mask))
    names = [source.clip.name for source in sources]
    folded = [name.casefold() for name in names]  # some disks do not distinguish capital letters
    if twice := next((name for name in names if folded.count(name.casefold()) > 1), None):
        raise LabError(f"two clips are called {twice!r}, so that their figures would have the same name: make two runs")
    return sources


def is_synthetic(video: str) -> bool:
    """Whether the name is that of a synthetic clip and not of a file."""
    return bool(_SYNTHETIC.fullmatch(str(video))) and not Path(video).exists()


def _is_film(video: str) -> bool:
    return str(video) in FILMS and not Path(video).exists()


def draw(model: Feelvos, clip: Clip, request: Request) -> Iterator[tuple[str, Figure, dict[str, Any]]]:
    """Draw what is requested of one clip: yields a file name, the figure, and what it shows (for its JSON)."""
    request.check(clip)
    local = model.config.previous_matching == "local"
    looks: dict[str, Any] = {"width": WIDTHS[request.width], "radius": model.config.radius if local else None}
    name = re.sub(r"[^\w.-]", "_", clip.name).lstrip(".") or "clip"
    if request.layout == "strip":
        columns = [t for t in request.columns() if t > clip.start_of(0)]
        objects = tuple(request.objects) or tuple(o for o in clip.object_ids if clip.start_of(o) < columns[-1])
        seen = run_to_frames(model, clip, columns, height=request.height)
        fig = distance_maps.strip(clip, seen, objects=objects, frames=columns, **looks)
        yield f"{name}-strip-{columns[-1]}-{request.width}", fig, {"frames": columns, "objects": list(objects)}
        return
    seen = run_to_frames(model, clip, request.frames, height=request.height)
    for t in sorted(set(request.frames)):
        objects = tuple(request.objects) or tuple(o for o in clip.object_ids if clip.start_of(o) < t)
        if request.layout == "sheet":
            fig = distance_maps.sheet(clip, seen[t], objects=objects, **looks)
            yield f"{name}-sheet-{t}-{request.width}", fig, {"frames": [t], "objects": list(objects)}
            continue
        for o in objects:
            size, grid = tuple(clip.frames[t].shape[-2:]), tuple(seen[t].cues.embeddings.shape[-2:])
            cells = [cell_at(point, size, grid) for point in request.points] or choose_cells(seen[t], o, clip)
            links = find_links(seen[t], o, clip, cells, model=model)
            fig = distance_maps.arrows(clip, seen[t], links, object_id=o, before=seen[t - 1].labels, **looks)
            shown = {"frames": [t], "objects": [o], "matches": [link._asdict() for link in links]}
            yield f"{name}-arrows-{t}-object-{o}-{request.width}", fig, shown


def make_figures(
    model: Feelvos,
    sources: Sequence[Source],
    request: Request,
    *,
    folder: Path | str = "figures",
    progress: Callable[[str], Any] = print,
) -> Iterator[Figure]:
    """Draw what is requested of each clip and save it with `save_figure`, one figure at a time.

    All clips are checked before the network runs on the first.
    """
    for source in sources:
        request.check(source.clip)
    for clip, video, mask in sources:
        for name, fig, shown in draw(model, clip, request):
            asked = {"layout": request.layout, "width": request.width, "height": request.height}
            points = [list(point) for point in request.points]
            save_figure(fig, name, folder=folder, video=video, mask=mask, **asked, points=points, **shown)
            progress(f"{name}: .png, .pdf and .json")
            yield fig


def _synthetic(name: str) -> Clip:
    kind, seed = _SYNTHETIC.fullmatch(name).groups()
    clip = make_clip(int(seed)) if kind == "shapes" else make_clip(int(seed), difficulty=DOUBLES, objects=2)
    return replace(clip, name=name)
