"""DAVIS-2016 and DAVIS-2017 in the layouts in which they are published.

    root/JPEGImages/480p/<sequence>/00000.jpg …
    root/Annotations/480p/<sequence>/00000.png …
    root/ImageSets/<year>/{train,val}.txt          one sequence a line

DAVIS-2016 (Perazzi et al., CVPR 2016) has one object, stored as 255; DAVIS-2017 (Pont-Tuset et al., 2017) several, as
palette indices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import LazyFrames, LazyMasks, numbered_files
from feelvos_lab.errors import LabError

YEARS = (2016, 2017)

SPLITS = ("train", "val")


def read_davis(
    root: Path | str, *, year: int, split: Literal["train", "val"], height: int = 0, late_objects: bool = False
) -> list[Clip]:
    """The clips of a split in the order of its list; frames and masks are read when asked for.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets.
        year: 2016 (all objects merged to id 1) or 2017.
        split: "train" or "val".
        height: frames (antialiased bilinear) and masks (nearest) are scaled to it, the width in proportion; 0 keeps
            them.
        late_objects: a mask may hold ids that the first one lacks; all masks are then read once for their ids.

    Raises:
        LabError: another layout; an unknown year or split; a missing sequence, frame or mask; sizes that differ; an
            empty first mask. A damaged file or an id that the first mask lacks is told when that file is read.
    """
    if year not in YEARS:
        raise LabError(f"the year of DAVIS must be 2016 or 2017, got {year!r}")
    if split not in SPLITS:
        raise LabError(f"the split of DAVIS must be 'train' or 'val', got {split!r}")
    if height < 0:
        raise LabError(f"height must not be negative, got {height}")
    root = Path(root)
    images, annotations = root / "JPEGImages/480p", root / "Annotations/480p"
    listing = root / f"ImageSets/{year}/{split}.txt"
    for path in (images, annotations, listing):
        if not path.exists():
            wanted = path.relative_to(root)
            raise LabError(f"{root} is no DAVIS-{year} root: {wanted} was expected, there is {_seen(root)}")
    try:
        names = listing.read_text(encoding="utf-8").split()
    except UnicodeDecodeError as error:
        raise LabError(f"{listing} is no text: one sequence a line was expected") from error
    if not names:
        raise LabError(f"{listing} is empty: one sequence a line was expected")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise LabError(f"{listing} names {twice[0]!r} twice: it would count double")
    clips = []
    for name in names:
        paths, mask_paths = _paired(images / name, annotations / name)
        frames = LazyFrames(paths, height=height)
        masks = LazyMasks(mask_paths, frames=frames, binary=year == 2016, late_objects=late_objects, height=height)
        clips.append(Clip(name, frames, masks, masks.object_ids))
    return clips


def _paired(images: Path, annotations: Path) -> tuple[list[Path], list[Path]]:
    frames = numbered_files(images, endings=(".jpg",))
    masks = numbered_files(annotations, endings=(".png",))
    for number in sorted(frames.keys() ^ masks.keys()):
        if number in frames:
            raise LabError(f"frame {frames[number]} has no mask in {annotations}")
        raise LabError(f"mask {masks[number]} has no frame in {images}")
    if len(frames) < 2:
        raise LabError(f"{images} holds one frame, at least two were expected: the first carries the given mask")
    return list(frames.values()), list(masks.values())


def _seen(root: Path) -> str:
    if not root.is_dir():
        return "no such folder"
    names = sorted(path.name for path in root.iterdir())
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") if names else "nothing in it"
