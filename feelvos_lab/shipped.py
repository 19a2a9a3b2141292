"""The checkpoints in the repository, each with a card that says how it was made.

    checkpoints/reduced.safetensors
    checkpoints/reduced.json      {"command": …, "sha256": …, "preset": …, "seed": …, "digest": …}

`feelvos-lab train --out DIR` writes both as `model.safetensors` and `model.json`; to ship them is to copy them here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from feelvos_lab.config import PRESETS, Config
from feelvos_lab.data.writing import complete_file
from feelvos_lab.errors import LabError

FOLDER = Path(__file__).parent / "checkpoints"


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


def why_not(config: Config, *, seed: int) -> str:
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
