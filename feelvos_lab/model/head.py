"""The dynamic segmentation head: one small network, applied to each object (paper §3.5).

Symbols: B clips, K objects including background, O objects of all clips together, C features, M cue maps of an object.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from feelvos_lab.errors import LabError, shape_text


def combine_objects(logits: Tensor) -> Tensor:
    """Probabilities from one logit map per object, by a softmax over the objects at each pixel (paper §3.5).

    The background is an object like any other, with a logit map of its own.
    Shapes: (K, H, W), any finite numbers → (K, H, W) in [0, 1], which sum to 1 over K.
    """
    if logits.dim() != 3:
        raise LabError(f"expected logits K×H×W, got {shape_text(logits.shape)}")
    return logits.softmax(0)


def winners(values: Tensor) -> Tensor:
    """The object with the largest logit or probability at each pixel, the first of several equal ones.

    Shapes: (K, H, W) → (H, W) int64. The same as `values.argmax(0)`, and many times faster on a CPU.
    """
    return values.max(0).indices


class SeparableLayer(nn.Module):
    """Depthwise k×k and pointwise convolution, each followed by ReLU; no batch norm, as in the official code."""

    def __init__(self, in_dim: int, out_dim: int, *, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_dim, in_dim, kernel, padding=kernel // 2, groups=in_dim)
        self.pointwise = nn.Conv2d(in_dim, out_dim, 1)
        nn.init.normal_(self.depthwise.weight, std=0.5 / kernel)
        with torch.no_grad():
            self.depthwise.weight[:, :, kernel // 2, kernel // 2] += 1.0  # starts near the identity
        nn.init.kaiming_normal_(self.pointwise.weight)
        nn.init.zeros_(self.depthwise.bias)
        nn.init.zeros_(self.pointwise.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(O, in_dim, h, w) → (O, out_dim, h, w)."""
        return self.pointwise(self.depthwise(x).relu()).relu()

    def shared(self, features: Tensor, cues: Tensor, owner: Tensor) -> Tensor:
        """`self(cat([features[owner], cues], 1))`, with the convolutions of the features computed once per clip.

        features (B, C, h, w), cues (O, M, h, w), owner (O,) → (O, out_dim, h, w).
        """
        split = features.shape[1]
        parts = []  # both convolutions are linear in the channels, so their results for features and cues add up
        for x, channels in ((features, slice(None, split)), (cues, slice(split, None))):
            weight, bias = self.depthwise.weight[channels], self.depthwise.bias[channels]
            x = F.conv2d(x, weight, bias, padding=self.depthwise.padding, groups=len(weight)).relu()
            parts.append(F.conv2d(x, self.pointwise.weight[:, channels]))
        return (parts[0][owner] + parts[1] + self.pointwise.bias.view(1, -1, 1, 1)).relu()


class SegmentationHead(nn.Module):
    """Features and the cue maps of an object → the logit map of that object, for all objects at once.

    Args:
        features_dim: C, the features that all objects of a clip share.
        cues: M ≥ 1. Without a cue all objects would have the same input.
        skip: initial weights of a learned weighted sum of the cue maps that is added to the logit; None: no sum, as in
            the paper. With it the untrained network is a nearest-neighbour classifier.
    """

    def __init__(
        self, features_dim: int, *, cues: int, layers: int, kernel: int, dim: int, skip: tuple[float, ...] | None
    ) -> None:
        super().__init__()
        if cues < 1:
            raise LabError("the head needs at least one cue, got a model with every matching and the mask switched off")
        self.layers = nn.Sequential(
            *(SeparableLayer(features_dim + cues if i == 0 else dim, dim, kernel=kernel) for i in range(layers))
        )
        self.logit = nn.Conv2d(dim, 1, 1)
        nn.init.normal_(self.logit.weight, std=0.01)
        nn.init.zeros_(self.logit.bias)
        self.skip = None
        if skip is not None:
            self.skip = nn.Conv2d(cues, 1, 1, bias=False)
            with torch.no_grad():
                self.skip.weight.copy_(torch.tensor(skip).view(1, cues, 1, 1))

    def forward(self, features: Tensor, cues: Tensor, owner: Tensor) -> Tensor:
        """Features (B, C, h, w), cues (O, M, h, w), owner (O,) the clip of each object → logits (O, h, w)."""
        x = self.layers[0].shared(features, cues, owner)  # (O, dim, h, w)
        logits = self.logit(self.layers[1:](x))  # (O, 1, h, w)
        if self.skip is not None:
            logits = logits + self.skip(cues)
        return logits[:, 0]  # (O, h, w)
