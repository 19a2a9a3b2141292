"""Why the same sum runs faster: three ways to one distance map, timed beside what the machine can do at most.

A *roofline* has two roofs: how many operations a second the processor can do, and how many numbers a second memory can
deliver. Where a way needs few operations for each byte, memory decides; where it needs many, the processor does
(S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009).

Operations are those of the definition, two for each dimension of each pair that is compared (a difference squared and
added), whichever way they are done: so they measure the sum, and not how much else a way does. Bytes are counted from
the code: what a way reads and writes that is too large to stay in a cache, or that it fetches anew for each pair.

All is done by one thread, so that ratios mean something on a busy machine too.

The roofline figure of the lessons on matching. As in `viz`, nothing is measured here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from feelvos_lab.errors import LabError
from feelvos_lab.figures import style
from feelvos_lab.model.matching import dense, maps, naive
from feelvos_lab.model.matching.bfloat16_bound import multiplies_bfloat16

_FLOAT = 4  # bytes

_SIDE = 1536  # of the matrices whose product is the processor's roof

_COPIED = 2**25  # numbers that are copied for memory's roof: 128 MB, more than caches hold

_CACHED = 2**18  # and for a cache's: 1 MB

_RUNS, _ROOF_RUNS = 3, 9  # of which the fastest counts


class Roofs(NamedTuple):
    """What this machine can do at most, as measured."""

    operations: float  # float32 multiplications and additions a second, of a large matrix product
    bfloat16: float | None  # the same in bfloat16; None where the processor does not know it
    memory: float  # bytes a second read and written by a copy larger than caches are
    cache: float  # the same by many copies of something that stays in a cache


class Way(NamedTuple):
    """A way to compute a distance map, and how long it took."""

    name: str
    grid: tuple[int, int]
    pairs: int  # of a query and a reference pixel that the definition compares
    operations: int  # 2 · D · pairs
    traffic: int  # bytes
    seconds: float

    @property
    def rate(self) -> float:
        """Operations of the definition a second."""
        return self.operations / self.seconds

    @property
    def intensity(self) -> float:
        """Operations for each byte of traffic."""
        return self.operations / self.traffic


def measure_roofs() -> Roofs:
    """Time a matrix product and a copy on one thread; the fastest of nine counts."""
    operations = 2 * _SIDE**3
    bfloat16 = operations / _product_seconds(torch.bfloat16) if multiplies_bfloat16() else None
    roof = operations / _product_seconds(torch.float32)
    return Roofs(roof, bfloat16, _copied_a_second(_COPIED, times=1), _copied_a_second(_CACHED, times=64))


def global_ways(*, height: int = 60, width: int = 107, dim: int = 100, num_objects: int = 4) -> list[Way]:
    """The global map by plain loops (on a grid a tenth as high and wide), as one table, and by the library.

    Raises:
        LabError: a grid, dimensions or a number of objects below 1.
    """
    _check(height=height, width=width, dim=dim, num_objects=num_objects)
    ways = []
    for name, module in (("plain loops", naive), ("one table", dense), ("the library", maps)):
        size = _small(height, width) if module is naive else (height, width)
        cells = size[0] * size[1]
        passes = (
            5 + 3 * num_objects
        )  # over the table: product and its sum 3, clamp 2; an object's copy 2, its minimum 1
        vectors = _FLOAT * 2 * cells * dim
        traffic = {
            "plain loops": _FLOAT * 2 * dim * cells**2,  # both vectors of each pair
            "one table": vectors + _FLOAT * passes * cells**2,
            "the library": vectors + _FLOAT * num_objects * cells,
        }[name]
        call = partial(module.global_matching, *_frames(size, dim, num_objects), num_objects=num_objects)
        ways.append(Way(name, size, cells**2, 2 * dim * cells**2, traffic, fastest(call)))
    return ways


def local_ways(
    *, height: int = 60, width: int = 107, dim: int = 100, num_objects: int = 4, radius: int = 15
) -> list[Way]:
    """The local map by plain loops (on a grid a tenth as high and wide), shift by shift, and by the library.

    Raises:
        LabError: a grid, dimensions or a number of objects below 1, or a negative radius.
    """
    _check(height=height, width=width, dim=dim, num_objects=num_objects)
    if radius < 0:
        raise LabError(f"radius must not be negative, got {radius}")
    ways = []
    for name, module in (("plain loops", naive), ("shifted frames", dense), ("the library", maps)):
        size = _small(height, width) if module is naive else (height, width)
        cells, pairs = size[0] * size[1], _in_window(size[0], radius) * _in_window(size[1], radius)
        vectors = _FLOAT * 2 * cells * dim
        traffic = {
            "plain loops": _FLOAT * 2 * dim * pairs,
            "shifted frames": (2 * radius + 1) ** 2 * _FLOAT * 6 * cells * dim,  # difference 3, square 2, sum 1
            "the library": vectors + _FLOAT * num_objects * cells,
        }[name]
        frames = _frames(size, dim, num_objects)
        call = partial(module.local_matching, *frames, num_objects=num_objects, radius=radius)
        ways.append(Way(name, size, pairs, 2 * dim * pairs, traffic, fastest(call)))
    return ways


def table(ways: Sequence[Way]) -> pd.DataFrame:
    """One row a way: grid, pairs, seconds, nanoseconds a pair, and how many times faster than the first a pair is."""
    slowest = ways[0].seconds / ways[0].pairs
    rows = {
        way.name: {
            "grid": "{}×{}".format(*way.grid),
            "million pairs": f"{way.pairs / 1e6:.3g}",
            "seconds": f"{way.seconds:.2g}",
            "ns a pair": f"{1e9 * way.seconds / way.pairs:.2g}",
            "times faster": f"{slowest * way.pairs / way.seconds:,.0f}",
            "bytes a pair": f"{way.traffic / way.pairs:.2g}",
        }
        for way in ways
    }
    return pd.DataFrame(rows).T


def fastest(call: Callable[[], object], runs: int = _RUNS) -> float:
    """Seconds of the fastest of some calls on one thread; of a first one alone where that takes over a second."""
    with _one_thread():
        seconds = _seconds(call)
        return seconds if seconds > 1 else min(_seconds(call) for _ in range(runs))


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _product_seconds(dtype: torch.dtype) -> float:
    a = torch.ones(_SIDE, _SIDE, dtype=dtype)
    product = torch.empty_like(a)
    return fastest(lambda: torch.mm(a, a, out=product), _ROOF_RUNS)


def _copied_a_second(numbers: int, *, times: int) -> float:
    source = torch.ones(numbers)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(times):
            target.copy_(source)

    return 2 * _FLOAT * numbers * times / fastest(copy, _ROOF_RUNS)


def _frames(size: tuple[int, int], dim: int, num_objects: int) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings at random, the new ones near the old, and objects in upright stripes."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(dim, *size, generator=generator)
    reference = query + 0.1 * torch.randn(dim, *size, generator=generator)
    stripes = torch.arange(size[1]) * num_objects // size[1]
    return query, reference, stripes.expand(size).contiguous()


def _in_window(size: int, radius: int) -> int:
    """Pairs of places on a line of `size` that are at most `radius` apart."""
    return sum(min(size, place + radius + 1) - max(0, place - radius) for place in range(size))


def _small(height: int, width: int) -> tuple[int, int]:
    return max(1, height // 10), max(1, width // 10)


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise LabError(f"{name} must be at least 1, got {number}")


_LEFT, _RIGHT = 0.03, 4000.0  # operations for each byte

_MARKERS = "o^sD"


@style.in_house_style
def roofline(roofs: Roofs, ways: Sequence[Way], *, title: str) -> Figure:
    """Each way as a point below the roofs of this machine: what it achieves against how much it asks of memory.

    Both axes are logarithmic, so the same step is the same factor everywhere.

    Raises:
        LabError: no way, or more than four.
    """
    if not 1 <= len(ways) <= len(style.LINES):
        raise LabError(f"a figure shows 1 to {len(style.LINES)} ways, got {len(ways)}")
    figure = style.new_figure(width=style.PAGE, height=3.0)
    axes = figure.add_subplot()
    x = np.geomspace(_LEFT, _RIGHT, 400)
    for bandwidth, line, name in ((roofs.memory, "-", "memory"), (roofs.cache, ":", "a cache")):
        axes.plot(x, np.minimum(bandwidth * x, roofs.operations) / 1e9, color=style.INK, linestyle=line, linewidth=1.0)
        at, beside = (0.5, {"xytext": (-5, 2), "ha": "right"}) if name == "a cache" else (0.034, {"xytext": (2, -15)})
        text, place = f"{name}: {bandwidth / 1e9:.0f} GB/s", (at, at * bandwidth / 1e9)
        axes.annotate(text, place, textcoords="offset points", color=style.QUIET, **beside)
    for rate, name, line in ((roofs.operations, "float32", "-"), (roofs.bfloat16, "bfloat16", "--")):
        if rate:
            start = rate / roofs.memory
            axes.plot([start, _RIGHT], [rate / 1e9] * 2, color=style.INK, linestyle=line, linewidth=1.0)
            above = name == "bfloat16"
            y, side = (rate * 1.1, "bottom") if above else (rate / 1.25, "top")
            axes.text(10, y / 1e9, f"{name}: {rate / 1e9:.0f}", va=side, color=style.QUIET)
    for way, (colour, _), marker in zip(ways, style.LINES, _MARKERS, strict=False):
        place, nanoseconds = (way.intensity, way.rate / 1e9), 1e9 * way.seconds / way.pairs
        axes.plot(*place, marker=marker, color=colour, markersize=7, linestyle="none")
        text = f"{way.name}, {nanoseconds:,.{0 if nanoseconds >= 10 else 1}f} ns a pair"
        beside = {"xytext": (8, -13), "ha": "left"} if way.intensity < 100 else {"xytext": (6, -22), "ha": "right"}
        axes.annotate(text, place, textcoords="offset points", color=colour, **beside)
    axes.set(xscale="log", yscale="log", xlim=(_LEFT, _RIGHT))
    lowest = min(way.rate for way in ways) / 1e9
    axes.set_ylim(min(lowest, roofs.memory * _LEFT / 1e9) / 3, 4 * (roofs.bfloat16 or roofs.operations) / 1e9)
    axes.set(xlabel="operations for each byte read or written", ylabel="billion operations a second", title=title)
    return figure
