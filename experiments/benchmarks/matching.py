"""How long do the distance maps take, beside the matrix product that the definition cannot do without?

    python experiments/benchmarks/matching.py [--runs 5] [--threads 2] [--peer matching.py]

Times are medians of some runs, and their ratio to a floor measured just before and after: the bare product of query and
reference embeddings, (M×D)·(D×N), into a buffer that already exists. Memory is the growth of a fresh process' peak
beyond inputs and outputs. On a busy machine several threads wait for each other and nothing can be said; with
`--threads 1` processor time is taken, and the ratios still wander by some tens of percent.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import psutil
import torch
from torch import Tensor

from feelvos_lab.files.memory import peak_memory
from feelvos_lab.model.matching import dense, global_matching, global_search, local_matching, matching_memory, naive

FRAME = (480, 854)
HEIGHT, WIDTH, DIM = 120, 214, 100  # the stride-4 grid of such a frame, and the paper's embedding
CROP = (117, 117)  # the grid of the paper's training crop, 465×465
TINY = (12, 16, 24)  # for the plain loops
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
    "dense": dense.global_matching,
}


@contextmanager
def float32_alone() -> Iterator[None]:
    """As on a processor that does not multiply bfloat16: without the first look."""
    pays = global_search.pays
    global_search.pays = lambda query, references: False
    try:
        yield
    finally:
        global_search.pays = pays


def extra_memory(case: str, num_objects: int, threads: int, *, learning: bool = False) -> float:
    """MB by which one call raises the peak of a fresh process, its output and gradients (nothing else) taken off."""
    command = [sys.executable, __file__, "--memory", case, "--objects", str(num_objects), "--threads", str(threads)]
    command += ["--learning"] if learning else []
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(case: str, num_objects: int, *, learning: bool) -> None:
    """Runs in the fresh process: a small call first, so that libraries are loaded and threads are there."""
    size = CROP if learning else (HEIGHT, WIDTH)

    def call(height: int, width: int) -> Callable[[], int]:
        query, reference, labels = frames(height, width, DIM, num_objects=num_objects)
        query.requires_grad_(learning)
        reference.requires_grad_(learning)

        def once_() -> int:
            output = CASES[case](query, reference, labels, num_objects=num_objects)
            if learning:
                output.sum().backward()
            return output.nbytes + sum(t.grad.nbytes for t in (query, reference) if t.grad is not None)

        return once_

    call(80, 80)()
    measured = call(*size)
    present = psutil.Process().memory_info().rss
    hold = torch.ones(max(0, peak_memory() - present) // 4)  # lifts the present size to the peak so far
    before = peak_memory()
    kept = measured()
    print(json.dumps((peak_memory() - before - kept) / 1e6))
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


def float32_table(runs: int) -> None:
    print("\nthe same without the first look in bfloat16: × floor")
    for num_objects in (2, 4, 10):
        tensors = frames(HEIGHT, WIDTH, DIM, num_objects=num_objects)
        floor = bare_product(*tensors[:2])
        once(floor)  # the buffer's memory is there only after a first call
        with float32_alone():
            _, ratio = beside(floor, partial(global_matching, *tensors, num_objects=num_objects), runs=runs)
        print(f"{'global, float32 alone':24}{num_objects:8}{ratio:18.2f}", flush=True)


def memory_table(threads: int) -> None:
    print(f"\nforward and backward, grid {CROP[0]}×{CROP[1]}, D {DIM}, 4 objects: extra MB")
    for case in ("global", "local r=15"):
        print(f"{case:24}{extra_memory(case, 4, threads, learning=True):26.0f}", flush=True)


def references_table(runs: int) -> None:
    """Several annotated frames are one longer list of reference pixels."""
    query, reference, labels = frames(HEIGHT, WIDTH, DIM, num_objects=4)
    print("\nglobal, 4 objects, by the number of annotated frames: × the product with one")
    floor = bare_product(query, reference)
    once(floor)
    for count in (1, 2, 4):
        generator = torch.Generator().manual_seed(1)
        several = [reference + 0.1 * torch.randn(reference.shape, generator=generator) for _ in range(count)]
        pixels, of = torch.cat([r.flatten(1) for r in several], 1), labels.flatten().repeat(count)
        _, ratio = beside(floor, partial(global_matching, query, pixels, of, num_objects=4), runs=runs)
        print(f"{count:32}{ratio:18.2f}", flush=True)


def plain_table(runs: int, peer: Path | None) -> None:
    """At half the size in each direction: at the full one the definition takes 8 GB."""
    tensors = frames(HEIGHT // 2, WIDTH // 2, DIM, num_objects=4)
    floor = bare_product(*tensors[:2])
    once(floor)
    print(f"\ngrid {HEIGHT // 2}×{WIDTH // 2}, D {DIM}, 4 objects: × floor")
    cases = {case: partial(CASES[case], *tensors, num_objects=4) for case in ("dense", "global", "local r=15")}
    if peer:
        cases |= peer_cases(peer, *tensors, num_objects=4)
    for case, function in cases.items():
        _, ratio = beside(floor, function, runs=runs)
        print(f"{case:24}{ratio:26.2f}", flush=True)
    height, width, dim = TINY
    tensors = frames(height, width, dim, num_objects=4)
    floor = bare_product(*tensors[:2])
    print(f"\ngrid {height}×{width}, D {dim}, 4 objects: × floor")
    for name, module in (
        ("plain loops", naive.global_matching),
        ("dense", dense.global_matching),
        ("global", global_matching),
    ):
        _, ratio = beside(
            floor, partial(module, *tensors, num_objects=4), runs=1 if module is naive.global_matching else runs
        )
        print(f"{name:24}{ratio:26.0f}", flush=True)


def peer_cases(
    file: Path, query: Tensor, reference: Tensor, labels: Tensor, *, num_objects: int
) -> dict[str, Callable[[], Tensor]]:
    """The functions of CFBI's `networks/layers/matching.py` on the same frames, in float32."""
    spec = spec_from_file_location("peer", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    q, r = (t.permute(1, 2, 0).contiguous() for t in (query, reference))  # (h, w, D)
    one_hot = torch.nn.functional.one_hot(labels, num_objects).float()  # (h, w, K)
    bias = torch.zeros(num_objects)
    rest = {"dis_bias": bias, "use_float16": False, "atrous_rate": 1}
    return {
        "peer, global": lambda: module.global_matching(r, q, one_hot.clone(), n_chunks=20, **rest),
        "peer, local r=15": lambda: module.local_matching(
            r, q, one_hot.clone(), multi_local_distance=[15], allow_downsample=False, allow_parallel=False, **rest
        ),
    }


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
    parser.add_argument("--learning", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peer", type=Path, help="CFBI's networks/layers/matching.py, measured beside ours")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        measure_memory(arguments.memory, arguments.objects, learning=arguments.learning)
        return
    print(f"{platform.platform()}, {platform.processor() or platform.machine()}, Python {platform.python_version()},")
    print(f"torch {torch.__version__}, {arguments.threads} threads, float32, medians of {arguments.runs}")
    table(arguments.runs, arguments.threads)
    float32_table(arguments.runs)
    memory_table(arguments.threads)
    references_table(arguments.runs)
    plain_table(arguments.runs, arguments.peer)
    torch.set_num_threads(1)
    small_table(arguments.runs)


if __name__ == "__main__":
    main()
