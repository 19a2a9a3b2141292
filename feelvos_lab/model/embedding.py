"""The embedding layer: one vector for each cell of the stride-4 grid (paper §3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EmbeddingLayer(nn.Module):
    """A depthwise separable convolution, 3×3 then 1×1 to D channels, without batch norm.

    With `relu` each of the two is followed by a ReLU, as in the official code (the paper does not mention it), so no
    coordinate is negative. Without it the initial weights put the median squared distance of two random pixels
    between 1 and 5, where tanh(d²/2) has a gradient: beyond d² ≈ 18 the distance is 1 in float32 and has none.
    """

    def __init__(self, in_dim: int, embedding_dim: int, *, relu: bool) -> None:
        super().__init__()
        self.relu = relu
        self.depthwise = nn.Conv2d(in_dim, in_dim, 3, padding=1, groups=in_dim)
        self.pointwise = nn.Conv2d(in_dim, embedding_dim, 1)
        with torch.no_grad():
            self.depthwise.weight.mul_(0.1)
            self.depthwise.weight[:, :, 1, 1] += 1.0  # starts as the identity
            self.depthwise.bias.zero_()
            self.pointwise.weight.normal_(0, (4.0 / (in_dim * embedding_dim)) ** 0.5)
            self.pointwise.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) → (B, D, h, w)."""
        if self.relu:
            return self.pointwise(self.depthwise(features).relu()).relu()
        return self.pointwise(self.depthwise(features))
