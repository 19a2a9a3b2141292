"""Two at one place: the second is refused and told who is there; whoever dies lets go; nothing is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest
from standin_experiment import record_by_hand, write_spec

from feelvos_lab.ablation import dask_cluster, execute, local_runs
from feelvos_lab.ablation.runs import plan
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.ablation.worker import UNFINISHED
from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.files import lock as lock_file
from feelvos_lab.files.atomic import complete_file, complete_folder
from feelvos_lab.files.lock import acquire, holder, locked, release
from feelvos_lab.training.loop import train

HOLDS = """
import sys, time
from pathlib import Path
from feelvos_lab.files.lock import acquire
held = acquire(Path(sys.argv[1]), "working")
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def another(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock file; it is killed when the block ends."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HOLDS, str(lock)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_is_told_who_is_there_and_one_that_was_killed_is_not(tmp_path: Path) -> None:
    lock = tmp_path / "new" / ".lock"
    assert holder(lock) is None
    with another(lock) as process:
        assert holder(lock)["pid"] == process.pid
        with pytest.raises(LabError, match=f"^another process is working: process {process.pid} on .*, since ..:..; "):
            acquire(lock, "working")
        process.kill()
        process.wait()
        assert lock.exists() and holder(lock) is None
        with locked(lock, "working"):
            assert holder(lock)["pid"] == os.getpid()
    assert not lock.exists()


def test_a_lock_file_that_its_holder_removed_is_not_taken_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before removes it after it was opened here: a lock on that one would hold nothing."""
    lock, lock_it, opened = tmp_path / ".lock", lock_file._lock, []

    def removed_first(file: int) -> None:
        if not opened:
            lock.unlink()
        opened.append(file)
        lock_it(file)

    monkeypatch.setattr(lock_file, "_lock", removed_first)
    held = acquire(lock, "working")
    assert len(opened) == 2 and os.path.samestat(os.fstat(held), lock.stat())
    release(lock, held)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_no_lock_file_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    assert holder(tmp_path / ".lock") is None
    with pytest.raises(LabError, match=r"cannot be (written|locked)"):
        acquire(tmp_path / ".lock", "working")


def test_a_child_that_was_given_the_lock_holds_it_until_it_ends(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    held = acquire(lock, "working")
    child = subprocess.Popen(["sleep", "60"], pass_fds=[held])
    os.close(held)
    assert holder(lock) is not None
    child.kill()
    child.wait()
    assert holder(lock) is None


def test_two_trainings_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line, which holds the folder to its last file, and from a notebook."""
    out = tmp_path / "out"
    with another(out / ".lock") as process, pytest.raises(SystemExit, match="2"):
        cli.main(["train", "--preset", "smoke", "--out", str(out)])
    assert f"another process is training in {out}: process {process.pid} on " in capsys.readouterr().err
    with another(out / ".state.lock") as process, pytest.raises(LabError, match=f"process {process.pid} on "):
        train(configure("smoke", steps=1), seed=0, folder=out)
    train(configure("smoke", steps=1), seed=0, folder=out)
    assert sorted(path.name for path in out.iterdir()) == [".lock", "state.safetensors"]  # the killed one's


def test_what_a_training_that_was_killed_early_left_is_no_reason_to_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in (".lock", ".state.lock", ".history.1.partial.csv", ".model.safetensors.1.partial"):
        (out / name).write_text("half")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--preset", "smoke", "--set", "steps=2", "--out", str(out)])
    assert sorted(path.name for path in out.iterdir()) == ["history.csv", "model.json", "model.safetensors"]
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", "--preset", "smoke", "--set", "steps=2", "--out", str(out)])
    assert "holds files already" in capsys.readouterr().err


def test_a_training_that_another_has_ended_meanwhile_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other ends between the first look at the folder and the moment in which it is ours."""
    from feelvos_lab.files import atomic

    out = tmp_path / "out"
    out.mkdir()
    (out / "state.safetensors").touch()

    @contextmanager
    def ended(path: Path, doing: str) -> Iterator[None]:
        (out / "state.safetensors").rename(out / "model.safetensors")
        yield

    monkeypatch.setattr(atomic, "locked", ended)
    occupied = pytest.raises(LabError, match="holds files already")
    with occupied, atomic.writable_folder(out, resuming=["state.safetensors"]):
        raise AssertionError("it is trained again")


def test_two_results_are_not_written_to_one_folder_and_a_killed_one_is_cleared_away(tmp_path: Path) -> None:
    out, unfinished = tmp_path / "out", tmp_path / ".out.partial"
    unfinished.mkdir()
    (unfinished / "00000.png").write_text("of a process that was killed")
    with complete_folder(out) as folder:
        assert folder == unfinished and not list(folder.iterdir())
        (folder / "a").touch()
        with pytest.raises(LabError, match=f"another process is writing {out}"), complete_folder(out):
            raise AssertionError("two write")
        assert (folder / "a").exists()
    assert [path.name for path in out.iterdir()] == ["a"] and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_figure_s_notes_never_stand_beside_another_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the picture was put in its place: then the notes of the one before are gone."""
    from matplotlib.figure import Figure

    from feelvos_lab.lab import save_figure

    save_figure(Figure(), "a", folder=tmp_path, n=1)
    replace, moved = os.replace, []

    def dying(source: Path, target: Path) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(Path(target).suffix)
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        save_figure(Figure(facecolor="red"), "a", folder=tmp_path, n=2)
    assert moved == [".png"] and not (tmp_path / "a.json").exists()


def test_a_run_whose_processes_were_killed_after_its_record_is_missing(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec)
    assert {planned.state for planned in plan(spec, root=tmp_path)} == {"ok"}
    first = plan(spec, root=tmp_path)[0]
    (first.folder / UNFINISHED).touch()  # as it is when a run is killed while its page is drawn
    assert [planned.state for planned in plan(spec, root=tmp_path)] == ["missing", "ok", "ok"]
    local_runs.clear(first)
    assert sorted(path.name for path in first.folder.iterdir()) == [UNFINISHED, "plan.json"]


def test_what_another_sweep_ends_while_this_one_waits_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(write_spec(tmp_path))

    @contextmanager
    def another_ends(folder: Path, sweep: object) -> Iterator[None]:
        record_by_hand(tmp_path, spec)
        yield

    monkeypatch.setattr(execute, "sweep_lock", another_ends)
    monkeypatch.setattr(local_runs, "start", lambda *_, **__: pytest.fail("a run is made again"))
    runs = execute.run(spec, root=tmp_path, progress=lambda _line: None)
    assert {planned.state for planned in runs} == {"ok"}


def test_a_run_waits_for_what_a_killed_sweep_left_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_runs, "ORPHANS", 0.2)
    spec = load_spec(write_spec(tmp_path))
    folder = plan(spec, root=tmp_path)[0].folder
    with another(folder / UNFINISHED) as orphan, pytest.raises(LabError, match="left by a sweep") as refusal:
        execute.run(spec, root=tmp_path, progress=lambda _line: None)
    assert f"process {orphan.pid} on " in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_run_whose_sweep_died_while_it_started_does_not_go_on(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path))
    planned = plan(spec, root=tmp_path)[0]
    local_runs.clear(planned)
    local_runs.write_json(planned.folder / "plan.json", local_runs.plan_content(planned, spec))
    gone = subprocess.Popen(["true"])
    gone.wait()
    child = [sys.executable, "-m", "feelvos_lab.ablation.worker", str(planned.folder), str(gone.pid)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(child, env=environment, stderr=subprocess.DEVNULL).returncode == 128 + signal.SIGTERM
    assert not (planned.folder / "record.json").exists()


def test_a_cluster_that_loses_its_last_worker_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        class scheduler:
            address = "tcp://127.0.0.1:8786"

        there: Mapping[str, int] = MappingProxyType({})

        def nthreads(self) -> Mapping[str, int]:
            return self.there

    clock = [1000]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    client = Client()
    workers = dask_cluster._Workers(client)
    one = {"a": 1}
    for clock[0], client.there in ((1100, {}), (1200, one), (1210, {}), (1258, {}), (1261, one), (1320, {})):
        workers.require()  # none has come yet; one has; another came before the minute was over
    clock[0] = 1330
    with pytest.raises(LabError, match=r"the last worker of tcp://127.0.0.1:8786 went away .* the same command") as end:
        workers.require()
    assert "\n" not in str(end.value)


def test_a_file_that_is_written_leaves_nothing_beside_it_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot write"), complete_file(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("half")
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_lock_file_that_is_a_link_is_refused_and_its_target_kept(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    for target in (precious, tmp_path / "nowhere"):
        link = tmp_path / f"{target.stem}.lock"
        link.symlink_to(target)
        with pytest.raises(LabError, match="is a link, which is not followed: remove it"), locked(link, "testing"):
            pass
        assert holder(link) is None
    assert precious.read_text() == "mine" and not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system cannot refuse to follow a link")
def test_a_link_that_appears_just_before_the_lock_file_is_opened_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious, link = tmp_path / "precious.txt", tmp_path / ".lock"
    precious.write_text("mine")
    link.symlink_to(precious)
    monkeypatch.setattr(Path, "is_symlink", lambda path: False)  # when it was looked at, there was none
    with pytest.raises(LabError, match="cannot be written"):
        acquire(link, "testing")
    assert precious.read_text() == "mine"
