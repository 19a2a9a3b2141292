"""Notebook 06: the mean loss of the hardest pixels."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator

from feelvos_lab.lessons.checks.exercise import Case, Exercise, Law, Mistake
from feelvos_lab.lessons.checks.losses import (
    as_number,
    clamped_labels,
    detached,
    from_scores,
    last_labels,
    losses_of,
    mean_of_counted,
    of_first_pixels,
    of_rows,
    of_unsure,
    of_wrong,
    picked,
    wrong,
    zero_labels,
)
from feelvos_lab.training.losses import hard_pixel_loss


def _cases() -> list[Case]:
    generator = Generator().manual_seed(8)

    def random(count: int, h: int, w: int, **more: Any) -> dict[str, Any]:
        logits = 2 * torch.randn(count, h, w, generator=generator)
        return {"logits": logits, "labels": torch.randint(0, count, (h, w), generator=generator)} | more

    hand = {
        "logits": torch.tensor([[[0.0, 2.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]]]),
        "labels": torch.tensor([[0, 1], [0, 1]]),
        "keep": 0.5,
    }
    plain, fraction, one = random(3, 6, 8, keep=0.25), random(4, 5, 7, keep=0.62), random(2, 5, 7, keep=0.02)
    everything, other = random(3, 4, 5, keep=1.0), random(3, 5, 4, keep=0.5, ignore=7)
    some, most, below = random(3, 6, 8, keep=0.3), random(3, 6, 8, keep=0.85), random(2, 5, 6, keep=0.4, ignore=-1)
    some["labels"][2:4, 2:6] = some["labels"][0, 1] = 255
    most["labels"][1:, 2:6] = 255
    below["labels"][1:4, 1:4] = -1
    other["labels"][1:3, 1:3] = 7
    nothing = random(2, 3, 3, keep=0.3, ignore=-1) | {"labels": torch.full((3, 3), -1)}
    slope = random(3, 4, 5, keep=0.4)
    slope["labels"][1:3, 1:4] = 255
    return [
        Case("hand", "four pixels, of which the two with the highest loss count", hand, telling=False),
        Case("random", "6×8 pixels, a quarter of them counts, none is ignored", plain),
        Case("random", "⌊0.62 · 35⌋ = ⌊21.7⌋ = 21 pixels count", fraction),
        Case("random", "every pixel counts", everything),
        Case("random", "6×8 pixels, nine of them ignored", some),
        Case("random", "fewer pixels have a label than count", most),
        Case("random", "`ignore` is −1, and nine pixels in the middle have that label", below),
        Case("edge", "`ignore` is 7", other),
        Case("edge", "keep · H · W is below 1, so one pixel counts", one, telling=False),
        Case("edge", "every pixel has the label `ignore`, here −1, so the loss is 0", nothing, telling=False),
        Case("edge", "the gradient is asked for", slope, gradient="logits", telling=False),
    ]


EXERCISES = (
    Exercise(
        "hard_pixel_loss",
        hard_pixel_loss,
        _cases,
        laws=(
            Law("the loss is a number, and not nan", lambda given, loss: not bool(torch.as_tensor(loss).isnan())),
            Law("the loss is finite", lambda given, loss: bool(torch.as_tensor(loss).isfinite())),
            Law("the loss is not negative", lambda given, loss: float(loss) > -1e-3),
        ),
        mistakes=(
            Mistake(
                "all-pixels",
                "this is the mean over all pixels; only the `keep` share with the highest loss counts",
                (
                    wrong(count=lambda keep, pixels, valid: pixels),
                    wrong(lambda kept, counts, losses: losses.mean()),
                    lambda logits, labels, *, keep, ignore=255: F.cross_entropy(
                        logits[None], labels[None], ignore_index=ignore
                    ),
                ),
            ),
            Mistake(
                "easiest",
                "this keeps the pixels with the lowest loss, the easiest, which the network has already learnt",
                (
                    wrong(largest=False),
                    wrong(largest=False, drop=True),
                    wrong(lambda k, c, losses: k.mean(), largest=False),
                ),
            ),
            Mistake(
                "unsorted",
                "the first pixels of the frame are kept, not those with the highest loss: sort the losses, or use "
                "`topk`",
                (of_first_pixels,),
            ),
            Mistake(
                "one-pixel",
                "only the single hardest pixel, or the pixel at the threshold, seems to count; average all that are "
                "kept",
                (
                    wrong(count=lambda keep, pixels, valid: 1),
                    wrong(lambda kept, counts, losses: kept[-1]),
                    wrong(lambda kept, counts, losses: kept.median()),
                ),
            ),
            Mistake(
                "unsure",
                "the pixels that are kept are those of which the network is least sure, whatever is true; keep those "
                "with the highest loss",
                (of_unsure,),
            ),
            Mistake(
                "wrong-only",
                "only pixels with a wrong label seem to count, and all of them; the k highest losses count, right or "
                "wrong",
                (of_wrong,),
            ),
            Mistake(
                "squared",
                "the losses are squared before or after their mean is taken; the cross entropy itself counts",
                (
                    wrong(lambda kept, counts, losses: mean_of_counted(kept.square(), counts, losses)),
                    wrong(lambda kept, counts, losses: mean_of_counted(kept, counts, losses).square()),
                ),
            ),
            Mistake(
                "rest",
                "the share 1 − keep is kept, not `keep`",
                (
                    wrong(count=lambda keep, pixels, valid: max(1, int((1 - keep) * pixels))),
                    wrong(count=lambda keep, pixels, valid: max(1, pixels - int(keep * pixels))),
                ),
            ),
            Mistake(
                "sum",
                "this is the sum over the kept pixels; take the mean, or the loss grows with the frame",
                (wrong(lambda kept, counts, losses: kept.sum()),),
            ),
            Mistake(
                "over-all",
                "the kept losses are divided by the number of all pixels; divide by the number of the kept ones",
                (
                    wrong(lambda kept, counts, losses: kept.sum() / losses.numel()),
                    lambda logits, labels, *, keep, ignore=255: (
                        wrong(lambda kept, counts, losses: kept.sum())(logits, labels, keep=keep, ignore=ignore)
                        / (labels != ignore).sum().clamp(min=1)
                    ),
                ),
            ),
            Mistake(
                "rounded-up",
                "the number of pixels k looks rounded up (ceil); it is rounded down: ⌊keep · H · W⌋",
                (wrong(count=lambda keep, pixels, valid: max(1, math.ceil(keep * pixels - 1e-6))),),
            ),
            Mistake(
                "rounded",
                "the number of pixels k looks rounded to the nearest one; it is rounded down: ⌊keep · H · W⌋",
                (wrong(count=lambda keep, pixels, valid: max(1, round(keep * pixels))),),
            ),
            Mistake(
                "one-more",
                "one pixel too many or too few is kept: k = ⌊keep · H · W⌋",
                (
                    wrong(count=lambda keep, pixels, valid: int(keep * pixels) + 1),
                    wrong(count=lambda keep, pixels, valid: max(1, int(keep * pixels) - 1)),
                ),
            ),
            Mistake(
                "none-kept",
                "no pixel is kept where keep · H · W is below 1, and one at least should be",
                (
                    wrong(count=lambda keep, pixels, valid: int(keep * pixels)),
                    wrong(
                        lambda kept, counts, losses: kept.mean() if len(kept) else kept.sum() * torch.nan,
                        count=lambda keep, pixels, valid: int(keep * pixels),
                    ),
                    wrong(
                        lambda kept, counts, losses: kept.sum() / counts.sum(),
                        count=lambda keep, pixels, valid: int(keep * pixels),
                    ),
                ),
            ),
            Mistake(
                "of-valid",
                "the number k looks like a share of the pixels that are not ignored; ignored pixels count in H · W",
                (
                    wrong(count=lambda keep, pixels, valid: max(1, int(keep * valid))),
                    wrong(count=lambda keep, pixels, valid: max(1, int(keep * valid)), drop=True),
                    wrong(
                        lambda kept, counts, losses: kept.mean(),
                        count=lambda keep, pixels, valid: max(1, int(keep * valid)),
                        drop=True,
                    ),
                    wrong(count=lambda keep, pixels, valid: max(1, round(keep * valid))),
                    wrong(count=lambda keep, pixels, valid: max(1, math.ceil(keep * valid))),
                ),
            ),
            Mistake(
                "of-rows",
                "the hardest pixels are chosen in each row or column; choose among all pixels of the frame: flatten "
                "first",
                (of_rows(1), of_rows(0)),
            ),
            Mistake(
                "of-objects",
                "the number k is a share of something else than the pixels H · W, such as the logits K · H · W",
                (
                    wrong(count=lambda keep, pixels, valid: max(1, int(keep * 2 * pixels))),
                    wrong(count=lambda keep, pixels, valid: max(1, int(keep * 3 * pixels))),
                    wrong(count=lambda keep, pixels, valid: max(1, int(keep * 100))),
                ),
            ),
            Mistake(
                "ignored",
                "ignored pixels are counted in the mean; divide by the number of kept pixels that are not ignored",
                (
                    wrong(lambda kept, counts, losses: kept.mean()),
                    wrong(lambda kept, counts, losses: losses.sort(descending=True).values[: len(kept)].mean()),
                ),
            ),
            Mistake(
                "ignored-label",
                "the pixels labelled `ignore` have a loss, as if the label were clamped or taken as an index; their "
                "loss is 0",
                (
                    wrong(loss=clamped_labels),
                    wrong(lambda kept, counts, losses: kept.mean(), loss=clamped_labels),
                    wrong(loss=last_labels),
                    wrong(loss=zero_labels),
                    wrong(lambda kept, counts, losses: kept.mean(), loss=zero_labels),
                    wrong(lambda kept, counts, losses: kept.mean(), loss=last_labels),
                ),
            ),
            Mistake(
                "other-ignore",
                "the label of ignored pixels is written into the code; it is the argument `ignore`",
                (
                    wrong(
                        loss=lambda logits, labels, ignore: losses_of(logits, labels, 255), ignored=lambda ignore: 255
                    ),
                    wrong(loss=lambda logits, labels, ignore: losses_of(logits, labels, -1), ignored=lambda ignore: -1),
                    wrong(
                        loss=lambda logits, labels, ignore: losses_of(logits, labels, -100), ignored=lambda ignore: -100
                    ),
                ),
            ),
            Mistake(
                "nothing-left",
                "0 / 0 or an empty list comes out where every pixel is ignored; the loss is 0 there: divide by 1 at "
                "least",
                (
                    wrong(lambda kept, counts, losses: kept.sum() / counts.sum()),
                    wrong(lambda kept, counts, losses: kept.mean(), drop=True),
                ),
            ),
            Mistake(
                "double-softmax",
                "probabilities seem to go into the cross entropy, which applies its own softmax (double softmax); "
                "give it the logits",
                (
                    wrong(loss=from_scores(lambda z: z.softmax(0))),
                    wrong(lambda kept, counts, losses: kept.mean(), loss=from_scores(lambda z: z.softmax(0))),
                    wrong(loss=picked(lambda z: -z.softmax(0).log_softmax(0))),
                ),
            ),
            Mistake(
                "no-logarithm",
                "the logarithm is missing: this looks like −p or 1 − p of the true label; the cross entropy is −log p",
                (
                    wrong(loss=picked(lambda z: -z.softmax(0))),
                    wrong(loss=picked(lambda z: 1 - z.softmax(0))),
                    wrong(loss=picked(lambda z: (1 - z.softmax(0)).square())),
                ),
            ),
            Mistake(
                "no-softmax",
                "the softmax is missing: this looks like −z of the true label; the cross entropy is −log softmax(z)",
                (wrong(loss=picked(lambda z: -z)), wrong(loss=picked(lambda z: z))),
            ),
            Mistake(
                "sign",
                "the sign is reversed: log p is negative, and the loss is −log p",
                (
                    wrong(loss=picked(lambda z: z.log_softmax(0))),
                    wrong(loss=picked(lambda z: z.log_softmax(0)), largest=False),
                    wrong(lambda kept, counts, losses: -mean_of_counted(kept, counts, losses)),
                ),
            ),
            Mistake(
                "base",
                "the logarithm looks taken to base 2 or 10; cross entropy takes the natural one",
                (
                    wrong(lambda kept, counts, losses: mean_of_counted(kept, counts, losses) / math.log(2)),
                    wrong(lambda kept, counts, losses: mean_of_counted(kept, counts, losses) / math.log(10)),
                ),
            ),
            Mistake(
                "binary",
                "each object has a loss of its own (binary cross entropy), or objects do not compete in the softmax; "
                "use the cross entropy over the K objects",
                (
                    wrong(loss=picked(lambda z: -F.logsigmoid(z))),
                    wrong(
                        loss=lambda logits, labels, ignore: (
                            F.binary_cross_entropy_with_logits(
                                logits,
                                torch.stack([(labels == k).float() for k in range(len(logits))]),
                                reduction="none",
                            )
                            .mean(0)
                            .masked_fill(labels == ignore, 0.0)
                            .flatten()
                        )
                    ),
                ),
            ),
            Mistake(
                "wrong-axis",
                "the softmax runs over rows, columns or pixels; it must run over the objects, the first axis",
                (
                    wrong(loss=picked(lambda z: -z.log_softmax(1))),
                    wrong(loss=picked(lambda z: -z.log_softmax(2))),
                    wrong(loss=picked(lambda z: -z.flatten(1).log_softmax(1).view(z.shape))),
                ),
            ),
            Mistake(
                "error-rate",
                "this looks like the share of wrong pixels; the loss is the cross entropy, which has a slope",
                (
                    wrong(
                        loss=lambda z, labels, ignore: ((z.argmax(0) != labels) & (labels != ignore)).float().flatten()
                    ),
                    lambda logits, labels, *, keep, ignore=255: (logits.argmax(0) != labels).float().mean(),
                ),
            ),
            Mistake(
                "list",
                "this looks like the losses of the kept pixels, one by one; take their mean",
                (
                    wrong(lambda kept, counts, losses: kept),
                    wrong(lambda kept, counts, losses: losses),
                    wrong(lambda kept, counts, losses: mean_of_counted(kept, counts, losses)[None]),
                ),
            ),
            Mistake(
                "no-gradient",
                "the number is right, but no gradient reaches the logits, so nothing would be learnt: it stops at "
                "`detach`, `item`, `no_grad`, numpy, `math` or a new `torch.tensor`",
                (detached, as_number),
            ),
        ),
        hints=(
            "First one loss per pixel, without a mean. Then select, and only then average.",
            "k = ⌊keep · H · W⌋, at least 1; mean of the k highest cross entropies. A pixel with the label `ignore` "
            "has loss 0 and does not count when the mean is taken.",
            "losses = F.cross_entropy(...).flatten()          # one per pixel, 0 where ignored: see `reduction`\n"
            "k = ...                                          # at least 1\n"
            "kept = losses.topk(...).indices\n"
            "valid = ...                                      # which of the kept are not ignored\n"
            "return losses[kept].sum() / ...                  # never 0 / 0",
            'losses = F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()\n'
            "kept = losses.topk(max(1, int(keep * losses.numel()))).indices\n"
            "valid = labels.flatten()[kept] != ignore\n"
            "return losses[kept].sum() / valid.sum().clamp(min=1)",
        ),
    ),
)
