"""Aligned Xception-65 as DeepLabv3+ runs it: timm's network, dilated where it must not stride, tapped before a ReLU."""

from __future__ import annotations

import timm
from torch import Tensor, nn

from feelvos_lab.errors import LabError

CHANNELS = (256, 256, 2048)  # of the three maps
EPSILON = 1e-3  # of the batch norms; those of the decoder have torch's own 1e-5, as in the official code


class Xception65(nn.Module):
    """The backbone of the paper, without its classifier (Chen et al., ECCV 2018; `xception.py` of the official code).

    At output stride 16 the last block is dilated by 2; at 8 the middle flow and the first exit block are dilated by 2
    and the last by 4. The low-level map is that of `entry_flow/block2/…/separable_conv2_pointwise`: after its batch
    norm and before the ReLU that follows, so it can be negative.

    Raises:
        LabError: `output_stride` is not 8, 16 or 32.
    """

    def __init__(self, *, output_stride: int) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise LabError(f"backbone 'xception65' needs a deepest_stride of 8, 16 or 32, got {output_stride}")
        net = timm.create_model("xception65", pretrained=False, output_stride=output_stride)
        self.stem, self.blocks = net.stem, net.blocks
        self.blocks[1].stack.act3 = nn.ReLU()  # timm's works in place, on the low-level map
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = EPSILON

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) in [-1, 1] → maps of `CHANNELS` at strides 4, 8 and the output stride."""
        x = self.blocks[0](self.stem(images))  # (B, 128, h, w) at stride 4
        block = self.blocks[1]
        low = block.stack[:4](x)  # (B, 256, h, w)
        middle = block.stack[4:](low) + block.shortcut(x)  # (B, 256, h / 2, w / 2)
        return low, middle, self.blocks[2:](middle)
