"""Laws of running: what is done is not done again, what fails is shown and stops nothing, nothing outlives its run."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import psutil
import pytest
from standin_experiment import MEASURE, SPEC, record_by_hand, write_spec, write_worker

from feelvos_lab.ablation import execute, fingerprint, local_runs, worker
from feelvos_lab.ablation import results as reading
from feelvos_lab.ablation import runs as planning
from feelvos_lab.ablation.execute import Sweep, sweep_lock
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.cli import main as cli
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json, write_json

BAD = {"broken": "raise", "full-gpu": "memory", "liar": "disobey", "dead": "kill", "silent": "silent"}
BAD_ROWS = "".join(f"  {name}: {{trouble: {trouble}}}\n" for name, trouble in BAD.items())
TROUBLE = SPEC.replace("claims:", BAD_ROWS + "claims:")


@pytest.fixture(autouse=True, scope="module")
def own_sources(tmp_path_factory):
    """A copy of the library's sources to fingerprint, so that a test may change one."""
    package = tmp_path_factory.mktemp("sources") / "feelvos_lab"
    shutil.copytree(fingerprint.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "PACKAGE", package)
        yield package


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Eight runs, two at a time: three work; others raise, fill a GPU, record another seed, are killed, are silent."""
    root = tmp_path_factory.mktemp("experiments") / "{seed} ä [1] %d"  # in a path, braces mean nothing
    root.mkdir()
    spec = load_spec(write_spec(root, TROUBLE))
    lines: list[str] = []
    mark = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEELVOS_TEST_MARK", mark)
        runs = execute.run(spec, workers=2, root=root, progress=lines.append)
    return root, spec, runs, lines, mark


def marked_processes(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("FEELVOS_TEST_MARK") == mark:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def gone(mark: str, *, within: float) -> bool:
    end = time.monotonic() + within
    while marked_processes(mark):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def states(runs: list[planning.PlannedRun]) -> dict[str, str]:
    return {planned.variant.name: planned.state for planned in runs}


def test_failed_runs_are_shown_as_failed_and_do_not_stop_the_others(finished):
    _, _, runs, lines, _ = finished
    assert states(runs) == {
        "full": "ok",
        "narrow": "ok",
        "blind": "ok",
        "broken": "failed",
        "full-gpu": "failed",
        "liar": "failed",
        "dead": "failed",
        "silent": "failed",
    }
    reasons = {planned.variant.name: planned.reason for planned in runs}
    assert reasons["broken"] == "ValueError: the loss is nan"
    assert reasons["liar"] == "the notebook recorded seed 1, but 0 was planned"
    assert "SIGKILL" in reasons["dead"] and "fewer runs at a time (--workers)" in reasons["dead"]
    assert reasons["full-gpu"].startswith("the GPU is out of memory: fewer runs at a time (--workers) share it")
    assert "\n" not in reasons["full-gpu"] and "batch_size" in reasons["full-gpu"]
    assert reasons["silent"] == "the notebook ran through but wrote no record"
    assert len(lines) == 9  # one at the start and one a run
    assert any(line.startswith("[1/8] full seed 0 … ok J&F 63.0 in ") for line in lines)
    broken = next(line for line in lines if "broken" in line)
    assert "the loss is nan" in broken and "notebook.ipynb" in broken


def test_no_process_outlives_its_run(finished):
    assert gone(finished[-1], within=15)


def test_parameters_reach_the_notebook_and_the_record_with_their_types(finished):
    _, _, runs, _, _ = finished
    record = runs[2].record()
    assert record["config"]["previous_mask"] is False
    assert record["seed"] == 0 and record["split"] == "test"
    assert [row["clip"] for row in record["scores"]] == ["clip-0"] * 2 + ["clip-1"] * 2 + ["clip-2"] * 2
    assert runs[1].record()["config"]["radius"] == 1
    assert record["versions"]["torch"] and record["peak_memory_mb"] > 10


def test_a_second_run_starts_nothing_for_what_is_done(finished, monkeypatch):
    root, _, _, _, _ = finished
    calm = load_spec(write_spec(root))  # the same file without the rows in trouble

    def refuse(*_args, **_kwargs):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    lines: list[str] = []
    runs = execute.run(calm, root=root, progress=lines.append)
    assert lines == ["demo: all 3 runs are done, nothing to train"]
    assert {planned.state for planned in runs} == {"ok"}


def test_the_command_runs_what_is_missing_prints_the_table_and_says_what_failed(finished, capsys):
    root, _, _, _, _ = finished
    for text, code in ((SPEC, 0), (TROUBLE, 1)):
        path = write_spec(root, text.split("  full-gpu")[0] + "claims: []\n" if code else text)
        with pytest.raises(SystemExit) as left:
            cli.main(["ablate", "run", str(path), "--root", str(root)])
        assert left.value.code == code
        shown = capsys.readouterr().out
        assert "full    63.0†" in shown.replace("full      ", "full    ") and f"report: {root}" in shown
        assert ("failed: broken seed 0: ValueError: the loss is nan" in shown) == bool(code)


def test_only_what_can_change_a_number_makes_a_run_stale(finished, own_sources):
    root, _, _, _, _ = finished
    calm = load_spec(write_spec(root))
    assert set(states(planning.plan(calm, root=root)).values()) == {"ok"}

    def after(change: Path, text: str) -> set[str]:
        before = change.read_text()
        change.write_text(text)
        try:
            return set(states(planning.plan(calm, root=root)).values())
        finally:
            change.write_text(before)

    config, style = own_sources / "config.py", own_sources / "figures/style.py"
    assert after(config, config.read_text() + "\nSOMETHING = 1\n") == {"stale"}
    assert after(config, config.read_text() + "\n# a remark\n") == {"ok"}
    assert after(config, config.read_text().replace('"""Every setting', '"""All settings')) == {"ok"}
    assert after(style, style.read_text() + "\nCOLOUR = 1\n") == {"ok"}
    naive = own_sources / "model/matching/naive.py"
    assert after(naive, naive.read_text() + "\nSOMETHING = 1\n") == {"ok"}
    write_worker(root, drawing="'another colour'")
    assert set(states(planning.plan(calm, root=root)).values()) == {"ok"}
    write_worker(root, measure=MEASURE.replace("0.02", "0.03"))
    assert set(states(planning.plan(calm, root=root)).values()) == {"stale"}
    write_worker(root)


def test_a_stale_run_has_no_number_to_show(finished):
    root, _, _, _, _ = finished
    calm = load_spec(write_spec(root))
    write_worker(root, measure=MEASURE.replace("0.02", "0.03"))
    try:
        with pytest.raises(LabError, match="is stale, so it has no number"):
            planning.plan(calm, root=root)[0].record()
        results = reading.read_results(calm, root=root)
        assert results.scores.empty
        assert [results.lacking(name) for name in calm.variant_names] == ["1 stale"] * 3
    finally:
        write_worker(root)


def test_another_configuration_is_another_run_and_another_seed_too(finished):
    root, _, _, _, _ = finished
    other = load_spec(write_spec(root, SPEC.replace("radius: 1", "radius: 2")))
    assert states(planning.plan(other, root=root)) == {"full": "ok", "narrow": "missing", "blind": "ok"}
    calm = load_spec(write_spec(root))
    assert {planned.state for planned in planning.plan(calm, seeds=[1], root=root)} == {"missing"}


def test_a_damaged_record_is_failed_and_never_a_number(finished):
    root, _, _, _, _ = finished
    calm = load_spec(write_spec(root))
    path = planning.plan(calm, root=root)[0].folder / "record.json"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    try:
        first = planning.plan(calm, root=root)[0]
        assert first.state == "failed" and "cannot be read as JSON" in first.reason
    finally:
        path.write_text(whole)


def test_an_interrupt_ends_the_running_and_leaves_them_missing(tmp_path, monkeypatch):
    spec = load_spec(write_spec(tmp_path, SPEC.replace("radius: 1", "radius: 1, pause: 60.0")))
    mark = uuid.uuid4().hex
    monkeypatch.setenv("FEELVOS_TEST_MARK", mark)

    def stop_at_first_result(line: str) -> None:
        if line.startswith("["):
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        execute.run(spec, workers=2, root=tmp_path, progress=stop_at_first_result)
    assert time.monotonic() - began < 50
    assert gone(mark, within=15)
    after = states(planning.plan(spec, root=tmp_path))
    assert after["full"] == "ok" and after["narrow"] == "missing"


def test_two_processes_never_run_the_same_experiment(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    with (
        sweep_lock(tmp_path / "runs" / spec.name, Sweep(0.0, 1, None, [0])),
        pytest.raises(LabError, match="another process is running the experiment"),
    ):
        execute.run(spec, root=tmp_path, progress=lambda _line: None)


def test_an_output_folder_that_cannot_be_made_is_refused_before_any_run(tmp_path):
    spec = load_spec(write_spec(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="cannot be written"):
        execute.run(spec, root=tmp_path / "file", progress=lambda _line: None)


def test_what_papermill_would_bend_is_refused():
    worker.check_injection({"a": 1, "b": None, "c": [1, 2], "d": 1e-4, "e": "it's", "f": True})
    with pytest.raises(LabError, match=r"rates = \(1, 2\) would reach the notebook as"):
        worker.check_injection({"rates": (1, 2)})


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


ONE = SPEC.split("  narrow")[0] + "claims: []\n"
NOTE = """
from pathlib import Path
Path(folder, "seen.json").write_text(__import__("json").dumps(dict(os.environ)))
"""


def environments(runs: list[planning.PlannedRun]) -> dict[str, dict[str, str]]:
    """The environment that each run's notebook saw."""
    assert {planned.state for planned in runs} == {"ok"}, [planned.reason for planned in runs]
    return {planned.variant.name: read_json(planned.folder / "seen.json") for planned in runs}


def test_start_up_files_of_the_user_do_not_run_in_a_measured_kernel(tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    for path in (startup / "00-better.py", tmp_path / "startup.py"):
        path.write_text(
            "import feelvos_lab.ablation.record as record\n"
            "honest = record.write_record\n"
            "def better(folder, *, scores, **others):\n"
            "    return honest(folder, scores=scores.assign(J=1.0, F=1.0, JF=1.0), **others)\n"
            "record.write_record = better\n"
        )
    spec = load_spec(write_spec(tmp_path, ONE))
    for variable, value in (("IPYTHONDIR", tmp_path / "ipython"), ("PYTHONSTARTUP", tmp_path / "startup.py")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(value))
            runs = execute.run(spec, root=tmp_path / variable, progress=lambda _line: None)
        assert runs[0].state == "ok" and runs[0].mean("JF") == pytest.approx(63.0), variable
    assert [path.name for path in startup.iterdir()] == ["00-better.py"]


def test_each_run_waits_without_spinning_and_is_given_one_of_several_gpus(tmp_path, monkeypatch):
    spec = load_spec(write_spec(tmp_path))
    write_worker(tmp_path, measure=MEASURE + NOTE)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(execute, "visible_gpus", lambda: ["1", "GPU-7"])
    lines: list[str] = []
    seen = environments(execute.run(spec, workers=2, root=tmp_path, progress=lines.append))
    assert {one["OMP_WAIT_POLICY"] for one in seen.values()} == {"PASSIVE"}
    assert seen["full"]["CUDA_VISIBLE_DEVICES"] == "1" and seen["narrow"]["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert seen["blind"]["CUDA_VISIBLE_DEVICES"] in ("1", "GPU-7") and "spread over 2 GPUs" in lines[0]


def test_one_gpu_is_shared_and_what_the_user_has_set_stays(tmp_path, monkeypatch):
    spec = load_spec(write_spec(tmp_path, ONE))
    write_worker(tmp_path, measure=MEASURE + NOTE)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(execute, "visible_gpus", lambda: ["3"])
    lines: list[str] = []
    seen = environments(execute.run(spec, workers=2, root=tmp_path, progress=lines.append))
    assert seen["full"]["OMP_WAIT_POLICY"] == "ACTIVE" and seen["full"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert "on one GPU" in lines[0]


def test_a_run_goes_to_the_gpu_with_the_fewest(tmp_path, monkeypatch):
    """Of four on two GPUs the second and the fourth end at once: the next two follow them there."""
    given: dict[str, str] = {}

    class Ended:
        def __init__(self, after: int) -> None:
            self.returncode, self.left = 0, after

        def poll(self) -> int | None:
            self.left -= 1
            return None if self.left > 0 else 0

    def begin(planned, _spec, variables):
        given[planned.name] = variables["CUDA_VISIBLE_DEVICES"]
        return Ended(1 if len(given) in (2, 4) else 5)

    monkeypatch.setattr(local_runs, "_begin", begin)
    monkeypatch.setattr(local_runs, "conclude", lambda *_: None)
    spec = load_spec(write_spec(tmp_path))
    todo = planning.plan(spec, seeds=[0, 1], root=tmp_path)
    list(local_runs.run_here(todo, spec, workers=4, threads=1, variables={}, gpus=["0", "1"]))
    assert list(given.values()) == ["0", "1", "0", "1", "1", "1"]


@pytest.mark.parametrize(
    ("named", "count", "expected"),
    [
        (None, 3, ["0", "1", "2"]),
        ("2, 0", 2, ["2", "0"]),
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("1,-1,0", 1, ["1"]),  # what follows -1 is not visible
        ("", 0, []),
    ],
)
def test_the_visible_gpus_are_those_that_the_user_names(named, count, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert local_runs.visible_gpus() == expected


def test_a_run_that_is_made_again_has_as_many_threads_as_its_siblings(tmp_path, monkeypatch):
    """Another number of threads adds in another order, and a training ends elsewhere."""
    threads: list[int] = []

    def nothing(_todo, _spec, **settings):
        threads.append(settings["threads"])
        yield from ()

    monkeypatch.setattr(execute, "run_here", nothing)
    monkeypatch.setattr(execute.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    spec = load_spec(write_spec(tmp_path))
    lines: list[str] = []
    execute.run(spec, workers=2, root=tmp_path, progress=lines.append)
    record_by_hand(tmp_path, spec, leave_out=("blind",))
    execute.run(spec, workers=2, root=tmp_path, progress=lines.append)
    execute.run(spec, workers=2, root=tmp_path, deterministic=True, progress=lines.append)
    assert threads == [4, 4, 1]
    assert "2 at a time, 4 thread(s) each" in lines[0] and "1 at a time, 4 thread(s) each" in lines[1]
