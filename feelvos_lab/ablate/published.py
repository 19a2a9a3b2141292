"""An experiment's results read back from a folder, without its runs: the published ones, or a report of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from feelvos_lab.ablate.results import SCORES, settings_text
from feelvos_lab.ablate.spec import Spec, load_spec
from feelvos_lab.errors import LabError

RECORDS, TABLE, REPORT = "records.csv", "table.csv", "report"
_NAMES = ("variant", "clip", "parameters")  # text, also where it looks like a number
RECORD_COLUMNS = ("variant", "seed", "clip", "object", "J", "F", "JF")


class Published(NamedTuple):
    """What `ablate report` or `ablate publish` left in a folder, and the experiment file it belongs to."""

    folder: Path
    spec: Spec
    scores: pd.DataFrame  # records.csv: variant, seed, clip, object, and J, F, JF in percent
    table: pd.DataFrame  # table.csv by variant: settings, means, intervals, seconds, and the paper's row

    def of(self, variant: str) -> pd.DataFrame:
        """The scores of one variant; no rows where it was not run."""
        return self.scores[self.scores["variant"] == variant]

    @property
    def variants(self) -> list[str]:
        """Those of the experiment's variants that have scores, in its order."""
        there = set(self.scores["variant"])
        return [name for name in self.spec.variant_names if name in there]


def results_folder(spec: Spec, root: Path) -> Path:
    """The published results of an experiment, tracked by git."""
    return Path(root) / "results" / spec.name


def report_folder(spec: Spec, root: Path) -> Path:
    """The report of the runs made here, beside them; ignored by git."""
    return Path(root) / "runs" / spec.name / REPORT


def read_published(folder: Path | str) -> Published:
    """The results in `experiments/results/<name>/` or `experiments/runs/<name>/report/`, with `experiments/<name>.yml`.

    Raises:
        LabError: a file that is missing, a table without the columns of a report, rows that the experiment file lacks
            or sets otherwise now, or an experiment file that `load_spec` refuses.
    """
    folder = Path(folder).resolve()
    scores = read_scores(folder)
    table = read_table(folder / TABLE, ("variant", "clips", "test_seconds"))
    named = folder.parent if folder.name == REPORT else folder
    spec = load_spec(named.parent.parent / f"{named.name}.yml")
    if unknown := set(scores["variant"]) - set(spec.variant_names):
        raise LabError(f"{folder}/records.csv has rows of {', '.join(sorted(unknown))}, which {spec.path} lacks")
    _refuse_changed_rows(folder, spec, table)
    return Published(folder, spec, scores, table.set_index("variant"))


def read_scores(folder: Path) -> pd.DataFrame:
    """The folder's records.csv: variant, seed, clip, object, and J, F, JF in percent.

    Raises:
        LabError: it is missing, lacks one of these columns, or holds what no run can score.
    """
    path = folder / RECORDS
    scores = read_table(path, RECORD_COLUMNS)
    for column in SCORES:
        wrong = ~pd.to_numeric(scores[column], errors="coerce").between(0, 100)
        if wrong.any():
            raise LabError(f"{path} must hold {column} in percent, got {scores[column][wrong].iloc[0]}")
    if (twice := scores.duplicated(["variant", "seed", "clip", "object"])).any():
        variant, seed, clip, number = scores[twice].iloc[0][["variant", "seed", "clip", "object"]]
        raise LabError(f"{path} holds object {number} of {clip} twice, in {variant} seed {seed}")
    return scores


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


def _refuse_changed_rows(folder: Path, spec: Spec, table: pd.DataFrame) -> None:
    """Raise where a row has other settings in the experiment file now than those that its numbers were made with."""
    for variant in spec.variants:
        made = table.loc[table["variant"] == variant.name, "parameters"] if "parameters" in table else ()
        if any(settings != settings_text(variant) for settings in made):
            raise LabError(
                f"{folder} is stale: {spec.path} sets row {variant.name!r} to {settings_text(variant)!r} now, its "
                f"numbers were made with {made.iloc[0]!r}"
            )
