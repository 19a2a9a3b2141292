"""A worker notebook that computes a number in no time, and an experiment around it, for the tests of ablate/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from feelvos_lab.ablation.record import write_record
from feelvos_lab.ablation.runs import plan
from feelvos_lab.ablation.spec import Spec
from feelvos_lab.ablation.worker import PLAN
from feelvos_lab.files.atomic import write_json

EFFECT = {"full": 0.6, "narrow": 0.5, "blind": 0.4}

PARAMETERS = """\
preset: str = "smoke"  # where the configuration starts
seed: int = 0  # of everything random
split: str = "test"  # which clips are scored
folder: str = "runs/by-hand"  # where the record goes
radius: int | None = None  # as the preset, where None
previous_mask: bool | None = None  # as the preset, where None
learning_rate: float | None = None  # as the preset, where None
context_rates: list[int] | None = None  # as the preset, where None
trouble: str = ""  # "raise", "memory", "kill", "disobey" or "silent"
pause: float = 0.0  # seconds
"""

MEASURE = """\
import os, time
import pandas as pd
from feelvos_lab.ablation.record import write_record
from feelvos_lab.config import configure
given = {name: value for name, value in dict(radius=radius, previous_mask=previous_mask, learning_rate=learning_rate,
         context_rates=context_rates).items() if value is not None}
config = configure(preset, **given)
time.sleep(pause)
if trouble == "raise":
    raise ValueError("the loss is nan\\nsecond line")
if trouble == "memory":
    class OutOfMemoryError(RuntimeError):  # as torch's
        pass
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\\nSee the documentation")
if trouble == "kill":
    os.kill(os.getppid(), 9)
    time.sleep(30)
base = 0.5 + 0.02 * config.model.radius + 0.001 * seed + (0.05 if config.model.previous_mask else 0.0)
rows = [dict(clip=f"clip-{c}", object=o, J=base + 0.01 * c, F=base - 0.01 * c, JF=base)
        for c in range(3) for o in (1, 2)]
"""

RECORD = """\
if trouble != "silent":
    write_record(folder, config=config, seed=seed + (trouble == "disobey"), split=split, scores=pd.DataFrame(rows),
                 history=[dict(step=0, loss=2.0), dict(step=1, loss=1.0)], train_seconds=1.0, test_seconds=0.5)
"""

SPEC = """\
question: Does a wider window help?
notebook: worker.ipynb
paper_table: ablation
preset: smoke
split: test
metric: JF
seeds: [0]
baseline: full
variants:
  full: {paper: 1}
  narrow: {paper: 2, radius: 1}
  blind: {paper: 5, previous_mask: false}
claims:
  - {better: full, worse: narrow}
"""


def cell(name: str, text: str, *tags: str, kind: str = "code") -> dict:
    extra = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"id": name, "cell_type": kind, "metadata": {"tags": list(tags)} if tags else {}, "source": text, **extra}


def notebook(*cells: dict) -> str:
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": list(cells)})


def write_worker(folder: Path, *, parameters: str = PARAMETERS, measure: str = MEASURE, drawing: str = "1 + 1") -> Path:
    path = folder / "worker.ipynb"
    path.write_text(
        notebook(
            cell("parameters", parameters, "parameters"),
            cell("measure", measure),
            cell("record", RECORD, "record"),
            cell("drawing", drawing),
        )
    )
    return path


def write_spec(folder: Path, text: str = SPEC, name: str = "demo") -> Path:
    write_worker(folder)
    path = folder / f"{name}.yml"
    path.write_text(text)
    return path


def record_by_hand(root: Path, spec: Spec, *, seeds: Sequence[int] = (0,), leave_out: Sequence[str] = ()) -> None:
    """Write the records that runs would have written."""
    for planned in plan(spec, seeds, root):
        if planned.variant.name in leave_out:
            continue
        base = EFFECT[planned.variant.name] + 0.01 * planned.seed
        rows = [
            {"clip": f"clip-{c}", "object": o, "J": base + 0.02 * c, "F": base - 0.02 * c, "JF": base}
            for c in range(3)
            for o in (1, 2)
        ]
        measured = pd.DataFrame(rows)
        write_record(
            planned.folder,
            config=planned.variant.config,
            seed=planned.seed,
            split="test",
            scores=measured,
            copied=measured.assign(J=0.25, F=0.25, JF=0.25),
            history=[{"step": 10, "loss": 1.0}],
            train_seconds=60.0,
            test_seconds=30.0,
        )
        write_json(planned.folder / PLAN, {"fingerprint": planned.fingerprint})
