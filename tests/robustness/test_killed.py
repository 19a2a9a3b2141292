"""A training that is killed at any moment, and started again, has the weights of one that was not, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from curves import read_curves

from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.model.checkpoint import load_checkpoint
from feelvos_lab.training.loop import train

STEPS, SAVE_EVERY = 40, 2
OPTIONS = ["--preset", "smoke", "--set", f"steps={STEPS}", "--save-every", str(SAVE_EVERY), "--tensorboard"]
DIES_WHILE_WRITING = """
import os, signal, sys
from feelvos_lab.model import checkpoint
from feelvos_lab.cli.main import main

share, nth = float(sys.argv[1]), int(sys.argv[2])
save_file, calls = checkpoint.save_file, 0

def dying(tensors, path, metadata):
    global calls
    calls += 1
    save_file(tensors, path, metadata=metadata)
    if calls == nth:
        os.truncate(path, int(share * os.path.getsize(path)))
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.save_file = dying
main(sys.argv[3:])
"""

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL"),
]


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, torch.Tensor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    weights = train(configure("smoke", steps=STEPS), seed=0).model.state_dict()
    torch.set_num_threads(threads)
    return weights


def _start(*command: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)


def _finish(out: Path, expected: dict[str, torch.Tensor]) -> None:
    """Start the training once more, without a kill: the weights, the files and the curves are those of one session."""
    time.sleep(1)  # TensorBoard orders sessions by the second in which they began
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", *OPTIONS, "--out", str(out)])
    found = load_checkpoint(out / "model.safetensors")[0].state_dict()
    assert [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])] == []
    assert sorted(p.name for p in out.iterdir()) == ["history.csv", "model.json", "model.safetensors", "tensorboard"]
    assert [step for step, _ in read_curves(out / "tensorboard")["loss"]] == [20, 40]


def _written(path: Path) -> int:
    """When a file was last written, in nanoseconds; 0 where there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_training_that_is_killed_at_random_moments(tmp_path: Path, uninterrupted: dict[str, torch.Tensor]) -> None:
    seed = random.randrange(10**6)
    print(f"the moments' seed is {seed}")
    rng = random.Random(seed)
    out, state = tmp_path / "out", tmp_path / "out" / "state.safetensors"
    for _ in range(3):
        process = _start("-m", "feelvos_lab", "train", *OPTIONS, "--out", str(out))
        for _ in range(rng.randint(1, 3)):
            before = _written(state)
            while _written(state) == before and process.poll() is None:
                time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the training ended before it was killed"
        assert not (out / "model.safetensors").exists()
    _finish(out, uninterrupted)


def test_a_training_that_is_killed_while_it_writes_its_state(
    tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    out, state = tmp_path / "out", tmp_path / "out" / "state.safetensors"
    for share, nth in (("0.5", 1), ("0.5", 2), ("1.0", 2)):  # half written twice, then complete but not in its place
        before = _written(state)
        assert _start("-c", DIES_WHILE_WRITING, share, str(nth), "train", *OPTIONS, "--out", str(out)).wait() == -9
        assert len(list(out.glob(".state.*.partial.safetensors"))) == 1
        assert (_written(state) > before) == (nth == 2)  # the first of two was written whole
    _finish(out, uninterrupted)
