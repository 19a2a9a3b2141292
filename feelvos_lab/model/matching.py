"""Nearest-neighbour distance maps: how near is each pixel to each object, in a reference frame?

Letters: K objects counting the background, D embedding, h w the stride-4 grid, M = h·w query pixels,
N reference pixels. One clip at a time: a batch is a loop, since each clip has its own objects.

The search itself needs no gradient. It only says *which* reference pixel is nearest; the distance to that
pixel is then evaluated again, with gradient, as a plain sum of squares. So gradients are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from feelvos_lab.errors import LabError
from feelvos_lab.model.nearest import nearest_anywhere, nearest_around

_CHUNK = 2**18  # numbers held at once while distances are evaluated


class Match(NamedTuple):
    """For each object and query pixel, the nearest reference pixel of that object."""

    sq_distance: Tensor  # (K, h, w) ≥ 0, inf where there is none
    index: Tensor  # (K, h, w) int64, flat index into the reference pixels, -1 where there is none


def pairwise_sq_dist(query: Tensor, reference: Tensor) -> Tensor:
    """‖e_p − e_q‖² for all pairs of rows: (N, D), (M, D) → (N, M), never negative."""
    if query.dim() != 2 or reference.dim() != 2 or query.shape[1] != reference.shape[1]:
        raise LabError(f"expected N×D and M×D embeddings, got {_by(query)} and {_by(reference)}")
    squares = query.square().sum(1)[:, None] + reference.square().sum(1)
    return (squares - 2 * query @ reference.t()).clamp(min=0)  # (N, M)


def normalise_distance(sq: Tensor) -> Tensor:
    """Eq. 1: d(p,q) = 1 − 2 / (1 + exp(‖e_p − e_q‖²)) = tanh(‖e_p − e_q‖² / 2), in [0, 1]; infinity gives 1."""
    return torch.tanh(sq / 2)


def global_matching(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """Eq. 2 and 3: G_o(p) = min over q in P_o of d(p, q), (K, h, w) in [0, 1]; 1 where the object is absent."""
    return normalise_distance(nearest_global(query, reference, labels, num_objects=num_objects).sq_distance)


def local_matching(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """Eq. 4: L_o(p) = min over q in P_o ∩ N(p) of d(p, q), (K, h, w) in [0, 1]; 1 where that set is empty."""
    match = nearest_local(query, previous, labels, num_objects=num_objects, radius=radius)
    return normalise_distance(match.sq_distance)


def nearest_global(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Match:
    """The nearest reference pixel of each object, anywhere in the frame."""
    _check(query, reference, labels, num_objects)
    reference, labels = reference.reshape(len(reference), -1), labels.reshape(-1)  # (D, N), (N,)
    with torch.no_grad():
        index = nearest_anywhere(query, reference, labels, num_objects)
    return _match(query, reference, index)


def nearest_local(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Match:
    """The nearest pixel of each object in the previous frame, at most `radius` rows and columns away."""
    if query.shape != previous.shape:
        raise LabError(f"expected a previous frame of the query's size {_by(query)}, got {_by(previous)}")
    if radius < 0:
        raise LabError(f"radius must not be negative, got {radius}")
    _check(query, previous, labels, num_objects)
    with torch.no_grad():
        index = nearest_around(query, previous, labels, num_objects, radius)
    return _match(query, previous.reshape(len(previous), -1), index)


def sample_reference(labels: Tensor, *, max_per_object: int, generator: Generator) -> Tensor:
    """Flat indices, ascending, of at most `max_per_object` random pixels of each label; negative labels are dropped."""
    if max_per_object < 1:
        raise LabError(f"max_per_object must be at least 1, got {max_per_object}")
    labels = labels.reshape(-1)
    shuffled = torch.randperm(labels.numel(), generator=generator, device=generator.device).to(labels.device)
    grouped, order = labels[shuffled].sort(stable=True)
    counts = grouped.unique_consecutive(return_counts=True)[1]
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    kept = (torch.arange(len(grouped), device=labels.device) - first < max_per_object) & (grouped >= 0)
    return shuffled[order[kept]].sort().values


def _match(query: Tensor, reference: Tensor, index: Tensor) -> Match:
    sq = _SquaredDistanceTo.apply(query.reshape(len(query), -1), reference, index.flatten(1))  # (K, M)
    return Match(sq.reshape(index.shape), index)


class _SquaredDistanceTo(torch.autograd.Function):
    """‖q_p − r_i(p)‖² for chosen pixels i: (D, M), (D, N), (K, M) → (K, M), inf where i is -1.

    Autograd by itself would keep K·M differences of D numbers; here only a chunk of them exists at a time.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, reference: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(query, reference, index)
        sq = query.new_full(index.shape, torch.inf)
        for part, difference in _differences(query, reference, index):
            sq[:, part] = difference.square_().sum(2)
        return sq.masked_fill_(index < 0, torch.inf)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        query, reference, index = ctx.saved_tensors
        grad_query, grad_reference = torch.zeros_like(query.t()), torch.zeros_like(reference.t())  # (M, D), (N, D)
        grad = (2 * grad).masked_fill_(index < 0, 0)
        for part, difference in _differences(query, reference, index):
            difference *= grad[:, part, None]
            grad_query[part] = difference.sum(0)
            pixels = index[:, part].clamp(min=0).reshape(-1)
            grad_reference.index_add_(0, pixels, difference.flatten(0, 1), alpha=-1)
        return grad_query.t(), grad_reference.t(), None


def _differences(query: Tensor, reference: Tensor, index: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """q_p − r_i(p) for a chunk of pixels after another, (K, chunk, D); where i is -1 it means nothing."""
    if not (index >= 0).any():
        return
    q, r = query.t().contiguous(), reference.t().contiguous()  # (M, D), (N, D)
    step = max(1, _CHUNK // (len(index) * len(query)))
    for start in range(0, len(q), step):
        part = slice(start, start + step)
        yield part, q[part] - r[index[:, part].clamp(min=0)]  # (K, chunk, D)


def _check(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> None:
    if query.dim() != 3:
        raise LabError(f"expected query embeddings D×h×w, got {_by(query)}")
    if len(reference) != len(query) or reference.dim() < 2 or reference.shape[1:] != labels.shape:
        raise LabError(f"expected {len(query)} reference channels over the labels' {_by(labels)}, got {_by(reference)}")
    if query.dtype not in (torch.float32, torch.float64) or reference.dtype != query.dtype:
        raise LabError(f"expected float32 or float64 embeddings of one kind, got {query.dtype} and {reference.dtype}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise LabError(f"expected integer labels, got {labels.dtype}")
    if num_objects < 1:
        raise LabError(f"num_objects must be at least 1, got {num_objects}")


def _by(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"
