"""Bring an experiment up to date: make the runs that are not ok, here or on a cluster, and tell each as it ends."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from feelvos_lab.ablate.plan import METRIC_NAMES, PlannedRun, count_states, plan
from feelvos_lab.ablate.process import run_here
from feelvos_lab.ablate.spec import Spec
from feelvos_lab.ablate.sweep import Sweep, alone, left_text, seconds_left
from feelvos_lab.errors import LabError


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
    if not (todo := _todo(runs)):
        progress(f"{spec.name}: all {len(runs)} runs are done, nothing to train")
        return runs
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            from feelvos_lab.deterministic import VARIABLES

            workers = min(workers, len(todo))
            threads = 1 if deterministic else max(1, cores // workers)
            where = f"{workers} at a time, {threads} thread(s) each"
        else:
            from feelvos_lab.ablate.cluster import connected, run_there

            client = stack.enter_context(connected(scheduler))
            workers = sum(client.nthreads().values())
            where = f"on {workers} worker thread(s) of {scheduler}" if workers else f"{scheduler} has no worker yet"
        sweep = Sweep(began=time.time(), workers=max(1, workers), scheduler=scheduler, seeds=[r.seed for r in runs])
        stack.enter_context(alone(Path(root) / "runs" / spec.name, sweep))
        runs = plan(spec, seeds, root)  # again: a sweep that held the folder until now may have ended some
        todo = _todo(runs)
        if scheduler is None:
            variables = VARIABLES if deterministic else {}
            outcomes = run_here(todo, spec, workers=workers, threads=threads, variables=variables)
        else:
            outcomes = run_there(todo, spec, client)
        stack.enter_context(contextlib.closing(outcomes))
        progress(f"{spec.name}: {len(runs)} runs ({count_states(runs)}); {where}")
        waiting = len(todo)
        for outcome in outcomes:
            runs[outcome.number - 1] = done = outcome.run
            waiting -= 1
            left = f"; {left_text(seconds_left(runs, workers=sweep.workers))} left" if waiting else ""
            progress(f"[{outcome.number}/{len(runs)}] {done.name} … {_told(done, spec, outcome.seconds)}{left}")
    return runs


def _todo(runs: Sequence[PlannedRun]) -> list[tuple[int, PlannedRun]]:
    """The runs that are not ok, with their places from 1 on."""
    return [(number, planned) for number, planned in enumerate(runs, 1) if planned.state != "ok"]


def _told(done: PlannedRun, spec: Spec, seconds: float) -> str:
    if done.state != "ok":
        return f"{done.state} after {seconds:.0f} s: {done.reason} (see {done.notebook})"
    return f"ok {METRIC_NAMES[spec.metric]} {done.mean(spec.metric):.1f} in {seconds:.0f} s"


def _cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
