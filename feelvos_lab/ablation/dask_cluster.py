"""The same runs on a dask cluster: each in a fresh process on a worker, its files sent back through the client.

No disk is shared. A worker gets the notebook as text, makes the run in a temporary folder, and returns the folder's
files as bytes; this side writes them whole. A worker whose sources differ from this side's refuses, since its number
would be another's. A worker that dies costs the run it had: dask gives it to another worker, up to
`distributed.scheduler.allowed-failures` times, and then the run is failed. A run that nobody waits for any more (an
interrupt, a client that died) is stopped where it runs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from feelvos_lab.ablation.local_runs import conclude, end, plan_content, start
from feelvos_lab.ablation.runs import PlannedRun, fingerprint, with_state
from feelvos_lab.ablation.spec import Spec
from feelvos_lab.ablation.worker import FAILURE, PLAN
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import write_json

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER = 10.0  # seconds a scheduler gets to answer

KEPT = "the runs that had finished are kept, and the same command makes the rest"

ALONE = 60.0  # seconds in which another worker may come when the last has gone

LEFT_THERE = ("state.safetensors", PLAN)  # a run's files that are not sent back


class OtherSources(LabError):
    """A worker would measure another number than this side's code."""


def open_scheduler(*, host: str, port: int, dashboard: int) -> int:
    """Run a dask scheduler until it is ended; its exit status.

    Whoever reaches a scheduler can run code as the user who started it, and as its workers' users: dask asks for no
    password. So it listens where `host` says and nowhere else, its dashboard too.

    Raises:
        LabError: dask is not installed.
    """
    if find_spec("distributed") is None:
        raise LabError("a scheduler needs dask: pip install 'feelvos_lab[cluster]'")
    listening = ["--host", host, "--port", str(port), "--dashboard-address", f"{host}:{dashboard}", "--no-jupyter"]
    return subprocess.call([sys.executable, "-m", "dask", "scheduler", *listening])


def is_this_computer(host: str) -> bool:
    """Whether an address is reached from this computer alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the scheduler, quiet: what goes wrong is told by an exception.

    Raises:
        LabError: dask is not installed, the address is none, or nothing answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        raise LabError("a scheduler needs dask: pip install 'feelvos_lab[cluster]'") from None
    with _quiet(), contextlib.ExitStack() as stack:
        try:
            client = Client(scheduler, timeout=ANSWER, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise LabError(f"no dask scheduler answers at {scheduler}: {_first_line(error)}") from None
        stack.callback(client.close, timeout=2)
        yield client


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask's loggers, each of which has a level of its own, from printing tracebacks beside our one sentence."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)


def run_there(todo: Sequence[PlannedRun], spec: Spec, *, client: Client) -> Iterator[tuple[PlannedRun, float]]:
    """Make the runs on the cluster's workers, one a worker thread; each is told when its files are here.

    Closing the iterator stops those that run.

    Raises:
        LabError: the scheduler goes away, or its last worker does and no other comes, or a worker has other sources,
            or the disk is full. What was told is kept in all cases.
    """
    began = time.monotonic()
    address = client.scheduler.address
    text = spec.notebook.read_text(encoding="utf-8")
    waiting: dict[Future, PlannedRun] = {}
    for planned in todo:
        key = f"{planned.folder.name}-{uuid.uuid4().hex[:8]}"
        package = {"text": text, "plan": plan_content(planned, spec), "digest": planned.variant.digest}
        waiting[client.submit(make_run, package, key=key, pure=False)] = planned
    workers = _Workers(client)
    try:
        while waiting:
            time.sleep(0.1)
            workers.require()
            for future in [f for f in waiting if f.done() or f.status in ("lost", "cancelled")]:
                if future.status in ("lost", "cancelled"):
                    raise LabError(f"the scheduler at {address} went away; {KEPT}")
                seconds = time.monotonic() - began
                if future.status == "finished":
                    files, seconds = future.result()
                else:
                    error = future.exception()
                    if isinstance(error, OtherSources):
                        raise LabError(str(error))
                    files = {FAILURE: _failure(error)}
                planned = waiting.pop(future)
                _keep(planned, spec, files)
                future.release()  # frees its bytes in the cluster's memory
                yield with_state(planned), seconds
    finally:
        if waiting and client.status == "running":
            with contextlib.suppress(OSError, TimeoutError):
                client.cancel(list(waiting))


class _Workers:
    """The cluster's workers, asked for now and then: it may begin with none, but not lose its last one for long."""

    def __init__(self, client: Client) -> None:
        self.client, self.asked, self.there = client, 0.0, math.inf  # when it was last asked, when one was last there

    def require(self) -> None:
        now = time.monotonic()
        if now < self.asked + 2:
            return
        self.asked = now
        try:
            found = len(self.client.nthreads())
        except (OSError, TimeoutError):  # the scheduler's end is seen by the runs that are waited for
            return
        if found:
            self.there = now
        elif now > self.there + ALONE:
            address = self.client.scheduler.address
            raise LabError(f"the last worker of {address} went away and none came within {ALONE:.0f} s; {KEPT}")


def make_run(package: Mapping[str, Any]) -> tuple[dict[str, bytes], float]:
    """On the worker: make one run in a temporary folder; its files by name, and the seconds it took.

    Raises:
        OtherSources: this worker's code would measure another number.
        LabError: nobody waits for the run any more.
    """
    from distributed import get_worker

    worker = get_worker()
    key, began = worker.get_current_task(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="feelvos-run-", dir=worker.local_directory) as place:
        planned = package["plan"]
        notebook, folder = Path(place) / Path(planned["notebook"]).name, Path(place) / "run"
        notebook.write_text(package["text"], encoding="utf-8")
        parameters = {name: value for name, value in planned["parameters"].items() if name != "folder"}
        if fingerprint(notebook, parameters, package["digest"]) != planned["fingerprint"]:
            raise OtherSources(
                f"the worker on {socket.gethostname()} has other sources or checkpoints than this machine: install "
                "the same commit on both"
            )
        parameters["folder"] = str(folder)
        write_json(folder / PLAN, {**planned, "notebook": str(notebook), "parameters": parameters})
        process = start(folder, {})
        try:
            while process.poll() is None:
                if not _wanted(worker, key):
                    raise LabError("nobody waits for this run any more")
                time.sleep(0.2)
        finally:
            end(process)
        conclude(folder, process.returncode)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in LEFT_THERE
        }
    return files, time.monotonic() - began


def _wanted(worker: Any, key: str) -> bool:
    """Whether the scheduler still asks for the task that runs here."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state in ("executing", "long-running")


def _keep(planned: PlannedRun, spec: Spec, files: Mapping[str, bytes]) -> None:
    """Write a run's files, all of them or none, in place of what was there.

    Raises:
        LabError: a name outside the run's folder, or a folder that cannot be written.
    """
    folder = planned.folder
    new, old = (folder.with_name(f".{folder.name}.{part}") for part in ("part", "old"))
    try:
        shutil.rmtree(new, ignore_errors=True)
        for name, content in files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise LabError(f"a worker sent a file that would lie outside the run's folder: {name!r}")
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(content)
        write_json(new / PLAN, plan_content(planned, spec))
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise LabError(f"the folder {folder} cannot be written: {error.strerror or error}") from error


def _failure(error: BaseException) -> bytes:
    from distributed import KilledWorker

    told = f"{type(error).__name__}: {_first_line(error)}"
    if isinstance(error, KilledWorker):
        told = "every worker that tried this run died (out of memory?)"
    return json.dumps({"error": told}).encode()


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
