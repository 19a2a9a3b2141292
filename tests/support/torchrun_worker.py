"""What test_distributed.py has `torchrun` run in two processes: train whole, then stopped and resumed; keep both.

torchrun --nproc-per-node 2 tests/support/torchrun_worker.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.model.checkpoint import save_checkpoint
from feelvos_lab.training.distributed import process_group
from feelvos_lab.training.loop import train

# Not AdamW: it divides a gradient by its size, so that one which is nothing but rounding moves a weight as far as any.
CONFIG = configure(
    "smoke",
    steps=4,
    batch_size=4,
    draws="clip",
    optimizer="sgd",
    learning_rate=0.01,
    freeze_norm=True,
    hard_anneal_steps=2,
)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    clips = make_clips("train", count=3, height=64, width=64, frames=6)
    with process_group() as share:
        whole = train(CONFIG, seed=0, clips=clips)
        train(CONFIG, seed=0, clips=clips, folder=folder / "state", stop_after=2)
        resumed = train(CONFIG, seed=0, clips=clips, folder=folder / "state")
        for name, trained in (("whole", whole), ("resumed", resumed)):
            save_checkpoint(folder / f"{name}-{share.rank}.safetensors", trained.model, CONFIG)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
