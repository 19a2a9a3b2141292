"""What do the distance maps, a frame and a training step cost on a GPU, next to the bare matrix product?

    python experiments/benchmarks/gpu.py [--runs 20] [--presets real,full] [--device cuda]

Prints three tables: the maps and the searches behind them (`gpu_maps.py`); a frame by stages, and a frame of `segment`
with its files read and written in turns with the network, read ahead of it, written behind it, and both; a training
step by stages, with its samples drawn by the training itself and by 2 and 8 loaders, with the head's objects not filled
up to a multiple, and with each gradient clipped by itself. Times are medians, with the device synchronised before and
after each call and stage; preset full trains on 3 clips a step, as on one of the paper's GPUs. The clips of a training
are synthetic, and so not decoded.
`--device cpu --grid 12 16` runs the same code without a GPU, to see that it works; the files are then always read and
written in turns, one loader draws, and preset full is not trained.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from unittest.mock import patch

import torch
from gpu_maps import map_table, milliseconds
from inference import CASES, INFERENCE, TRAINING, filmed, head, inference_laps, line, training_laps
from matching import HEIGHT, WIDTH
from torch import nn

from feelvos_lab.config import Config, configure
from feelvos_lab.inference import output, propagation
from feelvos_lab.inference.output import segment
from feelvos_lab.inference.overlap import write_behind
from feelvos_lab.model import feelvos
from feelvos_lab.model.build import build_model
from feelvos_lab.training import optimizer

LOADERS = {"cuda": (2, 8), "cpu": (1,)}


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


def clip_singly(parameters: Iterable[nn.Parameter], limit: float) -> torch.Tensor:
    """As `clip_each`, but a call for each gradient and a wait for each norm."""
    norms = [nn.utils.clip_grad_norm_([p], limit) for p in parameters if p.grad is not None]
    return torch.tensor([norm.item() for norm in norms])


def step_lines(preset: str, steps: int, device: torch.device) -> Iterator[str]:
    """A training step by stages: as it is, and with one thing changed."""
    config = configure(preset, in_memory=False, **({"batch_size": 3} if preset == "full" else {}))
    yield line(preset, training_laps(config, steps, device=device), TRAINING)
    for loaders in LOADERS[device.type]:
        name = f"  {loaders} loader" + "s" * (loaders > 1)
        yield line(name, training_laps(config, steps, device=device, loaders=loaders), TRAINING)
    with patch.object(feelvos, "OBJECTS", 1):
        yield line("  no empty objects", training_laps(config, steps, device=device), TRAINING)
    if config.train.clip_by == "tensor":
        with patch.object(optimizer, "clip_each", clip_singly):
            yield line("  clipped singly", training_laps(config, steps, device=device), TRAINING)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--presets", default="real,full", help="of the frames and the training steps")
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
            if preset != "full" or chosen.device == "cuda":
                for printed in step_lines(preset, chosen.runs, device):
                    print(printed, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
