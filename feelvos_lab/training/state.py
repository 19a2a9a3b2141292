"""The state of a training on disk, from which it resumes exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from feelvos_lab.config import Config
from feelvos_lab.errors import LabError, shape_text
from feelvos_lab.model.checkpoint import STATE, config_notes, read_tensors, require_fit, write_tensors

_NOTES = ("digest", "seed", "step", "history")

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Row(BaseModel, strict=True, extra="forbid"):
    """A logged step."""

    step: Annotated[int, Field(ge=1)]
    loss: _Finite
    learning_rate: _Finite
    seconds: _Finite


_ROWS = TypeAdapter(list[_Row])


class TrainingState:
    """Weights, optimizer slots, step and history in `folder`; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, config: Config, seed: int) -> None:
        self.path = None if folder is None else Path(folder) / "state.safetensors"
        self.config, self.seed = config, seed

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, float]]]:
        """Fill model and optimizer from the state, if there is one; returns the next step and the history so far.

        Unfinished files of a killed process are removed. Raises LabError for a damaged state, one of another
        configuration or seed, or one that no training of it has written; the model is unchanged then.
        """
        if self.path is None:
            return 0, []
        for unfinished in self.path.parent.glob(f".{self.path.stem}.*.partial{self.path.suffix}"):
            unfinished.unlink(missing_ok=True)
        if not self.path.exists():
            return 0, []
        tensors, notes = read_tensors(self.path, expected=(STATE,))
        if lacking := [name for name in _NOTES if name not in notes]:
            raise self._forged(f"it lacks the note {lacking[0]!r}")
        if notes["digest"] != self.config.digest() or notes["seed"] != str(self.seed):
            raise LabError(
                f"{self.path} belongs to configuration {notes['digest'][:40]} seed {notes['seed'][:40]}, expected "
                f"{self.config.digest()} seed {self.seed}; use another folder or delete it"
            )
        if notes.get("tensors", str(len(tensors))) != str(len(tensors)):
            raise self._forged(f"it must hold {notes['tensors'][:40]} tensors, holds {len(tensors)}")
        step, history = self._progress(notes)
        weights = {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}
        if odd := sorted(weights.keys() ^ model.state_dict().keys()):
            raise self._forged(f"tensor model/{odd[0]} is missing or unknown")
        require_fit(weights, model.state_dict(), self.path)
        others = {name: tensor for name, tensor in tensors.items() if not name.startswith("model/")}
        slots = self._slots(others, optimizer, step)
        model.load_state_dict(weights)
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        return step, history

    def _progress(self, notes: Mapping[str, str]) -> tuple[int, list[dict[str, float]]]:
        """The step and the history that the notes hold."""
        most = self.config.train.steps
        step = int(notes["step"]) if notes["step"].isdecimal() and len(notes["step"]) < 20 else -1
        if not 0 <= step <= most:
            raise self._forged(f"its step must be 0 to {most}, is {notes['step'][:40]!r}")
        try:
            history = [row.model_dump() for row in _ROWS.validate_json(notes["history"])]
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = "".join(f"[{part!r}]" for part in first["loc"])
            raise self._forged(f"history{where}: {first['msg']}") from None
        steps = [row["step"] for row in history]
        if steps != sorted(set(steps)) or any(s > step for s in steps):
            raise self._forged(f"its history must hold ascending steps up to {step}")
        return step, history

    def _slots(
        self, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, step: int
    ) -> dict[int, dict[str, Tensor]]:
        """The optimizer's tensors by parameter and name, as its `load_state_dict` expects them."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        known = _slot_names(optimizer)
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if not name.startswith("optimizer/"):
                raise self._forged(f"tensor {name[:80]} is unknown")
            _, index, slot, *more = [*name.split("/"), "", ""]
            if any(more) or slot not in known or index not in map(str, range(len(parameters))):
                raise self._forged(f"tensor {name[:80]} is unknown to the optimizer")
            like = torch.zeros(()) if slot == "step" else parameters[int(index)]
            if tensor.shape != like.shape or tensor.dtype != like.dtype:
                expected, found = (f"{shape_text(t.shape)} {t.dtype}" for t in (like, tensor))
                raise self._forged(f"tensor {name} must be {expected}, is {found}")
            if not tensor.isfinite().all() or (slot == "exp_avg_sq" and (tensor < 0).any()):
                raise self._forged(f"tensor {name} must be finite, a square not negative")
            if slot == "step":
                if not 0 <= tensor.item() <= step or tensor.item() % 1:
                    raise self._forged(f"tensor {name} must be a step up to {step}, is {tensor.item():g}")
            else:
                tensor = torch.empty_like(like).copy_(tensor)  # fused optimizers need the parameter's own layout
            slots.setdefault(int(index), {})[slot] = tensor
        for index, found in slots.items():
            if found.keys() != known:
                raise self._forged(f"parameter {index} must have {', '.join(sorted(known))}, has {', '.join(found)}")
        if step and known and not slots:
            raise self._forged(f"it lacks the optimizer's tensors of step {step}")
        return slots

    def _forged(self, reason: str) -> LabError:
        return LabError(
            f"{self.path} is no state that this training has written: {reason}; use another folder or delete it"
        )

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
        notes |= {"history": json.dumps(history), "tensors": str(len(tensors))}
        write_tensors(self.path, tensors, notes)


def _slot_names(optimizer: torch.optim.Optimizer) -> set[str]:
    """The tensors that the optimizer keeps of a parameter once it has had a gradient."""
    if isinstance(optimizer, torch.optim.AdamW):
        return {"step", "exp_avg", "exp_avg_sq"}
    return {"momentum_buffer"} if optimizer.param_groups[0]["momentum"] else set()
