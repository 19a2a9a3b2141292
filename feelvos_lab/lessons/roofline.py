"""Roofline: time three implementations of a distance map and compare them with the limits of this machine.

The two roofs are the operations per second of the CPU and the bytes per second of the memory: few operations per byte
are limited by memory, many by the CPU (Williams, Waterman, Patterson, Communications of the ACM 52(4), 2009).

Operations are those of the definition, two per dimension of each compared pair of pixels (subtract; square and add).
Bytes are counted from the code: what it reads and writes that does not fit into a cache, or that it loads again for
each pair. Everything runs on one thread, so that ratios hold on a busy machine.
"""

from __future__ import annotations

import math
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
_SIDE = 1536  # of the square matrices whose product measures the roof of the CPU
_COPIED = 2**25  # numbers that are copied for the roof of the memory: 128 MB, more than caches hold
_CACHED = 2**18  # numbers that are copied for the roof of a cache: 1 MB
_RUNS, _ROOF_RUNS = 3, 9  # of which the fastest counts
_LEFT, _RIGHT = 0.03, 4000.0  # limits of the figure, in operations per byte
_MARKERS = "o^sD"


class Roofs(NamedTuple):
    """The measured limits of this machine, on one thread."""

    operations: float  # float32 multiplications and additions per second, of a large matrix product
    bfloat16: float | None  # the same in bfloat16; None where the CPU has no such instructions
    memory: float  # bytes read and written per second, by a copy larger than the caches
    cache: float  # the same, by many copies of something that stays in a cache


class Way(NamedTuple):
    """An implementation of a distance map, and how long it took."""

    name: str
    grid: tuple[int, int]
    pairs: int  # of a query and a reference pixel that the definition compares
    operations: int  # 2 · D · pairs
    traffic: int  # bytes
    seconds: float

    @property
    def rate(self) -> float:
        """Operations of the definition per second."""
        return self.operations / self.seconds

    @property
    def intensity(self) -> float:
        """Operations of the definition per byte of traffic."""
        return self.operations / self.traffic


def measure_roofs() -> Roofs:
    """Time matrix products and copies on one thread; the fastest of nine runs counts."""
    operations = 2 * _SIDE**3
    bfloat16 = operations / _product_seconds(torch.bfloat16) if multiplies_bfloat16() else None
    roof = operations / _product_seconds(torch.float32)
    return Roofs(roof, bfloat16, _copied_per_second(_COPIED, times=1), _copied_per_second(_CACHED, times=64))


def global_ways(*, height: int = 60, width: int = 107, dim: int = 100, num_objects: int = 4) -> list[Way]:
    """Time the global map by plain loops (on a grid of a tenth of each side), as one table, and by the library."""
    cells = height * width
    passes = 5 + 3 * num_objects  # over the table: product and its sum 3, clamp 2; an object's copy 2, its minimum 1
    one_table = "one table", _FLOAT * (2 * cells * dim + passes * cells**2)
    return _time_ways("global_matching", one_table, (height, width), dim, num_objects, lambda side: side**2)


def local_ways(
    *, height: int = 60, width: int = 107, dim: int = 100, num_objects: int = 4, radius: int = 15
) -> list[Way]:
    """Time the local map by plain loops (on a grid of a tenth of each side), shift by shift, and by the library."""
    if radius < 0:
        raise LabError(f"radius must not be negative, got {radius}")
    passes = 6 * (2 * radius + 1) ** 2  # over a frame, for each shift: difference 3, square 2, sum 1
    shifted = "shifted frames", _FLOAT * passes * height * width * dim
    pairs = partial(_pairs_in_window, radius=radius)
    return _time_ways("local_matching", shifted, (height, width), dim, num_objects, pairs, radius=radius)


def _time_ways(
    function: str,
    dense_way: tuple[str, int],
    size: tuple[int, int],
    dim: int,
    num_objects: int,
    pairs_on_line: Callable[[int], int],
    **settings: int,
) -> list[Way]:
    """Time the `function` of the modules `naive`, `dense` (given with its name and traffic in bytes) and `maps`."""
    for name, number in {"height": size[0], "width": size[1], "dim": dim, "num_objects": num_objects}.items():
        if number < 1:
            raise LabError(f"{name} must be at least 1, got {number}")
    ways = []
    for name, module in (("plain loops", naive), (dense_way[0], dense), ("the library", maps)):
        h, w = (max(1, side // 10) for side in size) if module is naive else size
        pairs = pairs_on_line(h) * pairs_on_line(w)
        traffic = {
            naive: _FLOAT * 2 * dim * pairs,  # both vectors of each pair
            dense: dense_way[1],
            maps: _FLOAT * h * w * (2 * dim + num_objects),  # both frames, and the maps
        }[module]
        frames = _random_frames((h, w), dim, num_objects)
        call = partial(getattr(module, function), *frames, num_objects=num_objects, **settings)
        ways.append(Way(name, (h, w), pairs, 2 * dim * pairs, traffic, fastest(call)))
    return ways


def table(ways: Sequence[Way]) -> pd.DataFrame:
    """One row per way: grid, pairs, seconds, ns per pair, speed per pair relative to the first way, bytes per pair."""
    slowest = ways[0].seconds / ways[0].pairs
    rows = {
        way.name: {
            "grid": "{}×{}".format(*way.grid),
            "million pairs": _two_digits(way.pairs / 1e6),
            "seconds": _two_digits(way.seconds),
            "ns a pair": _two_digits(1e9 * way.seconds / way.pairs),
            "times faster": f"{slowest * way.pairs / way.seconds:,.0f}",
            "bytes a pair": _two_digits(way.traffic / way.pairs),
        }
        for way in ways
    }
    return pd.DataFrame(rows).T


def _two_digits(number: float) -> str:
    """A positive number with two significant digits, separators and no exponent: 0.0036, 7.8, 110,000."""
    decimals = max(0, 1 - math.floor(math.log10(number)))
    return f"{float(f'{number:.2g}'):,.{decimals}f}"


def fastest(call: Callable[[], object], runs: int = _RUNS) -> float:
    """Seconds of the fastest of `runs` calls on one thread; of the first call alone if it takes over a second."""
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


def _copied_per_second(numbers: int, *, times: int) -> float:
    source = torch.ones(numbers)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(times):
            target.copy_(source)

    return 2 * _FLOAT * numbers * times / fastest(copy, _ROOF_RUNS)


def _random_frames(size: tuple[int, int], dim: int, num_objects: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random embeddings of two frames that are close to each other, and objects as vertical stripes."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(dim, *size, generator=generator)
    reference = query + 0.1 * torch.randn(dim, *size, generator=generator)
    stripes = torch.arange(size[1]) * num_objects // size[1]
    return query, reference, stripes.expand(size).contiguous()


def _pairs_in_window(side: int, radius: int) -> int:
    """The number of pairs of cells on a line of `side` cells that are at most `radius` apart."""
    return sum(min(side, cell + radius + 1) - max(0, cell - radius) for cell in range(side))


@style.in_house_style
def roofline(roofs: Roofs, ways: Sequence[Way], *, title: str) -> Figure:
    """One to four ways as points below the machine's roofs: operations per second over operations per byte, log-log."""
    if not 1 <= len(ways) <= len(style.LINES):
        raise LabError(f"a figure shows 1 to {len(style.LINES)} ways, got {len(ways)}")
    figure = style.new_figure(width=style.PAGE, height=3.0)
    axes = figure.add_subplot()
    x = np.geomspace(_LEFT, _RIGHT, 400)
    for bandwidth, name, line, at, label in (
        (roofs.memory, "memory", "-", 0.034, {"xytext": (2, -15)}),
        (roofs.cache, "a cache", ":", 0.5, {"xytext": (-5, 2), "ha": "right"}),
    ):
        axes.plot(x, np.minimum(bandwidth * x, roofs.operations) / 1e9, color=style.INK, linestyle=line, linewidth=1.0)
        text, place = f"{name}: {bandwidth / 1e9:.0f} GB/s", (at, at * bandwidth / 1e9)
        axes.annotate(text, place, textcoords="offset points", color=style.QUIET, **label)
    for rate, name, line, factor, side in (
        (roofs.operations, "float32", "-", 1 / 1.25, "top"),
        (roofs.bfloat16, "bfloat16", "--", 1.1, "bottom"),
    ):
        if rate:
            axes.plot([rate / roofs.memory, _RIGHT], [rate / 1e9] * 2, color=style.INK, linestyle=line, linewidth=1.0)
            axes.text(10, factor * rate / 1e9, f"{name}: {rate / 1e9:.0f}", va=side, color=style.QUIET)
    for way, (colour, _), marker in zip(ways, style.LINES, _MARKERS, strict=False):
        place, nanoseconds = (way.intensity, way.rate / 1e9), 1e9 * way.seconds / way.pairs
        axes.plot(*place, marker=marker, color=colour, markersize=7, linestyle="none")
        text = f"{way.name}, {nanoseconds:,.{0 if nanoseconds >= 10 else 1}f} ns a pair"
        label = {"xytext": (8, -13), "ha": "left"} if way.intensity < 100 else {"xytext": (6, -22), "ha": "right"}
        axes.annotate(text, place, textcoords="offset points", color=colour, **label)
    lowest = min(roofs.memory * _LEFT, *(way.rate for way in ways)) / 1e9
    axes.set(xscale="log", yscale="log", xlim=(_LEFT, _RIGHT))
    axes.set_ylim(lowest / 3, 4 * (roofs.bfloat16 or roofs.operations) / 1e9)
    axes.set(xlabel="operations per byte read or written", ylabel="billion operations per second", title=title)
    return figure
