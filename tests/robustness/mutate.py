"""Plant one mutation after another in a copy of the project, and see whether the fast tests notice.

    python tests/robustness/mutate.py [--jobs 2] [--only NAME …] [--list]

Each copy runs the tests near the mutation, and where they pass the whole fast suite (`make test-fast`). Prints what
noticed, and ends with 1 if fewer than 95 % were caught or one survived that `mutations.SURVIVORS` does not name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from mutations import MUTATIONS, SURVIVORS, Mutation

ROOT = Path(__file__).resolve().parents[2]
FAST = "not slow and not browser"
LEAST = 0.95  # of the mutations must be caught
LEFT_OUT = shutil.ignore_patterns(".git", "runs", "work", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")


def copy_project(to: Path) -> Path:
    """A copy of the project to plant in, without environments, whatever they are called, and without what was made."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        environments = {name for name in names if (Path(folder) / name / "pyvenv.cfg").exists()}
        return environments | LEFT_OUT(folder, names)

    return Path(shutil.copytree(ROOT, to, ignore=left_out))


def plant(mutation: Mutation, root: Path) -> str:
    """Write the wrong line into the copy at `root`; returns the file's text as it was."""
    path = root / "feelvos_lab" / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.right) != 1:
        raise SystemExit(f"{mutation.name}: {mutation.right!r} stands {text.count(mutation.right)} times in {path}")
    path.write_text(text.replace(mutation.right, mutation.wrong), encoding="utf-8")
    return text


def noticed(root: Path, tests: list[str]) -> str | None:
    """The first test that fails in the copy at `root`, or None where all pass."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    # test_mutate.py is left out: it looks for the right lines themselves
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-m",
        FAST,
        "-p",
        "no:cacheprovider",
        "--ignore=tests/robustness/test_mutations.py",
        *tests,
    ]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode > 2 or not failed:
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[0].split(" - ")[0].split("/")[-1]


def attempt(mutation: Mutation, root: Path) -> tuple[str | None, float]:
    """What noticed the mutation, and after how many seconds; the copy at `root` is left as it was."""
    began = time.perf_counter()
    text = plant(mutation, root)
    try:
        found = noticed(root, mutation.tests) or noticed(root, ["tests"])
    finally:
        (root / "feelvos_lab" / mutation.file).write_text(text, encoding="utf-8")
    return found, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[s.name for s in MUTATIONS], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - {s.name for s in MUTATIONS}:
        parser.error(f"there is no mutation {', '.join(sorted(unknown))}")
    chosen = [s for s in MUTATIONS if s.name in arguments.only]
    if arguments.list:
        print(*(f"{s.name:40}{s.file}" for s in chosen), sep="\n")
        return
    copies: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        for number in range(arguments.jobs):
            copies.put(copy_project(Path(folder) / str(number)))

        def work(mutation: Mutation) -> str | None:
            root = copies.get()
            try:
                found, seconds = attempt(mutation, root)
            finally:
                copies.put(root)
            print(f"{mutation.name:40}{seconds:5.0f} s  {found or 'SURVIVED'}", flush=True)
            return found

        caught = list(pool.map(work, chosen))
    survivors = [s.name for s, found in zip(chosen, caught, strict=True) if found is None]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught; survived: {', '.join(survivors) or 'none'}")
    unexplained = [name for name in survivors if name not in SURVIVORS]
    sys.exit(bool(unexplained) or len(survivors) > (1 - LEAST) * len(chosen))


if __name__ == "__main__":
    main()
