"""How long do the distance maps take, beside the matrix product that the definition cannot do without?

    python benchmarks/matching.py [--runs 5] [--threads 2]

Times are medians of some runs, and their ratio to a floor measured just before and after: the bare product of query and
reference embeddings, (M×D)·(D×N), into a buffer that already exists. Memory is the growth of a fresh process' peak
beyond inputs and outputs. On a busy machine several threads wait for each other and nothing can be said; with
`--threads 1` processor time is taken, and the ratios still wander by some tens of percent.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from feelvos_lab.model.matching import (
    global_matching,
    local_matching,
    matching_memory,
    normalise_distance,
    pairwise_sq_dist,
)

FRAME = (480, 854)
HEIGHT, WIDTH, DIM = 120, 214, 100  # the stride-4 grid of such a frame, and the paper's embedding
SMALL = (24, 32, 24)  # the grid and the embedding of the preset `reduced`


def frames(
    height: int, width: int, dim: int, *, num_objects: int, noise: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, reference and labels: discs on a ground, or (the worst case for the local map) labels at random."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(dim, height, width, generator=generator)
    reference = query + 0.1 * torch.randn(dim, height, width, generator=generator)
    if noise:
        return query, reference, torch.randint(num_objects, (height, width), generator=generator)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    labels = torch.zeros(height, width, dtype=torch.int64)
    for o in range(1, num_objects):
        labels[(y - height * (o % 3 + 1) / 4) ** 2 + (x - width * o / num_objects) ** 2 < (height / 8) ** 2] = o
    return query, reference, labels


def dense_matching(query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int) -> Tensor:
    """The definition as one table of all distances, M×N."""
    sq = pairwise_sq_dist(query.flatten(1).t(), reference.flatten(1).t())
    far = [sq.masked_fill(labels.flatten() != o, torch.inf).amin(1) for o in range(num_objects)]
    return normalise_distance(torch.stack(far)).view(num_objects, *query.shape[1:])


def once(function: Callable[[], object]) -> float:
    """Seconds a call takes; with one thread those of the processor, which other programs disturb less."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    function()
    return clock() - start


def beside(floor: Callable[[], object], function: Callable[[], object], *, runs: int) -> tuple[float, float]:
    """Median seconds of the function, and its ratio to the floor's time just before and just after."""
    once(function)
    before = once(floor)
    seconds = statistics.median(once(function) for _ in range(runs))
    return seconds, 2 * seconds / (before + once(floor))


CASES: dict[str, Callable[..., Tensor]] = {
    "global": global_matching,
    "local r=15": lambda *tensors, num_objects: local_matching(*tensors, num_objects=num_objects, radius=15),
    "local r=7": lambda *tensors, num_objects: local_matching(*tensors, num_objects=num_objects, radius=7),
    "dense": dense_matching,
}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def extra_memory(case: str, num_objects: int, threads: int) -> float:
    """MB by which one call raises the peak of a fresh process, its output (and nothing else) taken off."""
    command = [sys.executable, __file__, "--memory", case, "--objects", str(num_objects), "--threads", str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(case: str, num_objects: int) -> None:
    """Runs in the fresh process: a small call first, so that libraries are loaded and threads are there."""
    function = CASES[case]
    function(*frames(40, 40, DIM, num_objects=num_objects), num_objects=num_objects)
    tensors = frames(HEIGHT, WIDTH, DIM, num_objects=num_objects)
    present = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    hold = torch.ones(max(0, peak_bytes() - present) // 4)  # lifts the present size to the peak so far
    before = peak_bytes()
    output = function(*tensors, num_objects=num_objects)
    print(json.dumps((peak_bytes() - before - output.nbytes) / 1e6))
    del hold


def bare_product(query: Tensor, reference: Tensor) -> Callable[[], Tensor]:
    q, r = query.flatten(1).t().contiguous(), reference.flatten(1)  # (M, D), (D, N)
    product = torch.empty(len(q), r.shape[1])
    return lambda: torch.mm(q, r, out=product)


def table(runs: int, threads: int) -> None:
    query, reference, _ = frames(HEIGHT, WIDTH, DIM, num_objects=2)
    floor = bare_product(query, reference)
    once(floor)
    seconds = statistics.median(once(floor) for _ in range(runs))
    print(f"\ngrid {HEIGHT}×{WIDTH}, D {DIM}: floor {seconds:.3f} s, table {matching_memory(FRAME) / 1e6:.0f} MB")
    print(f"{'':24}{'objects':>8}{'seconds':>9}{'× floor':>9}{'extra MB':>10}")
    for case in ("global", "local r=15", "local r=7"):
        for num_objects, noise in ((2, False), (4, False), (10, False), (2, True), (10, True)):
            tensors = frames(HEIGHT, WIDTH, DIM, num_objects=num_objects, noise=noise)
            seconds, ratio = beside(floor, partial(CASES[case], *tensors, num_objects=num_objects), runs=runs)
            memory = "" if noise else f"{extra_memory(case, num_objects, threads):.0f}"
            name = case + (", random labels" if noise else "")
            print(f"{name:24}{num_objects:8}{seconds:9.3f}{ratio:9.2f}{memory:>10}", flush=True)


def dense_table(runs: int) -> None:
    """At half the size in each direction: at the full one the definition takes 8 GB."""
    tensors = frames(HEIGHT // 2, WIDTH // 2, DIM, num_objects=4)
    floor = bare_product(*tensors[:2])
    once(floor)
    print(f"\ngrid {HEIGHT // 2}×{WIDTH // 2}, D {DIM}, 4 objects: × floor")
    for case in ("dense", "global", "local r=15"):
        _, ratio = beside(floor, partial(CASES[case], *tensors, num_objects=4), runs=runs)
        print(f"{case:24}{ratio:26.2f}", flush=True)


def small_table(runs: int) -> None:
    height, width, dim = SMALL
    print(f"\ngrid {height}×{width}, D {dim}, one thread: milliseconds{'forward':>12}{'and backward':>14}")
    for num_objects in (2, 3, 5):
        query, reference, labels = frames(height, width, dim, num_objects=num_objects)
        learnt = query.clone().requires_grad_(), reference.clone().requires_grad_()
        for name, matching in (("global", global_matching), ("local r=4", partial(local_matching, radius=4))):
            forward = partial(matching, query, reference, labels, num_objects=num_objects)
            learning = partial(matching, *learnt, labels, num_objects=num_objects)
            one = statistics.median(once(forward) for _ in range(20 * runs))
            both = statistics.median(once(lambda f=learning: f().sum().backward()) for _ in range(20 * runs))
            print(f"{name + f', {num_objects} objects':46}{1000 * one:12.2f}{1000 * both:14.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--objects", type=int, default=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        measure_memory(arguments.memory, arguments.objects)
        return
    print(f"{platform.platform()}, {platform.processor() or platform.machine()}, Python {platform.python_version()},")
    print(f"torch {torch.__version__}, {arguments.threads} threads, float32, medians of {arguments.runs}")
    table(arguments.runs, arguments.threads)
    dense_table(arguments.runs)
    torch.set_num_threads(1)
    small_table(arguments.runs)


if __name__ == "__main__":
    main()
