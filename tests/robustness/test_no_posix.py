"""The library works where the modules, functions and signals that only POSIX has are missing, as on Windows.

`tests/support/no_posix/sitecustomize.py` hides them from the library and from the cells of notebooks, in every process
that is started with it on PYTHONPATH. Nothing here runs on Windows itself: its files, processes and consoles are not
imitated beyond what that file says.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from no_posix.sitecustomize import LACKING, POSIX_ONLY
from PIL import Image

from feelvos_lab.data.images import write_mask
from feelvos_lab.data.synthetic import make_clip

PROJECT = Path(__file__).parents[2]
HIDDEN = PROJECT / "tests" / "support" / "no_posix"
SOURCES = sorted((PROJECT / "feelvos_lab").rglob("*.py"))
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the locks of Windows are imitated with Linux's"),
    pytest.mark.timeout(900),  # a sweep of six trainings
]

SEEN = """
import os, signal, sys
from feelvos_lab.files import lock
assert not lock.INHERITED and sys.platform == "win32" and not hasattr(signal, "SIGKILL") and not hasattr(os, "fork")
try:
    import fcntl
except ImportError as error:
    print(error)
"""

IMPORTED = """
import importlib, pkgutil, feelvos_lab
for module in pkgutil.walk_packages(feelvos_lab.__path__, "feelvos_lab."):
    if module.name.split(".")[-1] not in ("__main__", "triton_search"):  # Triton is not made for Windows
        importlib.import_module(module.name)
from feelvos_lab.files.provenance import environment
print(environment()["peak_memory_mb"])
"""

LOCKED = """
import os, subprocess, sys
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_folder, write_text
from feelvos_lab.files.lock import acquire, holder, locked, release
for number in range(2):  # a second time, over the file of a process that was ended
    held = acquire("a/.lock", "working", notes={"number": number})
    assert holder("a/.lock")["number"] == number and holder("a/.lock")["pid"] == os.getpid()
    other = "from feelvos_lab.files.lock import acquire; acquire('a/.lock', 'working')"
    done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
    assert f"another process is working: process {os.getpid()} on " in done.stderr, done.stderr
    release("a/.lock", held)
    assert not os.path.exists("a/.lock") and holder("a/.lock") is None
    ended = "import os; from feelvos_lab.files.lock import acquire; acquire('a/.lock', 'ending'); os._exit(0)"
    subprocess.run([sys.executable, "-c", ended], check=True)
    assert os.path.exists("a/.lock") and holder("a/.lock") is None
os.mkdir("out")
with complete_folder("out") as folder:
    write_text(folder / "a.txt", "1\\n")
print(os.listdir("out"))
"""


RESUMED = """
import torch
from feelvos_lab import configure, make_clip, train
from feelvos_lab.lessons.training_run import saved_step
config, clips = configure("smoke", steps=4), [make_clip(3, height=48, width=64, frames=5, objects=2)]
train(config, seed=0, clips=clips, folder="model", save_every=1, stop_after=2)
print(saved_step("model"))
trained = train(config, seed=0, clips=clips, folder="model", save_every=1)  # writes over the state that it has read
whole = train(config, seed=0, clips=clips)
names, others = trained.model.state_dict(), whole.model.state_dict()
print(all(torch.equal(names[name], others[name]) for name in names))
"""


def call(folder: Path, *arguments: str) -> str:
    """What Python prints with the arguments, in a folder, on a system without POSIX."""
    paths = [str(HIDDEN), str(PROJECT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def unguarded(code: str) -> Iterator[str]:
    """What a module takes from POSIX in functions and statements that do not ask for the system."""
    for part in ast.parse(code).body:
        text = ast.get_source_segment(code, part)
        if "sys.platform" in text or "hasattr(" in text or "getattr(" in text:
            continue
        for node in ast.walk(part):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in POSIX_ONLY)
            elif isinstance(node, ast.ImportFrom) and node.module in POSIX_ONLY:
                yield node.module
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.attr in LACKING.get(node.value.id, ()):
                    yield f"{node.value.id}.{node.attr}"
            elif isinstance(node, ast.keyword) and node.arg in ("pass_fds", "preexec_fn"):
                yield node.arg
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/proc/"):
                yield node.value


@pytest.mark.parametrize(
    "code", ["import fcntl", "def f():\n    return os.fork()", "signal.SIGKILL", "f(pass_fds=[1])", "open('/proc/1')"]
)
def test_what_is_unguarded_is_found(code: str) -> None:
    assert list(unguarded(code))
    assert not list(unguarded("if sys.platform != 'win32':\n    " + code.replace("\n", "\n    ")))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PROJECT / "feelvos_lab").as_posix())
def test_the_library_takes_nothing_unguarded_that_only_posix_has(path: Path) -> None:
    assert not list(unguarded(path.read_text(encoding="utf-8")))


def test_it_is_hidden_from_the_library_and_from_cells_alone(tmp_path: Path) -> None:
    assert call(tmp_path, "-c", SEEN) == "No module named 'fcntl'\n"
    assert call(tmp_path, "-m", "feelvos_lab", "doctor").count("ok ") >= 10


def test_every_module_is_imported(tmp_path: Path) -> None:
    assert int(call(tmp_path, "-c", IMPORTED)) > 10


def test_locks_exclude_name_their_holder_and_end_with_it(tmp_path: Path) -> None:
    assert call(tmp_path, "-c", LOCKED) == "['a.txt']\n"


def test_the_smallest_ablation_runs_to_its_table(tmp_path: Path) -> None:
    spec = PROJECT / "experiments" / "smoke.yml"
    printed = call(tmp_path, "-m", "feelvos_lab", "ablate", "run", str(spec), "--workers", "2", "--root", ".")
    assert printed.count(" … ok J&F ") == 6 and "report: " in printed
    folders = [path for path in (tmp_path / "runs" / "smoke").iterdir() if path.name != "report"]
    assert len(folders) == 6 and not list(tmp_path.rglob("*.lock"))
    plans = [json.loads((folder / "plan.json").read_text(encoding="utf-8")) for folder in folders]
    assert all(plan["seconds"] > 0 for plan in plans)


def test_a_video_is_segmented(tmp_path: Path) -> None:
    clip = make_clip(1, height=48, width=64, frames=3)
    (tmp_path / "video").mkdir()
    for t, frame in enumerate(clip.frames):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "video" / f"{t:05d}.png")
    write_mask(tmp_path / "first.png", clip.masks[0])
    options = ["--mask", "first.png", "--overlay", "gif", "--cues", "--out", "masks"]
    call(tmp_path, "-m", "feelvos_lab", "segment", "video", *options)
    assert len(list((tmp_path / "masks").glob("0*.png"))) == 3


def test_a_training_is_resumed(tmp_path: Path) -> None:
    assert call(tmp_path, "-c", RESUMED) == "2\nTrue\n"


def test_a_training_has_a_loader(tmp_path: Path) -> None:
    options = ["--preset", "smoke", "--set", "steps=2", "--loaders", "1", "--out", "model"]
    call(tmp_path, "-m", "feelvos_lab", "train", *options)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"history.csv", "model.json", "model.safetensors"}


def test_a_lesson_runs(tmp_path: Path) -> None:
    lesson = PROJECT / "notebooks" / "03_global_matching.ipynb"
    call(tmp_path, "-m", "papermill", "--no-progress-bar", str(lesson), "done.ipynb")
    cells = json.loads((tmp_path / "done.ipynb").read_text(encoding="utf-8"))["cells"]
    assert sum(bool(cell.get("outputs")) for cell in cells) > 5
