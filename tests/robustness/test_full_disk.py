"""A full or read-only disk: one sentence, nothing half-written, and the same command goes on when there is room.

The disk is a small tmpfs where this process may mount one; a limit on the size of a file, which needs no rights, makes
every writer fail in the same way with another number.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from standin_experiment import write_spec

from feelvos_lab.ablation.runs import plan
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.config import configure
from feelvos_lab.files.atomic import is_unfinished
from feelvos_lab.model.checkpoint import load_checkpoint
from feelvos_lab.training.loop import train

resource = pytest.importorskip("resource", reason="this system has no limit on the size of a file")

FILLER = "filler"
TRAIN = ["train", "--preset", "smoke", "--set", "steps=40", "--save-every", "10"]


@dataclass
class Disk:
    """A folder in which there is little room, until there is plenty."""

    folder: Path
    mounted: bool
    limit: int | None = None  # bytes a file may have

    def leave(self, free: int) -> None:
        """Let only so many bytes be written: to the whole disk, or to one file where there is only a limit."""
        if not self.mounted:
            self.limit = free
            return
        available = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
        (self.folder / FILLER).write_bytes(bytes(max(0, available - free)))

    def free(self) -> None:
        self.limit = None
        (self.folder / FILLER).unlink(missing_ok=True)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        # what measures coverage would itself write a file that is too large
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}

        def limit() -> None:
            if self.limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))

        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**inherited, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            preexec_fn=limit,
        )

    def refused(self, *arguments: str | Path, code: int = 2) -> str:
        """A command that must end in one sentence; the sentence."""
        done = self.run("-m", "feelvos_lab", *arguments)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert done.stderr.startswith("feelvos-lab: ") and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def done(self, *arguments: str | Path) -> None:
        done = self.run("-m", "feelvos_lab", *arguments)
        assert done.returncode == 0, done.stderr

    def unfinished(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if is_unfinished(path.name) or path.suffix == ".lock"]


def _mount(folder: Path, options: str) -> None:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr.strip()}")


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    if request.param == "limit":
        folder.mkdir()
        yield Disk(folder, mounted=False)
        return
    _mount(folder, "size=16m")
    yield Disk(folder, mounted=True)
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def film(tmp_path: Path) -> list[str]:
    """The arguments for a clip of noise, whose masks are small and whose film is not."""
    (tmp_path / "frames").mkdir()
    generator = torch.Generator().manual_seed(0)
    for t in range(12):
        pixels = torch.randint(256, (96, 128, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(tmp_path / "frames" / f"{t:05d}.png")
    mask = Image.new("L", (128, 96))
    mask.paste(1, (10, 20, 50, 60))
    mask.save(tmp_path / "mask.png")
    return [str(tmp_path / "frames"), "--mask", str(tmp_path / "mask.png")]


def test_a_training_keeps_its_last_state_and_goes_on_from_it(disk: Disk, one_thread: None) -> None:
    out = disk.folder / "out"
    train(configure("smoke", steps=40), seed=0, folder=out, save_every=10, stop_after=20)
    size = (out / "state.safetensors").stat().st_size
    disk.leave(size // 2)
    sentence = disk.refused(*TRAIN, "--out", out)
    assert f"cannot write {out / 'state.safetensors'}" in sentence
    assert [path.name for path in out.iterdir()] == ["state.safetensors"]
    disk.free()
    disk.done(*TRAIN, "--out", out)
    expected = train(configure("smoke", steps=40), seed=0).model.state_dict()
    found = load_checkpoint(out / "model.safetensors")[0].state_dict()
    assert [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])] == []


# the command line under a limit on files that torch's own, which it may write on being imported, does not meet
LIMITED = """
import resource, sys
import torch._dynamo
from feelvos_lab.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
main(sys.argv[2:])
"""


def test_curves_that_cannot_be_written_end_the_training_and_one_line_says_so(disk: Disk) -> None:
    """TensorBoard's writing thread prints a traceback of its own, above that line, below it or around it."""
    out = disk.folder / "out"
    command = ["train", "--preset", "smoke", "--set", "steps=20", "--tensorboard", "--out", out]
    # the lock files fit, an event file with its first row does not
    if disk.mounted:
        disk.leave(8192)
        done = disk.run("-m", "feelvos_lab", *command)
    else:
        done = disk.run("-c", LIMITED, "150", *command)
    assert done.returncode == 2 and done.stderr.count("feelvos-lab: ") == 1, done.stderr
    assert f"feelvos-lab: cannot write curves to {out}" in done.stderr, done.stderr
    disk.free()
    disk.done(*command)
    assert load_file(out / "model.safetensors")


@pytest.mark.parametrize("film_kind", ["mp4", "gif"])
def test_a_film_that_does_not_fit_leaves_no_masks_that_look_finished(
    disk: Disk, film: list[str], film_kind: str, checkpoint: Path
) -> None:
    command = ["segment", *film, "--checkpoint", str(checkpoint), "--overlay", film_kind, "--out"]
    out = disk.folder / "out"
    disk.leave(64 * 1024 if disk.mounted else 20_000)  # the masks fit, the film does not
    assert "cannot write" in disk.refused(*command, str(out))
    assert not out.exists() and disk.unfinished() == []
    disk.free()
    disk.done(*command, str(out))
    assert len(list(out.glob("*.png"))) == 12 and (out / f"overlay.{film_kind}").stat().st_size > 20_000


def test_a_sweep_goes_on_when_there_is_room_again(disk: Disk, tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    command = ["ablate", "run", str(spec), "--root", str(disk.folder), "--workers", "1"]
    disk.leave(12 * 1024 if disk.mounted else 1500)  # a page of a run has more
    done = disk.run("-m", "feelvos_lab", *command)
    assert done.returncode in (1, 2) and "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("feelvos-lab: "), done.stderr
    assert "ok" not in {run.state for run in plan(load_spec(spec), root=disk.folder)}
    disk.free()
    disk.done(*command)
    assert {run.state for run in plan(load_spec(spec), root=disk.folder)} == {"ok"}
    assert disk.unfinished() == []


WRITERS = """
import sys
from pathlib import Path
import pandas as pd, torch
from matplotlib.figure import Figure
from feelvos_lab import lab
from feelvos_lab.model.checkpoint import save_checkpoint
from feelvos_lab.config import configure
from feelvos_lab.data.images import write_mask
from feelvos_lab.errors import LabError
from feelvos_lab.model.feelvos import Feelvos

folder, config = Path(sys.argv[1]), configure("smoke")
figure = Figure(figsize=(6, 4))
figure.add_subplot().imshow(torch.rand(50, 50))
scores = pd.DataFrame([dict(clip=f"clip-{n}", object=1, J=0.5, F=0.5, JF=0.5) for n in range(400)])
record = dict(config=config, seed=0, split="test", scores=scores, history=[], train_seconds=1.0, test_seconds=1.0)
for name, write in {
    "figure": lambda: lab.save_figure(figure, "figure", folder=folder),
    "record": lambda: lab.write_record(folder, **record),
    "checkpoint": lambda: save_checkpoint(folder / "model.safetensors", Feelvos(config.model), config),
    "mask": lambda: write_mask(folder / "mask.png", torch.randint(256, (300, 300))),
}.items():
    try:
        write()
    except LabError as error:
        print(f"{name}: {error}")
"""


def test_every_writer_refuses_in_one_sentence_and_leaves_what_was_there(disk: Disk) -> None:
    """A figure with its notes, a record, a checkpoint, a mask: the ones before stay, as they were."""
    assert disk.run("-c", WRITERS, disk.folder).stdout == ""
    before = {path.name: path.read_bytes() for path in disk.folder.iterdir()}
    assert sorted(before) == ["figure.json", "figure.pdf", "figure.png", "mask.png", "model.safetensors", "record.json"]
    disk.leave(4096)
    done = disk.run("-c", WRITERS, disk.folder)
    told = done.stdout.splitlines()
    assert [line.split(":")[0] for line in told] == ["figure", "record", "checkpoint", "mask"], done.stderr
    assert all(": cannot write " in line for line in told)
    disk.free()
    assert {path.name: path.read_bytes() for path in disk.folder.iterdir()} == before


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Disk]:
    """Root may write where others may not, so for root the disk itself must be read-only."""
    folder = tmp_path / "disk"
    if os.geteuid() == 0:
        _mount(folder, "size=1m")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield Disk(folder, mounted=True)
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.mkdir(mode=0o555)
        yield Disk(folder, mounted=False)
        folder.chmod(0o755)


def test_a_read_only_folder_is_refused_by_every_command(
    read_only: Disk, film: list[str], checkpoint: Path, tmp_path: Path
) -> None:
    out = str(read_only.folder / "out")
    for command in (
        [*TRAIN, "--out", out],
        ["segment", *film, "--checkpoint", str(checkpoint), "--out", out],
        ["figure", *film, "--frame", "3", "--checkpoint", str(checkpoint), "--out", out],
        ["ablate", "run", str(write_spec(tmp_path)), "--root", out],
    ):
        assert str(read_only.folder) in read_only.refused(*command), command
    done = read_only.run("-c", WRITERS, read_only.folder)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["figure", "record", "checkpoint", "mask"]


def test_a_log_on_a_full_disk_ends_a_command_in_one_sentence(checkpoint: Path) -> None:
    """/dev/full says that the disk is full to whoever writes to it."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "feelvos_lab", "train", "--help"],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr
    assert "No space left" in done.stderr
