"""Mistakes with the label −1, which belongs to nobody: the same ones for the global and for the local map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from feelvos_lab.lessons.checks.exercise import Mistake


def label_mistakes(wrong: Callable[..., Callable[..., Any]]) -> tuple[Mistake, ...]:
    """The mistakes, made by `wrong(relabel=…)`: a map that reads its labels through `relabel(labels, num_objects)`."""
    return (
        Mistake(
            "clamped-label",
            "the label −1 is clamped to 0, so its pixels count as background; −1 belongs to nobody",
            (
                wrong(relabel=lambda labels, count: labels.clamp(min=0)),
                wrong(relabel=lambda labels, count: labels.clamp(0, count - 1)),
            ),
        ),
        Mistake(
            "index",
            "the label −1 is used as an index, so its pixels count for the last object; −1 belongs to nobody",
            (
                wrong(relabel=lambda labels, count: torch.where(labels < 0, labels + count, labels)),
                wrong(relabel=lambda labels, count: labels % count),
            ),
        ),
        Mistake(
            "absolute-label",
            "the sign of the label −1 is lost, so its pixels count for object 1; −1 belongs to nobody",
            (wrong(relabel=lambda labels, count: labels.abs()),),
        ),
    )
