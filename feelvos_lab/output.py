"""Folders of results that are complete or not there, and the masks of a clip written into one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from feelvos_lab.data.clip import Clip, FrameSource, check_clip, read_folder, read_video
from feelvos_lab.data.distances import write_distance
from feelvos_lab.data.holding import alone
from feelvos_lab.data.images import write_mask
from feelvos_lab.data.lazy import GivenMasks, LazyFrames, numbered_files
from feelvos_lab.data.video import VideoFrames
from feelvos_lab.data.writing import DISK, is_unfinished, remove_unfinished
from feelvos_lab.errors import LabError
from feelvos_lab.movie import open_movie
from feelvos_lab.viz import overlay


@contextmanager
def complete_folder(path: Path | str) -> Iterator[Path]:
    """A folder beside `path` to write into; it becomes `path` when the block ends, and is removed if it fails.

    Missing parents are made, and removed again if the block fails. What a process that was killed had begun is removed.

    Raises:
        LabError: `path` is a file or holds something already, another process is writing it, the folder cannot be
            written, or the disk is full.
    """
    path = Path(os.path.abspath(path))
    refuse_occupied(path)
    unfinished = path.with_name(f".{path.name}.partial")
    made = _make_parents(path)
    try:
        with alone(path.with_name(f".{path.name}.lock"), f"writing {path}"):
            refuse_occupied(path)  # by one that has ended since
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                _attempt(unfinished.mkdir, path)
                with _a_full_disk_told(path):
                    yield unfinished
                _attempt(lambda: os.replace(unfinished, path), path)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
    except BaseException:
        _remove_empty(made)
        raise


def refuse_occupied(path: Path) -> None:
    """Stop before anything is computed whose result would overwrite another.

    Raises:
        LabError: `path` is a file, lies in one, or is a folder that is not empty.
    """
    path = Path(os.path.abspath(path))
    if path.is_dir() and any(path.iterdir()):
        raise LabError(f"the output folder {path} holds files already, expected a new or an empty one")
    if path.exists() and not path.is_dir():
        raise LabError(f"the output {path} must be a folder, but there is a file of that name")
    if file := next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None):
        raise LabError(f"the output folder {path} cannot be made, since {file} is a file")


@contextmanager
def writable_folder(path: Path | str, *, resuming: Sequence[str]) -> Iterator[Path]:
    """A folder to train in for long: what an interrupted run left there is gone on with; an unused one is removed.

    Args:
        resuming: the names of what an interrupted run may leave. The first is the file to go on from: where it is,
            anything may lie beside it. Else the folder may hold these alone, and files that were not finished.

    Raises:
        LabError: `path` is a file, holds anything else, another process is training there, or it cannot be written.
    """
    path = Path(os.path.abspath(path))
    _refuse_other_work(path, resuming)
    made = [*([] if path.exists() else [path]), *_make_parents(path)]
    try:
        _attempt(lambda: path.mkdir(exist_ok=True), path)
        with alone(path / ".lock", f"training in {path}"):
            _refuse_other_work(path, resuming)  # of one that has ended since
            _attempt(lambda: remove_unfinished(path), path)
            yield path
    except BaseException:
        _remove_empty(made)
        raise


def read_clip(video: Path, masks: Sequence[str]) -> Clip:
    """A clip to segment from a folder of frames or a video file, and the masks that give its objects.

    Args:
        masks: one file, for the first frame; one folder of files that are named like frames; or files as FRAME=FILE,
            of which one without FRAME= is for the first frame. FRAME is a frame's name or its number. An object is
            given by the first mask that shows it. The frames of a folder may be numbered in steps, such as 5.

    Raises:
        LabError: no such video, mask or frame; two masks for one frame; or what `read_folder`, `read_video` and
            `GivenMasks` refuse.
    """
    if not video.exists():
        raise LabError(f"there is no {video}: a video or a folder of frames was expected")
    if len(masks) == 1 and not _is_pair(masks[0]) and not Path(masks[0]).is_dir():
        return read_folder(video, masks[0], step=None) if video.is_dir() else read_video(video, masks[0])
    name, frames = read_frames(video)
    given = GivenMasks(_mask_files(masks, _names(frames)), length=len(frames), size=tuple(frames[0].shape[1:]))
    clip = Clip(name, frames, given, given.object_ids, given.starts)
    check_clip(clip)
    return clip


def read_frames(video: Path) -> tuple[str, LazyFrames | VideoFrames]:
    """The name and the frames of a folder of numbered images or of a video file, without any mask.

    Raises:
        LabError: no such video, or what `numbered_files`, `LazyFrames` and `VideoFrames` refuse.
    """
    if not video.exists():
        raise LabError(f"there is no {video}: a video or a folder of frames was expected")
    if video.is_dir():
        files = numbered_files(video, endings=(".jpg", ".jpeg", ".png"), step=None)
        return video.resolve().name, LazyFrames(list(files.values()))
    return video.stem, VideoFrames(video)


def frame_names(clip: Clip) -> list[str]:
    """A name for each frame's mask: that of its file, or its number in five digits where it has none."""
    return _names(clip.frames)


def _names(frames: FrameSource) -> list[str]:
    if isinstance(frames, LazyFrames):
        return [path.stem for path in frames.paths]
    return [f"{t:05d}" for t in range(len(frames))]


def _is_pair(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _mask_files(masks: Sequence[str], names: list[str]) -> dict[int, Path]:
    """The mask of each frame that has one, by the frame's index."""
    if len(masks) == 1 and (folder := Path(masks[0])).is_dir():
        pairs = [(path.stem, path) for path in sorted(folder.glob("*.png")) if not path.name.startswith(".")]
        if not pairs:
            raise LabError(f"{folder} holds no mask: png files named like the frames were expected")
    else:
        pairs = []
        for text in masks:
            frame, _, file = text.partition("=") if _is_pair(text) else (names[0], "=", text)
            pairs.append((frame, Path(file)))
    index = {name: t for t, name in enumerate(names)}
    by_number = {int(re.findall(r"\d+", name)[-1]): t for t, name in enumerate(names)}
    files: dict[int, Path] = {}
    for frame, path in pairs:
        t = index.get(frame, by_number.get(int(frame)) if frame.isascii() and frame.isdigit() else None)
        if t is None:
            raise LabError(f"mask {path} is for frame {frame!r}, expected one of {names[0]} to {names[-1]}")
        if t in files:
            raise LabError(f"frame {names[t]} has two masks, {files[t]} and {path}: one was expected")
        files[t] = path
    return files


def write_segmentation(
    predictions: Iterable[Any], clip: Clip, folder: Path, *, names: list[str], moving: str = "mp4", cues: bool = False
) -> int:
    """Write each frame's mask as an indexed PNG when it is predicted, and the overlay as a film; keep none of them.

    Args:
        predictions: what `propagate` yields.
        folder: must exist.
        names: of the PNG files, without ending, one a frame.
        moving: "mp4", "gif" or "none": the kind of `overlay.mp4` or `overlay.gif`.
        cues: write the distance maps too, as `write_cues` does.

    Returns:
        the number of frames written.
    """
    count = 0
    with open_movie(folder / f"overlay.{moving}", kind=moving) as append:
        for prediction in predictions:
            write_mask(folder / f"{names[prediction.frame]}.png", prediction.labels)
            if cues:
                write_cues(prediction, clip, folder / "cues", name=names[prediction.frame])
            if moving != "none":
                append(overlay(clip.frames[prediction.frame], prediction.labels))
            count += 1
    return count


def write_cues(prediction: Any, clip: Clip, folder: Path, *, name: str) -> None:
    """Write a frame's distance maps as `global/<id>/<name>.png` and `local/<id>/<name>.png`; 0 is the background.

    The maps have the size of the stride-4 grid. A frame whose mask was given has none, nor has a model a map of a
    matching that it does without. An object that has not entered yet is far from everything.
    """
    if prediction.cues is None:
        return
    for kind, maps in (("global", prediction.cues.global_map), ("local", prediction.cues.local_map)):
        if maps is None:
            continue
        for object_id, distance in zip((0, *clip.object_ids), maps, strict=True):
            write_distance(folder / kind / str(object_id) / f"{name}.png", distance)


def _make_parents(path: Path) -> list[Path]:
    """Make the folders above `path`; those that were made, deepest first."""
    missing = [parent for parent in path.parents if not parent.exists()]
    _attempt(lambda: path.parent.mkdir(parents=True, exist_ok=True), path)
    return missing


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or gone
            folder.rmdir()


def _refuse_other_work(path: Path, names: Sequence[str]) -> None:
    """Stop unless the folder is new, empty, or holds an interrupted run, which may have been killed at any moment."""
    locks = (".lock", ".state.lock")
    if (path / names[0]).is_file() or (
        path.is_dir() and all(p.name in (*names, *locks) or is_unfinished(p.name) for p in path.iterdir())
    ):
        return
    refuse_occupied(path)


@contextmanager
def _a_full_disk_told(path: Path) -> Iterator[None]:
    """Whatever writes in the block, a film for instance, a disk at fault is one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        raise LabError(f"cannot write to the output folder {path}: {error.strerror or error}") from error


def _attempt(action: Any, path: Path) -> None:
    try:
        action()
    except OSError as error:
        raise LabError(f"cannot write to the output folder {path}: {error.strerror or error}") from error
