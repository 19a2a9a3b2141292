"""An experiment's results as they are committed: read back, without its runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from feelvos_lab.ablate.spec import Spec, load_spec
from feelvos_lab.errors import LabError

RECORD_COLUMNS = ("variant", "seed", "clip", "object", "J", "F", "JF")


class Published(NamedTuple):
    """What `ablate report` left in `results/<name>/`, and the experiment file it belongs to."""

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


def read_published(folder: Path | str) -> Published:
    """The results in `experiments/results/<name>/`, with `experiments/<name>.yml`.

    Raises:
        LabError: a file that is missing, a table without the columns of a report, or an experiment file that
            `load_spec` refuses.
    """
    folder = Path(folder).resolve()
    scores = read_scores(folder)
    table = _read(folder / "table.csv", ("variant", "clips", "test_seconds"))
    spec = load_spec(folder.parent.parent / f"{folder.name}.yml")
    if unknown := set(scores["variant"]) - set(spec.variant_names):
        raise LabError(f"{folder}/records.csv has rows of {', '.join(sorted(unknown))}, which {spec.path} lacks")
    return Published(folder, spec, scores, table.set_index("variant"))


def read_scores(folder: Path) -> pd.DataFrame:
    """The folder's records.csv: variant, seed, clip, object, and J, F, JF in percent.

    Raises:
        LabError: it is missing, or lacks one of these columns.
    """
    return _read(folder / "records.csv", RECORD_COLUMNS)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        found = pd.read_csv(path)
    except FileNotFoundError:
        raise LabError(f"there is no {path}: `feelvos-lab ablate run` writes it") from None
    except ValueError as error:  # pandas' errors of parsing are ValueErrors
        raise LabError(f"{path} is no table: {error}") from None
    if missing := [c for c in columns if c not in found]:
        raise LabError(f"{path} must have the columns {', '.join(columns)}; missing: {', '.join(missing)}")
    return found
