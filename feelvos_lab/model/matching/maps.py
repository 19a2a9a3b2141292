"""Distance maps: the distance of each pixel to each object in the first or the previous frame.

Symbols: K objects including background, D embedding, h w the stride-4 grid, M = h·w query pixels,
N reference pixels, B clips. Clips have different objects, so a batch is a loop over them.

The equations are those of FEELVOS (Voigtlaender et al., CVPR 2019), §3; `naive.py` has them as plain loops.

The smallest distance is found in two steps. `global_search.py` and `local_search.py` find, without gradient, *which*
reference pixel is the nearest. The distance to that one pixel is then computed again, with gradient, as a plain sum of
squares. So the gradients are exact, and memory grows with the number of pixels, not with its square, nor with D·K.

On a GPU the searches are those of `slice_search.py` and `window_search.py`: few large operations instead of many small
ones. The environment variable FEELVOS_SEARCH=triton replaces the first of them by one kernel in Triton
(`triton_search.py`). None of the three has been timed on a GPU by a command of this project;
`python experiments/benchmarks/gpu.py` does it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from feelvos_lab.errors import LabError, shape_text
from feelvos_lab.model.grid import stride4_size
from feelvos_lab.model.matching.exact_products import exact_products
from feelvos_lab.model.matching.global_search import nearest_anywhere
from feelvos_lab.model.matching.local_search import nearest_around
from feelvos_lab.model.matching.slice_search import nearest_in_slices
from feelvos_lab.model.matching.window_search import nearest_in_windows

VARIABLE = "FEELVOS_SEARCH"  # of the environment: the global search on a GPU, "slices" or "triton"

_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_CHUNK = {"cpu": 2**19, "cuda": 2**26}  # numbers in memory at once while distances are computed


class Match(NamedTuple):
    """For each object and query pixel, the nearest reference pixel of that object.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.matching import nearest_global
        >>> labels = torch.zeros(4, 4, dtype=torch.int64)  # no pixel of object 1
        >>> match = nearest_global(torch.rand(8, 4, 4), torch.rand(8, 4, 4), labels, num_objects=2)
        >>> match.index[1].unique(), match.sq_distance[1].unique()
        (tensor([-1]), tensor([inf]))
    """

    sq_distance: Tensor  # (K, h, w) ≥ 0, infinite where the object has no pixel
    index: Tensor  # (K, h, w) int64, flat index into the reference pixels, -1 where the object has no pixel


def pairwise_sq_dist(query: Tensor, reference: Tensor) -> Tensor:
    """All squared distances ‖e_p − e_q‖² = ‖e_p‖² + ‖e_q‖² − 2 e_p·e_q between two lists of embeddings.

    Shapes: (N, D), (M, D) → (N, M) ≥ 0: negative results of rounding become 0.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.matching import pairwise_sq_dist
        >>> pairwise_sq_dist(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([[25.,  1.]])
    """
    if query.dim() != 2 or reference.dim() != 2 or query.shape[1] != reference.shape[1]:
        raise LabError(
            f"expected embeddings N×D and M×D, got {shape_text(query.shape)} and {shape_text(reference.shape)}"
        )
    squares = query.square().sum(1)[:, None] + reference.square().sum(1)  # (N, M)
    return torch.addmm(squares, query, reference.t(), alpha=-2).clamp(min=0)


def normalise_distance(sq: Tensor) -> Tensor:
    """Eq. 1: d(p, q) = 1 − 2 / (1 + exp(‖e_p − e_q‖²)) = tanh(‖e_p − e_q‖² / 2).

    Shapes: squared distances, any shape → the same in [0, 1]. Equal embeddings give 0, infinity gives 1. In float32
    a squared distance above 18.1 gives exactly 1, and no gradient.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.matching import normalise_distance
        >>> normalise_distance(torch.tensor([0.0, 1.0, 20.0, torch.inf]))
        tensor([0.0000, 0.4621, 1.0000, 1.0000])
    """
    return torch.tanh(sq / 2)


def global_matching(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """Eq. 2 and 3: G_o(p) = min d(p, q) over the reference pixels q labelled o.

    Eq. 2 matches to the first frame; Eq. 3 is the same for the previous frame, where an object may be absent.
    Shapes: as for `nearest_global` → (K, h, w) in [0, 1]; exactly 1 everywhere for an object without a pixel.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.matching import global_matching
        >>> frame = torch.arange(4.0).view(1, 2, 2)  # D = 1: each pixel's embedding is its number
        >>> labels = torch.tensor([[0, 0], [0, 1]])
        >>> global_matching(frame, frame, labels, num_objects=2)[1]  # 3, 2, 1 and 0 away from the one pixel of 1
        tensor([[0.9998, 0.9640],
                [0.4621, 0.0000]])
    """
    return normalise_distance(nearest_global(query, reference, labels, num_objects=num_objects).sq_distance)


def local_matching(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Tensor:
    """Eq. 4: L_o(p) = min d(p, q) over the previous frame's pixels q labelled o in the window N(p).

    N(p) are the pixels at most `radius` rows and columns away from p. The paper's window k = 15 is this radius:
    31×31 pixels, fewer near the border.
    Shapes: as for `nearest_local` → (K, h, w) in [0, 1]; exactly 1 where no pixel of the object lies in the window.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.matching import local_matching
        >>> now, before = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 0.0, 0.0, 1.0]]])  # D = 1
        >>> labels = torch.tensor([[0, 0, 0, 1]])
        >>> local_matching(now, before, labels, num_objects=2, radius=1)[1]  # the window hides the look-alike
        tensor([[1.0000, 1.0000, 0.4621, 0.4621]])
        >>> local_matching(now, before, labels, num_objects=2, radius=3)[1]
        tensor([[0.0000, 0.4621, 0.4621, 0.4621]])
    """
    match = nearest_local(query, previous, labels, num_objects=num_objects, radius=radius)
    return normalise_distance(match.sq_distance)


def nearest_global(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Match:
    """For each object and query pixel, the reference pixel that attains the minimum of Eq. 2 and 3.

    Shapes: embeddings (D, h, w) and (D, h', w'), int64 labels (h', w') → `Match` of (K, h, w). The reference may also
    be a list of pixels: (D, N) with labels (N,). B clips, (B, D, h, w), (B, D, h', w') and (B, h', w'), are matched one
    by one: (B, K, h, w), with indices into each clip's own reference. Labels other than 0 … K − 1 are ignored.
    Gradients reach the query and the reference. Of equally near pixels any may be chosen. float16 and bfloat16
    embeddings are compared in float32, and the distances are float32; gradients have the type of the embeddings.

    Raises:
        LabError: shapes or devices that do not fit, embeddings that are not finite or not floating point, K < 1;
            on a GPU what `global_search_for` raises.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.matching import nearest_global
        >>> reference, labels = torch.tensor([[0.0, 5.0, 9.0]]), torch.tensor([0, 1, 1])  # D = 1, N = 3
        >>> match = nearest_global(torch.tensor([[[6.0, 8.0]]]), reference, labels, num_objects=2)
        >>> match.index[1], match.sq_distance[1]
        (tensor([[1, 2]]), tensor([[1., 1.]]))
    """
    if query.dim() == 4:
        return _of_each_clip(partial(nearest_global, num_objects=num_objects), query, reference, labels)
    _check(query, reference, labels, num_objects)
    query, reference = _widened(query), _widened(reference)
    reference, labels = reference.reshape(len(reference), -1), labels.reshape(-1)  # (D, N), (N,)
    with torch.no_grad(), exact_products(query.device):
        index = global_search_for(query.device)(query, reference, labels, num_objects)
    return _match(query, reference, index)


def nearest_local(query: Tensor, previous: Tensor, labels: Tensor, *, num_objects: int, radius: int) -> Match:
    """For each object and query pixel, the previous frame's pixel that attains the minimum of Eq. 4.

    Shapes: embeddings (D, h, w) and (D, h, w), int64 labels (h, w), radius ≥ 0 in grid cells → `Match` of (K, h, w).
    Labels other than 0 … K − 1 are ignored. Gradients reach both frames. Of equally near pixels any may be chosen.
    Batches, and float16 and bfloat16 embeddings, as in `nearest_global`.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.matching import nearest_local
        >>> row, labels = torch.tensor([[[7.0, 1.0, 2.0, 7.0]]]), torch.zeros(1, 4, dtype=torch.int64)
        >>> query = torch.tensor([[[7.0, 7.0, 7.0, 7.0]]])
        >>> nearest_local(query, row, labels, num_objects=1, radius=1).index
        tensor([[[0, 0, 3, 3]]])
    """
    if query.dim() == 4:
        match = partial(nearest_local, num_objects=num_objects, radius=radius)
        return _of_each_clip(match, query, previous, labels)
    _check(query, previous, labels, num_objects)
    if previous.shape != query.shape:
        raise LabError(
            f"expected a previous frame {shape_text(query.shape)} like the query, got {shape_text(previous.shape)}"
        )
    if isinstance(radius, bool) or not isinstance(radius, int) or radius < 0:
        raise LabError(f"expected a radius that is an integer of at least 0, got {radius!r}")
    query, previous = _widened(query), _widened(previous)
    search = nearest_in_windows if query.device.type == "cuda" else nearest_around
    with torch.no_grad(), exact_products(query.device):
        index = search(query, previous, labels, num_objects, radius)
    return _match(query, previous.reshape(len(previous), -1), index)


def global_search_for(device: torch.device) -> Callable[[Tensor, Tensor, Tensor, int], Tensor]:
    """The search behind the global map on a device: (D, h, w), (D, N), (N,), K → (K, h, w) indices, -1 where none.

    On a CPU `nearest_anywhere`. On a GPU `nearest_in_slices`, or `nearest_by_triton` where the environment variable
    FEELVOS_SEARCH is "triton". The latter needs less memory; which one is faster is unmeasured, so plain torch is the
    default until `python experiments/benchmarks/gpu.py` has been run.

    Raises:
        LabError: on a GPU, FEELVOS_SEARCH is neither "slices" nor "triton", or Triton is missing.
    """
    if device.type != "cuda":
        return nearest_anywhere
    name = os.environ.get(VARIABLE, "slices")
    if name == "slices":
        return nearest_in_slices
    if name != "triton":
        raise LabError(f'expected {VARIABLE} to be "slices" or "triton", got {name!r}')
    try:
        from feelvos_lab.model.matching.triton_search import nearest_by_triton  # imports triton, which may be missing
    except ImportError as error:
        raise LabError(f"expected a torch that comes with Triton for {VARIABLE}=triton, got {error}") from error
    return nearest_by_triton


def matching_memory(size: tuple[int, int], *, references: int | None = None) -> int:
    """Bytes of the whole table of distances in Eq. 2: one float32 for each pair of pixels, M · N · 4.

    A frame of H×W pixels has M cells on the stride-4 grid. The functions above never allocate this table; their memory
    is compared with it.

    Args:
        size: H and W of the frame in pixels.
        references: N; None: all M cells of a reference frame of the same size. For the local map it is
            (2 radius + 1)².

    Example:
        >>> from feelvos_lab.model.matching import matching_memory
        >>> matching_memory((480, 854))  # 120×214 cells, squared, 4 bytes each
        2637849600
    """
    if min(size) < 1 or (references is not None and references < 0):
        raise LabError(f"expected a size of at least 1×1 and references ≥ 0, got {size[0]}×{size[1]} and {references}")
    rows, columns = stride4_size(size)
    cells = rows * columns
    return cells * (cells if references is None else references) * 4


def sample_reference(labels: Tensor, *, max_per_object: int, generator: Generator | None = None) -> Tensor:
    """A random subset of the reference pixels for training: at most `max_per_object` of each label (the paper: 1024).

    Shapes: labels, any shape → flat indices (n,), ascending. A label with fewer pixels keeps all of them. Negative
    labels are left out.

    Example:
        >>> import torch
        >>> from feelvos_lab.model.matching import sample_reference
        >>> labels = torch.tensor([0, 0, 0, 0, 0, 1, -1])
        >>> labels[sample_reference(labels, max_per_object=2)]
        tensor([0, 0, 1])
    """
    if max_per_object < 1:
        raise LabError(f"expected max_per_object of at least 1, got {max_per_object}")
    flat = labels.reshape(-1)
    device = generator.device if generator is not None else flat.device
    shuffled = torch.randperm(len(flat), generator=generator, device=device).to(flat.device)
    grouped, order = flat[shuffled].sort(stable=True)
    _, sizes = grouped.unique_consecutive(return_counts=True)
    first = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)  # start of the group of each pixel
    kept = torch.arange(len(flat), device=flat.device) - first < max_per_object
    return shuffled[order[kept & (grouped >= 0)]].sort().values


def _of_each_clip(match: Callable[..., Match], query: Tensor, reference: Tensor, labels: Tensor) -> Match:
    """The matches of a batch, clip by clip."""
    counts = [tensor.shape[:1] for tensor in (query, reference, labels)]
    if len(set(counts)) > 1 or not len(query):
        given = ", ".join(shape_text(tensor.shape) for tensor in (query, reference, labels))
        raise LabError(f"expected query, reference and labels of the same B ≥ 1 clips, got {given}")
    clips = [match(*clip) for clip in zip(query, reference, labels, strict=True)]
    return Match(*map(torch.stack, zip(*clips, strict=True)))


def _widened(embeddings: Tensor) -> Tensor:
    """float16 and bfloat16 as float32, with gradient; other types as they are."""
    return embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings


def _match(query: Tensor, reference: Tensor, index: Tensor) -> Match:
    sq = _SquaredDistanceTo.apply(query.reshape(len(query), -1), reference, index.flatten(1))  # (K, M)
    return Match(sq.reshape(index.shape), index)


class _SquaredDistanceTo(torch.autograd.Function):
    """‖e_p − e_q‖² of each query pixel and one reference pixel per object: (D, M), (D, N), (K, M) → (K, M).

    Infinite where the index is -1. Autograd by itself would keep K·M differences of D numbers for the backward pass;
    here they are computed again, a chunk at a time.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, reference: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(query, reference, index)
        sq = query.new_full(index.shape, torch.inf)
        for objects, queries, _, difference in _differences(query, reference, index):
            sq[objects, queries] = difference.square_().sum(0)
        return sq

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        query, reference, index = ctx.saved_tensors
        to_query = query.new_zeros(query.shape[::-1])  # (M, D)
        to_reference = reference.new_zeros(reference.shape[::-1])  # (N, D)
        for objects, queries, pixels, difference in _differences(query, reference, index):
            slope = difference.mul_(2 * grad[objects, queries]).t().contiguous()  # (J, D)
            to_query.index_add_(0, queries, slope)
            to_reference.index_add_(0, pixels, slope, alpha=-1)
        return to_query.t(), to_reference.t(), None


def _differences(query: Tensor, reference: Tensor, index: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The J pairs of an object and a query with a nearest pixel, a chunk of queries at a time.

    Yields (J,) objects, (J,) queries, (J,) nearest pixels and (D, J) e_p − e_q.
    """
    step = max(1, _CHUNK.get(query.device.type, _CHUNK["cpu"]) // (len(index) * len(query)))
    for start in range(0, query.shape[1], step):
        part = index[:, start : start + step]
        objects, queries = (part >= 0).nonzero().unbind(1)
        pixels = part[objects, queries]
        queries += start
        yield objects, queries, pixels, query.index_select(1, queries).sub_(reference.index_select(1, pixels))


def _check(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> None:
    if query.dim() != 3 or query.numel() == 0:
        raise LabError(f"expected query embeddings D×h×w, got {shape_text(query.shape)}")
    if reference.dim() < 2 or len(reference) != len(query):
        wanted = f"{len(query)}×h×w or {len(query)}×N"
        raise LabError(f"expected reference embeddings {wanted}, got {shape_text(reference.shape)}")
    if labels.shape != reference.shape[1:]:
        raise LabError(
            f"expected labels {shape_text(reference[0].shape)}, one a reference pixel, got {shape_text(labels.shape)}"
        )
    if query.dtype not in _KINDS or reference.dtype != query.dtype:
        kinds = "float16, bfloat16, float32 or float64"
        raise LabError(f"expected two embeddings of one type, {kinds}, got {query.dtype} and {reference.dtype}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise LabError(f"expected integer labels, got {labels.dtype}")
    if isinstance(num_objects, bool) or not isinstance(num_objects, int) or num_objects < 1:
        raise LabError(f"expected num_objects of at least 1, got {num_objects!r}")
    devices = [str(tensor.device) for tensor in (query, reference, labels)]
    if len(set(devices)) > 1:
        raise LabError(f"expected query, reference and labels on one device, got {', '.join(devices)}")
    for name, embeddings in (("query", query), ("reference", reference)):
        kind = torch.promote_types(embeddings.dtype, torch.float32)
        norm = torch.linalg.vector_norm(embeddings.detach(), dtype=kind).item()  # not finite if one number is not
        if not math.isfinite(norm):
            raise LabError(f"expected {name} embeddings of finite norm, got one of {norm}")
