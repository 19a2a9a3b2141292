"""A backbone's pretrained weights from a local file. Nothing but tensors is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from feelvos_lab.config import ModelConfig
from feelvos_lab.errors import LabError, did_you_mean, shape_text

_WRAPPED = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")  # where training scripts put it


def weight_file(config: ModelConfig) -> Path | None:
    """The file with the backbone's weights, or None where they come from no file."""
    return None if config.pretrained in ("none", "package") else Path(config.pretrained)


def load_weight_file(net: nn.Module, config: ModelConfig) -> None:
    """Fill the backbone's timm network with the weights of the configuration's file, if it names one."""
    if path := weight_file(config):
        net.load_state_dict(read_weight_file(path, net, config.backbone), strict=False)


def read_weight_file(path: Path, net: nn.Module, name: str) -> dict[str, Tensor]:
    """The tensors of a file for `net`, the timm network `name` without its last layers.

    The file is a state dict with timm's names for the whole network, as `torch.save` or safetensors writes it; it may
    lie in an entry such as "state_dict", and its names may begin with "module.". Layers behind the backbone, such as
    the classifier, are left out. `net` may lie on the device "meta": then its shapes alone count.

    Raises:
        LabError: a file that is missing or holds no state dict; tensors that are missing, of another shape or not
            finite; or such as `name` does not have.

    Example:
        >>> import timm, torch
        >>> from feelvos_lab.model.weight_file import read_weight_file
        >>> torch.save(timm.create_model("resnet18").state_dict(), "resnet18.pth")
        >>> net = timm.create_model("resnet18", features_only=True)
        >>> read_weight_file("resnet18.pth", net, "resnet18")["conv1.weight"].shape
        torch.Size([64, 3, 7, 7])
    """
    found = {_plain(key): (key, tensor) for key, tensor in _tensors(Path(path)).items()}
    with torch.device("meta"):
        known = {_plain(key): key for key in timm.create_model(name, pretrained=False).state_dict()}
    slots = net.state_dict()
    chosen = {}
    for key, slot in slots.items():
        if _plain(key) not in found:
            if key.endswith("num_batches_tracked"):  # older files lack it, and it counts for nothing here
                continue
            ours = known.get(_plain(key), key)
            hint = did_you_mean(ours, (theirs for theirs, _ in found.values()))
            raise LabError(f"{path} has no tensor {ours!r} for backbone {name!r}{hint}")
        theirs, tensor = found[_plain(key)]
        if tensor.shape != slot.shape:
            raise LabError(
                f"{path}: tensor {theirs} must be {shape_text(slot.shape)} for backbone {name!r}, "
                f"is {shape_text(tensor.shape)}"
            )
        if not tensor.isfinite().all():
            raise LabError(f"{path}: tensor {theirs} must be finite, is not")
        chosen[key] = tensor.to(slot.dtype)
    if strange := [theirs for plain, (theirs, _) in found.items() if plain not in known]:
        raise LabError(
            f"{path} holds {strange[0]!r}, which backbone {name!r} lacks: are these another network's weights?"
        )
    return chosen


def _plain(key: str) -> str:
    """timm joins some names by "_" where it takes a network apart into feature maps."""
    return key.removeprefix("module.").replace("_", ".")


def _tensors(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise LabError(f"there is no file of weights {path}")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # of a file that is damaged or holds other objects: of some ten kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise LabError(f"{path} cannot be read as a state dict: {reason}") from error
    if isinstance(content, Mapping):
        content = next((content[name] for name in _WRAPPED if isinstance(content.get(name), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise LabError(f"{path} must hold a state dict, tensors by name, got {type(content).__name__} without any")
    if odd := [key for key, value in content.items() if not isinstance(value, Tensor)]:
        kind = type(content[odd[0]]).__name__
        raise LabError(f"{path} must hold a state dict, tensors by name, but its entry {odd[0]!r} is of type {kind}")
    return {str(key): tensor for key, tensor in content.items()}
