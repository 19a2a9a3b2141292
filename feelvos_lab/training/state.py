"""The state of a training on disk, from which it resumes exactly."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from feelvos_lab.config import Config
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import STATE, config_notes, read_tensors, write_tensors


class TrainingState:
    """Weights, optimizer slots, step and history in `folder`; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, config: Config, seed: int) -> None:
        self.path = None if folder is None else Path(folder) / "state.safetensors"
        self.config, self.seed = config, seed

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, float]]]:
        """Fill model and optimizer from the state, if there is one; returns the next step and the history so far.

        Unfinished files of a killed process are removed. Raises LabError for a damaged state, or one of another
        configuration or seed.
        """
        if self.path is None:
            return 0, []
        for unfinished in self.path.parent.glob(f".{self.path.stem}.*.partial{self.path.suffix}"):
            unfinished.unlink(missing_ok=True)
        if not self.path.exists():
            return 0, []
        tensors, notes = read_tensors(self.path, expected=(STATE,))
        if notes["digest"] != self.config.digest() or int(notes["seed"]) != self.seed:
            raise LabError(
                f"{self.path} belongs to configuration {notes['digest']} seed {notes['seed']}, expected "
                f"{self.config.digest()} seed {self.seed}; use another folder or delete it"
            )
        model.load_state_dict({n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")})
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, index, slot = name.split("/")
                if tensor.shape == (like := parameters[int(index)]).shape:
                    tensor = torch.empty_like(like).copy_(tensor)  # fused optimizers need the parameter's own layout
                slots.setdefault(int(index), {})[slot] = tensor
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        return int(notes["step"]), json.loads(notes["history"])

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, history: list[dict[str, float]]
    ) -> None:
        """Keep everything that the next step depends on."""
        if self.path is None:
            return
        tensors = {f"model/{name}": t.contiguous() for name, t in model.state_dict().items()}
        for index, slots in optimizer.state_dict()["state"].items():
            for slot, value in slots.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{index}/{slot}"] = value.contiguous()
        notes = {"format": STATE, **config_notes(self.config), "seed": str(self.seed), "step": str(step)}
        write_tensors(self.path, tensors, {**notes, "history": json.dumps(history)})
