"""Folders of results that are complete or not there, and the masks of a clip written into one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import overlay, write_distance, write_mask
from feelvos_lab.data.video import open_movie


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
