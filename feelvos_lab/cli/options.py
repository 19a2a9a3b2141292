"""Options that several commands share, and the model of --checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feelvos_lab.errors import LabError

if TYPE_CHECKING:
    from feelvos_lab.config import Config

Out = Annotated[Path, typer.Option(help="Folder for the results; must be new or empty.")]

DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data set.")]

Height = Annotated[
    int | None,
    typer.Option(min=0, help="Downscale frames to this height for the network; 0: do not. Default: the model's."),
]

Checkpoint = Annotated[Path | None, typer.Option(help="A model.safetensors. Default: the shipped one.")]


def open_model(checkpoint: Path | None) -> tuple[Any, Config, str]:
    """The model of a checkpoint (None: the shipped one), its configuration, and a line that describes it."""
    from feelvos_lab.model.checkpoint import load_checkpoint, read_card, shipped_path, shipped_presets
    from feelvos_lab.model.device import device

    if checkpoint is None:
        preset = next((p for p in ("real", "reduced") if p in shipped_presets()), None)
        if preset is None:
            raise LabError("no checkpoint is shipped: train one with `feelvos-lab train`, then pass --checkpoint")
        checkpoint = shipped_path(preset)
        read_card(checkpoint)
    model, config = load_checkpoint(checkpoint, device=device())
    return model, config, f"{checkpoint} (preset {config.preset}, configuration {config.digest()})"
