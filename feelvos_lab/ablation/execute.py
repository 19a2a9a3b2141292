"""Bring an experiment up to date: make the runs that are not ok, here or on a cluster; and report how far it is.

One process at a time holds the lock of the experiment's folder; others read its notes there to report the progress.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean

from feelvos_lab.ablation.dask_cluster import connected, run_there
from feelvos_lab.ablation.local_runs import run_here, visible_gpus
from feelvos_lab.ablation.results import seeds_there
from feelvos_lab.ablation.runs import METRIC_NAMES, PlannedRun, count_states, plan, with_state
from feelvos_lab.ablation.spec import Spec
from feelvos_lab.ablation.worker import PLAN
from feelvos_lab.config import PRESETS, ModelConfig, configure
from feelvos_lab.errors import LabError
from feelvos_lab.files import lock

LOCK = ".lock"


@dataclass(frozen=True)
class Sweep:
    """The notes that a process making runs leaves in the lock file, for others to read."""

    began: float  # seconds since 1970
    workers: int  # runs at a time
    scheduler: str | None  # the cluster's address; None: this machine
    seeds: list[int]


def sweep_lock(folder: Path, sweep: Sweep) -> AbstractContextManager[None]:
    """Lock the experiment's folder, so that two processes never write the same runs; LabError if another holds it."""
    return lock.locked(folder / LOCK, f"running the experiment in {folder}", notes=asdict(sweep))


def under_way(folder: Path) -> Sweep | None:
    """The sweep that holds the lock of the experiment's folder now, or None; nothing is locked or written."""
    notes = lock.holder(folder / LOCK)
    if notes is None:
        return None
    try:
        return Sweep(**{field.name: notes[field.name] for field in fields(Sweep)})
    except KeyError:  # locked a moment ago, notes not written yet
        return Sweep(began=time.time(), workers=1, scheduler=None, seeds=[])


def run(
    spec: Spec,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    deterministic: bool = False,
    seeds: Sequence[int] | None = None,
    root: Path = Path("experiments"),
    data_root: Path | None = None,
    networks: Path | None = None,
    only: Sequence[str] = (),
    retries: int = 0,
    timeout: float | None = None,
    progress: Callable[[str], None] = print,
) -> list[PlannedRun]:
    """Make every run that is not ok, some at a time; returns all runs with their states at the end.

    A failed run is reported and does not stop the others. An interrupt ends the running ones and keeps the finished.

    Args:
        workers: runs at a time; by default 2 on two cores or more. The cores are divided among them, and so are the
            GPUs of CUDA_VISIBLE_DEVICES, by default all; one GPU is shared.
        scheduler: the address of a dask scheduler, such as tcp://127.0.0.1:8786; its workers make the runs.
        deterministic: each run has one thread and gives the same bits each time; runs that are ok are kept.
        seeds: instead of the file's.
        root: runs live in `root/runs/<spec>/`.
        data_root: the folder of the published data set that the experiment is about.
        networks: score the checkpoints of this folder instead of training, see `plan`.
        only: make the runs of these rows alone.
        retries: make a run that fails so many times again, after all others.
        timeout: seconds after which a run is ended, and has failed.
        progress: called with one line at a time.

    Raises:
        LabError: a data set that cannot be read, options that exclude each other, a scheduler that does not answer or
            goes away, a folder that cannot be written, or another process running the same experiment.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if scheduler is not None and workers is not None:
        raise LabError("workers are for runs on this machine, a scheduler has its own: give one of the two")
    if scheduler is not None and deterministic:
        raise LabError("deterministic runs are made on this machine, whose threads can be fixed, not by a scheduler")
    workers = min(2, cores) if workers is None else workers
    if workers < 1:
        raise LabError(f"workers must be at least 1, got {workers}")
    if retries < 0 or (timeout is not None and not timeout > 0):
        raise LabError(f"retries must be at least 0 and a timeout more than 0 s, got {retries} and {timeout}")
    rows = {spec.variant(name).name for name in only} or set(spec.variant_names)
    runs = [replace(one, data_root=data_root) for one in plan(spec, seeds, root, networks=networks)]
    todo = _not_ok(runs, rows)
    if todo:
        check_networks(spec)
        check_data(spec, data_root)
    if not todo:  # nothing is locked or written, and no scheduler is needed
        count = sum(one.variant.name in rows for one in runs)
        progress(f"{spec.name}: all {count} runs are done, nothing to train")
        return runs
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            variables: Mapping[str, str] = {}
            if deterministic:
                from feelvos_lab.deterministic import VARIABLES as variables  # imports torch: seconds

            # Not from how few runs are left: the number of threads changes a score, and rows are compared by pairs.
            threads = 1 if deterministic else max(1, cores // workers)
            workers = min(workers, len(todo))
            gpus = visible_gpus()
            place = {0: "", 1: ", on one GPU"}.get(len(gpus), f", spread over {len(gpus)} GPUs")
            where = f"{workers} at a time, {threads} thread(s) each{place}"
            make = partial(run_here, workers=workers, threads=threads, variables=variables, gpus=gpus, timeout=timeout)
        else:
            client = stack.enter_context(connected(scheduler))
            workers = sum(client.nthreads().values())
            where = f"on {workers} worker thread(s) of {scheduler}" if workers else f"{scheduler} has no worker yet"
            make = partial(run_there, client=client, timeout=timeout)
        sweep = Sweep(time.time(), max(1, workers), scheduler, sorted({one.seed for one in runs}))
        stack.enter_context(sweep_lock(Path(root) / "runs" / spec.name, sweep))
        runs = [with_state(one) for one in runs]  # again: a sweep that held the lock until now may have made some
        todo = _not_ok(runs, rows)
        progress(f"{spec.name}: {len(runs)} runs ({count_states(runs)}); {where}")
        for attempt in range(retries + 1):
            if attempt and (todo := _not_ok(runs, rows)):
                progress(f"{spec.name}: {len(todo)} failed run(s) again, retry {attempt} of {retries}")
            with contextlib.closing(make(todo, spec)) as outcomes:
                for count, (done, seconds) in enumerate(outcomes, 1):
                    runs[done.number - 1] = done
                    if done.state == "ok":
                        outcome = f"ok {_score(done, spec, seconds)}"
                    else:
                        outcome = f"{done.state} after {seconds:.0f} s: {done.reason} (see {done.evidence})"
                    if count < len(todo):
                        mine = [one for one in runs if one.variant.name in rows]
                        outcome += f"; {left_text(seconds_left(mine, workers=sweep.workers))} left"
                    progress(f"[{done.number}/{len(runs)}] {done.name} … {outcome}")
    return runs


def _not_ok(runs: Sequence[PlannedRun], rows: Container[str]) -> list[PlannedRun]:
    return [one for one in runs if one.state != "ok" and one.variant.name in rows]


def _score(done: PlannedRun, spec: Spec, seconds: float) -> str:
    return f"{METRIC_NAMES[spec.metric]} {done.mean(spec.metric):.1f} in {seconds:.0f} s"


def status_text(
    spec: Spec, *, root: Path = Path("experiments"), seeds: Sequence[int] | None = None, networks: Path | None = None
) -> str:
    """The progress of an experiment, read from its folders: a summary line, then one line per run.

    Args:
        root: runs live in `root/runs/<spec>/`.
        seeds: by default those of the sweep under way, or the file's and all others that were run.
    """
    folder = Path(root) / "runs" / spec.name
    sweep = under_way(folder)
    if seeds is None:
        seeds = sweep.seeds if sweep is not None and sweep.seeds else seeds_there(spec, root)
    runs = plan(spec, seeds, root, networks=networks)
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
            detail = _score(run, spec, run.seconds()) if run.state == "ok" else run.reason
            lines.append(f"{run.state:8}{run.name:40}{detail}".rstrip())
    return "\n".join(lines)


def _running(runs: Sequence[PlannedRun], sweep: Sweep | None) -> dict[str, float]:
    """The runs in progress on this machine, and the seconds since each began; a cluster's are not known here."""
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


def seconds_left(runs: Sequence[PlannedRun], *, workers: int, running: Mapping[str, float] | None = None) -> float:
    """Estimate the seconds until all missing and stale runs are made; nan where no run is ok yet.

    Each is expected to take the mean of its row, or of all rows where none of its row is ok. `running` holds the
    seconds that runs have taken so far, by name.
    """
    took: dict[str, list[float]] = {}
    for run in runs:
        if run.state == "ok":
            took.setdefault(run.variant.name, []).append(run.seconds())
    if not took:
        return math.nan
    every = list(itertools.chain(*took.values()))
    todo = [run for run in runs if run.state in ("missing", "stale")]
    each = [fmean(took.get(run.variant.name, every)) - (running or {}).get(run.name, 0.0) for run in todo]
    return max(sum(max(0.0, seconds) for seconds in each) / workers, max(each, default=0.0))


def left_text(seconds: float) -> str:
    """Such as `about 12 min`."""
    if math.isnan(seconds):
        return "unknown time"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def check_networks(spec: Spec) -> None:
    """Build the networks whose backbone is that of no preset, or that begin with weights from a file.

    That takes no memory for their weights, and the files are compared with them. LabError names the row.
    """
    known = {(one.backbone, one.deepest_stride) for one in (configure(preset).model for preset in PRESETS)}
    for variant in spec.variants:
        model = None if variant.config is None else variant.config.model
        if model is None or ((model.backbone, model.deepest_stride) in known and not _from_file(model)):
            continue
        import torch  # seconds

        from feelvos_lab.model.build import build_model
        from feelvos_lab.model.weight_file import read_weight_file

        try:
            with torch.device("meta"):
                built = build_model(replace(model, pretrained="none"))
            if _from_file(model):
                read_weight_file(Path(model.pretrained), built.backbone.net, model.backbone)
        except LabError as error:
            raise LabError(f"{spec.path}, variant {variant.name!r}: {error}") from None


def _from_file(model: ModelConfig) -> bool:
    return model.pretrained not in ("none", "package")


def check_data(spec: Spec, data_root: Path | None) -> None:
    """Read the lists and first masks of the published data sets that the rows use; LabError says what is wrong."""
    settings = {variant.config.data for variant in spec.variants if variant.config is not None}
    published = {replace(one, root=str(data_root or one.root)) for one in settings if one.data != "shapes"}
    if not published:
        if data_root is not None:
            raise LabError(f"{spec.path}: its rows use synthetic clips, which have no folder: leave --data-root out")
        return
    from feelvos_lab.data.datasets import load_clips  # imports torch: seconds

    for one in published:
        load_clips(one, split="train")
        load_clips(one, split=spec.split or "test")
