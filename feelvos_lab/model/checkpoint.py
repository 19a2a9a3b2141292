"""Checkpoint files: safetensors with the configuration inside. Nothing is pickled.

Each file holds the SHA-256 of its own tensors and notes, which is verified whenever it is read. A card next to it, such
as `checkpoints/reduced.json` of the shipped `checkpoints/reduced.safetensors`, records how it was made.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from feelvos_lab.config import PRESETS, Config, configure, digest_of
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file, read_json, write_json
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos

FOLDER = Path(__file__).parents[1] / "checkpoints"  # of the shipped checkpoints

MODEL = "feelvos_lab checkpoint 2"

MODEL_1 = "feelvos_lab checkpoint 1"  # without a checksum inside: the card has it, as for the shipped checkpoints

PART = "feelvos_lab part of a network 2"

STATE = "feelvos_lab training state 2"

NOT_TRAINED = frozenset(("test_height", "scored_height", "test_clips", "in_memory", "compile"))

_CARD = ("command", "digest", "preset", "seed", "sha256")  # the entries of a card


def load_model(which: str | Path, *, device: str | torch.device = "cpu") -> Feelvos:
    """A trained model, in evaluation mode.

    Args:
        which: a preset with a shipped checkpoint, or the path of a checkpoint; anything else is a LabError.

    Example:
        >>> from feelvos_lab.model.checkpoint import load_model
        >>> model = load_model("reduced")
        >>> model.config.embedding_dim, model.training
        (24, False)
    """
    path = shipped_path(which) if which in PRESETS else Path(which)
    if not path.is_file():
        raise LabError(
            f"no checkpoint {str(which)!r}: expected a file, or a preset with a shipped checkpoint "
            f"({', '.join(shipped_presets()) or 'none'})"
        )
    return load_checkpoint(path, device=device)[0]


def load_checkpoint(path: Path, *, device: str | torch.device = "cpu") -> tuple[Feelvos, Config]:
    """Read a model, in evaluation mode, and its configuration.

    Raises:
        LabError: no such file, another format, a damaged file, or tensors that do not fit or are not finite.
    """
    tensors, notes = read_tensors(path, expected=(MODEL, MODEL_1))
    config = _stored_config(notes, path)
    _require_plausible(config, tensors, path)
    model = build_model(config.model)
    slots = model.state_dict()
    wanted = {name for name in slots if not _comes_from_package(name, config)}
    if wanted != set(tensors):
        odd = sorted(wanted ^ set(tensors))[0]
        raise LabError(f"checkpoint {path} does not fit its own configuration: tensor {odd} is missing or unknown")
    require_fit(tensors, slots, path)
    model.load_state_dict(tensors, strict=False)
    return model.eval().to(device), config


def load_trained(path: Path, config: Config, *, device: str | torch.device = "cpu") -> Feelvos:
    """`load_checkpoint`, for a network that must have been trained with the settings of `config`.

    Settings that cannot change weights, as `NOT_TRAINED`, may differ. LabError names the first other one that does.
    """
    model, stored = load_checkpoint(path, device=device)
    wanted = _trained(config)
    for name, value in _trained(stored).items():
        if value != wanted[name]:
            raise LabError(f"{path} was trained with {name} = {value!r}, expected {wanted[name]!r}")
    return model


def _trained(config: Config) -> dict[str, Any]:
    """The settings that can change weights."""
    settings = {name: value for name, value in config.flat().items() if name not in NOT_TRAINED}
    if config.data.scenes == "factors":  # only clips that are scored
        settings["scenes"] = "mixed"
    if config.data.data != "shapes":  # of a published set only scored clips are cut
        settings["frames"] = 0
    return settings


def save_checkpoint(path: Path, model: Feelvos, config: Config, **notes: str) -> None:
    """Write the weights and the configuration to one file.

    A frozen backbone whose weights come from a package is left out: every installation has it.
    """
    tensors = {name: t.contiguous() for name, t in model.state_dict().items() if not _comes_from_package(name, config)}
    write_tensors(path, tensors, {"format": MODEL, **config_notes(config), **notes})


def save_part(path: Path, tensors: dict[str, Tensor], *, part: str, source: str) -> None:
    """Write some of a network's tensors, to start a training from."""
    write_tensors(path, tensors, {"format": PART, "part": part, "source": source})


def initialise(model: Feelvos, path: Path, *, part: Literal["trunk", "all"]) -> list[str]:
    """Fill the model from a checkpoint or a part of a network; returns the names that keep their random start.

    Args:
        path: what `save_checkpoint` or `save_part` wrote, or the state of an interrupted training.
        part: "trunk" takes the backbone alone, as the official training does; "all" every tensor in the file.

    Raises:
        LabError: a file that cannot be used, no tensor in common with the model, or one of another shape.
    """
    if part not in ("trunk", "all"):
        raise LabError(f"the part to start from must be 'trunk' or 'all', got {part!r}")
    tensors, notes = read_tensors(path, expected=(MODEL, MODEL_1, PART, STATE))
    if notes["format"] == STATE:
        tensors = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
    slots = model.state_dict()
    chosen = {n: t for n, t in tensors.items() if n in slots and (part == "all" or n.startswith("backbone."))}
    if not chosen:
        raise LabError(f"{path} has no tensor of the {'backbone' if part == 'trunk' else 'model'} to start from")
    require_fit(chosen, slots, path)
    model.load_state_dict(chosen, strict=False)
    return [name for name in slots if name not in chosen and not name.endswith("num_batches_tracked")]


def _comes_from_package(name: str, config: Config) -> bool:
    return name.startswith("backbone.") and config.model.freeze_backbone and config.model.pretrained == "package"


def _require_plausible(config: Config, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise LabError for sizes that none of the tensors has, before a network of that size fills the memory."""
    largest = max((max(t.shape) for t in tensors.values() if t.ndim and t.numel()), default=0)
    sizes = ["context_dim", "low_level_dim", "decoder_dim", "embedding_dim"]
    sizes += ["head_kernel", "head_dim"] if config.model.method == "feelvos" else []
    claimed = {name: (getattr(config.model, name), largest) for name in sizes}
    claimed["head_layers"] = config.model.head_layers, max(1, len(tensors))
    claimed["context_rates"] = len(config.model.context_rates), max(1, len(tensors))
    for name, (value, most) in claimed.items():
        if value > most:
            raise LabError(f"checkpoint {path} does not fit its own configuration: {name} is {value:,}, at most {most}")


def require_fit(tensors: Mapping[str, Tensor], slots: Mapping[str, Tensor], path: Path) -> None:
    """Raise LabError unless each tensor has the shape and type of the slot of its name, and is finite."""
    for name, tensor in tensors.items():
        if slots[name].shape != tensor.shape:
            shapes = tuple(slots[name].shape), tuple(tensor.shape)
            raise LabError(f"{path}: tensor {name} must have shape {shapes[0]}, has {shapes[1]}")
        if slots[name].dtype != tensor.dtype:
            raise LabError(f"{path}: tensor {name} must be {slots[name].dtype}, is {tensor.dtype}")
        if not tensor.isfinite().all():
            raise LabError(f"{path}: tensor {name} must be finite, is not")


def config_notes(config: Config) -> dict[str, str]:
    """A configuration as notes of a file."""
    return {"preset": config.preset, "config": json.dumps(config.flat()), "digest": config.digest()}


def _stored_config(notes: dict[str, str], path: Path) -> Config:
    try:
        settings: dict[str, Any] = json.loads(notes["config"])
        found = digest_of(settings)  # of the stored settings: one that was added since has its default
        if found != notes["digest"]:
            raise LabError(f"the digest is {notes['digest']}, that of the settings {found}")
        return configure(notes["preset"], **settings)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LabError(f"checkpoint {path} has a configuration that cannot be used: {error}") from error


def write_tensors(path: Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    """Write tensors and notes to one file, complete or not at all, with their checksum among the notes."""
    path, tensors = Path(path), {name: tensor.cpu() for name, tensor in tensors.items()}
    with complete_file(path) as unfinished:
        try:
            save_file(tensors, unfinished, metadata={**notes, "sha256": _checksum(tensors, notes)})
        except SafetensorError as error:  # the disk is full
            raise LabError(f"cannot write {path}: {error}") from error
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())  # on the disk before it has its name, should the power fail


def read_tensors(path: Path, *, expected: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the notes of a file; a LabError if it is missing, damaged or not of an `expected` format."""
    path = Path(path)
    if not path.is_file():
        raise LabError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if sys.platform == "win32":  # where a file that is mapped into memory cannot be replaced
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    except SafetensorError as error:
        raise LabError(f"{path} is truncated or no safetensors file: {error}") from error
    if notes.get("format") not in expected:
        raise LabError(
            f"{path} must be a {' or a '.join(map(repr, expected))}, its format is {notes.get('format', 'unnamed')!r}"
        )
    if notes["format"] == MODEL_1:
        try:
            read_card(path)
        except LabError as error:
            raise LabError(f"{path} cannot be verified by its card: {error}") from error
    elif (stored := notes.get("sha256", "none")) != (found := _checksum(tensors, notes)):
        raise LabError(f"{path} is damaged: its content must have sha256 {stored[:12]}…, has {found[:12]}…")
    return tensors, notes


def _checksum(tensors: dict[str, Tensor], notes: dict[str, str]) -> str:
    """SHA-256 of the names, types, shapes and bytes of the tensors, in any order, and of the notes but "sha256"."""
    others = {name: note for name, note in notes.items() if name != "sha256"}
    hashed = hashlib.sha256(json.dumps(others, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()))
    return hashed.hexdigest()


def shipped_path(preset: str) -> Path:
    """The path of the checkpoint that is, or would be, shipped for a preset."""
    return FOLDER / f"{preset}.safetensors"


def shipped_presets() -> list[str]:
    """The presets with a shipped checkpoint."""
    return [preset for preset in PRESETS if shipped_path(preset).exists()]


def write_card(checkpoint: Path, *, config: Config, seed: int, command: str) -> None:
    """Write the card of a new checkpoint next to it."""
    values = (command, config.digest(), config.preset, seed, sha256(checkpoint))
    write_json(checkpoint.with_suffix(".json"), dict(zip(_CARD, values, strict=True)))


def read_card(checkpoint: Path) -> dict[str, Any]:
    """The card of a checkpoint, verified: a LabError if it is missing, incomplete or has another sha256."""
    path = checkpoint.with_suffix(".json")
    if not checkpoint.is_file():
        raise LabError(f"{checkpoint} is missing")
    card = read_json(path)
    if not card.keys() >= set(_CARD):
        raise LabError(f"{path} must hold {', '.join(_CARD)}, got {', '.join(card) or 'none of them'}")
    if (found := sha256(checkpoint)) != card["sha256"]:
        raise LabError(f"{checkpoint} must have sha256 {str(card['sha256'])[:12]}…, has {found[:12]}…")
    return {name: card[name] for name in _CARD}


def shipped_mismatch(config: Config, *, seed: int) -> str:
    """Why the shipped checkpoint of the preset is not the result of training `config`; "" where it is."""
    try:
        card = read_card(shipped_path(config.preset))
    except LabError as error:
        return str(error)
    if card["digest"] != config.digest():
        return f"the shipped checkpoint has configuration {card['digest']}, this is {config.digest()}"
    if card["seed"] != seed:
        return f"the shipped checkpoint has seed {card['seed']}, this is {seed}"
    return ""


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
