"""A sweep that is under way: one process at a time holds the experiment's folder, and others see how far it is.

Bring an experiment up to date: make the runs that are not ok, here or on a cluster, and tell each as it ends.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from statistics import fmean

from feelvos_lab.ablation.dask_cluster import connected, run_there
from feelvos_lab.ablation.local_runs import run_here
from feelvos_lab.ablation.results import seeds_there
from feelvos_lab.ablation.runs import METRIC_NAMES, PlannedRun, count_states, plan, with_state
from feelvos_lab.ablation.spec import Spec
from feelvos_lab.ablation.worker import PLAN
from feelvos_lab.errors import LabError
from feelvos_lab.files import lock

LOCK = ".lock"


@dataclass(frozen=True)
class Sweep:
    """What a process that makes runs tells others, in the file by which it holds the folder."""

    began: float  # seconds since 1970
    workers: int  # runs at a time
    scheduler: str | None  # the cluster's address; None: here
    seeds: list[int]


@contextlib.contextmanager
def sweep_lock(folder: Path, sweep: Sweep) -> Iterator[None]:
    """Hold the experiment's folder, so that two processes never write into the same runs.

    Raises:
        LabError: another process holds it, and who; or it cannot be written.
    """
    notes = asdict(sweep) | {"seeds": sorted(set(sweep.seeds))}
    with lock.locked(folder / LOCK, f"running the experiment in {folder}", notes=notes):
        yield


def under_way(folder: Path) -> Sweep | None:
    """The sweep that holds the experiment's folder at this moment, if one does; nothing is held or written."""
    notes = lock.holder(folder / LOCK)
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


def run(
    spec: Spec,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    deterministic: bool = False,
    seeds: Sequence[int] | None = None,
    root: Path = Path("experiments"),
    progress: Callable[[str], None] = print,
) -> list[PlannedRun]:
    """Bring every run that is not ok up to date, some at a time; what is ok is not touched.

    A failed run is told and does not stop the others. An interrupt ends the running ones and keeps the finished.

    Args:
        spec: the experiment.
        workers: runs at a time; by default 2 where there are two cores or more. Each gets its share of the threads.
        scheduler: the address of a dask scheduler, such as tcp://127.0.0.1:8786; its workers make the runs.
        deterministic: each run has one thread and gives the same bits each time; runs that are ok are kept.
        seeds: in place of the file's.
        root: runs live in `root/runs/<spec>/`.
        progress: takes one line at a time.

    Returns:
        All runs with their states at the end.

    Raises:
        LabError: fewer than one worker, workers of a scheduler that decides them itself, a scheduler that does not
            answer or goes away, an output folder that cannot be written, or another process at the same work.
    """
    cores = _cores()
    if scheduler is not None and workers is not None:
        raise LabError("workers are for runs on this machine, a scheduler has its own: give one of the two")
    if scheduler is not None and deterministic:
        raise LabError("deterministic runs are made on this machine, whose threads can be fixed, not by a scheduler")
    workers = min(2, cores) if workers is None else workers
    if workers < 1:
        raise LabError(f"workers must be at least 1, got {workers}")
    runs = plan(spec, seeds, root)
    if not (todo := _not_ok(runs)):
        progress(f"{spec.name}: all {len(runs)} runs are done, nothing to train")
        return runs
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            variables: Mapping[str, str] = {}
            if deterministic:
                from feelvos_lab.deterministic import VARIABLES as variables  # imports torch: seconds

            workers = min(workers, len(todo))
            threads = 1 if deterministic else max(1, cores // workers)
            where = f"{workers} at a time, {threads} thread(s) each"
            make = partial(run_here, workers=workers, threads=threads, variables=variables)
        else:
            client = stack.enter_context(connected(scheduler))
            workers = sum(client.nthreads().values())
            where = f"on {workers} worker thread(s) of {scheduler}" if workers else f"{scheduler} has no worker yet"
            make = partial(run_there, client=client)
        sweep = Sweep(began=time.time(), workers=max(1, workers), scheduler=scheduler, seeds=[r.seed for r in runs])
        stack.enter_context(sweep_lock(Path(root) / "runs" / spec.name, sweep))
        runs = [with_state(one) for one in runs]  # again: a sweep that held the lock until now may have ended some
        todo = _not_ok(runs)
        progress(f"{spec.name}: {len(runs)} runs ({count_states(runs)}); {where}")
        outcomes = stack.enter_context(contextlib.closing(make(todo, spec)))
        for count, (done, seconds) in enumerate(outcomes, 1):
            runs[done.number - 1] = done
            if done.state == "ok":
                told = f"ok {METRIC_NAMES[spec.metric]} {done.mean(spec.metric):.1f} in {seconds:.0f} s"
            else:
                told = f"{done.state} after {seconds:.0f} s: {done.reason} (see {done.notebook})"
            left = f"; {left_text(seconds_left(runs, workers=sweep.workers))} left" if count < len(todo) else ""
            progress(f"[{done.number}/{len(runs)}] {done.name} … {told}{left}")
    return runs


def _not_ok(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    return [planned for planned in runs if planned.state != "ok"]


def _cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
