"""Scores of a model, and of the baseline that copies the first mask, over a list of clips.

Scores for people: masks made elsewhere, the table beside the baseline, and what a number may be called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import LazyFrames
from feelvos_lab.data.images import read_mask
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.metrics import score_masks
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.fold_norms import fold_batch_norms


def evaluate(model: Feelvos, clips: list[Clip], *, progress: Callable[[str], None] | None = None) -> pd.DataFrame:
    """Propagate the first mask of every clip and score it: one row per clip and object (see `score_masks`)."""
    rows, model = [], fold_batch_norms(model)
    for clip in clips:
        scored = score_masks((p.labels for p in propagate(model, clip)), clip)
        rows += scored
        if progress and scored:
            progress(f"{clip.name}  J&F {pd.DataFrame(scored).JF.mean():.3f}")
    return pd.DataFrame(rows)


def copy_first_mask(clips: list[Clip]) -> pd.DataFrame:
    """The scores of predicting the first mask, unchanged, for every frame: what any method must beat."""
    return pd.DataFrame([row for clip in clips for row in score_masks(_copies(clip), clip)])


def _copies(clip: Clip) -> Iterator[Tensor]:
    """For every frame the first mask, with the objects that were given since then pasted over it."""
    shown = clip.masks[0]
    if clip.starts:
        shown = torch.zeros_like(shown)
    for t in range(len(clip)):
        if t in clip.starts:
            given = clip.masks[t]
            shown = torch.where(torch.isin(given, torch.tensor(clip.given_in(t))), given, shown)  # (H, W)
        yield shown


MEASURES = {"JF": "J&F", "J": "J", "F": "F"}

OFFICIAL_VAL = {"davis-2016": 20, "davis-2017": 30}  # sequences of the published validation lists


def score_predictions(folder: Path, clips: list[Clip], *, binary: bool) -> pd.DataFrame:
    """Score indexed PNGs, `folder/<clip>/<frame>.png`; rows as those of `score_masks`.

    Args:
        binary: all ids of a mask are merged to object 1, as DAVIS-2016 is scored.

    Raises:
        LabError: a clip without a folder, a frame without a mask, or what `read_mask` and `score_masks` refuse.
    """
    return pd.DataFrame(
        [row for clip in clips for row in score_masks(_read_masks(folder / clip.name, clip, binary), clip)]
    )


def table(scores: pd.DataFrame, baseline: pd.DataFrame) -> str:
    """Percentages of every object beside those of copying the first mask, and the means over all objects."""
    rows = [("clip", "object", *MEASURES.values(), *(f"copy {m}" for m in MEASURES.values()))]
    both = scores.merge(baseline, on=["clip", "object"], suffixes=("", "_copy"), sort=False)
    columns = [*MEASURES, *(f"{m}_copy" for m in MEASURES)]
    for _, row in both.iterrows():
        rows.append((row["clip"], str(row["object"]), *(f"{100 * row[c]:.1f}" for c in columns)))
    rows.append(("mean", f"n={len(both)}", *(f"{100 * both[c].mean():.1f}" for c in columns)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(_aligned(cell, w, left=i == 0) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def benchmark_caveat(data: str, *, split: str, clips: list[Clip], height: int) -> str:
    """Why a score is not the data set's published benchmark; "" where it is one.

    It is one on all sequences of the published validation list at their own size.
    """
    if data == "shapes":
        return "These are synthetic clips: the numbers compare rows made here, they are no DAVIS benchmark."
    if data == "youtube-vos":
        return (
            f"This is no YouTube-VOS benchmark number: it is taken on the {split} split, not on the evaluation server."
        )
    wanted = OFFICIAL_VAL[data]
    if split != "test":
        return f"This is no DAVIS benchmark number: it is taken on the {split} split, not on the published val list."
    if len(clips) != wanted:
        return (
            f"This is no DAVIS benchmark number: the published val list has {wanted} sequences, here are {len(clips)}."
        )
    if height:
        return f"This is no DAVIS benchmark number: the frames are scaled to a height of {height}."
    return ""


def _read_masks(folder: Path, clip: Clip, binary: bool) -> Iterator[Tensor]:
    if not folder.is_dir():
        raise LabError(f"no predictions for clip {clip.name!r}: the folder {folder} was expected")
    if not isinstance(clip.frames, LazyFrames):
        raise LabError(f"clip {clip.name!r} has no files, so masks made elsewhere cannot be matched to its frames")
    for path in clip.frames.paths:
        yield read_mask(folder / f"{path.stem}.png", binary=binary, height=clip.frames.height)


def _aligned(cell: str, width: int, *, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
