"""Notebook 06: the loss of the hardest pixels with mistakes, to recognise them in an answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from feelvos_lab.lessons.checks.exercise import Answer
from feelvos_lab.training.losses import hard_pixel_loss

Score = Callable[[Tensor, Tensor, Tensor], Tensor]


def losses_of(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    return F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()


def mean_of_counted(kept: Tensor, counts: Tensor, losses: Tensor) -> Tensor:
    return kept.sum() / counts.sum().clamp(min=1)


def wrong(
    score: Score = mean_of_counted,
    *,
    count: Callable[[float, int, int], float] = lambda keep, pixels, valid: max(1, int(keep * pixels)),
    largest: bool = True,
    loss: Callable[[Tensor, Tensor, int], Tensor] = losses_of,
    ignored: Callable[[int], int] = lambda ignore: ignore,
    drop: bool = False,
) -> Answer:
    """The wrong answer that is a `score` of the kept losses, of whether their pixels count, and of all losses."""

    def wrong(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
        ignore = ignored(ignore)
        losses, valid = loss(logits, labels, ignore), labels.flatten() != ignore
        k = int(count(keep, losses.numel(), int(valid.sum())))
        if drop:
            losses, valid = losses[valid], valid[valid]
        kept = losses.topk(min(k, losses.numel()), largest=largest)
        return score(kept.values, valid[kept.indices], losses)

    return wrong


def clamped_labels(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    return F.cross_entropy(logits[None], labels.clamp(0, len(logits) - 1)[None], reduction="none").flatten()


def last_labels(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    return F.cross_entropy(logits[None], (labels % len(logits))[None], reduction="none").flatten()


def zero_labels(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    return losses_of(logits, labels.masked_fill(labels == ignore, 0), -100)


def from_scores(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    """A loss of changed logits, with which cross entropy is computed."""
    return lambda logits, labels, ignore: losses_of(change(logits), labels, ignore)


def picked(score: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    """A score of each pixel's logits, at the true label; 0 where it is ignored."""

    def loss(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
        counted = labels != ignore
        chosen = score(logits).gather(0, (labels * counted)[None])[0]
        return torch.where(counted, chosen, 0.0).flatten()

    return loss


def of_first_pixels(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    losses, valid = losses_of(logits, labels, ignore), labels.flatten() != ignore
    k = max(1, int(keep * losses.numel()))
    return losses[:k].sum() / valid[:k].sum().clamp(min=1)


def of_unsure(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    """The mean loss of the pixels whose largest probability is smallest."""
    losses, sure = losses_of(logits, labels, ignore), logits.softmax(0).amax(0).flatten()
    kept = sure.topk(max(1, int(keep * losses.numel())), largest=False).indices
    return losses[kept].sum() / (labels.flatten()[kept] != ignore).sum().clamp(min=1)


def of_wrong(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    """The mean loss of all pixels whose largest logit is not that of their label."""
    found = ((logits.argmax(0) != labels) & (labels != ignore)).flatten()
    return losses_of(logits, labels, ignore)[found].sum() / found.sum().clamp(min=1)


def detached(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    return hard_pixel_loss(logits.detach(), labels, keep=keep, ignore=ignore)


def as_number(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> float:
    return detached(logits, labels, keep=keep, ignore=ignore).item()


def of_rows(axis: int) -> Answer:
    """The hardest pixels of each row (1) or column (0)."""

    def wrong(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
        losses = losses_of(logits, labels, ignore).view(labels.shape)
        kept = losses.topk(max(1, int(keep * labels.shape[axis])), dim=axis)
        return kept.values.sum() / (labels.gather(axis, kept.indices) != ignore).sum().clamp(min=1)

    return wrong
