"""What a run leaves behind: `record.json`, written whole or not at all, and read back only if it is whole."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import feelvos_lab
from feelvos_lab.ablate.record_form import check_record
from feelvos_lab.data.writing import complete_file
from feelvos_lab.errors import LabError

if TYPE_CHECKING:  # a run's process reads records without waiting for pandas
    import pandas as pd

    from feelvos_lab.config import Config

SCHEMA = 1
RECORD, FAILURE, PLAN = "record.json", "failed.json", "plan.json"
UNFINISHED = ".run.lock"  # held while the run is made; where it is left behind, the run did not end
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "pandas")


def write_record(
    folder: Path | str,
    *,
    config: Config,
    seed: int,
    split: str,
    scores: pd.DataFrame,
    history: Sequence[Mapping[str, Any]],
    train_seconds: float,
    test_seconds: float,
    copied: pd.DataFrame | None = None,
) -> Path:
    """Write a run's `record.json`: what was run, where, how long it took, and the scores per object.

    Args:
        folder: the run's; made where it does not exist.
        config: all settings; written flat, with their digest.
        seed: of the training.
        split: which clips were scored.
        scores: one row an object with columns clip, object, J, F and JF, fractions in [0, 1].
        history: the training's, dicts with step and loss.
        train_seconds: wall time of the training, all its sessions together.
        test_seconds: wall time of inference and scoring together.
        copied: the scores of copying the first mask unchanged, on the same clips.

    Returns:
        The file's path.

    Raises:
        LabError: scores without rows or columns that should be there, or a value outside [0, 1].
    """
    losses = [float(entry["loss"]) for entry in history]
    tail = losses[-max(1, len(losses) // 10) :]
    record = {
        "schema": SCHEMA,
        "preset": config.preset,
        "digest": config.digest(),
        "seed": seed,
        "split": split,
        "config": config.flat(),
        "scores": _rows(scores),
        "copied": None if copied is None else _rows(copied),
        "history": {
            "steps": int(history[-1]["step"]) if losses else 0,
            "first_loss": losses[0] if losses else None,
            "last_tenth_mean_loss": sum(tail) / len(tail) if tail else None,
        },
        "train_seconds": round(train_seconds, 2),
        "test_seconds": round(test_seconds, 2),
        **environment(),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD
    write_json(path, record)
    return path


def _rows(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """The scores as they are written, once they are whole."""
    missing = {"clip", "object", "J", "F", "JF"} - set(scores.columns)
    if missing or scores.empty:
        raise LabError(f"scores must have rows and the columns clip, object, J, F, JF; missing: {sorted(missing)}")
    values = scores[["J", "F", "JF"]].to_numpy(dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise LabError(f"scores must lie in [0, 1], got {values.min()} to {values.max()}")
    return [
        {"clip": str(row.clip), "object": int(row.object), "J": float(row.J), "F": float(row.F), "JF": float(row.JF)}
        for row in scores.itertuples()
    ]


def environment() -> dict[str, Any]:
    """Versions, commit, device, threads and the process's peak memory so far, for a record."""
    torch = sys.modules.get("torch")  # not imported only to be asked
    cuda = torch is not None and torch.cuda.is_initialized()
    commit, dirty = _git()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, on macOS bytes
    return {
        "versions": {
            "python": platform.python_version(),
            "feelvos_lab": feelvos_lab.__version__,
            **{name: _version(name) for name in PACKAGES},
        },
        "commit": commit,
        "dirty": dirty,
        "device": torch.cuda.get_device_name() if cuda else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads() if torch is not None else None,
        "deterministic": torch is not None and torch.are_deterministic_algorithms_enabled(),
        "peak_memory_mb": round(peak / (1024 if sys.platform != "darwin" else 1024**2)),
        "peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 1024**2) if cuda else None,
    }


def read_record(folder: Path | str) -> dict[str, Any]:
    """The record in a run's folder.

    Raises:
        LabError: none there, not whole, written by another version of this file, or edited into what no run writes.
    """
    path = Path(folder) / RECORD
    record = read_json(path)
    if record.get("schema") != SCHEMA:
        raise LabError(f"{path} must be of schema {SCHEMA}, got {record.get('schema')!r}")
    if not record.get("scores"):
        raise LabError(f"{path} holds no scores")
    check_record(record, path)
    return record


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        LabError: no such file, or no JSON object in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError(f"there is no {path}") from None
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path} cannot be read as JSON: {error}") from None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror or error}") from None
    if not isinstance(content, dict):
        raise LabError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one step: whoever reads it sees all of it or the one before."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    with complete_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    """Commit and whether tracked files differ from it; (None, None) outside a checkout."""
    root = Path(feelvos_lab.__file__).parents[1]

    def ask(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    status = ask("status", "--porcelain", "--untracked-files=no") if commit else None
    return commit, None if status is None else bool(status)
