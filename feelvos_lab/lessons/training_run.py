"""A training as notebook 11 shows it: chosen and checked, next to the paper's, foretold, drawn while it runs."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from IPython.display import display

from feelvos_lab.ablation.paper import GIVEN_BY, PAPER_DATA
from feelvos_lab.config import PRESETS, Config, configure
from feelvos_lab.errors import LabError
from feelvos_lab.figures import basic
from feelvos_lab.files.memory import peak_memory
from feelvos_lab.model.checkpoint import STATE, read_tensors
from feelvos_lab.training.loop import Trained
from feelvos_lab.widgets.notebook import is_live

SCRATCH = "scratch"  # the parameter `start` of a network without given weights

LEAST_CROP = 8  # pixels: torchvision cannot resize to a side of 1, and two cells of stride 4 are few already

_LOGGED = re.compile(r"step (\d+)/(\d+)  loss ([\d.]+)  ")  # a line that `train` hands to its `progress`


def choose(
    preset: str,
    settings: Mapping[str, Any],
    *,
    start: str = SCRATCH,
    start_part: str = "all",
    save_every: int = 200,
) -> Config:
    """The configuration of a training, with all checks that need no data.

    The pixels in the loss are annealed over half of the steps, as in every preset.

    Args:
        settings: by name; None means as the preset.
        start: `SCRATCH`, or the file with the first weights.

    Raises:
        LabError: a value of another type or out of range, by its name; no such file; data that cannot be scored.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    config = configure(preset, **given)
    config = configure(preset, **given, hard_anneal_steps=config.train.steps // 2)
    for name in ("height", "width"):
        if (side := getattr(config.data, name)) < LEAST_CROP:
            raise LabError(f"{name} must be {LEAST_CROP} or more, got {side}")
    if config.train.batch_size % config.train.accumulate:
        raise LabError(
            f"accumulate must divide the batch_size of {config.train.batch_size}, got {config.train.accumulate}"
        )
    if config.data.data == "youtube-vos":
        raise LabError("data must be a set with a published val list, got 'youtube-vos': name it with davis-2017")
    if config.data.data == "shapes" and not config.data.frames:
        fitting = [name for name in PRESETS if configure(name).data.frames]
        raise LabError(f"data 'shapes' needs one of the presets {', '.join(fitting)}, got {preset!r}")
    if start != SCRATCH and not Path(start).is_file():
        raise LabError(f"start must be {SCRATCH!r} or a file, got {start!r}")
    if start_part not in ("trunk", "all"):
        raise LabError(f"start_part must be 'trunk' or 'all', got {start_part!r}")
    if save_every < 1:
        raise LabError(f"save_every must be 1 or more, got {save_every}")
    return config


def stand_in(asked: Config, *, cpu: bool) -> tuple[Config, str]:
    """What is trained in place of a training that cannot be made here, and a sentence that says so.

    Without its data set, and for preset full without a GPU, that is preset smoke for 40 steps on synthetic shapes.
    Otherwise it is `asked` itself, and the sentence is empty.

    Args:
        cpu: train preset full without a GPU, too.
    """
    reasons = []
    if asked.data.data != "shapes" and not asked.data.root:
        reasons.append(f"data_root is empty, so {asked.data.data} cannot be read")
    if asked.preset == "full" and not cpu and not torch.cuda.is_available():
        reasons.append("there is no GPU for preset full")
    if not reasons:
        return asked, ""
    config = configure("smoke", steps=40, hard_anneal_steps=20)
    said = (
        f"THIS IS A DEMONSTRATION AND NOT THE TRAINING OF PRESET {asked.preset.upper()}: {' and '.join(reasons)}. "
        f"Below, preset smoke is trained for {config.train.steps} steps on synthetic shapes, and none of its numbers "
        "says anything about the paper's network or about DAVIS."
    )
    return config, said


def compare_with_paper(config: Config) -> pd.DataFrame:
    """The settings of a training next to the paper's, which are those of preset full; those that differ come first.

    Columns: `paper` and `here` as text; `given by`: "paper", "official code" (where the paper gives no value), or
    "this project" (a setting that neither has; the column `paper` shows the value that switches it off, or the usual
    one). Settings of this project are listed only where they differ.

    Example:
        >>> from feelvos_lab import configure
        >>> from feelvos_lab.lessons.training_run import compare_with_paper
        >>> table = compare_with_paper(configure("full", data="davis-2017+youtube-vos", steps=1000))
        >>> table[table["differs"]].drop(columns="differs")
                 paper    here given by
        steps  200,000   1,000    paper
    """
    theirs, here = configure("full", data=PAPER_DATA).flat(), config.flat()
    source = {name: by for by, names in GIVEN_BY.items() for name in names}
    names = [*source, *(name for name in here if name not in source and here[name] != theirs[name])]
    rows = {
        name: {
            "paper": _text(theirs[name]),
            "here": _text(here[name]),
            "given by": source.get(name, "this project"),
            "differs": here[name] != theirs[name],
        }
        for name in names
    }
    return pd.DataFrame(rows).T.sort_values("differs", ascending=False, kind="stable")


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


class Forecast(NamedTuple):
    """What a training will take, by its next steps. They are part of it: nothing is computed twice."""

    first: int  # step at which the measurement began
    seconds: tuple[float, ...]  # of each measured step; empty if the training is complete
    left: int  # steps that remain after them
    peak: int  # bytes
    place: str  # whose peak: "GPU" or "process"
    history: list[dict[str, float]]  # the logged rows so far, as `train` returns them

    @property
    def rest(self) -> float:
        """Seconds for the steps that remain, by the mean of all measured steps but the first."""
        later = self.seconds[1:] or self.seconds
        return self.left * sum(later) / len(later) if later else 0.0

    def __str__(self) -> str:
        peak = f"peak {self.peak / 1e9:.1f} GB of the {self.place}"
        if not self.seconds:
            return f"all {self.first:,} steps are made; {peak}"
        took = ", ".join(f"{s:.2f}" for s in self.seconds)
        went = f"steps {self.first + 1} to {self.first + len(self.seconds)} took {took} s"
        return f"{went}; about {duration(self.rest)} for the {self.left:,} steps that remain, {peak}"


def forecast(run: Callable[..., Trained], config: Config, *, folder: Path, measured: int = 3) -> Forecast:
    """Make the next few steps of a training, and foretell the rest: its time, and its memory from their peak.

    The first step of a session also warms up, so it is measured and does not count. A later step may take more memory:
    it grows with the objects of a sample.

    Args:
        run: `train` with everything but `stop_after` and `log_every`; it must keep its state in `folder`.
        measured: so many steps; fewer where the training ends before.
    """
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    first = saved_step(folder)
    last = min(first + measured, config.train.steps)
    history = run(stop_after=last, log_every=1).history
    ends = [row["seconds"] for row in history if row["step"] <= first][-1:] or [0.0]
    ends += [row["seconds"] for row in history if row["step"] > first]
    seconds = tuple(after - before for before, after in pairwise(ends))
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_memory()
    place = "GPU" if on_gpu else "process"
    return Forecast(first, seconds, config.train.steps - last, peak, place, history)


def saved_step(folder: Path) -> int:
    """The step from which a training in `folder` resumes; 0 if there is none. LabError: a damaged state."""
    path = Path(folder) / "state.safetensors"
    return int(read_tensors(path, expected=(STATE,))[1]["step"]) if path.exists() else 0


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Example:
        >>> from feelvos_lab.lessons.training_run import duration
        >>> duration(42), duration(1000), duration(40_000)
        ('42 s', '17 min', '11.1 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class LiveCurve:
    """A `progress` for `train`: the loss curve, drawn anew while it grows; without a live front end, printed lines.

    Args:
        history: the rows of an earlier session, which the curve begins with.
        every: least seconds between two drawings; the last step is always drawn.
    """

    def __init__(self, history: list[dict[str, float]] | None = None, *, every: float = 2.0) -> None:
        self.rows, self.every = list(history or []), every
        self._drawn, self._shown = -math.inf, None

    def __call__(self, line: str) -> None:
        found = _LOGGED.match(line)
        if found:
            self.rows.append({"step": int(found[1]), "loss": float(found[3])})
        if not (found and is_live()):
            print(line)
        elif (now := time.monotonic()) - self._drawn >= self.every or found[1] == found[2]:
            figure = basic.loss_curve(self.rows)
            figure.axes[0].set_xlabel(line)
            if self._shown is None:
                self._shown = display(figure, display_id=True)
            else:
                self._shown.update(figure)
            self._drawn = now
