"""From an experiment to its records: what is to run, and the runs, each in processes of its own.

A run's identity is its folder, `<variant>-s<seed>-<8 hex of the configuration>`; its fingerprint (see fingerprint.py)
says whether the record there is what the code would measure now. Four states, shown and never mixed:
`ok`, `failed`, `stale` (code or notebook changed since), `missing` (never run, or interrupted).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from feelvos_lab.ablate.fingerprint import fingerprint
from feelvos_lab.ablate.records import FAILURE, PLAN, RECORD, read_json, read_record, write_json
from feelvos_lab.ablate.spec import Spec, Variant, check_seeds
from feelvos_lab.errors import LabError

State = Literal["ok", "failed", "stale", "missing"]
METRIC_NAMES = {"JF": "J&F", "J": "J", "F": "F"}
PATIENCE = 10.0  # seconds a stopped run gets to end its kernel


@dataclass(frozen=True)
class PlannedRun:
    """One run: a variant with a seed, where it lives, and how far it is."""

    variant: Variant
    seed: int
    folder: Path
    fingerprint: str
    state: State
    reason: str = ""  # why it failed, in one line

    @property
    def name(self) -> str:
        return f"{self.variant.name} seed {self.seed}"

    @property
    def notebook(self) -> Path:
        return self.folder / "notebook.ipynb"

    def record(self) -> dict[str, Any]:
        """The record of a run that is ok.

        Raises:
            LabError: it is not.
        """
        if self.state != "ok":
            raise LabError(f"{self.name} is {self.state}, so it has no number to show")
        return read_record(self.folder)


def plan(spec: Spec, seeds: Sequence[int] | None = None, root: Path = Path("experiments")) -> list[PlannedRun]:
    """All runs of an experiment with their present states; nothing is started or written.

    Args:
        spec: the experiment.
        seeds: in place of the file's.
        root: runs live in `root/runs/<spec>/`.

    Raises:
        LabError: seeds that are no distinct integers from 0 on.
    """
    chosen = tuple(spec.seeds if seeds is None else seeds)
    check_seeds(chosen, where="seeds")
    runs = []
    for seed in chosen:
        for variant in spec.variants:
            folder = Path(root) / "runs" / spec.name / f"{variant.name}-s{seed}-{variant.digest}"
            mark = fingerprint(spec.notebook, {**variant.parameters, "seed": seed}, variant.digest)
            runs.append(_with_state(PlannedRun(variant, seed, folder, mark, "missing")))
    return runs


def run(
    spec: Spec,
    *,
    workers: int | None = None,
    seeds: Sequence[int] | None = None,
    root: Path = Path("experiments"),
    progress: Callable[[str], None] = print,
) -> list[PlannedRun]:
    """Bring every run that is not ok up to date, some at a time; what is ok is not touched.

    A failed run is told and does not stop the others. An interrupt ends the running ones and keeps the finished.

    Args:
        spec: the experiment.
        workers: runs at a time; by default 2 where there are two cores or more. Each gets its share of the threads.
        seeds: in place of the file's.
        root: runs live in `root/runs/<spec>/`.
        progress: takes one line at a time.

    Returns:
        All runs with their states at the end.

    Raises:
        LabError: fewer than one worker, an output folder that cannot be written, or another process at the same work.
    """
    cores = _cores()
    workers = min(2, cores) if workers is None else workers
    if workers < 1:
        raise LabError(f"workers must be at least 1, got {workers}")
    runs = plan(spec, seeds, root)
    todo = [(number, planned) for number, planned in enumerate(runs, 1) if planned.state != "ok"]
    if not todo:
        progress(f"{spec.name}: all {len(runs)} runs are done, nothing to train")
        return runs
    workers = min(workers, len(todo))
    threads = max(1, cores // workers)
    progress(f"{spec.name}: {len(runs)} runs ({count_states(runs)}); {workers} at a time, {threads} thread(s) each")
    with _alone(Path(root) / "runs" / spec.name), contextlib.ExitStack() as open_runs:
        running: list[_Running] = []
        queue = list(todo)
        while queue or running:
            while queue and len(running) < workers:
                number, planned = queue.pop(0)
                started = _Running(number, planned, spec, threads)
                open_runs.callback(started.stop)
                running.append(started)
            time.sleep(0.05)
            for started in [r for r in running if r.process.poll() is not None]:
                running.remove(started)
                runs[started.number - 1] = done = started.finish()
                progress(f"[{started.number}/{len(runs)}] {done.name} … {_outcome(done, spec, started.seconds)}")
    return runs


def count_states(runs: Sequence[PlannedRun]) -> str:
    """Such as `4 ok, 0 failed, 1 stale, 1 missing`."""
    return ", ".join(f"{sum(p.state == state for p in runs)} {state}" for state in get_args(State))


class _Running:
    """A run that was started: a fresh Python process, which drives a kernel of its own."""

    def __init__(self, number: int, planned: PlannedRun, spec: Spec, threads: int) -> None:
        self.number, self.planned, self.began = number, planned, time.monotonic()
        self.seconds = 0.0
        folder = planned.folder
        self._clear(folder, planned)
        write_json(
            folder / PLAN,
            {
                "spec": spec.name,
                "variant": planned.variant.name,
                "notebook": str(spec.notebook),
                "parameters": {**planned.variant.parameters, "seed": planned.seed, "folder": str(folder.resolve())},
                "fingerprint": planned.fingerprint,
            },
        )
        counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        with open(folder / "log.txt", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "feelvos_lab.ablate.child", str(folder)],
                env={**os.environ, **dict.fromkeys(counts, str(threads))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt reaches it through `stop` only, so that it ends its kernel
            )

    @staticmethod
    def _clear(folder: Path, planned: PlannedRun) -> None:
        """Keep the checkpoints of the very same run, so that it goes on; remove those of any other."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            same = read_json(folder / PLAN).get("fingerprint") == planned.fingerprint
        except LabError:
            same = False
        if not same:
            shutil.rmtree(folder)
            folder.mkdir()
        for name in (RECORD, FAILURE, "notebook.ipynb"):
            (folder / name).unlink(missing_ok=True)

    def finish(self) -> PlannedRun:
        """The run's state after its process has ended."""
        self.seconds = time.monotonic() - self.began
        folder, code = self.planned.folder, self.process.returncode
        if code != 0 and not (folder / FAILURE).exists():
            write_json(folder / FAILURE, {"error": _ending(code)})
        if code == 0 and not (folder / RECORD).exists():
            write_json(folder / FAILURE, {"error": "the notebook ran through but wrote no record"})
        return _with_state(self.planned)

    def stop(self) -> None:
        """End the process if it still runs; it gets some seconds to end its kernel."""
        if self.process.poll() is not None:
            self.finish()
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for name in (RECORD, FAILURE):  # interrupted is missing, neither ok nor failed
            (self.planned.folder / name).unlink(missing_ok=True)


def _with_state(planned: PlannedRun) -> PlannedRun:
    """The run with the state that its folder shows."""
    folder = planned.folder
    state: State
    reason = ""
    if not (folder / RECORD).exists() and not (folder / FAILURE).exists():
        state = "missing"
    else:
        try:
            same = read_json(folder / PLAN).get("fingerprint") == planned.fingerprint
            if not same:
                state = "stale"
            elif (folder / FAILURE).exists():
                state, reason = "failed", read_json(folder / FAILURE)["error"]
            else:
                reason = _mismatch(planned, read_record(folder))
                state = "failed" if reason else "ok"
        except LabError as error:
            state, reason = "failed", str(error)
    return replace(planned, state=state, reason=reason)


def _mismatch(planned: PlannedRun, record: dict[str, Any]) -> str:
    """What the record says other than the plan did: a notebook that does not obey its parameters is no evidence."""
    wanted = {"seed": planned.seed, "split": planned.variant.parameters.get("split", record["split"])}
    if planned.variant.config is not None:
        wanted["digest"] = planned.variant.config.digest()
    for key, value in wanted.items():
        if record[key] != value:
            return f"the notebook recorded {key} {record[key]!r}, but {value!r} was planned"
    return ""


def _ending(code: int) -> str:
    if code < 0:
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"the process was ended by {signal.Signals(-code).name}{hint}"
    return f"the process ended with code {code}, see log.txt"


def _outcome(done: PlannedRun, spec: Spec, seconds: float) -> str:
    if done.state != "ok":
        return f"{done.state} after {seconds:.0f} s: {done.reason} (see {done.notebook})"
    scores = done.record()["scores"]
    mean = 100 * sum(row[spec.metric] for row in scores) / len(scores)
    return f"ok {METRIC_NAMES[spec.metric]} {mean:.1f} in {seconds:.0f} s"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the experiment's folder, so that two processes never write into the same runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "w")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise LabError(f"the folder {folder} cannot be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"another process is running the experiment in {folder}; wait for it or stop it") from None
        yield
    finally:
        file.close()


def _cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
