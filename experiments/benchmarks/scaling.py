"""How does the time of the distance maps grow with pixels, dimensions, radius, objects and reference frames?

    python experiments/benchmarks/scaling.py [--runs 3] [--out experiments/results/scaling]

One of them grows at a time, all others stay at a grid of 60×107, 100 dimensions, radius 7, 4 objects and one annotated
frame. Time is the processor's, of one thread, the smallest of some calls. Draws `scaling.png` with the exponent p of
the fitted time ∝ (what grows)^p, and writes the numbers to `scaling.csv`.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matching import frames
from matplotlib.figure import Figure
from torch import Tensor

from feelvos_lab.figures import style
from feelvos_lab.files.atomic import complete_file
from feelvos_lab.model.matching import global_matching, local_matching

HEIGHT, WIDTH, DIM, RADIUS, OBJECTS = 60, 107, 100, 7, 4


class Sweep(NamedTuple):
    """One quantity that grows."""

    name: str
    values: tuple[int, ...]
    maps: tuple[str, ...]  # whose time may depend on it


SWEEPS = (
    Sweep("pixels of the grid", (30 * 54, 45 * 80, 60 * 107, 85 * 151, 120 * 214), ("global", "local")),
    Sweep("dimensions", (25, 50, 100, 200), ("global", "local")),
    Sweep("places of the window, (2 radius + 1)²", (9, 49, 225, 961), ("local",)),
    Sweep("objects", (2, 4, 10, 25, 50), ("global", "local")),
    Sweep("annotated frames", (1, 2, 4, 8), ("global",)),
)


def case(sweep: Sweep, value: int, which: str) -> Callable[[], Tensor]:
    """The call that computes the map where the quantity has that value."""
    height, width, dim, objects, radius, references = HEIGHT, WIDTH, DIM, OBJECTS, RADIUS, 1
    match sweep.name:
        case "pixels of the grid":
            height = round((value * HEIGHT / WIDTH) ** 0.5)
            width = value // height
        case "dimensions":
            dim = value
        case "objects":
            objects = value
        case "annotated frames":
            references = value
        case _:
            radius = round((value**0.5 - 1) / 2)
    query, reference, labels = frames(height, width, dim, num_objects=objects)
    if which == "local":
        return partial(local_matching, query, reference, labels, num_objects=objects, radius=radius)
    pixels, owners = torch.cat([reference.flatten(1)] * references, 1), labels.flatten().repeat(references)
    return partial(global_matching, query, pixels, owners, num_objects=objects)


def seconds(call: Callable[[], Tensor], runs: int) -> float:
    """The processor's, the smallest of some calls after a first one."""
    call()
    taken = []
    for _ in range(runs):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def exponent(values: Sequence[float], times: Sequence[float]) -> float:
    """p of the least-squares fit of time ∝ value^p."""
    return float(np.polyfit(np.log(values), np.log(times), 1)[0])


@style.in_house_style
def scaling_figure(measured: pd.DataFrame, machine: str) -> Figure:
    """One panel a quantity, both axes logarithmic: what `measure` returned → Figure."""
    figure = Figure(figsize=(style.PAGE, 4.4), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True).flatten()
    looks = dict(zip(("global", "local"), style.LINES, strict=False))
    for axes, sweep in zip(panels, SWEEPS, strict=False):
        for which in sweep.maps:
            rows = measured[(measured["grows"] == sweep.name) & (measured["map"] == which)]
            colour, dash = looks[which]
            p = exponent(rows["value"], rows["seconds"])
            axes.loglog(rows["value"], rows["seconds"], dash, color=colour, marker="o", markersize=3)
            axes.annotate(f"p = {p:.2f}", (rows["value"].iloc[-1], rows["seconds"].iloc[-1]), (5, 0),
                          textcoords="offset points", va="center", color=colour)  # fmt: skip
        axes.set_xticks(sweep.values, [f"{v:,}" for v in sweep.values], rotation=30)
        axes.minorticks_off()
        axes.set_xlim(right=sweep.values[-1] * (sweep.values[-1] / sweep.values[0]) ** 0.3)  # room for p
        axes.set_xlabel(sweep.name)
    panels[0].set_ylabel("seconds, one thread")
    panels[3].set_ylabel("seconds, one thread")
    legend = panels[-1]
    legend.set_axis_off()
    for which, (colour, dash) in looks.items():
        legend.plot([], [], dash, color=colour, marker="o", markersize=3, label=f"{which} map")
    words = f"time ∝ (what grows)^p\nelse: grid {HEIGHT}×{WIDTH}, {DIM} dimensions,\n"
    words += f"radius {RADIUS}, {OBJECTS} objects, 1 frame"
    legend.legend(loc="upper left", frameon=False)
    legend.text(0.02, 0.5, f"{words}\n{machine}", va="top", transform=legend.transAxes, color=style.QUIET)
    figure.suptitle("What the distance maps cost as one thing grows", x=0.01, ha="left", weight="bold")
    return figure


def measure(runs: int) -> pd.DataFrame:
    rows = []
    for sweep in SWEEPS:
        for which in sweep.maps:
            times = [seconds(case(sweep, value, which), runs) for value in sweep.values]
            rows += [
                {"grows": sweep.name, "map": which, "value": value, "seconds": t}
                for value, t in zip(sweep.values, times, strict=True)
            ]
            told = "  ".join(f"{v}: {t:.3f} s" for v, t in zip(sweep.values, times, strict=True))
            print(f"{which:7}{sweep.name:40}p = {exponent(sweep.values, times):5.2f}   {told}", flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, help="folder for scaling.png and scaling.csv; without it neither is written"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    machine = f"{platform.machine()}, torch {torch.__version__.split('+')[0]}"
    measured = measure(arguments.runs)
    if arguments.out is not None:
        with complete_file(arguments.out / "scaling.csv") as unfinished:
            measured.round(5).to_csv(unfinished, index=False, lineterminator="\n")
        with complete_file(arguments.out / "scaling.png") as unfinished:
            scaling_figure(measured, machine).savefig(unfinished, dpi=style.DPI)


if __name__ == "__main__":
    main()
