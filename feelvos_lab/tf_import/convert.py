"""Convert an official TensorFlow checkpoint to the network of preset full; TensorFlow itself is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import save_checkpoint, save_part
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.tf_import.checkpoint_format import Bundle
from feelvos_lab.tf_import.names import official_names, to_official, to_torch

PARTS = {  # part of the network → the prefixes of its tensors in our state dict
    "all": ("",),
    "deeplab": ("backbone.", "decoder."),
    "trunk": ("backbone.",),
}

_FOREIGN = ("logits/", "xception_65/logits/")  # the classifiers of DeepLab and of ImageNet


class Imported(NamedTuple):
    """What was imported from a checkpoint, and what was left out."""

    part: str  # one of PARTS
    taken: int  # number of variables
    left_out: list[str]  # names of variables: optimizer slots, the step, and other parts


def import_checkpoint(
    checkpoint: Path | Bundle,
    out: Path,
    *,
    part: Literal["auto", "all", "deeplab", "trunk"] = "auto",
    output_stride: int = 8,
) -> Imported:
    """Read an official checkpoint and write it as safetensors.

    Args:
        checkpoint: the path without `.index`, such as `feelvos_davis17_trained/model.ckpt-200004`.
        out: the file to write: for "all" a checkpoint, for other parts a file to start a training from.
        part: which variables; "auto" is "all" where the file has those of the embedding, "deeplab" where it has those
            of the ASPP, and else "trunk".
        output_stride: 8 with rates 12, 24, 36, as the authors test, or 16 with 6, 12, 18, as they train.

    Raises:
        LabError: a file that is damaged or no checkpoint, or a variable that is missing, unknown or does not fit.
    """
    if part != "auto" and part not in PARTS:
        raise LabError(f"part must be one of auto, {', '.join(PARTS)}, got {part!r}")
    if output_stride not in (8, 16):
        raise LabError(f"output_stride must be 8 or 16, got {output_stride}")
    bundle = checkpoint if isinstance(checkpoint, Bundle) else Bundle(checkpoint)
    rates = tuple(rate * 16 // output_stride for rate in (6, 12, 18))
    config = configure("full", deepest_stride=output_stride, context_rates=rates)
    with torch.device("meta"):
        model = Feelvos(config.model)
    if part == "auto":
        scopes = {name.split("/")[0] for name in bundle.entries}
        part = "all" if "embedding" in scopes else "deeplab" if "aspp0" in scopes else "trunk"
    names = {ours: name for ours, name in official_names(model).items() if ours.startswith(PARTS[part])}
    left_out = _left_out(bundle, model, wanted=set(names.values()), part=part)
    tensors = _tensors(bundle, model, names)
    if part != "all":
        save_part(out, tensors, part=part, source=bundle.prefix.name)
        return Imported(part, len(names), left_out)
    model = Feelvos(config.model)
    counters = {name: t for name, t in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict(tensors | counters)
    save_checkpoint(out, model, config, imported=bundle.prefix.name)
    return Imported(part, len(names), left_out)


def _left_out(bundle: Bundle, model: Feelvos, *, wanted: set[str], part: str) -> list[str]:
    """The variables that are not read; an unknown one is an error."""
    if missing := sorted(wanted - set(bundle.entries)):
        raise LabError(
            f"{bundle.index} lacks {len(missing)} of the {len(wanted)} variables of part {part!r}: "
            f"{_first_five(missing)}"
        )
    known = set(official_names(model).values())
    foreign = () if part == "all" else _FOREIGN
    left = sorted(set(bundle.entries) - wanted)
    others = [name for name in left if name != "global_step" and not name.startswith(foreign)]
    if unknown := [name for name in others if name.removesuffix("/Momentum") not in known]:
        raise LabError(f"{bundle.index} has {len(unknown)} unknown variables: {_first_five(unknown)}")
    return left


def _first_five(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _tensors(bundle: Bundle, model: Feelvos, names: dict[str, str]) -> dict[str, Tensor]:
    """The tensors of the state dict, after every shape and type was checked."""
    slots = model.state_dict()
    for ours, official in names.items():
        wanted = tuple(to_official(torch.empty(slots[ours].shape), ours=ours, official=official).shape)
        entry = bundle.entries[official]
        if entry.shape != wanted:
            raise LabError(f"variable {official} must have shape {wanted}, has {entry.shape}")
        if entry.dtype != 1:
            raise LabError(f"variable {official} must be float32, has TensorFlow's type {entry.dtype}")
    tensors = {}
    for ours, official in names.items():
        variable = torch.from_numpy(bundle.read(official))
        if not variable.isfinite().all():
            raise LabError(f"variable {official} must be finite, is not")
        tensors[ours] = to_torch(variable, ours=ours, official=official).contiguous()
    return tensors
