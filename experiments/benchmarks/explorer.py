"""How long does the explorer take from a click, a slider or a switch to the picture that the page is sent?

    python experiments/benchmarks/explorer.py [--runs 9] [--threads 2]

A synthetic clip of 240×320 pixels, the network for film, two objects. Each redraw is timed from the handler to the
encoded picture; medians of some runs, in processor time as well, since on a busy machine the clock says little.
The first look at a new frame encodes it, once; what comes after does not.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle

import torch

from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.model.checkpoint import load_checkpoint, shipped_path
from feelvos_lab.widgets import Explorer

SIZE = (240, 320)
TARGET = 150  # milliseconds: below it a slider follows the hand
Change = Callable[[Explorer], None]


def changes() -> dict[str, Change]:
    """What a hand does, each call another value, so that nothing is found ready."""
    cells: Iterator[tuple[int, int]] = cycle([(20, 30), (30, 50), (40, 20), (10, 60)])
    radii, objects, on = cycle(range(3, 30)), cycle((1, 2, 0)), cycle(("none", "on"))
    matching, frames = cycle(("global", "none", "local")), cycle((5, 6, 7, 8))

    def click(explorer: Explorer) -> None:
        explorer.cell = next(cells)
        explorer.redraw()

    return {
        "click": click,
        "frame (seen before)": lambda e: setattr(e.frame, "value", next(frames)),
        "object": lambda e: setattr(e.object_id, "value", next(objects)),
        "radius": lambda e: setattr(e.radius, "value", next(radii)),
        "previous mask": lambda e: setattr(e.previous_mask, "value", next(on)),
        "previous frame": lambda e: setattr(e.previous_matching, "value", next(matching)),
    }


def redraw(explorer: Explorer, change: Change) -> tuple[float, float]:
    """Milliseconds of the clock and of the processor until the picture is encoded."""
    clock, processor = time.perf_counter(), time.process_time()
    change(explorer)
    explorer.canvas.draw()
    explorer.canvas.get_diff_image()
    return 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=9)
    options.add_argument("--threads", type=int, default=2)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    model, _ = load_checkpoint(shipped_path("real"))
    clip = make_clip(5, height=SIZE[0], width=SIZE[1], frames=10, objects=2)

    explorer = Explorer(clip, model, frame=5)
    explorer.canvas.syncing_data_url = False  # as soon as a page shows it: pictures are sent, and not kept as well
    start = time.perf_counter()
    explorer.frame.value = 9
    encoding = (time.perf_counter() - start) * 1000 / 4
    print(
        f"{platform.machine()}, torch {torch.__version__}, {chosen.threads} threads, {SIZE[0]}×{SIZE[1]}, preset real"
    )
    print(f"the first look at a new frame adds {encoding:.0f} ms for each frame up to it")
    print(f"{'then':24}{'ms of clock':>14}{'of processor':>14}")
    slowest = 0.0
    for name, change in changes().items():
        redraw(explorer, change)  # the first one warms up
        times = [redraw(explorer, change) for _ in range(chosen.runs)]
        clock, processor = (statistics.median(column) for column in zip(*times, strict=True))
        slowest = max(slowest, clock)
        print(f"{name:24}{clock:14.0f}{processor:14.0f}")
    print(f"slowest {slowest:.0f} ms; aimed at below {TARGET} ms: {'reached' if slowest < TARGET else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
