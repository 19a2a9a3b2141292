"""Whether a finished run still says what the code would measure now.

A run's fingerprint is a hash of its configuration, its seed, the worker notebook's code cells up to the one tagged
`record` (what comes later draws, and cannot change a number), and the library's sources that can change one. Comments,
docstrings and layout do not count: sources are compared as syntax trees.

From an experiment to the runs that it asks for, each with its state; nothing is started or written.

A run's identity is its folder, `<variant>-s<seed>-<8 hex of the configuration>`; its fingerprint (see fingerprint.py)
says whether the record there is what the code would measure now. Four states, shown and never mixed:
`ok`, `failed`, `stale` (code or notebook changed since), `missing` (never run, under way, or interrupted).
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import feelvos_lab
from feelvos_lab.ablation.record import FAILURE, PLAN, RECORD, UNFINISHED, read_record
from feelvos_lab.ablation.spec import Spec, Variant, check_seeds
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json
from feelvos_lab.files.notebooks import read_notebook, source, tags
from feelvos_lab.model.checkpoint import read_card, shipped_path

PACKAGE = Path(feelvos_lab.__file__).parent

# Everything that train, infer and evaluate import, directly or not; a test holds the list complete.
SOURCES = (
    "config.py",
    "data/**/*.py",
    "model/**/*.py",
    "training/**/*.py",
    "inference/propagation.py",
    "evaluation/**/*.py",
)
HARMLESS = ("model/matching/naive.py", "model/matching/dense.py")  # the slow twins, which tests and lessons alone call


def number_sources(package: Path | None = None) -> list[Path]:
    """The library's files that can change a number, sorted; `package` is another copy of its folder."""
    package = PACKAGE if package is None else package
    found = {path for pattern in SOURCES for path in package.glob(pattern)}
    return sorted(found - {package / name for name in HARMLESS})


def fingerprint(notebook: Path, parameters: Mapping[str, Any], digest: str) -> str:
    """16 hexadecimal digits that differ when the run's number could.

    Args:
        notebook: the worker that will run.
        parameters: what is injected into it, without the output folder.
        digest: the variant's, which holds the preset's values too.

    Raises:
        LabError: there is a parameter `start` of another value than "trunk" or "all", or no shipped checkpoint.
    """
    parts = [json.dumps(dict(parameters), sort_keys=True), digest]
    parts += [_meaning(code) for code in worker_code(notebook)]
    if start := parameters.get("start"):  # weights that a training starts from change its number as sources do
        if start not in ("trunk", "all"):
            raise LabError(f"start must be 'trunk' or 'all', got {start!r}")
        parts.append(read_card(shipped_path(parameters["preset"]))["sha256"])
    parts += [f"{path.relative_to(PACKAGE)}:{_file_meaning(path)}" for path in number_sources()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def worker_code(notebook: Path) -> list[str]:
    """The code cells that can change a number: up to the cell tagged `record`, or all where there is none."""
    cells = [cell for cell in read_notebook(notebook)["cells"] if cell["cell_type"] == "code"]
    last = next((i for i, cell in enumerate(cells) if "record" in tags(cell)), len(cells) - 1)
    return [source(cell) for cell in cells[: last + 1]]


def _file_meaning(path: Path) -> str:
    stat = path.stat()
    return _cached_meaning(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def _cached_meaning(path: Path, modified: int, size: int) -> str:
    return hashlib.sha256(_meaning(path.read_text(encoding="utf-8")).encode()).hexdigest()


def _meaning(code: str) -> str:
    """The code's syntax tree without docstrings and positions; the text itself where it is not plain Python."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # `%matplotlib inline` and the like
        return code
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


State = Literal["ok", "failed", "stale", "missing"]

METRIC_NAMES = {"JF": "J&F", "J": "J", "F": "F"}


@dataclass(frozen=True)
class PlannedRun:
    """One run: a variant with a seed, where it lives, and how far it is."""

    variant: Variant
    seed: int
    folder: Path
    fingerprint: str
    state: State
    reason: str = ""  # why it failed, in one line

    @property
    def name(self) -> str:
        return f"{self.variant.name} seed {self.seed}"

    @property
    def notebook(self) -> Path:
        return self.folder / "notebook.ipynb"

    @property
    def parameters(self) -> dict[str, Any]:
        """What is injected into the notebook, without the output folder."""
        return {**self.variant.parameters, "seed": self.seed}

    def mean(self, metric: str) -> float:
        """The mean of a metric over all objects, in percent, of a run that is ok."""
        scores = self.record()["scores"]
        return 100 * sum(row[metric] for row in scores) / len(scores)

    def seconds(self) -> float:
        """What training and testing took, of a run that is ok."""
        record = self.record()
        return record["train_seconds"] + record["test_seconds"]

    def record(self) -> dict[str, Any]:
        """The record of a run that is ok.

        Raises:
            LabError: it is not.
        """
        if self.state != "ok":
            raise LabError(f"{self.name} is {self.state}, so it has no number to show")
        return read_record(self.folder)


class Outcome(NamedTuple):
    """A run that has ended."""

    number: int  # its place among the experiment's runs, from 1 on
    run: PlannedRun  # with its state now
    seconds: float


def plan(spec: Spec, seeds: Sequence[int] | None = None, root: Path = Path("experiments")) -> list[PlannedRun]:
    """All runs of an experiment with their present states; nothing is started or written.

    Args:
        spec: the experiment.
        seeds: in place of the file's.
        root: runs live in `root/runs/<spec>/`.

    Raises:
        LabError: seeds that are no distinct integers from 0 on.
    """
    chosen = tuple(spec.seeds if seeds is None else seeds)
    check_seeds(chosen, where="seeds")
    runs = []
    for seed in chosen:
        for variant in spec.variants:
            folder = Path(root) / "runs" / spec.name / f"{variant.name}-s{seed}-{variant.digest}"
            run = PlannedRun(variant, seed, folder, "", "missing")
            mark = fingerprint(spec.notebook, run.parameters, variant.digest)
            runs.append(with_state(replace(run, fingerprint=mark)))
    return runs


def count_states(runs: Sequence[PlannedRun]) -> str:
    """Such as `4 ok, 0 failed, 1 stale, 1 missing`."""
    return ", ".join(f"{sum(p.state == state for p in runs)} {state}" for state in get_args(State))


def with_state(planned: PlannedRun) -> PlannedRun:
    """The run with the state that its folder shows."""
    folder = planned.folder
    state: State
    reason = ""
    if (folder / UNFINISHED).exists() or not ((folder / RECORD).exists() or (folder / FAILURE).exists()):
        state = "missing"  # a record alone does not do: the page is written after it
    else:
        try:
            same = read_json(folder / PLAN).get("fingerprint") == planned.fingerprint
            if not same:
                state = "stale"
            elif (folder / FAILURE).exists():
                state, reason = "failed", str(read_json(folder / FAILURE).get("error", "no reason told"))
            else:
                reason = _mismatch(planned, read_record(folder))
                state = "failed" if reason else "ok"
        except LabError as error:
            state, reason = "failed", str(error)
    return replace(planned, state=state, reason=reason)


def _mismatch(planned: PlannedRun, record: dict[str, Any]) -> str:
    """What the record says other than the plan did: a notebook that does not obey its parameters is no evidence."""
    wanted = {"seed": planned.seed, "split": planned.variant.parameters.get("split", record["split"])}
    if planned.variant.config is not None:
        wanted["digest"] = planned.variant.config.digest()
    for key, value in wanted.items():
        if record[key] != value:
            return f"the notebook recorded {key} {record[key]!r}, but {value!r} was planned"
    return ""
