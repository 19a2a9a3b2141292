"""The FEELVOS network: embeddings, matching and the segmentation head (paper §3, Figure 2).

Symbols: B clips, K objects including background, C features, D embedding, h w the stride-4 grid, N pixels, M cues.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from feelvos_lab.config import ModelConfig
from feelvos_lab.errors import LabError, shape_text
from feelvos_lab.model.backbone import Backbone
from feelvos_lab.model.decoder import Decoder
from feelvos_lab.model.embedding import EmbeddingLayer
from feelvos_lab.model.grid import resize_labels, stride4_size
from feelvos_lab.model.head import SegmentationHead
from feelvos_lab.model.matching import global_matching, local_matching

SKIP_START = {"global_map": -4.0, "local_map": -4.0, "previous_mask": 2.0}  # initial weights of the head's skip sum

OBJECTS = 4  # see `padding`


class Encoded(NamedTuple):
    """What the network computes from frames alone, without masks."""

    features: Tensor  # (B, C, h, w)
    embeddings: Tensor  # (B, D, h, w)


class Labelled(NamedTuple):
    """A frame, or some of its pixels, with labels that were given or predicted."""

    embeddings: Tensor  # (D, h, w) or (D, N)
    labels: Tensor  # (h, w) or (N,) int64: 0 … K − 1; any other value is ignored
    probabilities: Tensor  # (K, h, w), the previous-mask cue; one-hot where the mask is given


class Cues(NamedTuple):
    """The input of the head for one frame; a cue that is switched off is None."""

    global_map: Tensor | None  # (K, h, w) in [0, 1], distance to the object's nearest pixel in the first frame
    local_map: Tensor | None  # (K, h, w) in [0, 1], the same for the previous frame, in a window or anywhere
    previous_mask: Tensor | None  # (K, h, w) in [0, 1], the previous frame's prediction
    features: Tensor  # (C, h, w)
    embeddings: Tensor  # (D, h, w)
    sq_distance: Tensor | None = None  # (K, h, w) ≥ 0 or infinite: by which PML decides; no input of the head

    def stacked(self) -> Tensor:
        """The cue maps in use, in the order above: (K, M, h, w)."""
        return stack_cues(self.global_map, self.local_map, self.previous_mask)


def stack_cues(global_map: Tensor | None, local_map: Tensor | None, previous_mask: Tensor | None) -> Tensor:
    """Stack the cue maps of each object as the channels of one image per object.

    The head concatenates these channels to the features, which all objects share (paper §3.5).
    Shapes: M maps (K, h, w) in [0, 1] → (K, M, h, w) in the order of the arguments. A cue that is None has no channel.
    """
    maps = [m for m in (global_map, local_map, previous_mask) if m is not None]
    if not maps or any(m.shape != maps[0].shape for m in maps):
        shapes = ", ".join(shape_text(m.shape) for m in maps) or "none"
        raise LabError(f"expected at least one cue map K×h×w, all of one shape, got {shapes}")
    return torch.stack(maps, dim=1)  # (K, M, h, w)


class Feelvos(nn.Module):
    """The network: `encode` frames, compute the `cues` of each clip, then `segment`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.decoder = Decoder(self.backbone.channels, config)
        self.embedding = EmbeddingLayer(config.decoder_dim, config.embedding_dim, relu=config.embedding_relu)
        self.head = self._make_head()
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = config.norm_momentum
        self.to(memory_format=torch.channels_last)  # depthwise convolutions train faster so on a CPU

    def _make_head(self) -> nn.Module | None:
        config = self.config
        used = {
            "global_map": config.first_matching != "none",
            "local_map": config.previous_matching != "none",
            "previous_mask": config.previous_mask,
        }
        return SegmentationHead(
            config.decoder_dim,
            cues=sum(used.values()),
            layers=config.head_layers,
            kernel=config.head_kernel,
            dim=config.head_dim,
            skip=tuple(SKIP_START[name] for name, on in used.items() if on) if config.cue_skip else None,
        )

    def encode(self, images: Tensor) -> Encoded:
        """Images (B, 3, H, W) float in [0, 1] → features (B, C, h, w) and embeddings (B, D, h, w).

        Where a side is no multiple of `Backbone.multiple`, the last row or column is repeated up to the next one, and
        the cells of these are cut off again: h = ⌈H / 4⌉, w = ⌈W / 4⌉ always.
        """
        height, width = images.shape[-2:]
        below, right = -height % self.backbone.multiple, -width % self.backbone.multiple
        if below or right:
            images = F.pad(images, (0, right, 0, below), mode="replicate")
        features = self.decoder(self.backbone(images.contiguous(memory_format=torch.channels_last)))
        embeddings = self.embedding(features)
        if below or right:
            rows, columns = stride4_size((height, width))
            features, embeddings = (x[..., :rows, :columns] for x in (features, embeddings))
        return Encoded(features, embeddings)

    def cues(self, features: Tensor, embeddings: Tensor, first: Labelled, previous: Labelled) -> Cues:
        """The cues of one frame: features (C, h, w), embeddings (D, h, w) → `Cues` for the K objects of `previous`."""
        config, objects = self.config, len(previous.probabilities)
        global_map = local_map = None
        if config.first_matching == "global":
            global_map = global_matching(embeddings, first.embeddings, first.labels, num_objects=objects)
        if config.previous_matching == "local":
            local_map = local_matching(
                embeddings, previous.embeddings, previous.labels, num_objects=objects, radius=config.radius
            )
        elif config.previous_matching == "global":
            local_map = global_matching(embeddings, previous.embeddings, previous.labels, num_objects=objects)
        mask = previous.probabilities if config.previous_mask else None
        return Cues(global_map, local_map, mask, features, embeddings)

    def segment(self, cues: list[Cues]) -> list[Tensor]:
        """The cues of one frame of each of B clips → logits (K_b, h, w) each; softmax over K gives the prediction."""
        stacked = [c.stacked() for c in cues]  # B × (K_b, M, h, w)
        counts = [len(maps) for maps in stacked]
        owner = torch.repeat_interleave(torch.tensor(counts)).to(cues[0].features.device)  # (O,)
        extra = padding(len(owner), owner.device) if self.training else 0
        if extra:  # empty objects of the first clip: their logits are cut off, so they add nothing to any gradient
            stacked.append(stacked[0].new_zeros(extra, *stacked[0].shape[1:]))
            owner = F.pad(owner, (0, extra))
        features = torch.stack([c.features for c in cues])  # (B, C, h, w)
        # all objects of all clips in one call, although each clip has its own number of them
        features, maps = (x.contiguous(memory_format=torch.channels_last) for x in (features, torch.cat(stacked)))
        logits = self.head(features, maps, owner)  # maps (O, M, h, w)
        return list(logits.split([*counts, extra])[: len(counts)])

    def forward(self, images: Tensor, first: Labelled, previous: Labelled) -> tuple[Tensor, Cues]:
        """One frame (3, H, W) in [0, 1] of one clip → logits (K, h, w) and its `Cues`."""
        encoded = self.encode(images[None])
        cues = self.cues(encoded.features[0], encoded.embeddings[0], first, previous)
        return self.segment([cues])[0], cues


def padding(objects: int, device: torch.device) -> int:
    """The number of empty objects to add in training: on a GPU as many as make a multiple of `OBJECTS`, else none.

    A GPU plans a convolution for each new number of objects, and in training that number differs from step to step.
    """
    return -objects % OBJECTS if device.type == "cuda" else 0


def label_frame(embeddings: Tensor, labels: Tensor, *, num_objects: int) -> Labelled:
    """A frame with its mask: embeddings (D, h, w), labels (H, W) int64 with values 0 … K − 1 → `Labelled`.

    Pixels of any other value are ignored in the matching and have probability 0 for every object.
    """
    small = resize_labels(labels, tuple(embeddings.shape[-2:]))  # (h, w)
    known = (small >= 0) & (small < num_objects)
    one_hot = F.one_hot(small * known, num_objects) * known[..., None]  # (h, w, K)
    return Labelled(embeddings, small, one_hot.permute(2, 0, 1).to(embeddings.dtype))
