"""One run in a fresh Python process: started in its folder, concluded when it has ended, stopped when it must."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from feelvos_lab.ablation.record import FAILURE, PLAN, RECORD, UNFINISHED
from feelvos_lab.ablation.runs import Outcome, PlannedRun, with_state
from feelvos_lab.ablation.spec import Spec
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json, remove_unfinished, write_json
from feelvos_lab.files.lock import acquire

PATIENCE = 10.0  # seconds a stopped run gets to end its kernel

ORPHANS = 30.0  # seconds for what a killed sweep left running, which ends by itself

NOTEBOOK, LOG = "notebook.ipynb", "log.txt"

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def run_here(
    todo: Sequence[tuple[int, PlannedRun]],
    spec: Spec,
    *,
    workers: int,
    threads: int,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Outcome]:
    """Make the runs on this machine, `workers` at a time with so many threads each; each is told when it has ended.

    `variables` are set in each run's environment.

    Closing the iterator stops those that run.

    Raises:
        LabError: a run's folder cannot be written, as on a full disk, or something else still works there.
    """
    queue, running = list(todo), dict[int, tuple[PlannedRun, subprocess.Popen[bytes], float]]()
    try:
        while queue or running:
            while queue and len(running) < workers:
                number, planned = queue.pop(0)
                process = _begin(planned, spec, {**dict.fromkeys(THREADS, str(threads)), **(variables or {})})
                running[number] = (planned, process, time.monotonic())
            time.sleep(0.05)
            for number, (planned, process, began) in list(running.items()):
                if process.poll() is not None:
                    del running[number]
                    conclude(planned.folder, process.returncode)
                    yield Outcome(number, with_state(planned), time.monotonic() - began)
    finally:
        interrupted = [end(process) for _, process, _ in running.values()]  # all, before anything is written
        for (planned, process, _), it in zip(running.values(), interrupted, strict=True):
            if not it:
                conclude(planned.folder, process.returncode)
            else:  # missing, neither ok nor failed: UNFINISHED is there
                for name in (RECORD, FAILURE):
                    (planned.folder / name).unlink(missing_ok=True)


def _begin(planned: PlannedRun, spec: Spec, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a run in its folder, once nobody else works there. Its process and kernel hold the folder, not this one."""
    folder = planned.folder
    held = acquire(folder / UNFINISHED, f"making the run {folder}, left by a sweep that was killed", patience=ORPHANS)
    try:
        clear(planned)
        write_json(folder / PLAN, plan_content(planned, spec))
        return start(folder, variables, held=held)
    except OSError as error:
        raise LabError(f"the folder {folder} cannot be written: {error.strerror or error}") from error
    finally:
        os.close(held)


def plan_content(planned: PlannedRun, spec: Spec, *, folder: Path | None = None) -> dict[str, Any]:
    """What `plan.json` says to the process that makes the run; `folder` in place of the planned one."""
    return {
        "spec": spec.name,
        "variant": planned.variant.name,
        "notebook": str(spec.notebook),
        "parameters": {**planned.parameters, "folder": str((folder or planned.folder).resolve())},
        "fingerprint": planned.fingerprint,
    }


def clear(planned: PlannedRun) -> None:
    """Keep the checkpoints of the very same run, so that it goes on; remove those of any other.

    What tells that the run did not end stays.
    """
    folder = planned.folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        same = read_json(folder / PLAN).get("fingerprint") == planned.fingerprint
    except LabError:
        same = False
    for path in folder.iterdir():
        if path.name == UNFINISHED or (same and path.name not in (RECORD, FAILURE, NOTEBOOK)):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    remove_unfinished(folder)


def start(folder: Path, variables: Mapping[str, str], *, held: int | None = None) -> subprocess.Popen[bytes]:
    """Start the run whose `plan.json` lies in `folder`, with some environment variables set.

    It stops when this process is gone. `held` is the open lock file of the folder, which it removes when it ends.
    """
    passed = [] if held is None else [held]
    with open(folder / LOG, "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "feelvos_lab.ablation.worker", str(folder), *map(str, [os.getpid(), *passed])],
            pass_fds=passed,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # an interrupt reaches it through `end` only, so that it ends its kernel
        )


def end(process: subprocess.Popen[bytes]) -> bool:
    """End the process if it still runs, after some seconds for its kernel; whether it did."""
    if process.poll() is not None:
        return False
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return True


def conclude(folder: Path, code: int) -> None:
    """Say in `failed.json` why there is no record, where the process could not say it itself."""
    if code != 0 and not (folder / FAILURE).exists():
        write_json(folder / FAILURE, {"error": _ending(code)})
    if code == 0 and not (folder / RECORD).exists():
        write_json(folder / FAILURE, {"error": "the notebook ran through but wrote no record"})
    (folder / UNFINISHED).unlink(missing_ok=True)  # where the process could not do it itself


def _ending(code: int) -> str:
    if code < 0:
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"the process was ended by {signal.Signals(-code).name}{hint}"
    return f"the process ended with code {code}, see {LOG}"
