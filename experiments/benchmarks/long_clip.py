"""Does `feelvos-lab segment` keep its size over ten thousand frames?

    python experiments/benchmarks/long_clip.py [--frames 10000] [--out experiments/results/long]

A film of 64×64 pixels is written frame by frame, then segmented by the command line itself with an untrained model of
preset smoke, masks and overlay film included, since size does not depend on the weights. Its resident size is read
from the system once in 25 frames. `--out` takes the curve, memory.csv and memory.png. Ends with exit code 1 where the
size in the last fifth is more than 16 MB above that of the second.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import torch
from matplotlib.figure import Figure
from PIL import Image

from feelvos_lab.config import configure
from feelvos_lab.data.video import open_movie
from feelvos_lab.figures import style
from feelvos_lab.files.atomic import complete_file
from feelvos_lab.model.checkpoint import save_checkpoint
from feelvos_lab.model.feelvos import Feelvos

SIDE, EVERY, SLACK = 64, 25, 16.0  # pixels, frames between two readings, MB


def write_film(folder: Path, frames: int) -> tuple[Path, Path]:
    """A square that goes round on a ground of noise, and its first mask; one frame in memory at a time."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    with open_movie(folder / "film.mp4", kind="mp4") as append:
        for t in range(frames):
            picture = ground.copy()
            picture[_place(t)] = (210, 80, 40)
            append(picture)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[_place(0)] = 1
    Image.fromarray(mask).save(folder / "mask.png")
    return folder / "film.mp4", folder / "mask.png"


def _place(t: int) -> tuple[slice, slice]:
    y, x = (round(22 + 18 * f(2 * np.pi * t / 120)) for f in (np.sin, np.cos))
    return slice(y, y + 20), slice(x, x + 20)


def watch(command: list[str], masks: Path, *, frames: int) -> list[tuple[int, float]]:
    """Run the command; how many frames were written and its resident size in MB, again and again."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    readings: list[tuple[int, float]] = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        written = 0
        while process.poll() is None:
            while written < frames and (masks / f"{written:05d}.png").exists():
                written += 1
            if written and (not readings or written >= readings[-1][0] + EVERY):
                with suppress(psutil.NoSuchProcess):  # it has ended by now
                    readings.append((written, psutil.Process(process.pid).memory_info().rss / 2**20))
            time.sleep(0.02)
    if process.returncode != 0:
        raise SystemExit(f"segment ended with code {process.returncode}")
    return readings


@style.in_house_style
def draw(readings: list[tuple[int, float]], *, frames: int) -> Figure:
    """The size over the frames, beside what it would be if each prediction stayed in memory."""
    figure = style.new_figure(width=style.COLUMN, height=2.2)
    axes = figure.add_subplot()
    written, sizes = zip(*readings, strict=True)
    axes.plot(written, sizes, color=style.LINE, label="measured")
    kept = sizes[0] + frames * SIDE * SIDE * (8 + 2 * 4) / 1024**2  # labels int64, two probabilities float32
    axes.plot((0, frames), (sizes[0], kept), color=style.QUIET, linestyle="--", label="were every prediction kept")
    axes.set(xlabel="frames segmented", ylabel="resident size (MB)", ylim=(0, 1.1 * kept), xlim=(0, frames))
    axes.set_title(f"Segmenting {frames:,} frames of {SIDE}×{SIDE}")
    axes.legend(loc="lower right")
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=None, help="folder for memory.csv and memory.png; default: none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="feelvos-long-") as name:
        folder = Path(name)
        film, mask = write_film(folder, given.frames)
        config = configure("smoke")
        torch.manual_seed(0)
        save_checkpoint(folder / "model.safetensors", Feelvos(config.model).eval(), config)
        command = [sys.executable, "-m", "feelvos_lab", "segment", str(film), "--mask", str(mask)]
        command += ["--checkpoint", str(folder / "model.safetensors"), "--out", str(folder / "out")]
        began = time.monotonic()
        readings = watch(command, folder / ".out.partial", frames=given.frames)
        took = time.monotonic() - began
        assert len(list((folder / "out").glob("*.png"))) == given.frames
    fifths = np.array_split(np.array([size for _, size in readings]), 5)
    second, last = float(np.median(fifths[1])), float(np.median(fifths[4]))
    print(f"{given.frames} frames of {SIDE}×{SIDE} in {took:.0f} s, {platform.machine()}, torch {torch.__version__}")
    print(f"resident size, median: {second:.1f} MB in the second fifth, {last:.1f} MB in the last")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        with complete_file(given.out / "memory.csv") as unfinished:
            lines = [f"{frame},{size:.1f}\n" for frame, size in readings]
            unfinished.write_text("frames,resident_mb\n" + "".join(lines), encoding="utf-8")
        with complete_file(given.out / "memory.png") as unfinished:
            draw(readings, frames=given.frames).savefig(unfinished, dpi=150)
    return 1 if last > second + SLACK else 0


if __name__ == "__main__":
    sys.exit(main())
