"""A new experiment file to fill in: it is valid as it is written, and says what each key means."""

from __future__ import annotations

import os
from pathlib import Path

from feelvos_lab.ablate.records import write_text
from feelvos_lab.ablate.spec import NAME
from feelvos_lab.errors import LabError

TEMPLATE = """\
# What this experiment is for, in a sentence. Then: feelvos-lab ablate plan {path}
question: Does a wider window help?  # the report's headline; end it with a question mark
notebook: {notebook}  # from this file's folder; its parameters cell names all that a row may set
preset: reduced  # smoke: does it run? · reduced: two cores, minutes a run · real: film
split: validation  # try things here; `test` is for the table that is shown in the end
metric: JF  # JF, J or F: what rows are compared by
seeds: [0, 1, 2]  # with one seed no claim is decided
# paper_table: ablation  # a table in feelvos_lab/paper.py; then a row may say `paper: 1` to stand beside it
# fixed: {{steps: 300}}  # what all rows share and the preset has otherwise
baseline: full  # every other row is compared with this one, paired by seed, clip and object
variants:  # one row each: what it sets differently from the preset
  full: {{}}
  narrow: {{radius: 2}}
  no-window: {{previous_matching: global}}
# In place of variants, every combination of some values; the rows are then called radius-0, radius-2, radius-4:
# grid: {{radius: [0, 2, 4]}}
# Written before the runs: which row should score higher. The report answers supported, contradicted or undecided.
claims:
  - {{better: full, worse: narrow}}
  - {{better: full, worse: no-window}}
"""


def write_template(name: str, *, root: Path, notebook: Path) -> Path:
    """Write `root/<name>.yml` for the worker `notebook`, with a comment beside each key.

    Raises:
        LabError: a name that is not of a-z, 0-9 and dashes, a file that is there already, or one that cannot be
            written.
    """
    if not NAME.fullmatch(name.replace("_", "-")):
        raise LabError(f"an experiment's name must be of a-z, 0-9 and single dashes, got {name!r}")
    path = root / f"{name}.yml"
    if os.path.lexists(path):
        raise LabError(f"{path} exists already: choose another name")
    worker = Path(os.path.relpath(notebook.resolve(), root.resolve())).as_posix()
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_text(path, TEMPLATE.format(path=path, notebook=worker))
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror or error}") from None
    return path
