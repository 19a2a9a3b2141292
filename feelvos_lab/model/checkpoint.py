"""Checkpoints: safetensors with the configuration inside, and the training state to resume from.

Nothing is pickled. A file is written beside its place and moved there when complete. It holds the SHA-256 of its own
tensors and notes, which is compared whenever it is read: a damaged file is refused, not computed with.

The checkpoints in the repository, each with a card that says how it was made.

    checkpoints/reduced.safetensors
    checkpoints/reduced.json      {"command": …, "sha256": …, "preset": …, "seed": …, "digest": …}

`feelvos-lab train --out DIR` writes both as `model.safetensors` and `model.json`; to ship them is to copy them here.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from feelvos_lab.config import PRESETS, Config, configure, digest_of
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos

if TYPE_CHECKING:
    pass

_FORMAT = "feelvos_lab checkpoint 2"

_WITH_CARD = "feelvos_lab checkpoint 1"  # without a checksum inside: its card, such as the shipped ones have, tells it

_STATE = "feelvos_lab training state 2"

_PART = "feelvos_lab part of a network 2"


def save_checkpoint(path: Path, model: Feelvos, config: Config, **notes: str) -> None:
    """Write the weights and the configuration to one file.

    A frozen backbone whose weights come from a package is left out: it is the same for everybody.
    """
    tensors = {name: t.contiguous() for name, t in model.state_dict().items() if not _comes_from_package(name, config)}
    _write(path, tensors, {"format": _FORMAT, **_described(config), **notes})


def load_checkpoint(path: Path, *, device: str | torch.device = "cpu") -> tuple[Feelvos, Config]:
    """Read a model, in evaluation mode, and its configuration.

    Raises:
        LabError: no such file, not a checkpoint of this project, truncated, one whose checksum is another, tensors that
            do not fit or are not finite.
    """
    tensors, notes = _read(path, expected=(_FORMAT, _WITH_CARD))
    config = _configured(notes, path)
    model = build_model(config.model)
    slots = model.state_dict()
    wanted = {name for name in slots if not _comes_from_package(name, config)}
    if wanted != set(tensors):
        odd = sorted(wanted ^ set(tensors))[0]
        raise LabError(f"checkpoint {path} does not fit its own configuration: tensor {odd} is missing or too much")
    for name, tensor in tensors.items():
        if slots[name].shape != tensor.shape:
            shapes = tuple(slots[name].shape), tuple(tensor.shape)
            raise LabError(f"checkpoint {path}: tensor {name} must have shape {shapes[0]}, has {shapes[1]}")
        if slots[name].dtype != tensor.dtype:
            raise LabError(f"checkpoint {path}: tensor {name} must be {slots[name].dtype}, is {tensor.dtype}")
        if not tensor.isfinite().all():
            raise LabError(f"checkpoint {path}: tensor {name} must be finite, is not")
    model.load_state_dict(tensors, strict=False)
    return model.eval().to(device), config


def save_part(path: Path, tensors: dict[str, Tensor], *, part: str, source: str) -> None:
    """Write some of a network's tensors, to start a training from."""
    _write(path, tensors, {"format": _PART, "part": part, "source": source})


def initialise(model: Feelvos, path: Path, *, part: Literal["trunk", "all"]) -> list[str]:
    """Fill the model from a checkpoint, or from an imported part of a network; returns what keeps its random start.

    Args:
        path: what `save_checkpoint` or `save_part` wrote, or the state of a training that was interrupted.
        part: "trunk" takes the backbone alone, as the official training does; "all" whatever the file holds.

    Raises:
        LabError: another part, no such file, another format, no tensor in common, or one of another shape.
    """
    if part not in ("trunk", "all"):
        raise LabError(f"the part to start from must be 'trunk' or 'all', got {part!r}")
    tensors, notes = _read(path, expected=(_FORMAT, _WITH_CARD, _PART, _STATE))
    if notes["format"] == _STATE:
        tensors = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
    slots = model.state_dict()
    chosen = {n: t for n, t in tensors.items() if n in slots and (part == "all" or n.startswith("backbone."))}
    if not chosen:
        raise LabError(
            f"{path} has no tensor of the {'backbone' if part == 'trunk' else 'model'} that is to start from it"
        )
    for name, tensor in chosen.items():
        if slots[name].shape != tensor.shape:
            shapes = tuple(slots[name].shape), tuple(tensor.shape)
            raise LabError(f"{path}: tensor {name} must have shape {shapes[0]}, has {shapes[1]}")
        if not tensor.isfinite().all():
            raise LabError(f"{path}: tensor {name} must be finite, is not")
    model.load_state_dict(chosen, strict=False)
    return [name for name in slots if name not in chosen and not name.endswith("num_batches_tracked")]


def _comes_from_package(name: str, config: Config) -> bool:
    return name.startswith("backbone.") and config.model.freeze_backbone and config.model.pretrained == "package"


def _described(config: Config) -> dict[str, str]:
    return {"preset": config.preset, "config": json.dumps(config.flat()), "digest": config.digest()}


def _configured(notes: dict[str, str], path: Path) -> Config:
    try:
        settings: dict[str, Any] = json.loads(notes["config"])
        found = digest_of(settings)  # of what is stored: a setting that was added since has its default
        if found != notes["digest"]:
            raise LabError(f"checkpoint {path} was edited: digest {notes['digest']}, its configuration has {found}")
        return configure(notes["preset"], **settings)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, LabError) and str(path) in str(error):
            raise
        raise LabError(f"checkpoint {path} has a configuration that cannot be used: {error}") from error


def _write(path: Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    path, tensors = Path(path), {name: tensor.cpu() for name, tensor in tensors.items()}
    notes = {**notes, "sha256": _checksum(tensors, notes)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata=notes)
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # on the disk before it has its name, should the power fail
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:  # the latter where the disk is full
        raise LabError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        if partial.exists():
            partial.unlink()


def _read(path: Path, *, expected: str | tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, str]]:
    path = Path(path)
    if not path.is_file():
        raise LabError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise LabError(f"{path} is truncated or no safetensors file: {error}") from error
    expected = (expected,) if isinstance(expected, str) else expected
    if notes.get("format") not in expected:
        raise LabError(
            f"{path} must be a {' or a '.join(map(repr, expected))}, its format is {notes.get('format', 'unnamed')!r}"
        )
    if notes["format"] == _WITH_CARD:
        _compare_with_card(path)
    elif notes.get("sha256") != (found := _checksum(tensors, notes)):
        told = notes.get("sha256", "none")
        raise LabError(f"{path} is damaged: its content must have sha256 {told[:12]}…, has {found[:12]}…")
    return tensors, notes


def _checksum(tensors: dict[str, Tensor], notes: dict[str, str]) -> str:
    """SHA-256 of names, types, shapes and bytes, whatever their order, and of the notes but the checksum itself."""
    told = {name: note for name, note in notes.items() if name != "sha256"}
    hashed = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()))
    return hashed.hexdigest()


def _compare_with_card(path: Path) -> None:
    card = path.with_suffix(".json")
    try:
        told = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LabError(f"{path} has no checksum inside, so its card {card.name} must tell one beside it") from error
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != told:
        raise LabError(f"{path} is damaged: its card says sha256 {str(told)[:12]}…, it has {found[:12]}…")


def device() -> torch.device:
    """Where models are trained, and run on films: the first GPU if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


FOLDER = Path(__file__).parents[1] / "checkpoints"


def shipped_path(preset: str) -> Path:
    """Where the checkpoint of a preset lies, or would lie."""
    return FOLDER / f"{preset}.safetensors"


def shipped_presets() -> list[str]:
    """The presets that have a checkpoint here."""
    return [preset for preset in PRESETS if shipped_path(preset).exists()]


def write_card(checkpoint: Path, *, config: Config, seed: int, command: str) -> None:
    """Write the card beside a checkpoint that has just been made."""
    card = {
        "command": command,
        "digest": config.digest(),
        "preset": config.preset,
        "seed": seed,
        "sha256": sha256(checkpoint),
    }
    with complete_file(checkpoint.with_suffix(".json")) as unfinished:
        unfinished.write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_card(checkpoint: Path) -> dict[str, Any]:
    """The card beside a checkpoint, once the checkpoint is the one it describes.

    Raises:
        LabError: no checkpoint, no card, a card that is no JSON or lacks an entry, or another sha256.
    """
    path = checkpoint.with_suffix(".json")
    for wanted in (checkpoint, path):
        if not wanted.is_file():
            raise LabError(f"{wanted} is missing")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        made = {name: card[name] for name in ("command", "digest", "preset", "seed", "sha256")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LabError(f"{path} must hold command, digest, preset, seed and sha256 as JSON, got: {error}") from error
    if (found := sha256(checkpoint)) != made["sha256"]:
        raise LabError(f"{checkpoint} must have sha256 {str(made['sha256'])[:12]}…, has {found[:12]}…")
    return made


def shipped_mismatch(config: Config, *, seed: int) -> str:
    """Why the shipped checkpoint of the preset cannot stand for a training of `config`; "" where it can."""
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
    """64 hexadecimal digits of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
