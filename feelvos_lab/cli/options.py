"""What several commands of the command line share: options, and the model that a checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feelvos_lab.errors import LabError

if TYPE_CHECKING:
    from feelvos_lab.config import Config

Out = Annotated[Path, typer.Option(help="Folder for the results; must be new or empty.")]

DataRoot = Annotated[Path | None, typer.Option(help="Where the data set lies.")]

Checkpoint = Annotated[Path | None, typer.Option(help="A model.safetensors; without it, the shipped one.")]


def open_model(checkpoint: Path | None) -> tuple[Any, Config, str]:
    """The model of a checkpoint, its configuration, and where it came from, for a person to read."""
    from feelvos_lab.model.checkpoint import device, load_checkpoint, read_card, shipped_path, shipped_presets

    if checkpoint is None:
        preset = next((p for p in ("real", "reduced") if p in shipped_presets()), None)
        if preset is None:
            raise LabError("no checkpoint is shipped: train one with `feelvos-lab train`, then pass --checkpoint")
        checkpoint = shipped_path(preset)
        read_card(checkpoint)
    model, config = load_checkpoint(checkpoint, device=device())
    return model, config, f"{checkpoint} (preset {config.preset}, configuration {config.digest()})"
