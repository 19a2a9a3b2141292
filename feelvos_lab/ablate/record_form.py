"""What a record must look like to be believed; a file edited by hand is told from one that a run wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError

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
