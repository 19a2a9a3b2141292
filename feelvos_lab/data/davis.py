"""DAVIS-2016 and DAVIS-2017 in their published layout.

    root/JPEGImages/480p/<sequence>/00000.jpg …
    root/Annotations/480p/<sequence>/00000.png …
    root/ImageSets/<year>/{train,val}.txt          one sequence per line
    root/ImageSets/480p/{train,val}.txt            DAVIS-2016's own archive: a frame and its mask per line

In place of 480p, Full-Resolution (2017) or 1080p (2016) are the frames as they were filmed. The lists test-dev and
test-challenge of 2017 come with the first mask of each sequence alone; the others are known to the evaluation server.

DAVIS-2016 (Perazzi et al., CVPR 2016) has one object, stored as 255; DAVIS-2017 (Pont-Tuset et al., 2017) several, as
palette indices. The archive of DAVIS-2017 also holds the list of 2016: with it, its masks are merged to one object.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import LazyFrames, LazyMasks, check_two_frames, frame_and_mask_files
from feelvos_lab.data.images import opened_image
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import refuse_pipe

YEARS = (2016, 2017)

SPLITS = ("train", "val", "test-dev", "test-challenge")

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")


def read_davis(
    root: Path | str,
    *,
    year: int,
    split: Literal["train", "val", "test-dev", "test-challenge"],
    height: int = 0,
    resolution: str | None = None,
) -> list[Clip]:
    """The clips of a split in the order of its list; frames and masks are read on demand.

    Clips of "test-dev" and "test-challenge" have the mask of their first frame alone.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets.
        year: 2016 (all objects merged to id 1) or 2017.
        height: in pixels; frames (antialiased bilinear) and masks (nearest) are scaled to it. 0 keeps the size.
        resolution: one of `RESOLUTIONS`; None: the first of them that the root holds.

    Raises:
        LabError: another layout; files that are missing or differ in size; when indexed, a damaged file or an id that
            the first mask lacks.

    Example:
        >>> from feelvos_lab.data import read_davis
        >>> clips = read_davis("DAVIS", year=2017, split="val", height=240)  # the unpacked archive
        >>> clips[0].name, clips[0].object_ids, clips[0].frames[0].shape
        ('bike-packing', (1, 2), torch.Size([3, 240, 427]))
    """
    if year not in YEARS:
        raise LabError(f"the year of DAVIS must be 2016 or 2017, got {year!r}")
    if split not in SPLITS:
        raise LabError(f"the split of DAVIS must be {', '.join(map(repr, SPLITS))}, got {split!r}")
    if resolution is not None and resolution not in RESOLUTIONS:
        raise LabError(f"the resolution of DAVIS must be {', '.join(map(repr, RESOLUTIONS))}, got {resolution!r}")
    root = Path(root)
    there = [name for name in RESOLUTIONS if (root / "JPEGImages" / name).is_dir()]
    size = resolution or next(iter(there), RESOLUTIONS[0])
    images, annotations = root / "JPEGImages" / size, root / "Annotations" / size
    for path in (images, annotations):
        if not path.exists():
            raise _not_a_root(root, year, str(path.relative_to(root)))
    names = _listed(root, year, split, size)
    clips = []
    for name in names:
        paths, mask_paths = frame_and_mask_files(images / name, annotations / name)
        needed = list(paths) if split in ("train", "val") else list(paths)[:1]
        if missing := [paths[number] for number in needed if number not in mask_paths]:
            raise LabError(f"frame {missing[0]} has no mask in {annotations / name}")
        check_two_frames(paths, images / name)
        frames = LazyFrames(list(paths.values()), height=height)
        masks = LazyMasks([mask_paths[number] for number in needed], frames=frames, binary=year == 2016, height=height)
        if year == 2017 and _is_black_and_white(masks.paths[0]):
            raise LabError(f"mask {masks.paths[0]} is black and white, as those of DAVIS-2016, not indexed as in 2017")
        clips.append(Clip(name, frames, masks, masks.object_ids))
    return clips


def _listed(root: Path, year: int, split: str, size: str) -> list[str]:
    """The sequences of a split, from the list of the year or from DAVIS-2016's own layout; they must agree."""
    candidates = [root / f"ImageSets/{year}/{split}.txt"]
    if year == 2016:
        candidates.append(root / f"ImageSets/{size}/{split}.txt")
    lists = [path for path in candidates if path.exists()]
    if not lists:
        raise _not_a_root(root, year, " or ".join(str(path.relative_to(root)) for path in candidates))
    names = [_read_list(path, root) for path in lists]
    if len(lists) == 2 and (odd := sorted(set(names[0]) ^ set(names[1]))):
        raise LabError(f"{lists[0]} and {lists[1]} disagree: only one of them names {odd[0]!r}")
    return names[0]


def _read_list(listing: Path, root: Path) -> list[str]:
    """The sequences that a list names, in its order; a line is a sequence, or a frame and its mask."""
    try:
        refuse_pipe(listing, "a list of sequences")
        lines = [line.split() for line in listing.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise LabError(f"{listing} is no text: one sequence a line was expected") from error
    if not lines:
        raise LabError(f"{listing} is empty: one sequence a line was expected")
    if all("/" in line[0] for line in lines):
        for line in lines:
            for file in line:
                if not (root / file.lstrip("/")).is_file():
                    raise LabError(f"{listing} names {file}, which is missing in {root}: was all of it unpacked?")
        return list(dict.fromkeys(PurePosixPath(line[0]).parent.name for line in lines))
    names = [name for line in lines for name in line]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise LabError(f"{listing} names {twice[0]!r} twice: it would count double")
    return names


def _is_black_and_white(path: Path) -> bool:
    with opened_image(path) as image:
        return image.mode == "1" or (image.mode == "L" and image.getextrema()[1] == 255)


def _not_a_root(root: Path, year: int, wanted: str) -> LabError:
    return LabError(f"{root} is no DAVIS-{year} root: {wanted} was expected, there is {_content(root)}")


def _content(root: Path) -> str:
    if not root.is_dir():
        return "no such folder"
    names = sorted(path.name for path in root.iterdir())
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") if names else "nothing in it"
