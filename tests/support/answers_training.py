"""Answers to `hard_pixel_loss`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from answers import right, wrong

LOSS = "hard_pixel_loss"


def losses_of(logits, labels, ignore):
    return F.cross_entropy(logits[None], labels[None], ignore_index=ignore, reduction="none").flatten()


@right(LOSS)
def loss_by_sorting(logits, labels, *, keep, ignore=255):
    counted = labels != ignore
    chosen = logits.log_softmax(0).gather(0, (labels * counted)[None])[0]
    losses, order = torch.where(counted, -chosen, 0.0).flatten().sort(descending=True)
    k = max(1, int(keep * labels.numel()))
    return losses[:k].sum() / max(1, int(counted.flatten()[order[:k]].sum()))


@right(LOSS)
def loss_of_valid_pixels(logits, labels, *, keep, ignore=255):
    valid = labels != ignore
    if not valid.any():
        return logits.sum() * 0
    losses = F.cross_entropy(logits[:, valid].T, labels[valid], reduction="none")
    k = max(1, math.floor(keep * labels.numel()))
    return losses.topk(min(k, len(losses))).values.mean()


@right(LOSS)
def loss_by_logsumexp(logits, labels, *, keep, ignore=255):
    k = max(int(keep * labels.shape[0] * labels.shape[1]), 1)
    mask = (labels != ignore).float()
    picked = torch.zeros_like(logits[0])
    for o in range(logits.shape[0]):
        picked = picked + logits[o] * (labels == o)
    losses = (torch.logsumexp(logits, 0) - picked) * mask
    values, where = losses.view(-1).topk(k)
    return values.sum() / mask.view(-1)[where].sum().clamp(min=1.0)


@right(LOSS)
def loss_by_nll(logits, labels, *, keep, ignore=255):
    losses = F.nll_loss(F.log_softmax(logits, 0)[None], labels[None], ignore_index=ignore, reduction="none")[0]
    k = max(1, int(keep * losses.numel()))
    hardest = losses.flatten().argsort(descending=True)[:k]
    count = sum(1 for i in hardest.tolist() if labels.flatten()[i] != ignore)
    return losses.flatten()[hardest].sum() / (count or 1)


@right(LOSS)
def loss_by_one_hot(logits, labels, *, keep, ignore=255):
    valid = labels.ne(ignore)
    target = F.one_hot(torch.where(valid, labels, 0), len(logits)).permute(2, 0, 1)
    losses = -(target * logits.log_softmax(dim=0)).sum(0) * valid
    k = max(1, int(keep * valid.numel()))
    values, places = torch.sort(losses.reshape(-1), descending=True)
    return values[:k].sum() / torch.clamp(valid.reshape(-1)[places[:k]].sum(), min=1)


@right(LOSS)
def loss_with_early_return(logits, labels, *, keep, ignore=255):
    if bool((labels == ignore).all()):
        return 0.0
    values = losses_of(logits, labels, ignore).topk(max(1, int(keep * labels.numel()))).values
    return values[values > 0].mean()


@wrong(LOSS, "all pixels")
def loss_mean_of_all(logits, labels, *, keep, ignore=255):
    return F.cross_entropy(logits[None], labels[None], ignore_index=ignore)


@wrong(LOSS, "lowest loss|easiest")
def loss_easiest(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore).sort().values
    return losses[: max(1, int(keep * len(losses)))].mean()


@wrong(LOSS, "sum over the kept")
def loss_sum(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore)
    return losses.topk(max(1, int(keep * len(losses)))).values.sum()


@wrong(LOSS, "number of all pixels")
def loss_over_all(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore)
    return losses.topk(max(1, int(keep * len(losses)))).values.sum() / labels.numel()


@wrong(LOSS, "ignored pixels are counted")
def loss_mean_of_kept(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore)
    return losses.topk(max(1, int(keep * len(losses)))).values.mean()


@wrong(LOSS, "0 / 0")
def loss_nan(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore)
    kept = losses.topk(max(1, int(keep * len(losses)))).indices
    return losses[kept].sum() / (labels.flatten()[kept] != ignore).sum()


@wrong(LOSS, "rounded up")
def loss_ceil(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore)
    kept = losses.topk(math.ceil(keep * len(losses))).indices
    return losses[kept].sum() / (labels.flatten()[kept] != ignore).sum().clamp(min=1)


@wrong(LOSS, "nearest whole number")
def loss_round(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore)
    kept = losses.topk(max(1, round(keep * len(losses)))).indices
    return losses[kept].sum() / (labels.flatten()[kept] != ignore).sum().clamp(min=1)


@wrong(LOSS, "one at least|one pixel counts")
def loss_none_kept(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore)
    kept = losses.topk(int(keep * len(losses))).indices
    return losses[kept].sum() / (labels.flatten()[kept] != ignore).sum().clamp(min=1)


@wrong(LOSS, "not ignored")
def loss_share_of_valid(logits, labels, *, keep, ignore=255):
    valid = (labels != ignore).flatten()
    if not valid.any():
        return logits.sum() * 0
    losses = losses_of(logits, labels, ignore)[valid]
    return losses.topk(max(1, int(keep * len(losses)))).values.mean()


@wrong(LOSS, "gradient")
def loss_number(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore).tolist()
    k = max(1, int(keep * len(losses)))
    kept = sorted(losses, reverse=True)[:k]
    return sum(kept) / max(1, sum(loss > 0 for loss in kept))


@wrong(LOSS, "gradient")
def loss_detached(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore).detach()
    kept = losses.topk(max(1, int(keep * len(losses)))).indices
    return losses[kept].sum() / (labels.flatten()[kept] != ignore).sum().clamp(min=1)


@wrong(LOSS, "double softmax|own softmax")
def loss_of_probabilities(logits, labels, *, keep, ignore=255):
    return loss_by_sorting(logits.softmax(0), labels, keep=keep, ignore=ignore)


@wrong(LOSS, "logarithm is missing")
def loss_without_logarithm(logits, labels, *, keep, ignore=255):
    counted = labels != ignore
    p = logits.softmax(0).gather(0, (labels * counted)[None])[0]
    losses = (1 - p).masked_fill(~counted, 0.0).flatten()
    kept = losses.topk(max(1, int(keep * len(losses)))).indices
    return losses[kept].sum() / counted.flatten()[kept].sum().clamp(min=1)


@wrong(LOSS, "wrong where `ignore` is −1")
def loss_hard_coded(logits, labels, *, keep, ignore=255):
    return loss_by_sorting(logits, torch.where(labels == 255, 255, labels.clamp(min=0, max=len(logits) - 1)), keep=keep)


@wrong(LOSS, "IndexError|out of bounds|Target")
def loss_without_ignore(logits, labels, *, keep, ignore=255):
    losses = F.cross_entropy(logits[None], labels[None], reduction="none").flatten()
    return losses.topk(max(1, int(keep * len(losses)))).values.mean()


@wrong(LOSS, r"shape \(1,\)")
def loss_of_shape_one(logits, labels, *, keep, ignore=255):
    return loss_by_sorting(logits, labels, keep=keep, ignore=ignore).reshape(1)


@wrong(LOSS, "first pixels")
def loss_of_first_pixels(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore)[: max(1, int(keep * labels.numel()))]
    valid = (labels != ignore).flatten()[: len(losses)]
    return losses.sum() / valid.sum().clamp(min=1)


@wrong(LOSS, "sign")
def loss_negative(logits, labels, *, keep, ignore=255):
    return -loss_by_sorting(logits, labels, keep=keep, ignore=ignore)


@wrong(LOSS, "one by one|one number")
def loss_list(logits, labels, *, keep, ignore=255):
    return losses_of(logits, labels, ignore).topk(max(1, int(keep * labels.numel()))).values


@wrong(LOSS, "writes into its argument `labels`")
def loss_in_place(logits, labels, *, keep, ignore=255):
    ignored = labels == ignore
    labels[ignored] = 0
    losses = losses_of(logits, labels, -100) * ~ignored.flatten()
    kept = losses.topk(max(1, int(keep * len(losses)))).indices
    return losses[kept].sum() / (~ignored).flatten()[kept].sum().clamp(min=1)


@wrong(LOSS, "default")
def loss_without_default(logits, labels, *, keep, ignore):
    return loss_by_sorting(logits, labels, keep=keep, ignore=ignore)


@wrong(LOSS, "library")
def loss_of_library(logits, labels, *, keep, ignore=255):
    from feelvos_lab import training

    return training.hard_pixel_loss(logits, labels, keep=keep, ignore=ignore)


@wrong(LOSS, "1 − keep")
def loss_of_the_rest(logits, labels, *, keep, ignore=255):
    return loss_by_sorting(logits, labels, keep=1 - keep, ignore=ignore)


@wrong(LOSS, "rows, columns or pixels|must run over the objects")
def loss_wrong_axis(logits, labels, *, keep, ignore=255):
    counted = labels != ignore
    chosen = -F.log_softmax(logits, -1).gather(0, (labels * counted)[None])[0]
    losses = (chosen * counted).flatten()
    kept = losses.topk(max(1, int(keep * len(losses)))).indices
    return losses[kept].sum() / counted.flatten()[kept].sum().clamp(min=1)


@right(LOSS)
def loss_in_two_steps(logits, labels, *, keep, ignore=255):
    hardest = losses_of(logits.detach(), labels, ignore).argsort(descending=True)[: max(1, int(keep * labels.numel()))]
    chosen, ids = logits.flatten(1).T[hardest], labels.flatten()[hardest]
    return F.cross_entropy(chosen, ids, ignore_index=ignore) if (ids != ignore).any() else 0 * logits.sum()


def mean_of(losses, kept, labels, ignore):
    return losses[kept].sum() / (labels.flatten()[kept] != ignore).sum().clamp(min=1)


@wrong(LOSS, "squared")
def loss_squared(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels, ignore) ** 2
    return mean_of(losses, losses.topk(max(1, int(keep * len(losses)))).indices, labels, ignore)


@wrong(LOSS, "least sure")
def loss_of_unsure_pixels(logits, labels, *, keep, ignore=255):
    unsure = 1 - logits.softmax(0).amax(0).flatten()
    kept = unsure.topk(max(1, int(keep * len(unsure)))).indices
    return mean_of(losses_of(logits, labels, ignore), kept, labels, ignore)


@wrong(LOSS, "only pixels with a wrong label")
def loss_of_wrong_pixels(logits, labels, *, keep, ignore=255):
    bad = ((logits.argmax(0) != labels) & (labels != ignore)).flatten()
    return mean_of(losses_of(logits, labels, ignore), bad.nonzero()[:, 0], labels, ignore)


@wrong(LOSS, "labelled `ignore` have a loss")
def loss_of_ignored_pixels(logits, labels, *, keep, ignore=255):
    losses = losses_of(logits, labels.masked_fill(labels == ignore, 0), ignore)
    return mean_of(losses, losses.topk(max(1, int(keep * len(losses)))).indices, labels, ignore)
