"""What does a sweep cost beyond its runs, and what do two workers bring?

    python experiments/benchmarks/sweep.py [--runs 30] [--seconds 4] [--pairs 4]

A stand-in worker notebook computes on one thread for so many seconds of processor time, as a short run would. It goes
the whole way of `feelvos-lab ablate run`: a plan, a process each, papermill, a kernel, a record, the report at the end.

A *run itself* is its child process, from its start to its end: with the interpreter, papermill and the kernel that it
starts, which is also told apart. *Overhead* is all other time of the sweep: the plan, starting processes, noticing that
they ended, reading their records, the report.
"""

from __future__ import annotations

import argparse
import os
import platform
import select
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

from feelvos_lab.ablation import local_runs
from feelvos_lab.ablation.execute import run
from feelvos_lab.ablation.report import write_report
from feelvos_lab.ablation.results import read_results
from feelvos_lab.ablation.spec import load_spec

OVERHEAD, SPEED_UP = 5.0, 1.7  # percent at most; times at least, on two cores
PARAMETERS = """\
preset: str = "smoke"  # where the configuration starts
seed: int = 0  # of everything random
split: str = "test"  # which clips are scored
folder: str = "run"  # where the record goes
jitter: float | None = None  # to tell rows apart
"""
WORK = """\
import time

began = time.process_time()
value = 1.0
while time.process_time() - began < SECONDS:
    value = (value * 1.0000001) % 1.7
"""
RECORD = """\
import pandas as pd

from feelvos_lab.ablation.record import write_record
from feelvos_lab.config import configure

chosen = {} if jitter is None else {"jitter": jitter}
up = 0.01 * (seed % 9)
rows = [dict(clip=f"clip-{c}", object=1, J=0.5, F=0.5 + 2 * up, JF=0.5 + up) for c in range(3)]
write_record(folder, config=configure(preset, **chosen), seed=seed, split=split, scores=pd.DataFrame(rows),
             history=[dict(step=0, loss=1.0)], train_seconds=SECONDS, test_seconds=0.0)
"""
SPEC = """\
question: What does a sweep cost?
notebook: worker.ipynb
preset: smoke
split: test
seeds: {seeds}
baseline: plain
variants:
  plain: {{}}
  shaken: {{jitter: 0.1}}
"""


def write_experiment(folder: Path, *, runs: int, seconds: float) -> Path:
    """A worker of so many seconds, and an experiment of two rows and `runs` / 2 seeds."""
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(f"SECONDS = {seconds}\n" + WORK)]
    cells += [nbformat.v4.new_code_cell(RECORD, metadata={"tags": ["record"]})]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, folder / "worker.ipynb")
    path = folder / "sweep.yml"
    path.write_text(SPEC.format(seeds=list(range(runs // 2))))
    return path


@contextmanager
def child_times() -> Iterator[list[tuple[float, float]]]:
    """Start and end of every child process that a sweep makes while this is open, in seconds.

    A thread that waits for each child notes its end, so that the sweep's own time to notice it is not the child's.
    """
    times: list[tuple[float, float]] = []
    threads = []
    start = local_runs.start

    def timed(folder, variables, **lock):
        began = time.monotonic()
        child = start(folder, variables, **lock)
        descriptor = os.pidfd_open(child.pid)  # readable once the child has ended, whoever asks for its code first

        def wait():
            select.select([descriptor], [], [])
            times.append((began, time.monotonic()))
            os.close(descriptor)

        thread = threading.Thread(target=wait)
        thread.start()
        threads.append(thread)
        return child

    local_runs.start = timed
    try:
        yield times
    finally:
        local_runs.start = start
        for thread in threads:
            thread.join()


def sweep(*, runs: int, seconds: float, workers: int) -> tuple[float, list[tuple[float, float]]]:
    """Seconds from the experiment's file to its report, and the children's starts and ends.

    Raises:
        SystemExit: a run failed.
    """
    with tempfile.TemporaryDirectory() as place, child_times() as times:
        path = write_experiment(Path(place), runs=runs, seconds=seconds)
        began = time.monotonic()
        spec = load_spec(path)
        made = run(spec, workers=workers, root=Path(place), progress=lambda _: None)
        if bad := [planned for planned in made if planned.state != "ok"]:
            sys.exit(f"{bad[0].name} is {bad[0].state}: {bad[0].reason}")
        write_report(read_results(spec, root=Path(place)))
        return time.monotonic() - began, times


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=30, help="of the sweep whose overhead is measured; even")
    options.add_argument("--seconds", type=float, default=4.0, help="of processor time that a run computes")
    options.add_argument("--pairs", type=int, default=4, help="runs for each of two workers; one worker makes as many")
    chosen = options.parse_args()
    if chosen.runs < 2 or chosen.runs % 2 or chosen.pairs < 1 or chosen.seconds <= 0:
        options.error("runs must be even and at least 2, pairs at least 1, seconds more than 0")
    if not hasattr(os, "pidfd_open"):
        sys.exit("this benchmark needs Linux, which says when a process ends without giving up its code")
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, runs of {chosen.seconds:g} s on one thread")

    whole, times = sweep(runs=chosen.runs, seconds=chosen.seconds, workers=1)
    inside = sum(end - began for began, end in times)
    each = inside / len(times)
    over = 100 * (whole - inside) / inside
    print(f"\n{'one worker':34}{'runs':>6}{'s':>9}{'% of runs':>11}")
    print(f"{'the sweep, from file to report':34}{len(times):6}{whole:9.1f}")
    print(f"{'the runs themselves':34}{len(times):6}{inside:9.1f}{100:11.1f}")
    verdict = f"  at most {OVERHEAD:g}: {'yes' if over <= OVERHEAD else 'NO'}"
    print(f"{'overhead':34}{len(times):6}{whole - inside:9.1f}{over:11.1f}{verdict}")
    print(
        f"{'start and end of one run':34}{1:6}{each - chosen.seconds:9.1f}  (interpreter, papermill, kernel, imports)"
    )

    runs = 2 * chosen.pairs
    alone, _ = sweep(runs=runs, seconds=chosen.seconds, workers=1)
    both, _ = sweep(runs=runs, seconds=chosen.seconds, workers=2)
    print(f"\n{'workers':34}{'runs':>6}{'s':>9}{'times one':>11}")
    print(f"{'1':34}{runs:6}{alone:9.1f}{1:11.2f}")
    verdict = f"  at least {SPEED_UP}: {'yes' if alone / both >= SPEED_UP else 'NO'}"
    print(f"{'2':34}{runs:6}{both:9.1f}{alone / both:11.2f}{verdict}")
    return 0 if over <= OVERHEAD and alone / both >= SPEED_UP else 1


if __name__ == "__main__":
    sys.exit(main())
