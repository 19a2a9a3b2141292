"""What a record must look like to be believed; a file edited by hand is told from one that a run wrote.

What a run leaves behind: `record.json`, written whole or not at all, and read back only if it is whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json, write_json
from feelvos_lab.files.provenance import environment

if TYPE_CHECKING:
    import pandas as pd

    from feelvos_lab.config import Config

_ENTRIES: dict[str, tuple[type, ...]] = {  # name → the types of its values
    "digest": (str,),
    "seed": (int,),
    "split": (str,),
    "config": (dict,),
    "scores": (list,),
    "copied": (list, type(None)),
    "history": (dict,),
    "train_seconds": (int, float),
    "test_seconds": (int, float),
    "versions": (dict,),
    "commit": (str, type(None)),
    "dirty": (bool, type(None)),
    "device": (str,),
    "threads": (int, type(None)),
    "peak_memory_mb": (int,),
}

_ROUNDING = 1e-6  # by which JF may differ from the mean of J and F


def check_record(record: Mapping[str, Any], path: Path) -> None:
    """Raise unless every entry that is read later is there, of its type, and the scores can be scores.

    Raises:
        LabError: an entry that is missing or of another type, a time that is negative or not finite, a score outside
            [0, 1], a JF that is not the mean of J and F, or an object that is there twice.
    """
    for name, types in _ENTRIES.items():
        if name not in record:
            raise LabError(f"{path} lacks {name!r}")
        if type(record[name]) not in types:
            expected = " or ".join("null" if t is type(None) else t.__name__ for t in types)
            raise LabError(f"{path}: {name} must be {expected}, got {record[name]!r}")
    for name in ("train_seconds", "test_seconds", "peak_memory_mb"):
        if not 0 <= record[name] < math.inf:
            raise LabError(f"{path}: {name} must be a number from 0 on, got {record[name]!r}")
    for name, types in (("data", (str,)), ("frames", (int,)), ("height", (int,)), ("width", (int,))):
        if type(record["config"].get(name)) not in types:
            raise LabError(f"{path}: config must have {name}, got {record['config'].get(name)!r}")
    for part in ("scores", "copied"):
        _check_scores(record[part] or [], f"{path}: {part}")


def _check_scores(rows: list[Any], where: str) -> None:
    seen = set()
    for row in rows:
        if not isinstance(row, dict) or type(row.get("clip")) is not str or type(row.get("object")) is not int:
            raise LabError(f"{where} must have a clip and an object in each row, got {row!r}")
        what = f"object {row['object']} of {row['clip']}"
        for name in ("J", "F", "JF"):
            if type(row.get(name)) not in (int, float) or not 0 <= row[name] <= 1:
                raise LabError(f"{where}: {name} of {what} must lie in [0, 1], got {row.get(name)!r}")
        if abs(row["JF"] - (row["J"] + row["F"]) / 2) > _ROUNDING:
            raise LabError(f"{where}: JF of {what} must be the mean of J and F, got {row['JF']!r}")
        if (row["clip"], row["object"]) in seen:
            raise LabError(f"{where} holds {what} twice")
        seen.add((row["clip"], row["object"]))


SCHEMA = 1

RECORD, FAILURE, PLAN = "record.json", "failed.json", "plan.json"

UNFINISHED = ".run.lock"  # held while the run is made; where it is left behind, the run did not end


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
