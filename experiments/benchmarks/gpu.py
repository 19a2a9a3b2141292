"""What do the distance maps, a frame and a training step cost on a GPU, next to the bare matrix product?

    python experiments/benchmarks/gpu.py [--runs 20] [--presets real,full] [--device cuda]

Prints three tables: the maps at 480p (grid 120×214, 100 dimensions, float32) in milliseconds, kernel launches and MB
beyond inputs; a frame by stages, and a frame of `segment` with its files read and written in turns with the network,
read ahead of it, written behind it, and both; a training step by stages. Times are medians, with the device
synchronised before and after each call. `--device cpu --grid 12 16` runs the same code without a GPU, to see that it
works; the files are then always read and written in turns.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import torch
from inference import CASES, INFERENCE, TRAINING, filmed, head, inference_laps, line, training_laps
from matching import DIM, HEIGHT, WIDTH, frames
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from feelvos_lab.config import Config, configure
from feelvos_lab.inference import output, propagation
from feelvos_lab.inference.output import segment
from feelvos_lab.inference.overlap import write_behind
from feelvos_lab.model.build import build_model
from feelvos_lab.model.matching import global_matching, local_matching, nearest_global

OBJECTS = (2, 4, 10)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def milliseconds(function: Callable[[], object], runs: int) -> float:
    """The median of some calls, after two that warm up."""
    took = []
    for _ in range(runs + 2):
        wait()
        began = time.perf_counter()
        function()
        wait()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took[2:])


def launches(function: Callable[[], object]) -> int:
    """Kernels that one call launches on the GPU; 0 without one."""
    if not torch.cuda.is_available():
        return 0
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        function()
        wait()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiled.events())


def extra_megabytes(function: Callable[[], object]) -> float:
    """Device memory that a call needs beyond what was allocated before it; 0 without a GPU."""
    if not torch.cuda.is_available():
        return 0.0
    wait()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    wait()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def map_table(device: torch.device, grid: tuple[int, int], runs: int) -> list[str]:
    """The maps next to the bare float32 product of query and reference embeddings."""
    lines = [f"{'':28}{'K':>4}{'ms':>9}{'÷ product':>11}{'launches':>10}{'MB':>8}"]
    for k in OBJECTS:
        query, reference, labels = (t.to(device) for t in frames(*grid, DIM, num_objects=k))
        q, r = query.flatten(1).t().contiguous(), reference.flatten(1)  # (M, D), (D, N)
        table = torch.empty(len(q), r.shape[1], device=device)
        cases: dict[str, Callable[[], Tensor]] = {
            "product (M×D)·(D×N)": lambda q=q, r=r, table=table: torch.mm(q, r, out=table),
            "global map": lambda a=(query, reference, labels), k=k: global_matching(*a, num_objects=k),
            "nearest pixels, global": lambda a=(query, reference, labels), k=k: nearest_global(*a, num_objects=k).index,
            "local map, radius 15": lambda a=(query, reference, labels), k=k: local_matching(
                *a, num_objects=k, radius=15
            ),
        }
        product = None
        for name, case in cases.items():
            took = milliseconds(case, runs)
            product = product or took
            cells = f"{k:>4}{took:>9.2f}{took / product:>11.2f}{launches(case):>10}{extra_megabytes(case):>8.0f}"
            lines.append(f"{name:28}{cells}")
    return lines


def overlap_lines(
    config: Config, size: tuple[int, int], *, height: int, frames: int, device: torch.device
) -> list[str]:
    """Milliseconds a frame of `segment`, without its movie: medians of three clips each, after one that warms up."""
    torch.manual_seed(0)
    model = build_model(config.model).eval().to(device)
    lines = []
    with filmed(*size, frames) as (clip, folder):
        for ahead, behind in ((False, False), (True, False), (False, True), (True, True)):
            with ExitStack() as patched:
                if not ahead:
                    patched.enter_context(patch.object(propagation, "read_ahead", map))
                if not behind:
                    patched.enter_context(patch.object(output, "write_behind", lambda *, on: write_behind(on=False)))
                outs = (folder / f"{ahead}{behind}{n}" for n in itertools.count())
                took = milliseconds(
                    lambda outs=outs: segment(clip, None, next(outs), model=model, height=height, movie="none"), 3
                )
            name = " and ".join(["read ahead"] * ahead + ["written behind"] * behind) or "in turns"
            lines.append(f"  {name:32}{1000 * frames / took:8.2f} fps{took / frames:9.1f} ms")
    return lines


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--presets", default="real,full", help="of the frames and, but for full, the training steps")
    options.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options.add_argument("--grid", type=int, nargs=2, default=(HEIGHT, WIDTH), metavar=("ROWS", "COLUMNS"))
    options.add_argument("--only", choices=("maps", "frames", "steps"))
    chosen = options.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("no GPU: nothing is measured; --device cpu runs the same code on the CPU")
        return 0
    device = torch.device(chosen.device)
    card = torch.cuda.get_device_name() if chosen.device == "cuda" else platform.machine()
    print(f"{card}, torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}, float32")
    if chosen.only in (None, "maps"):
        print("\n" + "\n".join(map_table(device, tuple(chosen.grid), chosen.runs)), flush=True)
    presets = [preset for preset in chosen.presets.split(",") if preset]
    if chosen.only in (None, "frames"):
        print("\n" + head("fps", INFERENCE))
        for preset in presets:
            size, height = CASES["480p"] if chosen.device == "cuda" else ((48, 64), 48)
            laps = inference_laps(configure(preset), size, height=height, frames=chosen.runs + 2, device=device)
            print(line(f"{preset} {size[0]}p", laps, INFERENCE), flush=True)
            lines = overlap_lines(configure(preset), size, height=height, frames=chosen.runs + 2, device=device)
            print("\n".join(lines), flush=True)
    if chosen.only in (None, "steps"):
        print("\n" + head("steps/s", TRAINING))
        for preset in presets:
            if preset != "full":
                laps = training_laps(configure(preset, in_memory=False), chosen.runs, device=device)
                print(line(preset, laps, TRAINING), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
