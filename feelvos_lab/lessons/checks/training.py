"""Notebook 06: the mean loss of the hardest pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake
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


def _wrong(
    score: Callable[[Tensor, Tensor, Tensor], Tensor], *, share: float | None = None, largest: bool = True
) -> Answer:
    """The wrong answer that is a `score` of the kept losses, of whether their pixels count, and of all losses."""

    def wrong(logits: Tensor, labels: Tensor, *, keep: float, ignore: int = 255) -> Tensor:
        losses = F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()
        kept = losses.topk(max(1, int((share or keep) * losses.numel())), largest=largest)
        return score(kept.values, labels.flatten()[kept.indices] != ignore, losses)

    return wrong


def _mean(kept: Tensor, counts: Tensor, losses: Tensor) -> Tensor:
    return kept.sum() / counts.sum().clamp(min=1)


EXERCISES = (
    Exercise(
        "hard_pixel_loss",
        hard_pixel_loss,
        _cases,
        mistakes=(
            Mistake(
                "all-pixels",
                "this is the mean over all pixels; only the `keep` share with the highest loss counts",
                (_wrong(_mean, share=1.0),),
            ),
            Mistake(
                "easiest",
                "this keeps the pixels with the lowest loss, which the network has already learnt",
                (_wrong(_mean, largest=False),),
            ),
            Mistake(
                "sum",
                "this is the sum over the kept pixels; take the mean, or the loss grows with the frame",
                (_wrong(lambda kept, counts, losses: kept.sum()),),
            ),
            Mistake(
                "over-all",
                "the kept losses are divided by the number of all pixels; divide by the number of the kept ones",
                (_wrong(lambda kept, counts, losses: kept.sum() / losses.numel()),),
            ),
            Mistake(
                "ignored",
                "ignored pixels are counted in the mean, or 0 / 0 comes out where all are ignored; divide by the "
                "number of kept pixels that are not ignored, or by 1 if there is none",
                (
                    _wrong(lambda kept, counts, losses: kept.mean()),
                    _wrong(lambda kept, counts, losses: kept.sum() / counts.sum()),
                ),
            ),
        ),
        hints=(
            "First one loss per pixel, without a mean. Then select, and only then average.",
            "k = ⌊keep · H · W⌋, at least 1; mean of the k highest cross entropies. A pixel with the label `ignore` "
            "has loss 0 and does not count when the mean is taken.",
            'losses = F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()\n'
            "kept = losses.topk(max(1, int(keep * losses.numel()))).indices\n"
            "valid = labels.flatten()[kept] != ignore\n"
            "return losses[kept].sum() / valid.sum().clamp(min=1)",
        ),
    ),
)
