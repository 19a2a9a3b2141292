"""Wrong answers to the exercises: each named mistake, written in another way than in `lessons.checks`."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from right_answers import KEYS, cues_by_cat, difference_by_index, memory_by_float, pairs_by_einsum, walk

from feelvos_lab.model.matching import normalise_distance as squash

inf = torch.inf


def masked_min(d, labels, num_objects, shape, *, empty=1.0, reduce=lambda mine: mine.min(1).values):
    maps = [
        reduce(d[:, labels.flatten() == o]) if (labels == o).any() else d.new_full((len(d),), empty)
        for o in range(num_objects)
    ]
    return torch.stack(maps).reshape(num_objects, *shape)


def square_table(query, reference):
    return torch.cdist(query.flatten(1).t(), reference.flatten(1).t(), compute_mode="donot_use_mm_for_euclid_dist") ** 2


def wrong_match(squashing=squash, **odd):
    return lambda query, reference, labels, *, num_objects: masked_min(
        squashing(square_table(query, reference)), labels, num_objects, query.shape[1:], **odd
    )


def match_all_labels(query, reference, labels, *, num_objects):
    return squash(square_table(query, reference)).min(1).values.reshape(1, *query.shape[1:]).repeat(num_objects, 1, 1)


def match_own_place(query, reference, labels, *, num_objects):
    d = squash(((query - reference) ** 2).sum(0))
    return torch.stack([d.masked_fill(labels != o, 1.0) for o in range(num_objects)])


def wrong_local(*, low=None, high=None, squashing=squash, empty=1.0, mode="zero", fill=-1):
    def answer(query, previous, labels, *, num_objects, radius):
        h, w = labels.shape
        lower = radius if low is None else low(radius)
        upper = radius if high is None else high(radius)
        maps = torch.full((num_objects, h, w), empty)
        for y in range(h):
            for x in range(w):
                best: dict[int, Any] = {}
                for v in range(y - lower, y + upper + 1):
                    for u in range(x - lower, x + upper + 1):
                        inside = 0 <= v < h and 0 <= u < w
                        if mode == "roll":
                            v_, u_, inside = v % h, u % w, True
                        else:
                            v_, u_ = v, u
                        label = int(labels[v_, u_]) if inside else fill
                        there = previous[:, v_, u_] if inside else torch.zeros(len(previous))
                        d = squashing(((query[:, y, x] - there) ** 2).sum()).item()
                        best[label] = min(best.get(label, d), d)
                for o in range(num_objects):
                    if o in best:
                        maps[o, y, x] = best[o]
        return maps

    return answer


def no_squash(sq):
    return sq


def overlap(divide):
    def answer(prediction, truth):
        both, either = (prediction & truth).sum().item(), (prediction | truth).sum().item()
        if not either:
            return 1.0
        return divide(both, either, prediction.sum().item(), truth.sum().item(), prediction.numel())

    return answer


def wrong_loss(reduce, *, largest=True):
    def answer(logits, labels, *, keep, ignore=255):
        losses = F.cross_entropy(logits[None], labels[None], reduction="none", ignore_index=ignore)[0].flatten()
        count = max(1, int(keep * losses.numel()))
        chosen = losses.sort(descending=largest, stable=True)
        kept, which = chosen.values[:count], chosen.indices[:count]
        return reduce(losses, kept, (labels.flatten()[which] != ignore).sum(), (labels != ignore).sum().clamp(min=1))

    return answer


def row_by_row(a, b, column):
    return a[KEYS].assign(
        difference=[x - y for x, y in zip(a[column], b[column], strict=False)] + [0.0] * (len(a) - len(b))
    )


def signed(change):
    def answer(a, b, column):
        right = difference_by_index(a, b, column)
        return right.assign(difference=change(right.difference))

    return answer


def seeds_crossed(a, b, column):
    both = a.merge(b.drop(columns="seed"), on=["clip", "object"])
    return both.assign(difference=both[f"{column}_x"] - both[f"{column}_y"])[[*KEYS, "difference"]]


def partners_dropped(a, b, column):
    x, y = a.set_index(KEYS)[column], b.set_index(KEYS)[column]
    return (x - y).dropna().rename("difference").reset_index()


def filled(value):
    return lambda global_map, local_map, previous_mask: torch.stack(
        [m if m is not None else torch.zeros_like(global_map) + value for m in (global_map, local_map, previous_mask)],
        1,
    )


WRONG = [
    ("region_similarity", "dice", overlap(lambda both, either, p, t, n: both / ((p + t) / 2))),
    ("region_similarity", "accuracy", lambda prediction, truth: (prediction == truth).float().mean().item()),
    ("region_similarity", "one-mask", overlap(lambda both, either, p, t, n: both / p)),
    ("region_similarity", "one-mask", overlap(lambda both, either, p, t, n: both / t)),
    ("region_similarity", "empty", lambda prediction, truth: (prediction & truth).sum() / (prediction | truth).sum()),
    ("pairwise_sq_dist", "root", lambda query, reference: torch.cdist(query, reference)),
    ("pairwise_sq_dist", "mean", lambda query, reference: torch.cdist(query, reference) ** 2 / query.shape[1]),
    ("pairwise_sq_dist", "transposed", lambda query, reference: torch.cdist(reference, query) ** 2),
    (
        "pairwise_sq_dist",
        "norms",
        lambda query, reference: abs((query**2).sum(1, keepdim=True) - (reference**2).sum(1)),
    ),
    ("pairwise_sq_dist", "absolute", lambda query, reference: torch.cdist(query, reference, p=1)),
    ("normalise_distance", "sigmoid", lambda sq: 1 / (1 + (-sq).exp())),
    ("normalise_distance", "no-half", lambda sq: 2 * torch.sigmoid(2 * sq) - 1),
    ("normalise_distance", "similarity", lambda sq: 2 - 2 * torch.sigmoid(sq)),
    ("normalise_distance", "overflow", lambda sq: (sq.exp() - 1) / (1 + sq.exp())),
    ("global_matching", "not-squashed", wrong_match(no_squash)),
    ("global_matching", "not-squashed", wrong_match(no_squash, empty=inf)),
    ("global_matching", "root", wrong_match(lambda sq: squash(sq.sqrt()))),
    ("global_matching", "mean", wrong_match(reduce=lambda mine: mine.mean(1))),
    ("global_matching", "labels", match_all_labels),
    ("global_matching", "same-place", match_own_place),
    ("global_matching", "absent", wrong_match(empty=0.0)),
    (
        "matching_memory",
        "full-size",
        lambda size, *, references=None: (
            4 * size[0] * size[1] * (references if references is not None else size[0] * size[1])
        ),
    ),
    ("matching_memory", "numbers", lambda size, *, references=None: memory_by_float(size, references=references) / 4),
    (
        "matching_memory",
        "rounded-down",
        lambda size, *, references=None: (
            (size[0] // 4)
            * (size[1] // 4)
            * 4
            * ((size[0] // 4) * (size[1] // 4) if references is None else references)
        ),
    ),
    (
        "matching_memory",
        "one-sided",
        lambda size, *, references=None: 4 * math.ceil(size[0] / 4) * math.ceil(size[1] / 4),
    ),
    ("local_matching", "anywhere", wrong_local(low=lambda r: 6, high=lambda r: 6)),
    ("local_matching", "half-window", wrong_local(high=lambda r: r - 1)),
    ("local_matching", "half-window", wrong_local(low=lambda r: r // 2, high=lambda r: r // 2)),
    ("local_matching", "wraps", wrong_local(mode="roll")),
    ("local_matching", "padded", wrong_local(fill=0)),
    ("local_matching", "empty-window", wrong_local(empty=0.0)),
    ("local_matching", "not-squashed", wrong_local(squashing=no_squash)),
    (
        "stack_cues",
        "cues-first",
        lambda global_map, local_map, previous_mask: torch.stack(
            [m for m in (global_map, local_map, previous_mask) if m is not None], 0
        ),
    ),
    (
        "stack_cues",
        "concatenated",
        lambda global_map, local_map, previous_mask: torch.cat(
            [m for m in (global_map, local_map, previous_mask) if m is not None]
        ),
    ),
    (
        "stack_cues",
        "order",
        lambda global_map, local_map, previous_mask: cues_by_cat(global_map, previous_mask, local_map),
    ),
    ("stack_cues", "none-filled", filled(1.0)),
    ("combine_objects", "sigmoid", lambda logits: 1 / (1 + (-logits).exp())),
    ("combine_objects", "space", lambda logits: logits.softmax(2)),
    ("combine_objects", "space", lambda logits: logits.reshape(len(logits), -1).softmax(-1).reshape_as(logits)),
    ("combine_objects", "hard", lambda logits: (logits == logits.amax(0)).float()),
    ("combine_objects", "overflow", lambda logits: torch.exp(logits) / torch.exp(logits).sum(0, keepdim=True)),
    ("combine_objects", "log", lambda logits: logits - logits.logsumexp(0)),
    ("hard_pixel_loss", "all-pixels", wrong_loss(lambda losses, kept, valid, counted: losses.sum() / counted)),
    (
        "hard_pixel_loss",
        "easiest",
        wrong_loss(lambda losses, kept, valid, counted: kept.sum() / valid.clamp(min=1), largest=False),
    ),
    ("hard_pixel_loss", "sum", wrong_loss(lambda losses, kept, valid, counted: kept.sum())),
    ("hard_pixel_loss", "over-all", wrong_loss(lambda losses, kept, valid, counted: kept.sum() / losses.numel())),
    ("hard_pixel_loss", "ignored", wrong_loss(lambda losses, kept, valid, counted: kept.mean())),
    ("hard_pixel_loss", "ignored", wrong_loss(lambda losses, kept, valid, counted: kept.sum() / valid)),
    ("propagate", "truth", lambda model, clip: walk(model, clip, how="teacher")),
    ("propagate", "frozen", lambda model, clip: walk(model, clip, how="still")),
    ("propagate", "moving-first", lambda model, clip: walk(model, clip, how="forgets")),
    ("propagate", "no-first-frame", lambda model, clip: walk(model, clip, how="late")),
    ("propagate", "hard", lambda model, clip: walk(model, clip, how="labels")),
    ("propagate", "not-scaled", lambda model, clip: walk(model, clip, how="bytes")),
    ("paired_difference", "by-row", row_by_row),
    ("paired_difference", "backwards", signed(lambda d: -d)),
    ("paired_difference", "absolute", signed(abs)),
    ("paired_difference", "across-seeds", seeds_crossed),
    ("paired_difference", "dropped", partners_dropped),
]

# wrong, but in no way that has a name
UNNAMED = {
    "region_similarity": lambda prediction, truth: 0.123,
    "pairwise_sq_dist": lambda query, reference: pairs_by_einsum(query, reference) + 1,
    "normalise_distance": lambda sq: 1 - torch.exp(-sq),
    "global_matching": lambda query, reference, labels, *, num_objects: torch.zeros(num_objects, *query.shape[1:]),
    "matching_memory": lambda size, *, references=None: 7,
    "local_matching": lambda query, previous, labels, *, num_objects, radius: torch.ones(num_objects, *labels.shape),
    "stack_cues": lambda global_map, local_map, previous_mask: global_map,
    "combine_objects": lambda logits: torch.full_like(logits, 1 / len(logits)),
    "hard_pixel_loss": lambda logits, labels, *, keep, ignore=255: logits.mean(),
    "propagate": lambda model, clip: [],
    "paired_difference": lambda a, b, column: a[KEYS].assign(difference=0.0),
}
