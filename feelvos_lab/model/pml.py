"""PML, the predecessor of FEELVOS: embeddings trained with a triplet loss, masks from the nearest neighbour, no head.

Chen et al., "Blazingly Fast Video Object Segmentation with Pixel-Wise Metric Learning", CVPR 2018. Backbone, decoder
and embedding are those of `Feelvos`, so the two methods differ in the loss and in the use of the distances alone. In
the paper (from memory) the embedding also sees the position and time of a pixel, and the grid has stride 8.

Symbols: B clips, K objects including background, D embedding, h w the stride-4 grid, A anchors, N pixels of the pool.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from feelvos_lab.config import ModelConfig
from feelvos_lab.errors import LabError, shape_text
from feelvos_lab.model.feelvos import Cues, Feelvos, Labelled
from feelvos_lab.model.matching import nearest_global, normalise_distance

FAR = 1e30  # replaces infinity as the squared distance to an object without a pixel: infinity cannot be interpolated


class Confident(NamedTuple):
    """Pixels whose labels were predicted with a margin."""

    embeddings: Tensor  # (D, N)
    labels: Tensor  # (N,) int64: 0 … K − 1


class Pml(Feelvos):
    """Nearest neighbours in the first frame, with the interface of `Feelvos`, so that `propagate` works for both.

    The previous frame, the settings of the head, and those of matching other than `first_matching` have no effect.
    """

    def __init__(self, config: ModelConfig) -> None:
        if config.first_matching == "none":
            raise LabError("method 'pml' needs first_matching 'global', got 'none': it has no other cue")
        super().__init__(config)

    def _make_head(self) -> None:
        return None

    def cues(self, features: Tensor, embeddings: Tensor, first: Labelled, previous: Labelled) -> Cues:
        """Distances to the pool: features (C, h, w), embeddings (D, h, w) → `Cues` for the K objects of `previous`.

        `sq_distance` decides, since it still differs between objects where the normalised distance is 1.
        `global_map`, the distance of Eq. 1 of FEELVOS, is for figures. Of `previous` only K is used.
        """
        objects = len(previous.probabilities)
        sq = nearest_global(embeddings, first.embeddings, first.labels, num_objects=objects).sq_distance
        return Cues(normalise_distance(sq), None, None, features, embeddings, sq)

    def segment(self, cues: list[Cues]) -> list[Tensor]:
        """One frame of each of B clips → logits −‖e_p − e_q‖² (K_b, h, w) each, q the nearest pixel of the object.

        So the largest logit belongs to the object of the nearest neighbour. An object without a pixel has −`FAR`.
        """
        return [-c.sq_distance.clamp(max=FAR) for c in cues]


def triplet_loss(
    anchors: Tensor, anchor_labels: Tensor, pool: Tensor, pool_labels: Tensor, *, num_objects: int, margin: float
) -> Tensor:
    """Mean over the anchors a of max(0, min_p ‖e_a − e_p‖² − min_n ‖e_a − e_n‖² + margin).

    The positives p are the pool's pixels of the anchor's object, the negatives n those of all other objects, of which
    the background is one. Only the *nearest* positive must be near: an object need not look the same everywhere.
    Shapes: embeddings (D, A), int64 labels (A,), pool (D, N) with labels (N,) → a scalar ≥ 0. Pixels with labels
    other than 0 … K − 1 are ignored, and so are anchors without a positive or without a negative in the pool; where
    no anchor is left the loss is 0, with zero gradients.
    """
    if anchors.dim() != 2 or anchor_labels.shape != anchors.shape[1:]:
        shapes = f"{shape_text(anchors.shape)} and {shape_text(anchor_labels.shape)}"
        raise LabError(f"expected anchors D×A and labels A, got {shapes}")
    nothing = 0 * (anchors.sum() + pool.sum())
    if not len(anchor_labels):
        return nothing
    sq = nearest_global(anchors[:, None], pool, pool_labels, num_objects=num_objects).sq_distance[:, 0]  # (K, A)
    own = torch.arange(num_objects, device=sq.device)[:, None] == anchor_labels  # (K, A)
    positive = sq.where(own, torch.inf).amin(0)  # (A,)
    negative = sq.where(~own, torch.inf).amin(0)  # (A,)
    used = positive.isfinite() & negative.isfinite()
    if not used.any():
        return nothing
    return (positive[used] - negative[used] + margin).clamp(min=0).mean()


def confident_pixels(cues: Cues, before: Confident | None, *, margin: float) -> Confident:
    """The confident pixels of this frame, appended to those from `before`.

    A pixel is confident where its second nearest object is farther than the nearest by more than `margin`, in squared
    distance. The paper demands instead that the k nearest neighbours of a pixel agree (from memory). The newest h·w
    pixels are kept, so that memory does not grow with the clip.
    Shapes: the `Cues` of a `Pml` → (D, N) with labels (N,), 0 ≤ N ≤ h·w. Where only one object has pixels, no pixel
    is confident.
    """
    if cues.sq_distance is None:
        raise LabError("confident_pixels needs the cues of a Pml, got cues without sq_distance")
    sq = cues.sq_distance.flatten(1)  # (K, h·w)
    near, owner = sq.topk(min(2, len(sq)), dim=0, largest=False)  # (2, h·w)
    sure = near[-1].isfinite() & (near[-1] - near[0] > margin)  # (h·w,)
    pixels, labels = cues.embeddings.flatten(1)[:, sure], owner[0][sure]  # (D, N), (N,)
    if before is not None:
        pixels, labels = torch.cat([before.embeddings, pixels], 1), torch.cat([before.labels, labels])
    cells = sq.shape[1]
    return Confident(pixels[:, -cells:], labels[-cells:])


def joined(first: Labelled, more: Confident | None) -> Labelled:
    """The pool: the first frame's pixels (D, h, w) or (D, N) and `more` (D, N') → (D, N + N'); `first` where None."""
    if more is None:
        return first
    pixels = torch.cat([first.embeddings.flatten(1), more.embeddings], 1)  # (D, N + N')
    return Labelled(pixels, torch.cat([first.labels.flatten(), more.labels]), first.probabilities)
