"""A run's `record.json`: its form, how it is written, and how it is read back.

The form is checked both when a record is written and when it is read: a file that was edited by hand into something
that no run writes is rejected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json, write_json
from feelvos_lab.files.provenance import environment

if TYPE_CHECKING:
    import pandas as pd

    from feelvos_lab.config import Config
    from feelvos_lab.data.clip import Clip

RECORD, SCHEMA = "record.json", 1

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Score(BaseModel, strict=True):
    clip: str
    object: int
    J: float
    F: float
    JF: float


class _Settings(BaseModel, strict=True):
    """The settings that a report quotes; the others are not checked."""

    data: str
    frames: int
    height: int
    width: int


class _Record(BaseModel, strict=True):
    """The entries that are read later, and their types."""

    schema_: Literal[1] = Field(alias="schema")
    digest: str
    seed: int
    split: str
    config: _Settings
    scores: list[_Score]
    copied: list[_Score] | None
    history: dict[str, Any]
    train_seconds: _Amount
    test_seconds: _Amount
    versions: dict[str, Any]
    commit: str | None
    dirty: bool | None
    device: str
    threads: int | None
    search: str | None = None  # FEELVOS_SEARCH, where it was set
    peak_memory_mb: int = Field(ge=0)
    files: str | None = None  # see `files_digest`
    network: str | None = None  # the SHA-256 of a network that was given; None: the run trained its own

    @field_validator("scores", "copied")
    @classmethod
    def _check_scores(cls, rows: list[_Score] | None, info: ValidationInfo) -> list[_Score] | None:
        if rows == []:
            raise ValueError(f"{info.field_name} holds no object")
        seen = set()
        for row in rows or ():
            what = f"object {row.object} of {row.clip}"
            for name, score in (("J", row.J), ("F", row.F), ("JF", row.JF)):
                if not 0 <= score <= 1:
                    raise ValueError(f"{info.field_name}: {name} of {what} must lie in [0, 1], got {score!r}")
            if abs(row.JF - (row.J + row.F) / 2) > 1e-6:
                raise ValueError(f"{info.field_name}: JF of {what} must be the mean of J and F, got {row.JF!r}")
            if what in seen:
                raise ValueError(f"{info.field_name} holds {what} twice")
            seen.add(what)
        return rows


def _checked(record: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, expected = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Input should be ")
        if first["type"] == "missing":
            raise LabError(f"{path} lacks {name!r}") from None
        if first["type"] == "value_error":
            raise LabError(f"{path}: {first['ctx']['error']}") from None
        raise LabError(f"{path}: {name} must be {expected}, got {first['input']!r}") from None
    return record


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
    network: str | None = None,
    clips: Sequence[Clip] | None = None,
) -> Path:
    """Write a run's `record.json`: what was run, where, how long it took, and the scores per object; returns its path.

    Args:
        folder: the run's; created if missing.
        config: all settings; written flat, with their digest.
        seed: of the training.
        split: which clips were scored.
        scores: one row per object with columns clip, object, J, F and JF, fractions in [0, 1].
        history: the training's, dicts with step and loss.
        train_seconds: wall time of the training, over all its sessions.
        test_seconds: wall time of inference and scoring.
        copied: the scores of copying the first mask unchanged, on the same clips.
        network: the SHA-256 of the checkpoint that was scored, where the run did not train one.
        clips: those that were scored; the names and sizes of their files are recorded, as one checksum.

    Raises:
        LabError: scores without rows, without one of the columns, or outside [0, 1].
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
        "network": network,
        "files": None if clips is None else files_digest(clips),
        **environment(),
    }
    path = Path(folder) / RECORD
    write_json(path, _checked(record, path))
    return path


def files_digest(clips: Sequence[Clip]) -> str | None:
    """16 hexadecimal digits of the names and sizes of the clips' frames and masks; None where they are no files.

    The folder of the data set does not count, and no file is read.
    """
    lines = []
    for clip in clips:
        for source in (clip.frames, clip.masks):
            lines += [f"{clip.name}/{path.name} {path.stat().st_size}" for path in getattr(source, "paths", ())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] if lines else None


def _rows(scores: pd.DataFrame) -> list[dict[str, Any]]:
    return scores.filter(items=list(_Score.model_fields)).to_dict("records")


def read_record(folder: Path | str) -> dict[str, Any]:
    """The record in a run's folder; LabError if there is none, or no run of this version can have written it."""
    path = Path(folder) / RECORD
    return _checked(read_json(path), path)
