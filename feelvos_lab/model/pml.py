"""PML, the ancestor: pixel embeddings learned from triplets, masks from the nearest neighbour, no head at all.

Chen, Pont-Tuset, Montes, Van Gool, "Blazingly Fast Video Object Segmentation with Pixel-Wise Metric Learning",
CVPR 2018. Backbone, decoder and embedding are those of `Feelvos` here, so that the two methods differ in the loss and
in what becomes of the distances. Known departures: the paper's embedding also sees a pixel's place and time, and it
works at stride 8 (both from memory); here neither.

Letters: K objects counting the background, D embedding, h w the stride-4 grid, A anchor pixels, N pixels of the pool.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from feelvos_lab.config import ModelConfig
from feelvos_lab.errors import LabError, shape_text
from feelvos_lab.model.feelvos import Cues, Feelvos, Labelled
from feelvos_lab.model.matching import nearest_global, normalise_distance

FAR = 1e30  # the squared distance to an object without a pixel, where infinity could not be interpolated


class Confident(NamedTuple):
    """Pixels whose objects were predicted, and surely."""

    embeddings: Tensor  # (D, N)
    labels: Tensor  # (N,) int64: 0 … K − 1


class Pml(Feelvos):
    """Nearest neighbours in the first frame; called as `Feelvos` is, which makes `propagate` serve both.

    Its settings of matching other than `first_matching`, those of the head, and the previous frame have no effect.

    Raises:
        LabError: `first_matching` is "none".
    """

    def __init__(self, config: ModelConfig) -> None:
        if config.first_matching == "none":
            raise LabError("method 'pml' needs first_matching 'global', got 'none': it has nothing else to go by")
        super().__init__(config)

    def _make_head(self) -> None:
        return None

    def cues(self, features: Tensor, embeddings: Tensor, first: Labelled, previous: Labelled) -> Cues:
        """Distances to the pool: features (C, h, w), embeddings (D, h, w) → `Cues` for `previous`'s K objects.

        `global_map` is the distance of Eq. 1 of FEELVOS, to be looked at; `sq_distance` is what decides, since it
        still tells objects apart where the other is 1. Of `previous` only the number of objects is used.
        """
        objects = len(previous.probabilities)
        sq = nearest_global(embeddings, first.embeddings, first.labels, num_objects=objects).sq_distance
        return Cues(normalise_distance(sq), None, None, features, embeddings, sq)

    def segment(self, cues: list[Cues]) -> list[Tensor]:
        """One frame of each of B clips → logits −‖e_p − e_q‖² (K_b, h, w) each, q the object's nearest pixel.

        So the largest logit is the nearest neighbour's object. An object without a pixel has logit −`FAR`.
        """
        return [-c.sq_distance.clamp(max=FAR) for c in cues]


def triplet_loss(
    anchors: Tensor, anchor_labels: Tensor, pool: Tensor, pool_labels: Tensor, *, num_objects: int, margin: float
) -> Tensor:
    """Mean over the anchors a of max(0, min_p ‖e_a − e_p‖² − min_n ‖e_a − e_n‖² + margin).

    p are the pool's pixels of the anchor's object, n those of all other objects; the background is an object. Only
    the *nearest* positive must be near, since a pixel need not look like all of its object.
    Shapes: embeddings (D, A), int64 labels (A,), pool (D, N) with labels (N,) → a scalar ≥ 0. Pixels with labels
    other than 0 … K − 1 are ignored, and so are anchors without a positive or without a negative in the pool; where
    none is left the loss is 0, with zero gradients.

    Raises:
        LabError: as `nearest_global`, or labels that are not one an anchor.
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
    """The newest pixels that were surely recognised: those of this frame behind those from `before`.

    A pixel is sure where its second nearest object is farther than the nearest by more than `margin`, in squared
    distance. The paper asks instead that a pixel's k nearest neighbours all agree (from memory). At most h·w pixels
    are kept, the newest, so that memory does not grow with the clip.
    Shapes: the `Cues` of a `Pml` → (D, N) with labels (N,), 0 ≤ N ≤ h·w. With one object, or one that alone has
    pixels, nobody is sure.

    Raises:
        LabError: cues without `sq_distance`.
    """
    if cues.sq_distance is None:
        raise LabError("confident_pixels needs the cues of a Pml, got some without sq_distance")
    sq = cues.sq_distance.flatten(1)  # (K, h·w)
    near, owner = sq.topk(min(2, len(sq)), dim=0, largest=False)  # (2, h·w)
    sure = near[-1].isfinite() & (near[-1] - near[0] > margin)  # (h·w,)
    pixels, labels = cues.embeddings.flatten(1)[:, sure], owner[0][sure]  # (D, N), (N,)
    if before is not None:
        pixels, labels = torch.cat([before.embeddings, pixels], 1), torch.cat([before.labels, labels])
    cells = sq.shape[1]
    return Confident(pixels[:, -cells:], labels[-cells:])


def joined(first: Labelled, more: Confident | None) -> Labelled:
    """The pool: given pixels (D, h, w) or (D, N) and `more` (D, N') → (D, N + N'); `first` itself where None."""
    if more is None:
        return first
    pixels = torch.cat([first.embeddings.flatten(1), more.embeddings], 1)  # (D, N + N')
    return Labelled(pixels, torch.cat([first.labels.flatten(), more.labels]), first.probabilities)
