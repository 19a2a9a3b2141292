"""An experiment's results as they are committed: read back, without its runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from feelvos_lab.ablate.belonging import RECORDS, TABLE, check_experiment, check_files, read_table
from feelvos_lab.ablate.results import SCORES
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
        LabError: a file that is missing, a table without the columns of a report, one that was edited or is of another
            report or experiment file, or an experiment file that `load_spec` refuses.
    """
    folder = Path(folder).resolve()
    scores = read_scores(folder)
    table = read_table(folder / TABLE, ("variant", "clips", "test_seconds"))
    spec = load_spec(folder.parent.parent / f"{folder.name}.yml")
    if unknown := set(scores["variant"]) - set(spec.variant_names):
        raise LabError(f"{folder}/records.csv has rows of {', '.join(sorted(unknown))}, which {spec.path} lacks")
    check_experiment(folder, spec, table)
    return Published(folder, spec, scores, table.set_index("variant"))


def read_scores(folder: Path) -> pd.DataFrame:
    """The folder's records.csv: variant, seed, clip, object, and J, F, JF in percent.

    Raises:
        LabError: it is missing, lacks one of these columns, holds what no run can score, or is not the one that the
            folder's report wrote.
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
    check_files(folder, scores)
    return scores
