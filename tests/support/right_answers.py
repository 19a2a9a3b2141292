"""Right answers to the exercises, each written in another way than the library's."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.model.feelvos import Labelled, label_frame
from feelvos_lab.model.grid import resize_bilinear
from feelvos_lab.model.matching import naive
from feelvos_lab.model.matching import normalise_distance as squash

KEYS = ["seed", "clip", "object"]
inf = torch.inf


def overlap_of_arrays(prediction, truth):
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    union = np.logical_or(prediction, truth).sum()
    return 1.0 if union == 0 else np.logical_and(prediction, truth).sum() / union


def overlap_by_loop(prediction, truth):
    both = either = 0
    for row, other in zip(prediction.tolist(), truth.tolist(), strict=True):
        for p, t in zip(row, other, strict=True):
            both, either = both + (p and t), either + (p or t)
    return both / either if either else 1


def pairs_by_broadcasting(query, reference):
    return (query[:, None] - reference[None]).square().sum(-1)


def pairs_by_einsum(query, reference):
    products = torch.einsum("nd,md->nm", query, reference)
    return query.square().sum(1)[:, None] + reference.square().sum(1)[None] - 2 * products


def squash_by_sigmoid(sq):
    return 2 * torch.sigmoid(sq) - 1


def match_by_table(query, reference, labels, *, num_objects):
    d = squash(pairs_by_einsum(query.flatten(1).t(), reference.flatten(1).t()))
    maps = [torch.where(labels.flatten() == o, d, 1.0).amin(1) for o in range(num_objects)]
    return torch.stack(maps).view(num_objects, *query.shape[1:])


def match_by_einsum(query, reference, labels, *, num_objects):
    q, r = query.flatten(1), reference.flatten(1)
    sq = (q * q).sum(0)[:, None] + (r * r).sum(0) - 2 * torch.einsum("dm,dn->mn", q, r)
    hot = torch.stack([labels.flatten() == o for o in range(num_objects)])
    return squash(sq.expand(num_objects, -1, -1).masked_fill(~hot[:, None], inf).amin(2)).view(-1, *query.shape[1:])


def memory_by_float(size, *, references=None):
    cells = math.ceil(size[0] / 4) * math.ceil(size[1] / 4)
    return float(cells * (cells if references is None else references) * 4)


def local_by_shifts(query, previous, labels, *, num_objects, radius):
    (h, w), reach = labels.shape, 2 * radius + 1
    seen, ids = F.pad(previous, [radius] * 4), F.pad(labels, [radius] * 4, value=-1)
    maps = torch.full((num_objects, h, w), inf)
    for v in range(reach):
        for u in range(reach):
            sq = (query - seen[:, v : v + h, u : u + w]).square().sum(0)
            for o in range(num_objects):
                maps[o] = torch.minimum(maps[o], sq.masked_fill(ids[v : v + h, u : u + w] != o, inf))
    return squash(maps)


def local_by_unfold(query, previous, labels, *, num_objects, radius):
    d, h, w = query.shape
    side = 2 * radius + 1
    seen = F.unfold(previous[None], side, padding=radius).view(d, side * side, h * w)
    ids = F.unfold((labels[None, None] + 1000).float(), side, padding=radius)[0] - 1000
    sq = torch.einsum("dpm->pm", (seen - query.flatten(1)[:, None]) ** 2)
    return squash(torch.stack([sq.masked_fill(ids != o, inf).amin(0).view(h, w) for o in range(num_objects)]))


def cues_by_cat(global_map, local_map, previous_mask):
    return torch.cat([m[:, None] for m in (global_map, local_map, previous_mask) if m is not None], dim=1)


def combine_by_hand(logits):
    weights = (logits - logits.amax(0)).exp()
    return weights / weights.sum(0, keepdim=True)


def loss_by_sorting(logits, labels, *, keep, ignore=255):
    counted = labels != ignore
    chosen = logits.log_softmax(0).gather(0, (labels * counted)[None])[0]
    losses, order = torch.where(counted, -chosen, 0.0).flatten().sort(descending=True)
    k = max(1, int(keep * labels.numel()))
    return losses[:k].sum() / max(1, int(counted.flatten()[order[:k]].sum()))


def walk(model, clip, *, how="right"):
    size, count = tuple(clip.masks[0].shape), len(clip.object_ids) + 1
    results, first, previous = [], None, None
    for t in range(len(clip)):
        features, embeddings = (x[0] for x in model.encode(clip.frames[t][None] / (1 if how == "bytes" else 255)))
        if t == 0:
            first = previous = label_frame(embeddings, clip.masks[0], num_objects=count)
            given = F.one_hot(clip.masks[0], count).permute(2, 0, 1).float()
            if how != "late":
                results.append(Prediction(0, clip.masks[0], given, None))
            continue
        cues = model.cues(features, embeddings, first, previous)
        logits = model.segment([cues])[0]
        full = resize_bilinear(logits[None], size)[0]
        results.append(Prediction(t, full.argmax(0), full.softmax(0), cues))
        known = Labelled(embeddings, logits.argmax(0), logits.softmax(0))
        if how == "teacher":
            known = label_frame(embeddings, clip.masks[t], num_objects=count)
        if how == "labels":
            known = label_frame(embeddings, full.argmax(0), num_objects=count)
        if how != "still":
            previous = known
        if how == "forgets":
            first = known
    return results


def propagate_by_list(model, clip):
    return walk(model, clip)


def difference_by_index(a, b, column):
    seeds = set(a.seed) & set(b.seed)
    x, y = (t[t.seed.isin(seeds)].set_index(KEYS)[column].sort_index() for t in (a, b))
    if not x.index.equals(y.index):
        raise LabError("not the same test")
    return (x - y).rename("difference").reset_index()


RIGHT = [
    ("region_similarity", overlap_of_arrays),
    ("region_similarity", overlap_by_loop),
    ("pairwise_sq_dist", lambda query, reference: naive.pairwise_sq_dist(query, reference)),
    ("pairwise_sq_dist", pairs_by_broadcasting),
    ("pairwise_sq_dist", pairs_by_einsum),
    ("normalise_distance", lambda sq: naive.normalise_distance(sq)),
    ("normalise_distance", squash_by_sigmoid),
    ("global_matching", naive.global_matching),
    ("global_matching", match_by_table),
    ("global_matching", match_by_einsum),
    ("matching_memory", memory_by_float),
    ("local_matching", naive.local_matching),
    ("local_matching", local_by_shifts),
    ("local_matching", local_by_unfold),
    ("stack_cues", cues_by_cat),
    ("combine_objects", combine_by_hand),
    ("hard_pixel_loss", loss_by_sorting),
    ("propagate", propagate_by_list),
    ("paired_difference", difference_by_index),
]
