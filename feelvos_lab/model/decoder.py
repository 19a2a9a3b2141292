"""DeepLabv3+ (Chen et al., ECCV 2018): context at the deepest stride, then a decoder to stride 4.

Symbols: B frames, C channels, h w the size of a feature map.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from feelvos_lab.config import ModelConfig
from feelvos_lab.errors import LabError
from feelvos_lab.model.backbone import Pyramid
from feelvos_lab.model.grid import resize_bilinear


class ConvNormReLU(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_dim: int, out_dim: int, *, kernel: int = 1, dilation: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(
                in_dim, out_dim, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out_dim),
            nn.ReLU(inplace=True),
        )


class SeparableConv(nn.Sequential):
    """Depthwise then pointwise convolution, each with batch norm and ReLU."""

    def __init__(self, in_dim: int, out_dim: int, *, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__(
            ConvNormReLU(in_dim, in_dim, kernel=kernel, dilation=dilation, groups=in_dim),
            ConvNormReLU(in_dim, out_dim),
        )


class Context(nn.Module):
    """Atrous spatial pyramid pooling: 1×1, one separable 3×3 per rate, and the image's mean, joined by a 1×1.

    Args:
        pooling: the branch of the image's mean: a 1×1 convolution with batch norm ("norm", as in the official code:
            its training needs more than one image or frozen statistics) or with bias ("bias"), or no branch ("none").
        dropout: probability with which a value of the result is dropped in training.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        rates: tuple[int, ...],
        pooling: Literal["norm", "bias", "none"],
        dropout: float,
    ) -> None:
        super().__init__()
        self.image = None
        if pooling == "norm":
            self.image = ConvNormReLU(in_dim, out_dim)
        elif pooling == "bias":
            self.image = nn.Sequential(nn.Conv2d(in_dim, out_dim, 1), nn.ReLU(inplace=True))
        self.branches = nn.ModuleList(
            [ConvNormReLU(in_dim, out_dim), *(SeparableConv(in_dim, out_dim, dilation=rate) for rate in rates)]
        )
        self.join = ConvNormReLU(out_dim * (len(rates) + 1 + (self.image is not None)), out_dim)
        if not 0 <= dropout < 1:
            raise LabError(f"context_dropout must lie in [0, 1), got {dropout}")
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, deep: Tensor) -> Tensor:
        """(B, C, h, w) → (B, out_dim, h, w)."""
        parts = []
        if self.image is not None:
            image = self.image(deep.mean((2, 3), keepdim=True))  # (B, out_dim, 1, 1)
            parts.append(image.expand(-1, -1, *deep.shape[2:]))
        parts += [branch(deep) for branch in self.branches]
        return self.dropout(self.join(torch.cat(parts, dim=1)))


class Decoder(nn.Module):
    """Upscale the context to stride 4, concatenate it with low-level features, mix both by two separable 3×3."""

    def __init__(self, channels: tuple[int, int, int], config: ModelConfig) -> None:
        super().__init__()
        low, middle, deep = channels
        self.context = Context(
            deep,
            config.context_dim,
            rates=config.context_rates,
            pooling=config.image_pooling,
            dropout=config.context_dropout,
        )
        self.middle_level = config.middle_level
        self.low = ConvNormReLU(low + middle if self.middle_level else low, config.low_level_dim)
        self.mix = nn.Sequential(
            SeparableConv(config.context_dim + config.low_level_dim, config.decoder_dim),
            SeparableConv(config.decoder_dim, config.decoder_dim),
        )

    def forward(self, pyramid: Pyramid) -> Tensor:
        """`Pyramid` → features (B, decoder_dim, h, w) at stride 4, ≥ 0."""
        low, size = pyramid.low, pyramid.low.shape[-2:]
        if self.middle_level:
            low = torch.cat([low, resize_bilinear(pyramid.middle, size)], dim=1)
        low = self.low(low)  # (B, low_level_dim, h, w)
        context = resize_bilinear(self.context(pyramid.deep), size)  # (B, context_dim, h, w)
        return self.mix(torch.cat([context, low], dim=1))  # (B, decoder_dim, h, w)
