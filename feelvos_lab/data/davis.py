"""DAVIS-2016 and DAVIS-2017 in their published layout.

    root/JPEGImages/480p/<sequence>/00000.jpg …
    root/Annotations/480p/<sequence>/00000.png …
    root/ImageSets/<year>/{train,val}.txt          one sequence per line

DAVIS-2016 (Perazzi et al., CVPR 2016) has one object, stored as 255; DAVIS-2017 (Pont-Tuset et al., 2017) several, as
palette indices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import LazyFrames, LazyMasks, check_two_frames, frame_and_mask_files
from feelvos_lab.errors import LabError

YEARS = (2016, 2017)

SPLITS = ("train", "val")


def read_davis(
    root: Path | str, *, year: int, split: Literal["train", "val"], height: int = 0, late_objects: bool = False
) -> list[Clip]:
    """The clips of a split in the order of its list; frames and masks are read on demand.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets.
        year: 2016 (all objects merged to id 1) or 2017.
        split: "train" or "val".
        height: frames (antialiased bilinear) and masks (nearest) are scaled to it, the width in proportion; 0 keeps
            the size.
        late_objects: later masks may hold ids that the first one lacks; all masks are then read once for their ids.

    Raises:
        LabError: another layout; an unknown year or split; a missing sequence, frame or mask; sizes that differ; an
            empty first mask; when a frame or mask is read, a damaged file or an id that the first mask lacks.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> import torch
        >>> from feelvos_lab.data import read_davis
        >>> from feelvos_lab.data.images import write_mask
        >>> for folder in ("JPEGImages/480p/boat", "ImageSets/2017"):
        ...     Path("davis", folder).mkdir(parents=True)
        >>> _ = Path("davis/ImageSets/2017/val.txt").write_text("boat")
        >>> for t in range(2):
        ...     Image.new("RGB", (48, 32)).save(f"davis/JPEGImages/480p/boat/{t:05d}.jpg")
        ...     write_mask(f"davis/Annotations/480p/boat/{t:05d}.png", 3 * torch.eye(32, 48).long())
        >>> (clip,) = read_davis("davis", year=2017, split="val", height=16)
        >>> clip.name, clip.object_ids, clip.frames[0].shape
        ('boat', (3,), torch.Size([3, 16, 24]))
    """
    if year not in YEARS:
        raise LabError(f"the year of DAVIS must be 2016 or 2017, got {year!r}")
    if split not in SPLITS:
        raise LabError(f"the split of DAVIS must be 'train' or 'val', got {split!r}")
    root = Path(root)
    images, annotations = root / "JPEGImages/480p", root / "Annotations/480p"
    listing = root / f"ImageSets/{year}/{split}.txt"
    for path in (images, annotations, listing):
        if not path.exists():
            wanted = path.relative_to(root)
            raise LabError(f"{root} is no DAVIS-{year} root: {wanted} was expected, there is {_content(root)}")
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
        paths, mask_paths = frame_and_mask_files(images / name, annotations / name)
        if missing := [paths[number] for number in paths if number not in mask_paths]:
            raise LabError(f"frame {missing[0]} has no mask in {annotations / name}")
        check_two_frames(paths, images / name)
        frames = LazyFrames(list(paths.values()), height=height)
        masks = LazyMasks(
            list(mask_paths.values()), frames=frames, binary=year == 2016, late_objects=late_objects, height=height
        )
        clips.append(Clip(name, frames, masks, masks.object_ids))
    return clips


def _content(root: Path) -> str:
    if not root.is_dir():
        return "no such folder"
    names = sorted(path.name for path in root.iterdir())
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") if names else "nothing in it"
