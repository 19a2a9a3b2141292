"""Faults that users met: files of theirs that vanished, runs without an end, a kernel that died, one flat table."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
from standin_experiment import MEASURE, SPEC, record_by_hand, write_spec, write_worker

from feelvos_lab.ablation import dask_cluster, execute
from feelvos_lab.ablation.local_runs import clear, fail_late, note_end, plan_content
from feelvos_lab.ablation.runs import PlannedRun, plan
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.ablation.worker import NOTEBOOK, PLAN
from feelvos_lab.cli import main as cli
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import write_json

ONE = SPEC.split("  narrow")[0] + "claims: []\n"


@pytest.fixture
def ended(tmp_path: Path) -> PlannedRun:
    """A run that has ended as runs do, and is then stale."""
    spec = load_spec(write_spec(tmp_path, ONE))
    record_by_hand(tmp_path, spec)
    (planned,) = plan(spec, root=tmp_path)
    write_json(planned.folder / PLAN, plan_content(planned, spec))
    (planned.folder / NOTEBOOK).write_text("a page")
    (planned.folder / "maps").mkdir()
    (planned.folder / "maps" / "own.png").write_text("written by the notebook")
    note_end(planned.folder, 100.0)
    write_worker(tmp_path, measure=MEASURE + "changed = True\n")
    (stale,) = plan(load_spec(tmp_path / "demo.yml"), root=tmp_path)
    assert stale.state == "stale"
    return stale


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_runs_wrote_is_cleared(ended: PlannedRun) -> None:
    clear(ended)
    assert names(ended.folder) == set() and len(list(ended.folder.parent.iterdir())) == 1


def test_a_file_of_the_user_is_moved_aside_with_its_run(ended: PlannedRun) -> None:
    old = ended.folder.with_name(f"{ended.folder.name}.old-1")
    old.mkdir()  # of an earlier time
    (ended.folder / "maps" / "notes.txt").write_text("mine")
    before = names(ended.folder)
    clear(ended)
    assert names(ended.folder) == set() and names(old) == set()
    assert names(old.with_name(f"{ended.folder.name}.old-2")) == before
    assert len(plan(load_spec(ended.folder.parents[2] / "demo.yml"), root=ended.folder.parents[2])) == 1


def test_a_page_with_answers_is_moved_aside(ended: PlannedRun) -> None:
    (ended.folder / NOTEBOOK).write_text("a page, with answers")
    clear(ended)
    aside = ended.folder.with_name(f"{ended.folder.name}.old-1")
    assert (aside / NOTEBOOK).read_text() == "a page, with answers" and names(ended.folder) == set()


def test_a_run_that_resumes_keeps_its_files_and_a_page_with_answers(ended: PlannedRun) -> None:
    write_worker(ended.folder.parents[2])
    (same,) = plan(load_spec(ended.folder.parents[2] / "demo.yml"), root=ended.folder.parents[2])
    (same.folder / NOTEBOOK).write_text("a page, with answers")
    (same.folder / "notes.txt").write_text("mine")
    clear(same)
    assert names(same.folder) == {PLAN, "notes.txt", "maps/own.png"}
    assert names(same.folder.with_name(f"{same.folder.name}.old-1")) == {NOTEBOOK}


def test_what_is_left_counts_the_start_and_the_drawing(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec, leave_out=("blind",))
    for planned in plan(spec, root=tmp_path)[:2]:
        note_end(planned.folder, 150.0)  # its record says 90
    assert execute.seconds_left(plan(spec, root=tmp_path), workers=1) == 150.0


def test_a_run_without_an_end_is_ended_made_again_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    temporary = Path(tempfile.mkdtemp(prefix="t"))  # short: the kernel's sockets lie in it
    monkeypatch.setenv("TMPDIR", str(temporary))
    path = write_spec(tmp_path, SPEC.replace("radius: 1", "radius: 1, pause: 60.0"))
    lines: list[str] = []
    settings = {"only": ["narrow"], "retries": 1, "timeout": 15.0, "root": tmp_path, "progress": lines.append}
    runs = execute.run(load_spec(path), **settings)
    assert [run.state for run in runs] == ["missing", "failed", "missing"]
    assert runs[1].reason == "it was ended after 15 s, the limit that was set (--timeout)"
    assert len(lines) == 4 and lines[2] == "demo: 1 failed run(s) again, retry 1 of 1"
    temporary.rmdir()  # an error if anything was left
    with pytest.raises(LabError, match=r"there is no variant 'norrow' .did you mean 'narrow'"):
        execute.run(load_spec(path), root=tmp_path, only=["norrow"])


def test_a_kernel_that_died_is_told_with_its_memory(tmp_path: Path) -> None:
    path = write_spec(tmp_path, ONE)
    write_worker(tmp_path, measure="import os\nos.kill(os.getpid(), 9)\n")
    (made,) = execute.run(load_spec(path), root=tmp_path, progress=lambda _line: None)
    assert made.state == "failed" and "\n" not in made.reason
    assert made.reason.startswith("the kernel died (out of memory? it had taken ")
    assert int(made.reason.split("had taken ")[1].split()[0]) > 10


def test_a_run_for_which_there_is_no_memory_says_what_takes_less(tmp_path: Path) -> None:
    path = write_spec(tmp_path, ONE)
    write_worker(tmp_path, measure="raise MemoryError('Unable to allocate 7.28 TiB')\n")
    (made,) = execute.run(load_spec(path), root=tmp_path, progress=lambda _line: None)
    assert made.reason.startswith("out of memory (Unable to allocate 7.28 TiB); fewer runs at a time (--workers) share")


def test_the_evidence_of_a_failed_run_is_a_file_that_is_there(ended: PlannedRun) -> None:
    fail_late(ended.folder, 5.0)
    assert ended.evidence == ended.folder / NOTEBOOK
    ended.notebook.unlink()
    assert ended.evidence == ended.folder / "log.txt"


def test_all_runs_of_all_experiments_are_one_flat_table(tmp_path: Path, capsys) -> None:
    for name in ("one", "two"):
        spec = load_spec(write_spec(tmp_path, name=name))
        record_by_hand(tmp_path, spec, leave_out=("blind",) if name == "two" else ())
    with pytest.raises(SystemExit, match="0"):
        cli.main(["ablate", "export", "--out", str(tmp_path / "runs.csv"), "--root", str(tmp_path)])
    assert capsys.readouterr().out == f"{tmp_path / 'runs.csv'}: 6 runs\n"
    table = pd.read_csv(tmp_path / "runs.csv")
    assert list(table["experiment"]) == ["one"] * 3 + ["two"] * 3
    assert list(table["state"]) == ["ok"] * 5 + ["missing"]
    assert list(table["JF"][:3]) == [60.0, 50.0, 40.0] and pd.isna(table["JF"][5])
    assert list(table["set_radius"][:2]) == [4, 1] and list(table["seconds"][:2]) == [90.0, 90.0]


def test_a_second_scheduler_and_a_wrong_address_are_told_in_one_sentence_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LabError, match=f"no scheduler can listen at 127.0.0.1:{port}: Address already in use"):
            dask_cluster.open_scheduler(host="127.0.0.1", port=port, dashboard=0)
    began = time.monotonic()
    for address in (f"tcp://127.0.0.1:{port}", f"127.0.0.1:{port}"):
        with pytest.raises(LabError, match=f"no dask scheduler answers at {address}: Connection refused"):
            execute.run(load_spec(write_spec(tmp_path)), scheduler=address, root=tmp_path, progress=print)
    assert time.monotonic() - began < 30


def test_the_table_is_printed_before_anything_is_drawn(tmp_path: Path, capsys, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("latex is missing")

    path = write_spec(tmp_path)
    record_by_hand(tmp_path, load_spec(path))
    monkeypatch.setattr("feelvos_lab.ablation.report.ablation_figure", fail)
    with pytest.raises(SystemExit, match="1"):
        cli.main(["ablate", "report", str(path), "--root", str(tmp_path)])
    assert "Percent. n is seeds" in capsys.readouterr().out


def test_a_user_s_matplotlibrc_and_backend_change_no_figure(tmp_path: Path) -> None:
    path = write_spec(tmp_path)
    spec = load_spec(path)
    pictures = []
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\nfont.size: 30\nxtick.labelsize: 30\nsavefig.bbox: tight\n"
    )
    for name, extra in (("plain", {}), ("odd", {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "nonsense"})):
        record_by_hand(tmp_path / name, spec)
        command = [sys.executable, "-m", "feelvos_lab", "ablate", "report", str(path), "--root", str(tmp_path / name)]
        here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **extra}
        done = subprocess.run(command, env=here, cwd=tmp_path / name, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        pictures.append((tmp_path / name / "runs/demo/report/figure.png").read_bytes())
    assert pictures[0] == pictures[1]
