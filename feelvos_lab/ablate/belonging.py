"""Whether records.csv and table.csv are what a report wrote, and of the experiment file as it is now.

`report` leaves `made_from.json` beside them: the SHA-256 of both, each row's settings, and each run's fingerprint. A
folder without it, from before there was one, is believed where its two tables agree with each other and with the file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from feelvos_lab.ablate.plan import PlannedRun
from feelvos_lab.ablate.records import read_json, write_json
from feelvos_lab.ablate.results import SCORES, settings_text
from feelvos_lab.ablate.spec import Spec, Variant
from feelvos_lab.errors import LabError

SEAL = "made_from.json"
RECORDS, TABLE = "records.csv", "table.csv"
_ROUNDING = 2e-4  # of tables whose numbers have four digits behind the point
_NAMES = ("variant", "clip", "parameters")  # text, also where it looks like a number


def write_seal(folder: Path, spec: Spec, runs: Sequence[PlannedRun]) -> None:
    """Say what the tables that have just been written to `folder` were made from: the runs that are ok."""
    done = [planned for planned in runs if planned.state == "ok"]
    rows = {planned.variant.name: _settings(planned.variant) for planned in done}
    content = {
        "sha256": {name: _sha256(folder / name) for name in (RECORDS, TABLE)},
        "metric": spec.metric,
        "rows": rows,
        "runs": {planned.folder.name: planned.fingerprint for planned in done},
    }
    write_json(folder / SEAL, content)


def check_files(folder: Path, scores: pd.DataFrame) -> None:
    """Raise unless the folder's tables are those that a report wrote together.

    Raises:
        LabError: one was edited, or is of another report.
    """
    if not (folder / SEAL).exists():
        if not (folder / TABLE).exists():
            raise LabError(f"nothing says that {folder / RECORDS} is a report's: {SEAL} or {TABLE} beside it would")
        _check_means(folder, scores, read_table(folder / TABLE, ("variant", *SCORES)))
        return
    wanted = read_json(folder / SEAL).get("sha256")
    wanted = wanted if isinstance(wanted, dict) else {}
    for name in (RECORDS, TABLE):
        if (folder / name).exists() and _sha256(folder / name) != wanted.get(name):
            raise LabError(
                f"{folder / name} is not the one that its report wrote (see {SEAL}): `feelvos-lab ablate report` "
                "writes it anew from the runs"
            )


def check_experiment(folder: Path, spec: Spec, table: pd.DataFrame) -> None:
    """Raise unless the experiment file still asks for what the tables show.

    Raises:
        LabError: a row has other settings now, or another metric decides.
    """
    seal: dict[str, Any] = read_json(folder / SEAL) if (folder / SEAL).exists() else {}
    if seal and seal.get("metric") != spec.metric:
        raise LabError(f"{folder} was made for the metric {seal.get('metric')}, {spec.path} asks for {spec.metric} now")
    for variant in spec.variants:
        if seal:
            made = seal.get("rows", {}).get(variant.name)
            same = made is None or made == _settings(variant)
        else:
            lines = table.loc[table["variant"] == variant.name, "parameters"] if "parameters" in table else ()
            same = all(_text(line) == settings_text(variant) for line in lines)
        if not same:
            raise LabError(
                f"{folder} is stale: {spec.path} means something else by row {variant.name!r} now than when it was "
                "run; `feelvos-lab ablate run` makes it anew"
            )


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A CSV file that has these columns, and may have others.

    Raises:
        LabError: it is missing, no table, or lacks a column.
    """
    try:
        found = pd.read_csv(path, dtype=str, keep_default_na=False)  # else a row named null would be none, 007 be 7
    except FileNotFoundError:
        raise LabError(f"there is no {path}: `feelvos-lab ablate run` writes it") from None
    except (ValueError, OverflowError) as error:  # pandas' errors of parsing are ValueErrors
        raise LabError(f"{path} is no table: {error}") from None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror or error}") from None
    if missing := [c for c in columns if c not in found]:
        raise LabError(f"{path} must have the columns {', '.join(columns)}; missing: {', '.join(missing)}")
    return found.apply(lambda column: column if column.name in _NAMES else _numbers(column))


def _numbers(column: pd.Series) -> pd.Series:
    """A column of numbers and empty cells, or its text where there is anything else in it."""
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def _check_means(folder: Path, scores: pd.DataFrame, table: pd.DataFrame) -> None:
    for name, rows in scores.groupby("variant"):
        line = table[table["variant"] == name]
        for column in SCORES:
            told = pd.to_numeric(line[column], errors="coerce").iloc[0] if len(line) else math.nan
            mean = rows[column].mean()
            if not abs(mean - told) <= _ROUNDING:
                raise LabError(
                    f"{folder}: the mean {column} of row {name!r} is {mean:.4f} in {RECORDS}, {told} in {TABLE}: they "
                    "are of different reports, or one was edited"
                )


def _settings(variant: Variant) -> dict[str, Any]:
    digest = variant.digest if variant.config is None else variant.config.digest()
    return {"configuration": digest, "parameters": json.loads(json.dumps(dict(variant.parameters)))}


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else ""  # an empty cell is read as nan


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
