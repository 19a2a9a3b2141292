"""Answers to `stack_cues` and `combine_objects`."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from answers import right, wrong

STACK = "stack_cues"
COMBINE = "combine_objects"


def given(*maps):
    return [m for m in maps if m is not None]


@right(STACK)
def cues_by_cat(global_map, local_map, previous_mask):
    return torch.cat([m[:, None] for m in given(global_map, local_map, previous_mask)], dim=1)


@right(STACK)
def cues_by_transpose(global_map, local_map, previous_mask):
    return torch.stack(given(global_map, local_map, previous_mask)).transpose(0, 1)


@right(STACK)
def cues_by_filling(global_map, local_map, previous_mask):
    maps = given(global_map, local_map, previous_mask)
    out = torch.empty(maps[0].shape[0], len(maps), *maps[0].shape[1:])
    for i, m in enumerate(maps):
        out[:, i] = m
    return out


@right(STACK)
def cues_by_objects(global_map, local_map, previous_mask):
    maps = []
    for m in (global_map, local_map, previous_mask):
        if isinstance(m, torch.Tensor):
            maps.append(m)
    return torch.stack([torch.stack([m[o] for m in maps]) for o in range(len(maps[0]))])


@right(STACK)
def cues_by_last_axis(global_map, local_map, previous_mask):
    return torch.stack(given(global_map, local_map, previous_mask), dim=-1).permute(0, 3, 1, 2)


@right(STACK)
def cues_by_numpy(global_map, local_map, previous_mask):
    arrays = [m.numpy() for m in given(global_map, local_map, previous_mask)]
    return torch.from_numpy(np.stack(arrays, axis=1))


@right(STACK)
def cues_by_view(global_map, local_map, previous_mask):
    maps = given(global_map, local_map, previous_mask)
    k, h, w = maps[0].shape
    return torch.cat([m.flatten(1) for m in maps], dim=1).view(k, len(maps), h, w)


@wrong(STACK, "swapped")
def cues_first(global_map, local_map, previous_mask):
    return torch.stack(given(global_map, local_map, previous_mask))


@wrong(STACK, "joined along|cat")
def cues_joined(global_map, local_map, previous_mask):
    return torch.cat(given(global_map, local_map, previous_mask))


@wrong(STACK, "wrong place|after the objects")
def cues_last(global_map, local_map, previous_mask):
    return torch.stack(given(global_map, local_map, previous_mask), -1)


@wrong(STACK, "another order")
def cues_reversed(global_map, local_map, previous_mask):
    return torch.stack(given(previous_mask, local_map, global_map), 1)


@wrong(STACK, "another order")
def cues_local_first(global_map, local_map, previous_mask):
    return torch.stack(given(local_map, global_map, previous_mask), 1)


@wrong(STACK, "no channel")
def cues_zeros_for_none(global_map, local_map, previous_mask):
    like = given(global_map, local_map, previous_mask)[0]
    maps = [torch.zeros_like(like) if m is None else m for m in (global_map, local_map, previous_mask)]
    return torch.stack(maps, 1)


@wrong(STACK, "no channel")
def cues_ones_for_none(global_map, local_map, previous_mask):
    like = given(global_map, local_map, previous_mask)[0]
    return torch.stack([torch.ones_like(like) if m is None else m for m in (global_map, local_map, previous_mask)], 1)


@wrong(STACK, "TypeError.*None|is None")
def cues_none_stacked(global_map, local_map, previous_mask):
    return torch.stack([global_map, local_map, previous_mask], dim=1)


@wrong(STACK, "AttributeError|is None")
def cues_none_unsqueezed(global_map, local_map, previous_mask):
    return torch.cat([m.unsqueeze(1) for m in (global_map, local_map, previous_mask)], 1)


@wrong(STACK, "truth of a whole tensor|ambiguous")
def cues_truth_value(global_map, local_map, previous_mask):
    return torch.stack([m for m in (global_map, local_map, previous_mask) if m], dim=1)


@wrong(STACK, "0 everywhere")
def cues_without_dark(global_map, local_map, previous_mask):
    return torch.stack([m for m in given(global_map, local_map, previous_mask) if m.abs().sum() > 0], 1)


@wrong(STACK, "view|reshape")
def cues_reshaped(global_map, local_map, previous_mask):
    maps = given(global_map, local_map, previous_mask)
    return torch.cat(maps).view(maps[0].shape[0], len(maps), *maps[0].shape[1:])


@wrong(STACK, "list")
def cues_list(global_map, local_map, previous_mask):
    return given(global_map, local_map, previous_mask)


@wrong(STACK, "averaged|added")
def cues_mean(global_map, local_map, previous_mask):
    return torch.stack(given(global_map, local_map, previous_mask)).mean(0)


@wrong(STACK, "axis too many")
def cues_batched(global_map, local_map, previous_mask):
    return torch.stack(given(global_map, local_map, previous_mask), 1).unsqueeze(0)


@wrong(STACK, "changed|1 − d|1 minus")
def cues_similarities(global_map, local_map, previous_mask):
    maps = [None if m is None else 1 - m for m in (global_map, local_map)]
    return torch.stack(given(*maps, previous_mask), 1)


@wrong(STACK, "float16|type")
def cues_half(global_map, local_map, previous_mask):
    return torch.stack(given(global_map, local_map, previous_mask), 1).to(torch.float16)


@wrong(STACK, "left out|occurs twice")
def cues_two(global_map, local_map, previous_mask):
    return torch.stack(given(global_map, local_map), 1)


@wrong(STACK, "only object|object")
def cues_object_one(global_map, local_map, previous_mask):
    return torch.stack([m[1:] for m in given(global_map, local_map, previous_mask)], 1)


@wrong(STACK, "library")
def cues_of_library(global_map, local_map, previous_mask):
    from feelvos_lab.model import feelvos

    return feelvos.stack_cues(global_map, local_map, previous_mask)


@wrong(STACK, "numpy array")
def cues_array(global_map, local_map, previous_mask):
    return np.stack([m.numpy() for m in given(global_map, local_map, previous_mask)], 1)


@right(COMBINE)
def combine_by_hand(logits):
    weights = (logits - logits.amax(0)).exp()
    return weights / weights.sum(0, keepdim=True)


@right(COMBINE)
def combine_by_logsumexp(logits):
    return torch.exp(logits - torch.logsumexp(logits, dim=0))


@right(COMBINE)
def combine_by_functional(logits):
    return F.softmax(logits, dim=0)


@right(COMBINE)
def combine_by_log_softmax(logits):
    return F.log_softmax(logits.double(), 0).exp().float()


@right(COMBINE)
def combine_by_module(logits):
    return torch.nn.Softmax2d()(logits[None])[0]


@right(COMBINE)
def combine_by_loops(logits):
    out = torch.zeros_like(logits)
    for y in range(logits.shape[1]):
        for x in range(logits.shape[2]):
            z = logits[:, y, x]
            e = torch.exp(z - max(z))
            out[:, y, x] = e / sum(e)
    return out


@right(COMBINE)
def combine_by_pixels(logits):
    k, h, w = logits.shape
    return logits.permute(1, 2, 0).reshape(-1, k).softmax(1).reshape(h, w, k).permute(2, 0, 1)


@right(COMBINE)
def combine_by_numpy(logits):
    z = logits.numpy().astype(np.float64)
    e = np.exp(z - z.max(axis=0, keepdims=True))
    return torch.from_numpy(e / e.sum(axis=0)).float()


@wrong(COMBINE, "sigmoid")
def combine_sigmoid(logits):
    return torch.sigmoid(logits)


@wrong(COMBINE, "sigmoid")
def combine_sigmoid_shares(logits):
    s = logits.sigmoid()
    return s / s.sum(0, keepdim=True)


@wrong(COMBINE, "over pixels")
def combine_last_axis(logits):
    return F.softmax(logits, dim=-1)


@wrong(COMBINE, "over pixels")
def combine_space(logits):
    return logits.flatten(1).softmax(-1).view_as(logits)


@wrong(COMBINE, "infinite|nan")
def combine_overflow(logits):
    e = torch.exp(logits)
    return e / e.sum(0)


@wrong(COMBINE, "whole tensor")
def combine_whole_maximum(logits):
    e = torch.exp(logits - logits.max())
    return e / e.sum(dim=0)


@wrong(COMBINE, "whole tensor|0 / 0|small")
def combine_whole_maximum_epsilon(logits):
    e = torch.exp(logits - logits.max())
    return e / (e.sum(dim=0) + 1e-10)


@wrong(COMBINE, "decisions")
def combine_decisions(logits):
    return F.one_hot(logits.argmax(0), logits.shape[0]).permute(2, 0, 1).float()


@wrong(COMBINE, "decisions|labels")
def combine_labels(logits):
    return logits.argmax(dim=0)


@wrong(COMBINE, "logarithm")
def combine_logarithms(logits):
    return F.log_softmax(logits, dim=0)


@wrong(COMBINE, "applied twice")
def combine_twice(logits):
    return torch.softmax(torch.softmax(logits, 0), 0)


@wrong(COMBINE, "without an exponential")
def combine_linear(logits):
    return logits / logits.sum(0)


@wrong(COMBINE, "not divided by their sum")
def combine_unnormalised(logits):
    return (logits - logits.amax(dim=0, keepdim=True)).exp()


@wrong(COMBINE, "background")
def combine_without_background(logits):
    return torch.cat([torch.zeros_like(logits[:1]), logits[1:].softmax(0)])


@wrong(COMBINE, "sign")
def combine_minus(logits):
    return F.softmin(logits, dim=0)


@wrong(COMBINE, "temperature|multiplied or divided")
def combine_tempered(logits, temperature=2.0):
    return (logits / temperature).softmax(0)


@wrong(COMBINE, "cut at some number")
def combine_clamped(logits):
    e = logits.clamp(max=88).exp()
    return e / e.sum(0)


@wrong(COMBINE, "numpy array")
def combine_array(logits):
    z = logits.numpy()
    e = np.exp(z - z.max(0))
    return e / e.sum(0)


@wrong(COMBINE, "writes into its argument `logits`")
def combine_in_place(logits):
    logits -= logits.amax(0)
    return logits.exp() / logits.exp().sum(0)


@wrong(COMBINE, "shape")
def combine_flat(logits):
    return logits.flatten(1).softmax(0)


@wrong(COMBINE, "nan is replaced|nan")
def combine_nan_replaced(logits):
    e = logits.exp()
    return (e / e.sum(0)).nan_to_num(1.0)


@wrong(COMBINE, "objects and pixels together")
def combine_by_all(logits):
    e = logits.exp()
    return e / e.sum()


@wrong(COMBINE, "library")
def combine_of_library(logits):
    from feelvos_lab.model.head import combine_objects as known

    return known(logits)


@right(COMBINE)
def combine_by_pairs(logits):
    return 1 / torch.exp(logits[None] - logits[:, None]).sum(1)


@wrong(COMBINE, "mean of a pixel's logits")
def combine_without_mean(logits):
    e = torch.exp(logits - logits.mean(0))
    return e / e.sum(0)


@wrong(STACK, "shares of the largest")
def cues_of_the_largest(global_map, local_map, previous_mask):
    return torch.stack([m / m.max().clamp(min=1e-6) for m in given(global_map, local_map, previous_mask)], 1)
