"""What test_memory.py runs in a process of its own: segment a clip whose frames are made when asked for.

python tests/support/long_clip.py FRAMES FOLDER [kept|ahead]      prints the peak resident size in KiB

"kept" is a leak; "ahead" reads ahead and writes behind by threads, on the fake device.
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

import torch
from fake_device import THERE, Elsewhere
from torch import Tensor

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.inference.output import write_segmentation
from feelvos_lab.inference.overlap import DEPTH
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.feelvos import Feelvos

HEIGHT, WIDTH = 96, 128


class Moving:
    """A square that goes round on a plain ground: `frames[t]` is made anew each time."""

    def __init__(self, length: int, folder: Path, *, ahead: int) -> None:
        self.length, self.folder, self.ahead = length, folder, ahead
        self.latest = -1

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, t: int) -> Tensor:
        if t > self.latest:  # asked for by the network, not by the film
            written = len(list(self.folder.glob("*.png")))
            assert t - self.ahead <= written <= t, f"frame {t} is asked for, {written} masks are written"
            self.latest = t
        frame = torch.full((3, HEIGHT, WIDTH), 90, dtype=torch.uint8)
        frame[:, self._square(t) > 0] = 200
        return frame

    def _square(self, t: int) -> Tensor:
        mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
        mask[30:60, 10 + t % 60 : 45 + t % 60] = 1
        return mask

    def clip(self) -> Clip:
        return Clip("moving", self, self._square(0)[None], (1,))


def peak() -> int:
    """KiB at most in memory since this program began. (`ru_maxrss` begins with what the parent held when it forked.)"""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])


def main(frames: int, folder: Path, option: str = "") -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Feelvos(configure("smoke").model).eval()
    ahead = option == "ahead"
    clip = Moving(frames, folder, ahead=2 * DEPTH + 1 if ahead else 0).clip()
    kept = []
    with Elsewhere() if ahead else contextlib.nullcontext():
        model = model.to(THERE) if ahead else model
        predictions = ((kept.append(p) if option == "kept" else None, p)[1] for p in propagate(model, clip))
        assert write_segmentation(predictions, clip, folder, movie="gif", cues=True, behind=ahead) == frames
    print(peak())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
