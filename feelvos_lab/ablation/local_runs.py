"""Make runs on this machine, each in a fresh Python process.

How a run is started, ended and concluded is said here once; `dask_cluster` uses the same three functions.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from feelvos_lab.ablation.fingerprint import import_folders, own_sources
from feelvos_lab.ablation.record import RECORD
from feelvos_lab.ablation.runs import PlannedRun, with_state
from feelvos_lab.ablation.spec import Spec
from feelvos_lab.ablation.worker import FAILURE, LOG, NOTEBOOK, PLAN, UNFINISHED
from feelvos_lab.errors import LabError, reporting
from feelvos_lab.files.atomic import is_unfinished, read_json, remove_unfinished, write_json
from feelvos_lab.files.lock import INHERITED, acquire
from feelvos_lab.files.project import relative_path

PATIENCE = 10.0  # seconds that a stopped run gets to end its kernel

ORPHANS = 30.0  # seconds for the processes of a killed sweep, which end by themselves

WRITTEN = (  # by every run, also one that did not come to its end
    *(RECORD, FAILURE, NOTEBOOK, PLAN, LOG, UNFINISHED, "model.safetensors", "state.safetensors"),
    *(".lock", ".state.lock"),
)

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

GPUS = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs that torch sees here, each as a value of CUDA_VISIBLE_DEVICES."""
    import torch  # seconds

    count, named = torch.cuda.device_count(), os.environ.get(GPUS)
    return [str(n) for n in range(count)] if named is None else [name.strip() for name in named.split(",")[:count]]


def run_here(
    todo: Sequence[PlannedRun],
    spec: Spec,
    *,
    workers: int,
    threads: int,
    variables: Mapping[str, str],
    gpus: Sequence[str] = (),
    timeout: float | None = None,
) -> Iterator[tuple[PlannedRun, float]]:
    """Make the runs, `workers` at a time with `threads` threads each; yield each with its seconds when it has ended.

    `variables` are set in each run's environment. Where there are several `gpus`, each run is given the one that the
    fewest runs use, the first of these. A run that takes longer than `timeout` seconds is ended, and has failed.
    Closing the iterator stops the running ones. LabError if a run's folder cannot be written, as on a full disk, or
    another process still works there.
    """
    variables = {**dict.fromkeys(THREADS, str(threads)), **variables}
    queue, running = list(todo), dict[subprocess.Popen[bytes], tuple[PlannedRun, float]]()
    used: dict[str, str] = {}  # the GPU of each run by name
    try:
        while queue or running:
            while queue and len(running) < workers:
                planned = queue.pop(0)
                if len(gpus) > 1:
                    busy = Counter(used[other.name] for other, _ in running.values())
                    used[planned.name] = min(gpus, key=busy.__getitem__)
                    variables[GPUS] = used[planned.name]
                running[_begin(planned, spec, variables)] = (planned, time.monotonic())
            time.sleep(0.05)
            for process, (planned, began) in list(running.items()):
                seconds = time.monotonic() - began
                if process.poll() is None and (timeout is None or seconds < timeout):
                    continue
                if end(process):
                    fail_late(planned.folder, timeout)
                del running[process]
                conclude(planned.folder, process.returncode, time.monotonic() - began)
                yield with_state(planned), time.monotonic() - began
    finally:
        stopped = [end(process) for process in running]  # all of them, before anything is written
        for (process, (planned, _)), was_running in zip(running.items(), stopped, strict=True):
            if not was_running:
                conclude(planned.folder, process.returncode)
            else:  # missing, neither ok nor failed: UNFINISHED is still there
                for name in (RECORD, FAILURE):
                    (planned.folder / name).unlink(missing_ok=True)


def _begin(planned: PlannedRun, spec: Spec, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a run in its folder once no other process works there; its process and kernel inherit the lock.

    Where a process cannot inherit one, the run's process locks the folder when this one has given it up.
    """
    folder = planned.folder
    held = acquire(folder / UNFINISHED, f"making the run {folder}, left by a sweep that was killed", patience=ORPHANS)
    try:
        with reporting(f"the folder {folder} cannot be written"):
            clear(planned)
            write_json(folder / PLAN, plan_content(planned, spec))
            return start(folder, variables, held=held)
    finally:
        os.close(held)


def plan_content(planned: PlannedRun, spec: Spec) -> dict[str, Any]:
    """The content of `plan.json`, which the process that makes the run reads."""
    return {
        "spec": spec.name,
        "variant": planned.variant.name,
        "notebook": str(spec.notebook),
        "parameters": {**planned.parameters, "folder": str(planned.folder.resolve())},
        "fingerprint": planned.fingerprint,
        "experiment": relative_path(spec.path.resolve(), planned.folder.resolve().parent),
        "imports": [str(folder) for folder in import_folders(spec.notebook, spec.path)] if has_modules(spec) else [],
    }


def has_modules(spec: Spec) -> bool:
    """Whether the worker notebook imports modules of the experiment's own, whose folders a run then searches first."""
    return any(name.startswith("import ") for name in own_sources(spec.notebook, spec.path))


def clear(planned: PlannedRun) -> None:
    """Remove what another run left in the folder; of the same run keep the checkpoints, so that it resumes.

    What the user has added or written into the page is moved aside, see `set_aside`.
    """
    folder = planned.folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        same = read_json(folder / PLAN).get("fingerprint") == planned.fingerprint
    except LabError:
        same = False
    set_aside(folder, only_page=same)
    for path in folder.iterdir():
        if path.name == UNFINISHED or (same and path.name not in (RECORD, FAILURE, NOTEBOOK)):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    remove_unfinished(folder)


def set_aside(folder: Path, *, only_page: bool = False) -> Path | None:
    """Move a run's files to `<folder>.old-1`, or the next free number, if some of them are the user's; returns it.

    The user's are files that no run writes, and a page that was edited since the run ended. With `only_page` the page
    alone is moved, if it was edited. The lock file stays.
    """
    mine = users_files(folder)
    if not mine or (only_page and NOTEBOOK not in mine):
        return None
    names = (folder.with_name(f"{folder.name}.old-{number}") for number in itertools.count(1))
    aside = next(path for path in names if not os.path.lexists(path))
    aside.mkdir()
    for path in list(folder.iterdir()):
        if path.name == NOTEBOOK or (path.name != UNFINISHED and not only_page):
            os.replace(path, aside / path.name)
    return aside


def users_files(folder: Path) -> list[str]:
    """The files in a run's folder that the run did not write, and its page if it was edited since."""
    try:
        left = read_json(folder / PLAN).get("left")
    except LabError:
        left = None
    left = left if isinstance(left, dict) else {}  # written when a run ends
    strange = [name for name in _files(folder) if name not in WRITTEN and name not in left]
    if left.get(NOTEBOOK) and (folder / NOTEBOOK).is_file() and _sha256(folder / NOTEBOOK) != left[NOTEBOOK]:
        strange.append(NOTEBOOK)
    return strange


def _files(folder: Path) -> list[str]:
    """The paths of all files below the folder, without unfinished ones and the copies that JupyterLab makes."""
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink())
    return [p.as_posix() for p in found if not is_unfinished(p.name) and ".ipynb_checkpoints" not in p.parts]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def note_end(folder: Path, seconds: float | None) -> None:
    """Add to `plan.json` how long the run took from start to end, which files it left, and the page's SHA-256."""
    with contextlib.suppress(LabError):  # a plan that is not there any more, or damaged, is the state of the run
        plan = read_json(folder / PLAN)
        left = {name: _sha256(folder / name) if name == NOTEBOOK else "" for name in _files(folder)}
        write_json(folder / PLAN, {**plan, "seconds": seconds, "left": left})


def start(folder: Path, variables: Mapping[str, str], *, held: int | None = None) -> subprocess.Popen[bytes]:
    """Start the run whose `plan.json` lies in `folder`, with some environment variables set.

    It ends when this process is gone. `held` is the open lock file of the folder, which it removes when it ends.
    """
    passed = [held] if held is not None and INHERITED else []
    named = passed if held is None or INHERITED else [-1]
    with open(folder / LOG, "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "feelvos_lab.ablation.worker", str(folder), *map(str, [os.getpid(), *named])],
            pass_fds=passed,
            # Threads that wait by spinning take the cores from the other runs; read when torch is loaded.
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # an interrupt reaches it through `end` only, so that it ends its kernel
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )


def end(process: subprocess.Popen[bytes]) -> bool:
    """End the process if it still runs, after some seconds for its kernel; returns whether it was running."""
    if process.poll() is not None:
        return False
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return True


def fail_late(folder: Path, timeout: float | None) -> None:
    """Write to `failed.json` that the run was ended since it took too long."""
    write_json(folder / FAILURE, {"error": f"it was ended after {timeout:g} s, the limit that was set (--timeout)"})


def conclude(folder: Path, code: int, seconds: float | None = None) -> None:
    """After the process has ended: write to `failed.json` why there is no record, if it did not do so itself.

    `seconds`, from its start to its end, are added to `plan.json`.
    """
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory? fewer runs at a time (--workers) take less)" if name == "SIGKILL" else ""
        reason = f"the process was ended by {name}{hint}"
    elif code > 0:
        reason = f"the process ended with code {code}, see {LOG}"
    else:
        reason = "the notebook ran through but wrote no record"
    if not (folder / (FAILURE if code else RECORD)).exists():
        write_json(folder / FAILURE, {"error": reason})
    note_end(folder, seconds)
    (folder / UNFINISHED).unlink(missing_ok=True)  # a process that was killed could not remove it
