"""The runs that an experiment asks for, each with its state; nothing is started or written.

A run's identity is its folder, `<variant>-s<seed>-<8 hex of the configuration>`. It has one of four states: `ok`,
`failed`, `stale` (code or notebook changed since) or `missing` (never run, running, or interrupted).

A run is stale when its fingerprint differs from that of the present code, see `fingerprint.py`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from feelvos_lab.ablation.fingerprint import fingerprint, own_sources
from feelvos_lab.ablation.record import RECORD, read_record
from feelvos_lab.ablation.spec import Spec, Variant, check_seeds
from feelvos_lab.ablation.worker import FAILURE, LOG, NOTEBOOK, PLAN, UNFINISHED
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json
from feelvos_lab.files.notebooks import read_parameters

METRIC_NAMES = {"JF": "J&F", "J": "J", "F": "F"}

State = Literal["ok", "failed", "stale", "missing"]


@dataclass(frozen=True)
class PlannedRun:
    """One run: a variant with a seed, its folder, and its state."""

    number: int  # its place in the plan, from 1 on
    variant: Variant
    seed: int
    folder: Path
    fingerprint: str
    state: State = "missing"
    reason: str = ""  # why it failed, in one line
    network: Path | None = None  # the checkpoint that it scores instead of training one
    data_root: Path | None = None  # the folder of a published data set, where the experiment's file names none
    took: float | None = None  # seconds from the start to the end of its processes, of a run that has ended
    measured: dict[str, Any] = field(default_factory=dict, repr=False)  # the record of a run that is ok

    @property
    def name(self) -> str:
        return f"{self.variant.name} seed {self.seed}"

    @property
    def notebook(self) -> Path:
        return self.folder / NOTEBOOK

    @property
    def parameters(self) -> dict[str, Any]:
        """What is injected into the notebook, without the output folder."""
        places = {"checkpoint": self.network, "root": self.data_root}
        given = {name: str(path.resolve()) for name, path in places.items() if path is not None}
        return {**self.variant.parameters, **given, "seed": self.seed}

    def mean(self, metric: str) -> float:
        """The mean of a metric over all objects, in percent, of a run that is ok."""
        scores = self.record()["scores"]
        return 100 * sum(row[metric] for row in scores) / len(scores)

    @property
    def evidence(self) -> Path:
        """Where to look: the page, or the log of a run that wrote none."""
        return self.notebook if self.notebook.exists() else self.folder / LOG

    def seconds(self) -> float:
        """Seconds from start to end of a run that is ok, or those of training and test where no others are known."""
        if self.took is not None:
            return self.took
        record = self.record()
        return record["train_seconds"] + record["test_seconds"]

    def record(self) -> dict[str, Any]:
        """The record, as it was when the state was determined; LabError if the run is not ok."""
        if self.state != "ok":
            raise LabError(f"{self.name} is {self.state}, so it has no number to show")
        return self.measured


def plan(
    spec: Spec,
    seeds: Sequence[int] | None = None,
    root: Path = Path("experiments"),
    *,
    networks: Path | None = None,
) -> list[PlannedRun]:
    """All runs of an experiment with their present states.

    Args:
        seeds: instead of the file's; distinct integers from 0 on.
        root: runs live in `root/runs/<spec>/`.
        networks: a folder with a checkpoint `<row>-s<seed>.safetensors` for every run, which scores it instead of
            training one. A run that trained is stale then, and the other way round.

    Raises:
        LabError: seeds that repeat, a checkpoint that is missing, or a worker notebook that takes none.
    """
    chosen = tuple(spec.seeds if seeds is None else seeds)
    check_seeds(chosen, where="seeds")
    if networks is not None and "checkpoint" not in read_parameters(spec.notebook):
        raise LabError(f"{spec.notebook.name} has no parameter 'checkpoint', so it cannot score given networks")
    _refuse_another_file(spec, Path(root) / "runs" / spec.name)
    own = own_sources(spec.notebook, spec.path, spec.sources)
    runs: list[PlannedRun] = []
    for seed in chosen:
        for variant in spec.variants:
            folder = Path(root) / "runs" / spec.name / f"{variant.name}-s{seed}-{variant.digest}"
            network = None if networks is None else Path(networks) / f"{variant.name}-s{seed}.safetensors"
            mark = fingerprint(spec.notebook, {**variant.parameters, "seed": seed}, variant.digest, network, own)
            runs.append(with_state(PlannedRun(len(runs) + 1, variant, seed, folder, mark, network=network)))
    return runs


def _refuse_another_file(spec: Spec, folder: Path) -> None:
    """Raise LabError if the folder holds runs of another experiment file of the same name.

    A file that was moved is not another one: that of the runs is gone then, or equal.
    """
    if not folder.is_dir():
        return
    mine = spec.path.resolve()
    named = set()
    for path in folder.glob(f"*/{PLAN}"):
        with contextlib.suppress(LabError):  # a damaged plan is reported as the state of its run
            if isinstance(written := read_json(path).get("experiment"), str):
                named.add(Path(os.path.normpath(folder.resolve() / written)))
    for other in sorted(named - {mine}):
        if other.is_file() and not other.samefile(mine) and other.read_bytes() != mine.read_bytes():
            raise LabError(
                f"{folder} holds runs of {other}, not of {mine}: rename one of the two files, or give another --root"
            )


def count_states(runs: Sequence[PlannedRun]) -> str:
    """Such as `4 ok, 0 failed, 1 stale, 1 missing`."""
    return ", ".join(f"{sum(p.state == state for p in runs)} {state}" for state in get_args(State))


def with_state(planned: PlannedRun) -> PlannedRun:
    """The run with the state that its folder shows now."""
    folder = planned.folder
    record: dict[str, Any] = {}
    state: State = "missing"
    reason, took = "", None
    ended = (folder / RECORD).exists() or (folder / FAILURE).exists()
    if ended and not (folder / UNFINISHED).exists():  # a record is not enough: the notebook's page is written after it
        try:
            written = read_json(folder / PLAN)
            took = seconds if isinstance(seconds := written.get("seconds"), (int, float)) else None
            if written.get("fingerprint") != planned.fingerprint:
                state = "stale"
            elif (folder / FAILURE).exists():
                state, reason = "failed", str(read_json(folder / FAILURE).get("error", "no reason given"))
            else:
                record = read_record(folder)
                reason = _mismatch(planned, record)
                state = "failed" if reason else "ok"
        except LabError as error:
            state, reason = "failed", str(error)
    return replace(planned, state=state, reason=reason, measured=record, took=took)


def _mismatch(planned: PlannedRun, record: dict[str, Any]) -> str:
    """Where the record contradicts the plan: a notebook that ignores its parameters is no evidence."""
    wanted = {"seed": planned.seed, "split": planned.variant.parameters.get("split", record["split"])}
    if planned.variant.config is not None:
        wanted["digest"] = planned.variant.config.digest()
    for key, value in wanted.items():
        if record[key] != value:
            return f"the notebook recorded {key} {record[key]!r}, but {value!r} was planned"
    return ""
