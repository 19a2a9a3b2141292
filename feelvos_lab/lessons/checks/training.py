"""Notebook 06: the loss of the hardest pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Case, Exercise, Mistake
from feelvos_lab.training.losses import hard_pixel_loss


def _cases() -> list[Case]:
    generator = Generator().manual_seed(8)
    hand = {
        "logits": torch.tensor([[[0.0, 2.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]]]),
        "labels": torch.tensor([[0, 1], [0, 1]]),
        "keep": 0.5,
        "ignore": 255,
    }
    labels = torch.randint(0, 3, (6, 8), generator=generator)
    labels[2:, 5:] = 255
    random = {"logits": 2 * torch.randn(3, 6, 8, generator=generator), "labels": labels, "keep": 0.85, "ignore": 255}
    edge = {
        "logits": torch.randn(2, 3, 3, generator=generator),
        "labels": torch.full((3, 3), -1),
        "keep": 0.3,
        "ignore": -1,
    }
    return [
        Case("hand", "four pixels, of which the two with the highest loss count", hand),
        Case("random", "6×8 pixels, a quarter of them ignored", random),
        Case("edge", "every pixel has the label `ignore`, here −1, so the loss is 0", edge),
    ]


def _losses(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    return F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()


def _kept(logits: Tensor, labels: Tensor, keep: float, ignore: int, *, largest: bool = True) -> tuple[Tensor, Tensor]:
    losses = _losses(logits, labels, ignore)
    kept = losses.topk(max(1, int(keep * losses.numel())), largest=largest)
    return kept.values, labels.flatten()[kept.indices] != ignore


def _all(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    return _losses(logits, labels, ignore).sum() / (labels != ignore).sum().clamp(min=1)


def _easiest(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    values, valid = _kept(logits, labels, keep, ignore, largest=False)
    return values.sum() / valid.sum().clamp(min=1)


def _sum(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    return _kept(logits, labels, keep, ignore)[0].sum()


def _over_all(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    return _sum(logits, labels, keep=keep, ignore=ignore) / labels.numel()


def _ignored_count(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    return _kept(logits, labels, keep, ignore)[0].mean()


def _nan(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
    values, valid = _kept(logits, labels, keep, ignore)
    return values.sum() / valid.sum()


EXERCISES = (
    Exercise(
        "hard_pixel_loss",
        hard_pixel_loss,
        _cases,
        mistakes=(
            Mistake(
                "all-pixels",
                "this is the mean over all pixels; only the `keep` share with the highest loss counts",
                (_all,),
            ),
            Mistake(
                "easiest",
                "this keeps the pixels with the lowest loss, which the network has learnt already",
                (_easiest,),
            ),
            Mistake(
                "sum",
                "this is the sum over the kept pixels; take the mean, or the loss grows with the frame",
                (_sum,),
            ),
            Mistake(
                "over-all",
                "the kept losses are divided by the number of all pixels; divide by that of the kept ones",
                (_over_all,),
            ),
            Mistake(
                "ignored",
                "ignored pixels are counted in the mean, or 0 / 0 comes out where all are ignored; divide by the "
                "number of kept pixels that are not ignored, and by 1 at least",
                (_ignored_count, _nan),
            ),
        ),
        hints=(
            "First one loss a pixel, without any mean. Then choose, and only then average.",
            "k = ⌊keep · H · W⌋, at least 1; mean of the k highest cross entropies. A pixel with the label `ignore` "
            "has loss 0 and does not count when the mean is taken.",
            'losses = F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()\n'
            "kept = losses.topk(max(1, int(keep * losses.numel()))).indices\n"
            "valid = labels.flatten()[kept] != ignore\n"
            "return losses[kept].sum() / valid.sum().clamp(min=1)",
        ),
    ),
)
