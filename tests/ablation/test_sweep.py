"""Laws of looking on: status reads the folders alone, tells what runs, and estimates the rest from what is done."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from standin_experiment import SPEC, record_by_hand, write_spec

from feelvos_lab.ablation.execute import Sweep, left_text, seconds_left, status_text, sweep_lock, under_way
from feelvos_lab.ablation.runs import plan
from feelvos_lab.ablation.spec import Spec, load_spec
from feelvos_lab.ablation.worker import PLAN
from feelvos_lab.cli import main as cli
from feelvos_lab.files.atomic import write_json


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return load_spec(write_spec(tmp_path))


def files(root: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_status_starts_and_writes_nothing(spec, tmp_path):
    record_by_hand(tmp_path, spec, leave_out=("blind",))
    before = files(tmp_path)
    lines = status_text(spec, root=tmp_path).splitlines()
    assert files(tmp_path) == before
    assert lines[0] == "demo: 3 runs, 2 ok, 0 failed, 0 stale, 1 missing; nothing is running"
    assert re.fullmatch(r"ok +full seed 0 +J&F 60\.0 in 90 s", lines[1])
    assert re.fullmatch(r"missing +blind seed 0", lines[3])


def test_status_tells_a_sweep_that_runs_with_its_seeds_and_what_is_left(spec, tmp_path):
    record_by_hand(tmp_path, spec, seeds=(0, 1), leave_out=("blind",))
    for planned in plan(spec, [1], tmp_path):
        if planned.variant.name == "full":  # stopped long ago, and not begun again
            shutil.rmtree(planned.folder)
    with sweep_lock(tmp_path / "runs" / "demo", Sweep(began=time.time(), workers=2, scheduler=None, seeds=[0, 1])):
        blind = plan(spec, [0], tmp_path)[2]
        blind.folder.mkdir()
        write_json(blind.folder / PLAN, {"fingerprint": blind.fingerprint})
        lines = status_text(spec, root=tmp_path).splitlines()
    assert "6 runs, 3 ok" in lines[0] and "running here, 2 at a time" in lines[0]
    assert lines[0].endswith("about 2 min left")  # three of 90 s, two at a time
    assert re.fullmatch(r"running blind seed 0 +for [0-9] s", lines[3])
    assert re.fullmatch(r"missing full seed 1", " ".join(lines[4].split()))
    assert under_way(tmp_path / "runs" / "demo") is None


def test_what_an_earlier_sweep_began_is_not_running(spec, tmp_path):
    blind = plan(spec, [0], tmp_path)[2]
    blind.folder.mkdir(parents=True)
    write_json(blind.folder / PLAN, {"fingerprint": blind.fingerprint})
    later = time.time() + 60
    with sweep_lock(tmp_path / "runs" / "demo", Sweep(began=later, workers=1, scheduler=None, seeds=[0])):
        assert not [line for line in status_text(spec, root=tmp_path).splitlines() if line.startswith("running")]


def test_a_clusters_sweep_is_told_by_its_address(spec, tmp_path):
    with sweep_lock(tmp_path / "runs" / "demo", Sweep(time.time(), 4, "tcp://there:8786", [0])):
        first = status_text(spec, root=tmp_path).splitlines()[0]
    assert "running on tcp://there:8786" in first and first.endswith("unknown time left")


def test_what_is_left_is_estimated_by_row(spec, tmp_path):
    assert math.isnan(seconds_left(plan(spec, root=tmp_path), workers=2))
    record_by_hand(tmp_path, spec, leave_out=("blind", "narrow"))
    runs = plan(spec, [0, 1], tmp_path)
    assert seconds_left(runs, workers=1) == 5 * 90
    assert seconds_left(runs, workers=5) == 90
    assert seconds_left(runs, workers=10) == 90  # no run is faster than a run
    assert seconds_left(runs, workers=1, running={"full seed 1": 30.0}) == 5 * 90 - 30
    assert seconds_left(runs, workers=1, running={"full seed 1": 1000.0}) == 4 * 90
    assert seconds_left(plan(spec, [0], tmp_path)[:1], workers=1) == 0


def test_a_sweep_is_planned_without_torch(tmp_path):
    """Its import takes seconds, and only the runs need it."""
    path = write_spec(tmp_path)
    code = f"""
import sys
from feelvos_lab.ablation.execute import status_text
from feelvos_lab.ablation.spec import load_spec
status_text(load_spec({str(path)!r}))
sys.exit("torch" in sys.modules)"""
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "about 0 s"), (89, "about 89 s"), (600, "about 10 min"), (9000, "about 2.5 h"), (math.nan, "unknown time")],
)
def test_what_is_left_is_told_in_round_numbers(seconds, text):
    assert left_text(seconds) == text


def test_the_command_says_how_far_it_is(tmp_path, capsys):
    path = write_spec(tmp_path, SPEC)
    with pytest.raises(SystemExit) as left:
        cli.main(["ablate", "status", str(path), "--root", str(tmp_path / "e"), "--seeds", "2"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("demo: 6 runs, 0 ok, 0 failed, 0 stale, 6 missing")
    assert not (tmp_path / "e").exists()
