"""Kill trainings, sweeps, segmentations and figures at random moments, and look whether anything was lost.

    python tests/robustness/soak.py [--kills 52] [--only sweep segment] [--seed N] [--4k]

After each SIGKILL: what looks finished is whole and is what an undisturbed run gives; what was finished is not made
again; given the same command, the work goes on and ends with the undisturbed run's bytes (weights, masks, film) or
scores. Ends with a table, and with exit code 1 after any violation. `--4k` also segments two frames of 2160×3840 that
are not scaled for the network, which takes minutes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from feelvos_lab.ablation.runs import PlannedRun, plan
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import is_unfinished, read_json
from feelvos_lab.model.checkpoint import read_card, save_checkpoint
from feelvos_lab.model.feelvos import Feelvos

sys.path.append(str(Path(__file__).parents[1] / "support"))  # as pytest does: this file is also a script
from standin_experiment import SPEC, write_spec

MARK = "FEELVOS_TEST_MARK"
LONG = 300.0  # seconds that nothing here may take on any machine
FIGURES = """
import itertools, sys
from matplotlib.figure import Figure
from feelvos_lab.lab import save_figure
for n in itertools.count(1):
    save_figure(Figure(figsize=(1, 1), facecolor=(n % 256 / 255, 0, 0)), "figure", folder=sys.argv[1], n=n)
"""


@dataclass
class Tally:
    """What came of one kind of work."""

    kind: str
    kills: int = 0
    resumed: int = 0  # starts that found something to go on from
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def require(self, true: object, sentence: str) -> None:
        if not true:
            self.violations.append(sentence)
            print(f"VIOLATION, {self.kind} after {self.kills} kills: {sentence}", flush=True)


class Work:
    """Commands in a folder, whose processes are told from all others by a mark."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng, self.mark = folder, rng, uuid.uuid4().hex
        folder.mkdir(parents=True)

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        root = Path(__file__).parents[2]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), MARK: self.mark}
        with open(self.folder / "log.txt", "ab") as log:
            command = [sys.executable, *map(str, arguments)]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def lab(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        return self.start("-m", "feelvos_lab", *arguments)

    def processes(self) -> list[psutil.Process]:
        found = []
        for one in psutil.process_iter():
            try:
                if one.environ().get(MARK) == self.mark and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        for one in self.processes():
            one.kill()


def wait_for(true: Callable[[], object], process: subprocess.Popen[bytes], *, within: float = LONG) -> bool:
    """Whether it came true before the process ended."""
    end = time.monotonic() + within
    while process.poll() is None and time.monotonic() < end:
        if true():
            return True
        time.sleep(0.002)
    return False


def killed(process: subprocess.Popen[bytes], tally: Tally) -> bool:
    """Kill it; whether it was still there to be killed."""
    process.kill()
    there = process.wait() == -signal.SIGKILL
    tally.kills += there
    return there


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def refused(work: Work, out: Path, *command: str | Path) -> bool:
    """Whether the command is refused where its result is already, and touches nothing."""
    before = times(out)
    return work.lab(*command).wait(LONG) == 2 and times(out) == before


# -- training ----------------------------------------------------------------------------------------------------------

STEPS, SAVE_EVERY = 40, 2


def training(tally: Tally, kills: int, work: Work) -> None:
    """Weights after any number of kills are those of an undisturbed training, bit for bit."""
    command = ["train", "--preset", "smoke", "--set", f"steps={STEPS}", "--save-every", str(SAVE_EVERY), "--out"]
    whole = work.folder / "undisturbed"
    began = time.monotonic()
    assert work.lab(*command, whole).wait(LONG) == 0
    takes, expected = time.monotonic() - began, load_file(whole / "model.safetensors")
    for episode in itertools.count():
        out = work.folder / f"run-{episode}"
        state, step = out / "state.safetensors", 0
        for _ in range(min(4, kills - tally.kills)):
            tally.resumed += state.exists()
            process = work.lab(*command, out)
            _training_moment(work.rng, process, out, takes)
            if not killed(process, tally):
                break
            step = _check_training(tally, out, expected, at_least=step)
        if not (out / "model.json").exists() or state.exists():
            tally.resumed += state.exists()
            tally.require(work.lab(*command, out).wait(LONG) == 0, f"{out} could not be gone on with")
        _check_training(tally, out, expected, at_least=step)
        names = sorted(path.name for path in out.iterdir())
        tally.require(names == ["history.csv", "model.json", "model.safetensors"], f"left in {out}: {names}")
        tally.require(refused(work, out, *command, out), f"{out} was finished and is trained again")
        if tally.kills >= kills:
            return


def _training_moment(rng: random.Random, process: subprocess.Popen[bytes], out: Path, takes: float) -> None:
    """Wait for a moment: any, one about the writing of a state, or one about the writing of what is left at the end."""
    kind = rng.choice(("any", "state", "state", "end"))
    if kind == "any":
        time.sleep(rng.uniform(0, takes))
    elif kind == "state":
        for _ in range(rng.randint(1, 6)):
            before = _written(out / "state.safetensors")
            wait_for(lambda before=before: _written(out / "state.safetensors") != before, process)
        time.sleep(rng.uniform(0, 0.05))
    else:
        wait_for((out / "history.csv").exists, process)
        time.sleep(rng.uniform(0, 0.03))


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _check_training(tally: Tally, out: Path, expected: dict[str, torch.Tensor], *, at_least: int) -> int:
    """The step of the state that is there."""
    if not out.exists():
        return 0
    model, state = out / "model.safetensors", out / "state.safetensors"
    if model.exists():
        found = load_file(model)
        same = found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
        tally.require(same, f"{model} has other weights than the undisturbed training's")
    if (out / "model.json").exists():
        try:
            read_card(model)
        except LabError as error:
            tally.require(False, str(error))
    if (out / "history.csv").exists():
        steps = [int(row["step"]) for row in csv.DictReader((out / "history.csv").open())]
        tally.require(steps == [20, 40], f"{out} has a history of the steps {steps}")
    step = at_least
    if state.exists():
        with safe_open(state, framework="pt") as file:
            step = int(file.metadata()["step"])
            steps = [entry["step"] for entry in json.loads(file.metadata()["history"])]
        tally.require(at_least <= step and step % SAVE_EVERY == 0, f"{state} went from step {at_least} to {step}")
        tally.require(steps == [s for s in (20, 40) if s <= step], f"{state} at step {step} has a history of {steps}")
    else:
        lost = at_least > 0 and not (out / "model.json").exists()
        tally.require(not lost, f"the state of step {at_least} is gone from {out}")
    return step


# -- sweep -------------------------------------------------------------------------------------------------------------

SIX = SPEC.replace("seeds: [0]", "seeds: [0, 1]").replace("full: {paper: 1}", "full: {paper: 1, pause: 0.5}")


def sweep(tally: Tally, kills: int, work: Work) -> None:
    """Kill a sweep with all its processes, or one of them: the sweep itself, a run's process, a run's kernel."""
    spec = write_spec(work.folder, SIX)
    expected: dict[str, object] = {}
    for episode in itertools.count(-1):
        root = work.folder / f"root-{episode}"
        command = ["ablate", "run", spec, "--root", root, "--workers", "2"]
        done: dict[str, dict[str, int]] = {}
        for _ in range(min(4, kills - tally.kills) if episode >= 0 else 0):  # the first is not disturbed
            tally.resumed += bool(done)
            process = work.lab(*command)
            _kill_in_sweep(tally, work, process)
            done = _check_sweep(tally, plan(load_spec(spec), root=root), expected, done)
        tally.resumed += bool(done)
        finished = work.lab(*command).wait(LONG)  # at once, though something of the killed one may still run
        tally.require(finished == 0, f"the sweep in {root} could not be gone on with")
        runs = plan(load_spec(spec), root=root)
        done = _check_sweep(tally, runs, expected, done)
        tally.require(len(done) == 6, f"{6 - len(done)} runs in {root} are not ok at the end")
        with (root / "runs" / "demo" / "report" / "records.csv").open() as file:
            rows = [(r["variant"], r["seed"], r["clip"], r["object"]) for r in csv.DictReader(file)]
        tally.require(len(rows) == len(set(rows)) == 36, f"records.csv has {len(rows)} rows, {len(set(rows))} distinct")
        left = [p.name for p in root.rglob(".*") if is_unfinished(p.name) or p.suffix in (".lock", ".old", ".part")]
        tally.require(not left, f"left in {root}: {left}")
        end = time.monotonic() + 30
        while (alive := work.processes()) and time.monotonic() < end:
            time.sleep(0.2)
        tally.require(not alive, f"{len(alive)} processes outlive their sweep")
        expected = expected or {run.name: run.record()["scores"] for run in runs if run.state == "ok"}
        if tally.kills >= kills:
            return


def _kill_in_sweep(tally: Tally, work: Work, process: subprocess.Popen[bytes]) -> None:
    """Kill at a moment of some seconds; where the sweep itself is left alive, wait until it has ended."""
    victim = work.rng.choice(("all", "sweep", "run", "kernel"))
    words = {"run": "feelvos_lab.ablation.worker", "kernel": "ipykernel"}.get(victim)
    if words is None:
        wait_for(lambda: _of(work, "feelvos_lab.ablation.worker"), process)
        time.sleep(work.rng.uniform(0, 6))
        if victim == "all" and process.poll() is None:
            process.send_signal(signal.SIGSTOP)  # so that it starts no other meanwhile
            work.end()
        killed(process, tally)
    else:
        found: list[psutil.Process] = []
        wait_for(lambda: found.extend(_of(work, words)) or found, process)
        time.sleep(work.rng.uniform(0, 2))
        for one in found[:1]:
            try:
                one.kill()
                tally.kills += 1
            except psutil.NoSuchProcess:
                continue
        tally.require(process.wait(LONG) in (0, 1), f"a {victim} that was killed took the sweep along")


def _of(work: Work, words: str) -> list[psutil.Process]:
    found = []
    for one in work.processes():
        try:
            if any(words in argument for argument in one.cmdline()):
                found.append(one)
        except psutil.Error:
            continue
    return found


def _check_sweep(
    tally: Tally, runs: list[PlannedRun], expected: dict[str, object], before: dict[str, dict[str, int]]
) -> dict[str, dict[str, int]]:
    """The runs that are done, with the times of their files."""
    done = {}
    for run in runs:
        for path in run.folder.glob("*.json"):
            try:
                read_json(path)
            except LabError as error:
                tally.require(False, str(error))
        if run.state != "ok":
            continue
        page = json.loads(run.notebook.read_text())
        status = page["metadata"]["papermill"]
        tally.require(status["end_time"] and not status["exception"], f"the page of {run.folder} is not finished")
        if expected:
            tally.require(run.record()["scores"] == expected[run.name], f"{run.folder} has other scores")
        done[run.name] = {name: t for name, t in times(run.folder).items() if not name.endswith(run.folder.name)}
    for name, then in before.items():
        tally.require(done.get(name) == then, f"{name} was finished, and then was made again or lost")
    return done


# -- segment -----------------------------------------------------------------------------------------------------------


def segment(tally: Tally, kills: int, work: Work) -> None:
    """Masks, distance maps and the film are all there or none is."""
    frames, mask = _film(work.folder)
    _untrained(work.folder / "model.safetensors")
    command = ["segment", frames, "--mask", mask, "--checkpoint", work.folder / "model.safetensors", "--cues", "--out"]
    place = work.folder / "results"
    began = time.monotonic()
    assert work.lab(*command, place / "undisturbed").wait(LONG) == 0
    takes, expected = time.monotonic() - began, contents(place / "undisturbed")
    for episode in itertools.count():
        out = place / f"run-{episode}"
        for _ in range(min(4, kills - tally.kills)):
            process = work.lab(*command, out)
            if work.rng.random() < 0.7:  # while it writes
                wait_for(lambda out=out: any(out.parent.glob(f".{out.name}.partial/0*.png")), process)
                time.sleep(work.rng.uniform(0, 1))
            else:
                time.sleep(work.rng.uniform(0, takes))
            if not killed(process, tally):
                break
            tally.require(not out.exists() or contents(out) == expected, f"{out} looks finished and is not")
            tally.require(contents(place / "undisturbed") == expected, "an earlier result has changed")
        if not out.exists():
            tally.resumed += 1
            tally.require(work.lab(*command, out).wait(LONG) == 0, f"{out} could not be made after kills")
        tally.require(contents(out) == expected, f"{out} differs from the undisturbed result")
        left = [path.name for path in place.iterdir() if path.name.startswith(".")]
        tally.require(not left, f"left beside {out}: {left}")
        tally.require(refused(work, out, *command, out), f"{out} was finished and is made again")
        if tally.kills >= kills:
            return


def _untrained(path: Path) -> None:
    config = configure("smoke")
    torch.manual_seed(0)
    save_checkpoint(path, Feelvos(config.model).eval(), config)


def _film(folder: Path) -> tuple[Path, Path]:
    (folder / "frames").mkdir()
    for t in range(40):
        frame = Image.new("RGB", (128, 96), (90, 90, 90))
        frame.paste((200, 60, 40), (10 + t, 20, 50 + t, 60))
        frame.save(folder / "frames" / f"{t:05d}.png")
    mask = Image.new("L", (128, 96))
    mask.paste(1, (10, 20, 50, 60))
    mask.save(folder / "mask.png")
    return folder / "frames", folder / "mask.png"


# -- figures -----------------------------------------------------------------------------------------------------------


def figures(tally: Tally, kills: int, work: Work) -> None:
    """A figure that has its JSON has the picture that the JSON tells of."""
    out = work.folder / "figures"
    while tally.kills < kills:
        tally.resumed += (out / "figure.json").exists()
        process = work.start("-c", FIGURES, out)
        before = _written(out / "figure.json")
        wait_for(lambda before=before: _written(out / "figure.json") > before, process)
        time.sleep(work.rng.uniform(0, 0.5))
        killed(process, tally)
        for path in out.glob("[!.]*"):
            whole = {".png": _whole_png, ".pdf": _whole_pdf, ".json": _whole_json}[path.suffix]
            tally.require(whole(path), f"{path} is half written")
        if (out / "figure.json").exists():
            n = read_json(out / "figure.json")["parameters"]["n"]
            shown = Image.open(out / "figure.png").convert("RGB").getpixel((5, 5))[0]
            tally.require(shown == n % 256, f"figure.json tells of figure {n}, figure.png shows {shown}")


def _whole_png(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.load()
    except OSError:
        return False
    return True


def _whole_pdf(path: Path) -> bool:
    return path.read_bytes().rstrip().endswith(b"%%EOF")


def _whole_json(path: Path) -> bool:
    try:
        return bool(read_json(path))
    except LabError:
        return False


# -- 4K ----------------------------------------------------------------------------------------------------------------


def unscaled_4k(tally: Tally, work: Work) -> None:
    """Two frames as the network never meets them otherwise: half a million cells, each matched with each."""
    (work.folder / "frames").mkdir()
    for t in range(2):
        frame = Image.effect_noise((3840, 2160), 60).convert("RGB")
        frame.paste((200, 60, 40), (900 + 20 * t, 500, 1500 + 20 * t, 900))
        frame.save(work.folder / "frames" / f"{t:05d}.png")
    mask = Image.new("L", (3840, 2160))
    mask.paste(1, (900, 500, 1500, 900))
    mask.save(work.folder / "mask.png")
    _untrained(work.folder / "model.safetensors")
    command = ["segment", work.folder / "frames", "--mask", work.folder / "mask.png", "--height", "0"]
    command += ["--checkpoint", work.folder / "model.safetensors", "--overlay", "none", "--out", work.folder / "out"]
    tally.require(work.lab(*command).wait(12 * LONG) == 0, "two frames of 4K were not segmented")
    sizes = [Image.open(path).size for path in sorted((work.folder / "out").glob("*.png"))]
    tally.require(sizes == [(3840, 2160)] * 2, f"two masks of 4K were expected, got {sizes}")


# ----------------------------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[Tally, int, Work], None]] = {
    "training": training,
    "sweep": sweep,
    "segment": segment,
    "figures": figures,
}


@contextmanager
def _work(folder: Path, rng: random.Random) -> Iterator[Work]:
    work = Work(folder, rng)
    try:
        yield work
    finally:
        work.end()


def soak(kind: str, kills: int, folder: Path, *, seed: int) -> Tally:
    """Kill one kind of work so many times; what it came to."""
    tally = Tally(kind)
    began = time.monotonic()
    with _work(folder / kind, random.Random(f"{kind} {seed}")) as work:
        KINDS[kind](tally, kills, work)
    tally.seconds = time.monotonic() - began
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=52, help="in all, shared among the kinds of work")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the moments")
    parser.add_argument("--4k", dest="large", action="store_true", help="segment 4K frames unscaled, too")
    given = parser.parse_args()
    print(f"the moments' seed is {given.seed}", flush=True)
    tallies = []
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="feelvos-soak-") as folder:
        for number, kind in enumerate(given.only):
            kills = (given.kills + len(given.only) - 1 - number) // len(given.only)
            tallies.append(soak(kind, kills, Path(folder), seed=given.seed))
            print(f"{kind}: {tallies[-1].kills} kills in {tallies[-1].seconds:.0f} s", flush=True)
        if given.large:
            tallies.append(Tally("4k"))
            began = time.monotonic()
            with _work(Path(folder) / "4k", rng) as work:
                unscaled_4k(tallies[-1], work)
            tallies[-1].seconds = time.monotonic() - began
    total = Tally("all", *(sum(getattr(t, name) for t in tallies) for name in ("kills", "resumed", "seconds")))
    total.violations = [v for t in tallies for v in t.violations]
    print(f"\n{'':10}{'kills':>7}{'resumed':>9}{'seconds':>9}{'violations':>12}")
    for t in [*tallies, total]:
        print(f"{t.kind:10}{t.kills:7}{t.resumed:9}{t.seconds:9.0f}{len(t.violations):12}")
    return 1 if total.violations else 0


if __name__ == "__main__":
    sys.exit(main())
