"""Laws of the cluster: the same plan and the same records, no disk shared, and nothing lost that had finished."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from standin_experiment import MEASURE, SPEC, write_spec, write_worker

from feelvos_lab.ablation import dask_cluster, local_runs
from feelvos_lab.ablation.execute import run
from feelvos_lab.ablation.runs import PlannedRun, plan
from feelvos_lab.ablation.spec import Spec, load_spec
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json
from feelvos_lab.files.provenance import environment

PROJECT = Path(__file__).parents[2]
SLOW = SPEC.replace("radius: 1", "radius: 1, pause: 60.0")


class Cluster:
    """A scheduler and one worker on 127.0.0.1, as processes of their own in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.mark, self.folder = uuid.uuid4().hex, folder
        here = {"FEELVOS_TEST_MARK": self.mark, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
        self.environment = {**os.environ, **here}
        self.processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self.begin(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
        )
        wait(lambda: file.exists() and file.stat().st_size > 0, within=120)
        self.address = read_json(file)["address"]

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments]
        with open(self.folder / "log.txt", "ab") as log:
            started = subprocess.Popen(command, env=self.environment, cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(started)
        return started

    def add_worker(self) -> subprocess.Popen[bytes]:
        return self.begin(
            "worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"
        )

    def runs(self) -> list[psutil.Process]:
        """The processes that make a run now."""
        return [p for p in self.marked() if "feelvos_lab.ablation.worker" in _command(p)]

    def marked(self) -> list[psutil.Process]:
        found = []
        for one in psutil.process_iter():
            try:
                if one.environ().get("FEELVOS_TEST_MARK") == self.mark and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    def close(self) -> None:
        for started in reversed(self.processes):
            started.terminate()
        for started in self.processes:
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def _command(one: psutil.Process) -> list[str]:
    try:
        return one.cmdline()
    except psutil.Error:
        return []


def wait(true: Callable[[], object], *, within: float) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def dask(tmp_path_factory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    started.add_worker()
    yield started
    started.close()


def states(runs: list[PlannedRun]) -> dict[str, str]:
    return {planned.variant.name: planned.state for planned in runs}


def swept(spec: Spec, root: Path, dask: Cluster, lines: list[str] | None = None) -> list[PlannedRun]:
    return run(spec, scheduler=dask.address, root=root, progress=(lines if lines is not None else []).append)


def test_the_records_are_those_of_runs_made_here(dask, tmp_path):
    """A failing run beside two that work; its reason comes back, too."""
    text = SPEC.replace("blind: {paper: 5, previous_mask: false}", "blind: {paper: 5, trouble: raise}")
    spec = load_spec(write_spec(tmp_path, text))
    there, lines = tmp_path / "there", []
    runs = swept(spec, there, dask, lines)
    assert states(runs) == {"full": "ok", "narrow": "ok", "blind": "failed"}
    assert runs[2].reason == "ValueError: the loss is nan"
    assert dask.address in lines[0] and len(lines) == 4
    assert sorted(path.name for path in runs[0].folder.iterdir()) == [
        "log.txt",
        "notebook.ipynb",
        "plan.json",
        "record.json",
    ]
    assert not [path for path in runs[0].folder.parent.iterdir() if path.name.endswith(".part")]
    here = run(load_spec(write_spec(tmp_path)), root=tmp_path / "here", workers=1, progress=lambda _line: None)
    for far, near in zip(runs[:2], here[:2], strict=True):
        assert far.record()["scores"] == near.record()["scores"]
        assert read_json(far.folder / "plan.json")["fingerprint"] == near.fingerprint
    lines.clear()
    swept(load_spec(write_spec(tmp_path, SPEC.split("  blind")[0] + "claims: []\n")), there, dask, lines)
    assert lines == ["demo: all 2 runs are done, nothing to train"]


def test_modules_of_one_s_own_are_sent_and_a_run_without_an_end_is_ended(dask, tmp_path):
    path = write_spec(tmp_path, SPEC.split("  blind")[0].replace("radius: 1", "pause: 600.0, radius: 1"))
    write_worker(tmp_path, measure="from parts.own import BASE\n" + MEASURE.replace("base = 0.5", "base = BASE"))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "own.py").write_text("BASE = 0.2\n")
    runs = run(load_spec(path), scheduler=dask.address, root=tmp_path, timeout=25.0, progress=lambda _line: None)
    assert states(runs) == {"full": "ok", "narrow": "failed"}, runs
    assert runs[0].mean("JF") == pytest.approx(33.0) and runs[0].took > runs[0].record()["test_seconds"]
    assert runs[1].reason == "it was ended after 25 s, the limit that was set (--timeout)"


def test_a_worker_that_is_killed_costs_its_run_and_nothing_else(dask, tmp_path):
    """The worker dies under its first run; dask's nanny starts another, which makes all of them."""
    spec = load_spec(write_spec(tmp_path, SPEC.replace("full: {paper: 1}", "full: {paper: 1, pause: 4.0}")))
    killed = []

    def kill_once(line: str) -> None:
        if not killed:

            def strike() -> None:
                wait(dask.runs, within=100)
                psutil.Process(dask.runs()[0].ppid()).kill()

            killed.append(threading.Thread(target=strike))
            killed[0].start()

    runs = run(spec, scheduler=dask.address, root=tmp_path, progress=kill_once)
    killed[0].join()
    assert states(runs) == {"full": "ok", "narrow": "ok", "blind": "ok"}


def test_an_interrupt_stops_the_cluster_s_runs_and_keeps_the_finished(dask, tmp_path):
    spec = load_spec(write_spec(tmp_path, SLOW))

    def stop_at_first_result(line: str) -> None:
        if line.startswith("["):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, scheduler=dask.address, root=tmp_path, progress=stop_at_first_result)
    assert states(plan(spec, root=tmp_path)) == {"full": "ok", "narrow": "missing", "blind": "missing"}
    wait(lambda: not dask.runs(), within=30)


def test_a_worker_with_other_sources_is_refused_and_nothing_is_recorded(dask, tmp_path, monkeypatch):
    spec = load_spec(write_spec(tmp_path))
    monkeypatch.setattr("feelvos_lab.ablation.runs.fingerprint", lambda *_: "0" * 16)
    with pytest.raises(LabError, match="has other sources or checkpoints than this machine"):
        swept(spec, tmp_path, dask)
    assert set(states(plan(spec, root=tmp_path)).values()) == {"missing"}


def test_a_scheduler_that_goes_away_leaves_what_had_finished(tmp_path):
    own = Cluster(tmp_path)
    try:
        own.add_worker()
        spec = load_spec(write_spec(tmp_path, SLOW))

        def end_the_scheduler(line: str) -> None:
            if line.startswith("["):
                own.scheduler.kill()

        began = time.monotonic()
        with pytest.raises(LabError, match="went away") as refusal:
            run(spec, scheduler=own.address, root=tmp_path, progress=end_the_scheduler)
        assert "\n" not in str(refusal.value) and time.monotonic() - began < 200
        assert states(plan(spec, root=tmp_path)) == {"full": "ok", "narrow": "missing", "blind": "missing"}
    finally:
        own.close()
    wait(lambda: not own.runs(), within=60)


def test_where_nothing_answers_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "ANSWER", 1.0)
    spec = load_spec(write_spec(tmp_path))
    for address in ("tcp://127.0.0.1:9", "nowhere://x"):
        with pytest.raises(LabError, match="no dask scheduler answers at") as refusal:
            run(spec, scheduler=address, root=tmp_path, progress=lambda _line: None)
        assert "\n" not in str(refusal.value)
    with pytest.raises(LabError, match="give one of the two"):
        run(spec, scheduler="tcp://127.0.0.1:9", workers=2, root=tmp_path)
    assert not (tmp_path / "runs").exists()


def test_dask_prints_no_traceback_beside_our_sentence():
    """What it says when a scheduler goes away comes from a logger with a level of its own."""
    import distributed  # noqa: F401

    log = logging.getLogger("distributed.client")
    assert log.isEnabledFor(logging.ERROR)
    with dask_cluster._quiet():
        assert not log.isEnabledFor(logging.CRITICAL)
    assert log.isEnabledFor(logging.ERROR)


def test_a_worker_s_files_stay_in_the_run_s_folder(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    planned = plan(spec, root=tmp_path)[0]
    for name in ("../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil", "\\evil"):
        with pytest.raises(LabError, match="outside the run's folder"):
            dask_cluster._keep(planned, spec, {name: b""})
    assert not list(tmp_path.rglob("evil"))


def test_runs_of_two_places_merge_by_copying_their_folders(tmp_path):
    """A run's folder is its identity, so two roots hold different runs or the same."""
    spec = load_spec(write_spec(tmp_path))
    whole, parts = tmp_path / "whole", [tmp_path / "one", tmp_path / "two"]
    for number, planned in enumerate(plan(spec, root=whole)):
        elsewhere = plan(spec, root=parts[number % 2])[number]
        local_runs.clear(elsewhere)
        files = {"record.json": _record(planned)}
        dask_cluster._keep(elsewhere, spec, files)
    for part in parts:
        shutil.copytree(part / "runs", whole / "runs", dirs_exist_ok=True)
    assert set(states(plan(spec, root=whole)).values()) == {"ok"}
    write_worker(tmp_path, measure=MEASURE + "# and a change\nchanged = True\n")
    assert set(states(plan(spec, root=whole)).values()) == {"stale"}


def _record(planned: PlannedRun) -> bytes:
    row = {"clip": "a", "object": 1, "J": 0.5, "F": 0.5, "JF": 0.5}
    config = planned.variant.config
    content = {"schema": 1, "preset": config.preset, "digest": config.digest(), "seed": planned.seed, "split": "test"}
    content |= {"config": config.flat(), "scores": [row], "copied": None, "history": {}, "train_seconds": 1.0}
    return json.dumps({**content, "test_seconds": 1.0, **environment()}).encode()
