"""Several clips for one `feelvos-lab segment`: a folder of folders of frames, and their masks."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file, refuse_pipe


class Job(NamedTuple):
    """One clip to segment."""

    frames: Path  # a folder
    mask: Path  # the first frame's, or a folder of masks
    out: Path


def holds_clips(video: Path) -> bool:
    """Whether a folder holds folders and no image of its own."""
    from feelvos_lab.data.readers import IMAGES

    if not video.is_dir():
        return False
    inside = [path for path in video.iterdir() if not path.name.startswith(".")]
    return any(path.is_dir() for path in inside) and not any(path.suffix.lower() in IMAGES for path in inside)


def find_jobs(root: Path, masks: list[str], out: Path, *, listing: Path | None) -> list[Job]:
    """The clips `root/NAME` with `MASKS/NAME.png` or the folder `MASKS/NAME`, in the order of the list or of names.

    A line of the list is a name, or as in DAVIS-2016's lists a frame and its mask, in the folder of that name.
    """
    if len(masks) != 1 or not Path(masks[0]).is_dir():
        raise LabError(f"the clips in {root} need --mask DIR, a folder with NAME.png or a folder NAME for each clip")
    if listing is None:
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    else:
        names = _read_list(listing)
    return [Job(_folder(root, name), _mask(Path(masks[0]), name), out / name) for name in names]


def _read_list(listing: Path) -> list[str]:
    refuse_pipe(listing, "a list of clips")
    try:
        names = [line.strip() for line in listing.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise LabError(f"--list {listing} cannot be read: {reason}, one name of a clip a line was expected") from error
    if not names:
        raise LabError(f"--list {listing} is empty: one name of a clip a line was expected")
    if all(line.split()[0].endswith(".jpg") and "/" in line.split()[0] for line in names):
        names = list(dict.fromkeys(PurePosixPath(line.split()[0]).parent.name for line in names))
    for name in names:
        if Path(name).name != name or name == "..":
            raise LabError(f"--list {listing} holds {name!r}, the name of a folder was expected")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise LabError(f"--list {listing} names {twice!r} twice")
    return names


def _folder(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        raise LabError(f"there is no {root / name}: a folder of frames was expected")
    return root / name


def _mask(masks: Path, name: str) -> Path:
    for path in (masks / name, masks / f"{name}.png"):
        if path.exists():
            return path
    raise LabError(f"clip {name} has no mask: expected {masks / name}.png or a folder {masks / name}")


def write_submission(path: Path, jobs: list[Job]) -> int:
    """Write the masks of all clips to one archive, `NAME/FRAME.png`, as DAVIS's evaluation server takes them.

    Returns their number. The same masks give the same bytes.
    """
    count = 0
    with complete_file(path) as unfinished, ZipFile(unfinished, "w", ZIP_STORED) as archive:  # a PNG is compressed
        for job in jobs:
            for mask in sorted(job.out.glob("*.png")):
                archive.writestr(ZipInfo(f"{job.out.name}/{mask.name}"), mask.read_bytes())
                count += 1
    return count
