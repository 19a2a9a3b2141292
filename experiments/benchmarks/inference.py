"""Where does the time of a frame go, and that of a training step?

    python experiments/benchmarks/inference.py [--frames 9] [--threads 2] [--presets real,full] [--only inference]

Inference is `feelvos-lab segment` without its film: frames are read from jpg files, carried through, and written as
PNG masks; two synthetic objects beside the background, random weights, which cost what trained ones do. The times
are medians over the frames behind the first, each frame split into what the network and the code round it do:

    backbone    the image's features, by timm's network
    decoder     atrous context and features at stride 4, with the embedding layer
    matching    the global and the local distance map
    head        one logit map an object
    answer      logits to full size, labels, probabilities
    files       reading a frame, scaling it, writing its mask
    rest        everything else

A training step is split likewise; what flows back is one column. Where the processor serves other programs too, the
columns are worth less than their shares.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from PIL import Image
from torch.utils.data.dataloader import _BaseDataLoaderIter

from feelvos_lab.config import Config, configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import LazyFrames
from feelvos_lab.data.images import write_mask
from feelvos_lab.data.readers import read_folder
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.inference import propagation
from feelvos_lab.model import backbone, decoder, embedding, feelvos
from feelvos_lab.model.build import build_model
from feelvos_lab.model.fold_norms import fold_batch_norms
from feelvos_lab.training import loop, losses
from feelvos_lab.training.samples import StepSampler

CASES = {  # height and width of the files, and the height that the network sees
    "240p": ((240, 427), 240),
    "480p": ((480, 854), 480),
    "480p as 360p": ((480, 854), 360),
    "480p as 240p": ((480, 854), 240),  # what `feelvos-lab segment` does with preset real
}
INFERENCE = ("backbone", "decoder", "matching", "head", "answer", "files")
TRAINING = ("samples", "backbone", "decoder", "matching", "head", "loss", "backward", "update")
NETWORK = {  # where each part of the network begins, for both
    "backbone": ((backbone.Backbone, "forward"),),
    "decoder": ((decoder.Decoder, "forward"), (embedding.EmbeddingLayer, "forward")),
    "matching": ((feelvos.Feelvos, "cues"),),
    "head": ((feelvos.Feelvos, "segment"),),
}
ANSWER = {
    "answer": ((propagation, "decide"),),
    "files": ((LazyFrames, "__getitem__"), (propagation, "_network_input")),
}
STEP = {
    "samples": ((StepSampler, "__getitem__"), (_BaseDataLoaderIter, "__next__")),  # drawn here, or waited for
    "loss": ((losses, "hard_pixel_loss"), (losses, "resize_bilinear")),
    "backward": ((torch.Tensor, "backward"),),
    "update": ((loop, "update"),),
}


def _now() -> float:
    """Seconds on a clock that waits for a GPU's kernels, where one is in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


class Stopwatch:
    """Seconds by name since the last `lap`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.laps: list[dict[str, float]] = []
        self._began = _now()

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        start = _now()
        yield
        self.seconds[name] += _now() - start

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*positional: Any, **named: Any) -> Any:
            with self.running(name):
                return function(*positional, **named)

        return wrapped

    def lap(self) -> None:
        now = _now()
        whole = now - self._began
        self.laps.append({**self.seconds, "all": whole, "rest": whole - sum(self.seconds.values())})
        self.seconds.clear()
        self._began = now

    @contextmanager
    def watching(self, *places: dict[str, tuple[tuple[Any, str], ...]]) -> Iterator[None]:
        """Every call of the functions that are named is timed under its name."""
        with ExitStack() as patched:
            for name, owners in (item for place in places for item in place.items()):
                for owner, attribute in owners:
                    timed = self.timed(name, getattr(owner, attribute))
                    patched.enter_context(patch.object(owner, attribute, timed))
            yield


@contextmanager
def filmed(height: int, width: int, frames: int) -> Iterator[tuple[Clip, Path]]:
    """A clip of two objects whose frames are jpg files, and a folder for its masks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_clip(5, height=height, width=width, frames=frames, objects=2)
        for t in range(frames):
            Image.fromarray(made.frames[t].permute(1, 2, 0).numpy()).save(folder / f"{t:05d}.jpg", quality=90)
        write_mask(folder / "masks" / "first.png", made.masks[0])
        yield read_folder(folder, folder / "masks" / "first.png"), folder / "masks"


def inference_laps(
    config: Config, size: tuple[int, int], *, height: int, frames: int, device: str | torch.device = "cpu"
) -> list[dict[str, float]]:
    """The seconds of each frame behind the second: the first is given, the next one warms up."""
    watch = Stopwatch()
    torch.manual_seed(0)
    model = fold_batch_norms(build_model(config.model).eval()).to(device)
    in_turns = patch.object(propagation, "read_ahead", map)  # a thread's time would be counted twice
    with filmed(*size, frames) as (clip, out), watch.watching(NETWORK, ANSWER), in_turns:
        for prediction in propagation.propagate(model, clip, height=height):
            with watch.running("files"):
                write_mask(out / f"{prediction.frame:05d}.png", prediction.labels)
            watch.lap()
    return watch.laps[2:]


def training_laps(
    config: Config, steps: int, *, device: str | torch.device = "cpu", loaders: int = 0
) -> list[dict[str, float]]:
    """The seconds of each step behind the first ones, on synthetic clips of the preset's size.

    The first step warms up; those that `loaders` have drawn while they all started cost no waiting.
    """
    first = 1 + 2 * loaders  # each draws two batches ahead
    data = config.data
    clips = [make_clip(i, height=data.height, width=data.width, frames=16, objects=2) for i in range(2)]
    watch = Stopwatch()
    with watch.watching(NETWORK, STEP):
        after = loop.update  # the timed one: it ends a step

        def last(*positional: Any) -> None:
            after(*positional)
            watch.lap()

        with patch.object(loop, "update", last):
            loop.train(config, seed=0, clips=clips, stop_after=steps + first, device=device, loaders=loaders)
    return watch.laps[first:]


def line(name: str, laps: list[dict[str, float]], columns: tuple[str, ...]) -> str:
    """Milliseconds and share of each column: medians."""
    whole = statistics.median(lap["all"] for lap in laps)
    parts = [statistics.median(lap.get(column, 0.0) for lap in laps) for column in (*columns, "rest")]
    cells = [f"{1000 * part:7.1f} {100 * part / whole:3.0f}%" for part in parts]
    return f"{name:18}{1 / whole:8.2f}{1000 * whole:9.1f}  " + "".join(f"{cell:>13}" for cell in cells)


def head(rate: str, columns: tuple[str, ...]) -> str:
    return f"{'':18}{rate:>8}{'ms':>9}  " + "".join(f"{column:>13}" for column in (*columns, "rest"))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--frames", type=int, default=9, help="timed frames; of preset full a quarter, at least 2")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--presets", default="reduced,real,full")
    options.add_argument("--only", choices=("inference", "training"))
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    presets = chosen.presets.split(",")
    print(f"{platform.platform()}, {platform.machine()}, Python {platform.python_version()},")
    print(f"torch {torch.__version__}, {chosen.threads} threads, float32, two objects, medians")
    if chosen.only != "training":
        print("\n" + head("fps", INFERENCE))
        for preset in presets:
            config = configure(preset)
            timed = max(2, chosen.frames // 4) if preset == "full" else chosen.frames
            for name, (size, height) in CASES.items():
                if size[0] == height or 0 < config.data.test_height < size[0]:  # real alone
                    laps = inference_laps(config, size, height=height, frames=timed + 2)
                    print(line(f"{preset} {name}", laps, INFERENCE), flush=True)
    if chosen.only != "inference":
        print("\n" + head("steps/s", TRAINING))
        for preset in presets:
            if preset != "full":  # a step of its batch of 48 takes minutes
                laps = training_laps(configure(preset, in_memory=False), chosen.frames)
                print(line(preset, laps, TRAINING), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
