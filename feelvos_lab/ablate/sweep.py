"""A sweep that is under way: one process at a time holds the experiment's folder, and others see how far it is."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from feelvos_lab.ablate.plan import METRIC_NAMES, PlannedRun, count_states, plan
from feelvos_lab.ablate.records import PLAN
from feelvos_lab.ablate.results import seeds_there
from feelvos_lab.ablate.spec import Spec
from feelvos_lab.data import holding

LOCK = ".lock"


@dataclass(frozen=True)
class Sweep:
    """What a process that makes runs tells others, in the file by which it holds the folder."""

    began: float  # seconds since 1970
    workers: int  # runs at a time
    scheduler: str | None  # the cluster's address; None: here
    seeds: list[int]


@contextlib.contextmanager
def alone(folder: Path, sweep: Sweep) -> Iterator[None]:
    """Hold the experiment's folder, so that two processes never write into the same runs.

    Raises:
        LabError: another process holds it, and who; or it cannot be written.
    """
    notes = asdict(sweep) | {"seeds": sorted(set(sweep.seeds))}
    with holding.alone(folder / LOCK, f"running the experiment in {folder}", notes=notes):
        yield


def under_way(folder: Path) -> Sweep | None:
    """The sweep that holds the experiment's folder at this moment, if one does; nothing is held or written."""
    notes = holding.holder(folder / LOCK)
    if notes is None:
        return None
    try:
        return Sweep(**{field.name: notes[field.name] for field in fields(Sweep)})
    except KeyError:  # a process that has just begun to hold it
        return Sweep(began=time.time(), workers=1, scheduler=None, seeds=[])


def seconds_left(runs: Sequence[PlannedRun], *, workers: int, running: Mapping[str, float] | None = None) -> float:
    """An estimate of how long the runs that are not ok or failed will take, from those that are ok.

    Each is thought to take as long as its row did, or else as the mean of all rows; what a running one has spent
    already, `running` by its name, counts. nan where no run is ok yet.
    """
    took = {run.name: run.seconds() for run in runs if run.state == "ok"}
    if not took:
        return math.nan
    rows: dict[str, list[float]] = {}
    for run in runs:
        if run.name in took:
            rows.setdefault(run.variant.name, []).append(took[run.name])
    mean = fmean(took.values())
    todo = [run for run in runs if run.state in ("missing", "stale")]
    each = [fmean(rows.get(run.variant.name, [mean])) - (running or {}).get(run.name, 0.0) for run in todo]
    return max(sum(max(0.0, seconds) for seconds in each) / workers, max(each, default=0.0))


def left_text(seconds: float) -> str:
    """Such as `about 12 min`."""
    if math.isnan(seconds):
        return "unknown time"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def status_text(spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None) -> str:
    """How far an experiment is, read from its folders: a line at the top, then one a run.

    Args:
        spec: the experiment.
        root: as for `run`.
        seeds: by default those of the sweep under way, or the file's and all others that were run.
    """
    folder = Path(root) / "runs" / spec.name
    sweep = under_way(folder)
    if seeds is None:
        seeds = sweep.seeds if sweep is not None and sweep.seeds else seeds_there(spec, root)
    runs = plan(spec, seeds, root)
    spent = _running(runs, sweep)
    lines = [f"{spec.name}: {len(runs)} runs, {count_states(runs)}"]
    if sweep is None:
        lines[0] += "; nothing is running"
    else:
        where = f"on {sweep.scheduler}" if sweep.scheduler else f"here, {sweep.workers} at a time"
        left = left_text(seconds_left(runs, workers=sweep.workers, running=spent))
        lines[0] += f"; running {where}, since {time.strftime('%H:%M', time.localtime(sweep.began))}; {left} left"
    for run in runs:
        if run.name in spent:
            lines.append(f"running {run.name:40}for {spent[run.name]:.0f} s")
        else:
            told = run.reason
            if run.state == "ok":
                told = f"{METRIC_NAMES[spec.metric]} {run.mean(spec.metric):.1f} in {run.seconds():.0f} s"
            lines.append(f"{run.state:8}{run.name:40}{told}".rstrip())
    return "\n".join(lines)


def _running(runs: Sequence[PlannedRun], sweep: Sweep | None) -> dict[str, float]:
    """The runs that this machine makes now, and the seconds since each began; a cluster's are not seen here."""
    if sweep is None or sweep.scheduler is not None:
        return {}
    spent = {}
    for run in runs:
        if run.state == "missing":
            with contextlib.suppress(FileNotFoundError):
                began = os.stat(run.folder / PLAN).st_mtime
                if began >= sweep.began - 1:
                    spent[run.name] = max(0.0, time.time() - began)
    return spent
