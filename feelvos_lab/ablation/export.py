"""All runs of several experiments as one flat table, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from feelvos_lab.ablation.results import SCORES, seeds_there
from feelvos_lab.ablation.runs import PlannedRun, plan
from feelvos_lab.ablation.spec import Spec, load_spec
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import write_text

_MADE = ("commit", "dirty", "device", "threads", "deterministic", "train_seconds", "test_seconds", "peak_memory_mb")


def write_runs(paths: Sequence[Path], out: Path, *, root: Path = Path("experiments")) -> int:
    """Write the runs of the experiment files to the CSV file `out`; returns how many.

    A run that is not ok has its state and settings, but no score. Columns: experiment, row, seed, split, state, reason,
    folder; J, F and JF in percent, the mean over objects; how it was made; `set_…` for each setting.

    Raises:
        LabError: no experiment file, one that is wrong, or `out` cannot be written.
    """
    if not paths:
        raise LabError(f"there is no experiment file NAME.yml in {root} to export")
    specs = [load_spec(path) for path in paths]
    lines = [_line(spec, run) for spec in specs for run in plan(spec, seeds_there(spec, root), root)]
    write_text(out, pd.DataFrame(lines).to_csv(index=False, lineterminator="\n"))
    return len(lines)


def _line(spec: Spec, run: PlannedRun) -> dict[str, Any]:
    line = {"experiment": spec.name, "row": run.variant.name, "seed": run.seed, "split": spec.split}
    line |= {"state": run.state, "reason": run.reason, "folder": run.folder.as_posix()}
    record = run.record() if run.state == "ok" else {}
    line |= {name: round(run.mean(name), 4) if record else None for name in SCORES}
    line |= {"objects": len(record["scores"]) if record else None, "seconds": run.seconds() if record else None}
    line |= {name: record.get(name) for name in _MADE}
    line |= {f"version_{name}": record.get("versions", {}).get(name) for name in ("python", "torch")}
    settings = run.variant.config.flat() if run.variant.config else dict(run.variant.parameters)
    return line | {f"set_{name}": value for name, value in settings.items()}
