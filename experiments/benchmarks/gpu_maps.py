"""What do the distance maps and the searches behind them cost on a GPU, next to the bare matrix product?

    python experiments/benchmarks/gpu_maps.py [--runs 20] [--device cuda]

Prints the first table of `gpu.py`: milliseconds, kernel launches and MB beyond inputs at 480p (grid 120×214, 100
dimensions, float32) for 2, 4 and 10 objects. Times are medians, with the device synchronised before and after each
call. `--device cpu --grid 12 16` runs the same code without a GPU, to see that it works.

Below each map are the searches that could stand behind it. For the global map: plain torch, which is the default, and
the kernel in Triton with each size of block that fits (FEELVOS_SEARCH=triton uses the first one). For the local map:
the default, and the search for CPUs. KeOps and FAISS search the references of each object, sorted beforehand, where
they are installed (`pip install pykeops`; a FAISS with GPU support); MB are without their own memory. Lines below the
table say for how many pixels two searches differ.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable

import torch
from matching import DIM, HEIGHT, WIDTH, frames
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from feelvos_lab.model.matching import global_matching, local_matching
from feelvos_lab.model.matching.exact_products import exact_products
from feelvos_lab.model.matching.global_search import nearest_anywhere
from feelvos_lab.model.matching.local_search import nearest_around
from feelvos_lab.model.matching.slice_search import nearest_in_slices
from feelvos_lab.model.matching.window_search import nearest_in_windows

OBJECTS = (2, 4, 10)
RADIUS = 15

Searches = dict[str, Callable[[], Tensor]]  # each returns the indices of nearest pixels, (K, h, w)


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
    """The maps and the searches behind them next to the bare float32 product of query and reference embeddings."""
    lines = [f"{'':30}{'K':>4}{'ms':>9}{'÷ product':>11}{'launches':>10}{'MB':>8}"]
    notes = []
    for k in OBJECTS:
        inputs = tuple(t.to(device) for t in frames(*grid, DIM, num_objects=k))
        of_globals, of_locals = global_searches(*inputs, k), local_searches(*inputs, k)
        cases: dict[str, Callable[[], object]] = {
            "product (M×D)·(D×N)": whole_product(*inputs[:2]),
            "global map": lambda a=inputs, k=k: global_matching(*a, num_objects=k),
            **{f"  search {name}": search for name, search in of_globals.items()},
            f"local map, radius {RADIUS}": lambda a=inputs, k=k: local_matching(*a, num_objects=k, radius=RADIUS),
            **{f"  local search {name}": search for name, search in of_locals.items()},
            **{f"{name}, object by object": search for name, search in peers(*inputs, k).items()},
        }
        floor = None
        with torch.no_grad(), exact_products(device):
            for name, case in cases.items():
                took = milliseconds(case, runs)
                floor = floor or took
                cells = f"{k:>4}{took:>9.2f}{took / floor:>11.2f}{launches(case):>10}{extra_megabytes(case):>8.0f}"
                lines.append(f"{name:30}{cells}")
            for searches in (of_globals, of_locals):
                notes += [f"K = {k}: {note}" for note in differences(*inputs[:2], searches)]
    missing = [f"{name} is not installed" for name in ("triton", "pykeops", "faiss") if not installed(name)]
    return [*lines, *notes, *missing, *(["Triton and FAISS need a GPU"] if device.type != "cuda" else [])]


def whole_product(query: Tensor, reference: Tensor) -> Callable[[], Tensor]:
    """The product that a search cannot do without, into memory that is already there."""
    q, r = query.flatten(1).t().contiguous(), reference.flatten(1)  # (M, D), (D, N)
    table = torch.empty(len(q), r.shape[1], device=q.device)
    return lambda: torch.mm(q, r, out=table)


def global_searches(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> Searches:
    """The default for GPUs first, then those that could replace it; the search for CPUs only there."""
    inputs = query, reference.flatten(1), labels.flatten()
    searches: Searches = {"in slices": lambda: nearest_in_slices(*inputs, num_objects)}
    if query.device.type != "cuda":
        searches["for CPUs"] = lambda: nearest_anywhere(*inputs, num_objects)
    elif installed("triton"):
        from feelvos_lab.model.matching import triton_search

        card = torch.cuda.get_device_properties(query.device)
        for blocks in triton_search.BLOCKS:
            if triton_search.shared_bytes(blocks, len(query), card.major) <= card.shared_memory_per_block_optin:
                searches[f"in Triton, {blocks[0]}×{blocks[1]}"] = lambda blocks=blocks: triton_search.nearest_by_triton(
                    *inputs, num_objects, blocks=blocks
                )
    return searches


def local_searches(query: Tensor, previous: Tensor, labels: Tensor, num_objects: int) -> Searches:
    """The default for GPUs first, then the one for CPUs."""
    inputs = query, previous, labels, num_objects, RADIUS
    return {"in windows": lambda: nearest_in_windows(*inputs), "for CPUs": lambda: nearest_around(*inputs)}


def differences(query: Tensor, reference: Tensor, searches: Searches) -> list[str]:
    """For how many pixels the other searches find another reference than the first one, and how much farther it is."""
    q, r = query.flatten(1), reference.flatten(1)
    (default, first), *others = ((name, search().flatten(1)) for name, search in searches.items())  # (K, M) each
    notes = []
    for name, found in others:
        objects, pixels = (found != first).nonzero().unbind(1)
        near, other = (q[:, pixels] - r[:, index[objects, pixels]] for index in (first, found))
        farther = (other.double().square().sum(0) - near.double().square().sum(0)).abs()
        most = f", at most {farther.max().item():.1e} apart in squared distance" if len(farther) else ""
        notes.append(f"{name} and {default} find different pixels for {len(objects)} of {first.numel()}{most}")
    return notes


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def peers(query: Tensor, reference: Tensor, labels: Tensor, num_objects: int) -> dict[str, Callable[[], object]]:
    """Other libraries' exact nearest neighbours, where they are installed."""
    q, r = query.flatten(1).t().contiguous(), reference.flatten(1).t()  # (M, D), (N, D)
    of_objects = [r[labels.flatten() == o].contiguous() for o in range(num_objects)]
    of_objects = [rows for rows in of_objects if len(rows)]
    found: dict[str, Callable[[], object]] = {}
    if installed("pykeops"):
        from pykeops.torch import LazyTensor

        queries = LazyTensor(q[:, None])
        found["KeOps"] = lambda: [queries.sqdist(LazyTensor(rows[None])).argmin(dim=1) for rows in of_objects]
    if q.device.type == "cuda" and installed("faiss"):
        import faiss
        import faiss.contrib.torch_utils

        if hasattr(faiss, "StandardGpuResources"):  # a FAISS for CPUs has none
            resources = faiss.StandardGpuResources()
            found["FAISS"] = lambda: [faiss.knn_gpu(resources, q, rows, 1)[1] for rows in of_objects]
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options.add_argument("--grid", type=int, nargs=2, default=(HEIGHT, WIDTH), metavar=("ROWS", "COLUMNS"))
    chosen = options.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("no GPU: nothing is measured; --device cpu runs the same code on the CPU")
        return 0
    card = torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}, CUDA {torch.version.cuda}, float32")
    print("\n".join(map_table(torch.device(chosen.device), tuple(chosen.grid), chosen.runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
