"""Make runs on a dask cluster, each in a fresh process on a worker; its files are sent back through the client.

No disk is shared. A worker gets the notebook as text, makes the run in a temporary folder, and returns the folder's
files as bytes; the client writes all of them or none. A worker whose sources differ from the client's rejects the run,
since its number could differ. When a worker dies, dask gives its run to another, up to
`distributed.scheduler.allowed-failures` times; then the run is failed. A run whose client is gone or was interrupted is
ended on its worker.
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
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feelvos_lab.ablation.fingerprint import fingerprint, own_sources
from feelvos_lab.ablation.local_runs import conclude, end, fail_late, note_end, plan_content, set_aside, start
from feelvos_lab.ablation.runs import PlannedRun, with_state
from feelvos_lab.ablation.spec import Spec
from feelvos_lab.ablation.worker import FAILURE, PLAN
from feelvos_lab.errors import LabError, reporting
from feelvos_lab.files.atomic import write_json

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER = 6.0  # seconds that a scheduler gets to answer

KEPT = "the runs that had finished are kept, and the same command makes the rest"

ALONE = 60.0  # seconds in which another worker may connect after the last has disconnected

NOT_SENT = ("state.safetensors", PLAN)  # a run's files that are not sent back


class OtherSources(LabError):
    """The worker's code could measure another number than the client's."""


def open_scheduler(*, host: str, port: int, dashboard: int) -> int:
    """Run a dask scheduler until it is ended; returns its exit status.

    Dask asks for no password: everyone who can connect can run code as the user of the scheduler or of a worker. So
    the scheduler and its dashboard listen at the address `host` only.
    """
    _require_dask()
    _require_free(host, port)
    listening = ["--host", host, "--port", str(port), "--dashboard-address", f"{host}:{dashboard}", "--no-jupyter"]
    return subprocess.call([sys.executable, "-m", "dask", "scheduler", *listening])


def _require_free(host: str, port: int) -> None:
    """Raise LabError where another program listens at the port, or the address is none of this computer."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            if sys.platform != "win32":  # where it would let two programs listen at one port
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as dask does: a port just closed is free
            tried.bind(address)
    except OSError as error:
        raise LabError(f"no scheduler can listen at {host}:{port}: {error.strerror or error}") from None


def _require_answer(scheduler: str) -> None:
    """Raise LabError unless something listens at the address; dask itself tries again and again."""
    where = urlsplit(scheduler if "://" in scheduler else f"tcp://{scheduler}")
    try:
        if where.scheme in ("tcp", "tls") and where.hostname and where.port:
            socket.create_connection((where.hostname, where.port), timeout=ANSWER / 2).close()
    except (OSError, ValueError) as error:
        raise LabError(
            f"no dask scheduler answers at {scheduler}: {getattr(error, 'strerror', None) or error}"
        ) from None


def _require_dask() -> None:
    if find_spec("distributed") is None:
        raise LabError("a scheduler needs dask: pip install 'feelvos_lab[cluster]'")


def is_this_computer(host: str) -> bool:
    """Whether an address can be reached from this computer only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the scheduler, silent; LabError if dask is not installed or no scheduler answers."""
    _require_dask()
    _require_answer(scheduler)
    from distributed import Client

    with _quiet(), contextlib.ExitStack() as stack:
        try:
            client = Client(scheduler, timeout=ANSWER, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise LabError(f"no dask scheduler answers at {scheduler}: {_first_line(error)}") from None
        stack.callback(client.close, timeout=2)
        yield client


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask's loggers, each of which has a level of its own, from printing tracebacks next to the error message."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)


def run_there(
    todo: Sequence[PlannedRun], spec: Spec, *, client: Client, timeout: float | None = None
) -> Iterator[tuple[PlannedRun, float]]:
    """Make the runs, one per worker thread of the cluster; yield each with its seconds when its files are written.

    Closing the iterator stops the running ones. LabError if the scheduler or all workers are gone, a worker has other
    sources, or the disk is full; the runs that were yielded are kept.
    """
    began = time.monotonic()
    text = spec.notebook.read_text(encoding="utf-8")
    own = own_sources(spec.notebook, spec.path, spec.sources)
    for name in own:
        _inside(
            name.partition(" ")[2], "the experiment needs a file that lies outside its folder, on a cluster none may"
        )
    waiting: dict[Future, PlannedRun] = {}
    for planned in todo:
        key = f"{planned.folder.name}-{uuid.uuid4().hex[:8]}"
        package = {"text": text, "plan": plan_content(planned, spec), "digest": planned.variant.digest, "own": own}
        package["timeout"] = timeout
        waiting[client.submit(make_run, package, key=key, pure=False)] = planned
    workers = _Workers(client)
    try:
        while waiting:
            time.sleep(0.1)
            workers.require()
            for future in [f for f in waiting if f.done() or f.status in ("lost", "cancelled")]:
                if future.status in ("lost", "cancelled"):
                    raise LabError(f"the scheduler at {client.scheduler.address} went away; {KEPT}")
                seconds = time.monotonic() - began
                if future.status == "finished":
                    files, seconds = future.result()
                else:
                    error = future.exception()
                    if isinstance(error, OtherSources):
                        raise LabError(str(error))
                    files = {FAILURE: _failure(error)}
                planned = waiting.pop(future)
                _keep(planned, spec, files, seconds)
                future.release()  # frees its bytes in the cluster's memory
                yield with_state(planned), seconds
    finally:
        if waiting and client.status == "running":
            with contextlib.suppress(OSError, TimeoutError):
                client.cancel(list(waiting))


class _Workers:
    """Checks that the cluster has workers: it may start with none, but not lose the last one for long."""

    def __init__(self, client: Client) -> None:
        self.client, self.asked, self.there = client, 0.0, math.inf  # times of the last request and the last worker

    def require(self) -> None:
        """Raise LabError when the last worker has been gone for `ALONE` seconds; asks every 2 s at most."""
        now = time.monotonic()
        if now < self.asked + 2:
            return
        self.asked = now
        try:
            found = len(self.client.nthreads())
        except (OSError, TimeoutError):  # `run_there` notices that the scheduler is gone
            return
        if found:
            self.there = now
        elif now > self.there + ALONE:
            address = self.client.scheduler.address
            raise LabError(f"the last worker of {address} went away and none came within {ALONE:.0f} s; {KEPT}")


def make_run(package: Mapping[str, Any]) -> tuple[dict[str, bytes], float]:
    """On the worker: make one run in a temporary folder; returns its files by name, and the seconds it took."""
    from distributed import get_worker

    worker = get_worker()
    key, began = worker.get_current_task(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="feelvos-run-", dir=worker.local_directory) as place:
        planned = package["plan"]
        notebook, folder = Path(place) / Path(planned["notebook"]).name, Path(place) / "run"
        notebook.write_text(package["text"], encoding="utf-8")
        parameters = {name: value for name, value in planned["parameters"].items() if name != "folder"}
        for name, content in package["own"].items():
            own = Path(place) / _inside(name.partition(" ")[2], "the client sent a file that would lie elsewhere")
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_bytes(content)
        if fingerprint(notebook, parameters, package["digest"], own=package["own"]) != planned["fingerprint"]:
            raise OtherSources(
                f"the worker on {socket.gethostname()} has other sources or checkpoints than this machine: install "
                "the same commit on both"
            )
        parameters["folder"] = str(folder)
        imports = [place] if planned["imports"] else []
        write_json(folder / PLAN, {**planned, "notebook": str(notebook), "parameters": parameters, "imports": imports})
        process = start(folder, {})
        try:
            while process.poll() is None:
                task = worker.state.tasks.get(key)
                if task is None or task.state not in ("executing", "long-running"):
                    raise LabError("the client no longer waits for this run")
                if package["timeout"] is not None and time.monotonic() - began > package["timeout"]:
                    end(process)
                    fail_late(folder, package["timeout"])
                    break
                time.sleep(0.2)
        finally:
            end(process)
        conclude(folder, process.returncode)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in NOT_SENT
        }
    return files, time.monotonic() - began


def _keep(planned: PlannedRun, spec: Spec, files: Mapping[str, bytes], seconds: float | None = None) -> None:
    """Write a run's files, all of them or none, in place of what was there; what is the user's is moved aside."""
    folder = planned.folder
    new, old = (folder.with_name(f".{folder.name}.{part}") for part in ("part", "old"))
    with reporting(f"the folder {folder} cannot be written"):
        shutil.rmtree(new, ignore_errors=True)
        for name, content in files.items():
            path = _inside(name, "a worker sent a file that would lie outside the run's folder")
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(content)
        write_json(new / PLAN, plan_content(planned, spec))
        note_end(new, seconds)
        if folder.is_dir():
            set_aside(folder)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
        shutil.rmtree(old, ignore_errors=True)


def _inside(name: str, problem: str) -> PurePosixPath:
    """A relative path that leads nowhere above; LabError with the problem otherwise."""
    path, elsewhere = PurePosixPath(name), PureWindowsPath(name)  # where a drive and backslashes lead elsewhere
    if path.is_absolute() or elsewhere.anchor or ".." in (*path.parts, *elsewhere.parts):
        raise LabError(f"{problem}: {name!r}")
    return path


def _failure(error: BaseException) -> bytes:
    from distributed import KilledWorker

    reason = f"{type(error).__name__}: {_first_line(error)}"
    if isinstance(error, KilledWorker):
        reason = "every worker that tried this run died (out of memory? fewer workers on a computer take less)"
    return json.dumps({"error": reason}).encode()


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
