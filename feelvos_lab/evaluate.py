"""Scores of a model, and of the baseline that copies the first mask, over a list of clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import torch
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.infer import propagate
from feelvos_lab.metrics import score_masks
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.folded import folded


def evaluate(model: Feelvos, clips: list[Clip], *, progress: Callable[[str], None] | None = None) -> pd.DataFrame:
    """Propagate the first mask of every clip and score it: one row per clip and object (see `score_masks`)."""
    rows, model = [], folded(model)
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
