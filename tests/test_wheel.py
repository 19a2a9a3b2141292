"""The wheel holds all that the commands need, so that they work in any folder of a computer without the project."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.files import project
from feelvos_lab.files.project import find_experiment, project_folder, relative_path

PROJECT = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(900)  # packages are found again in a new environment
CLIP = """
from pathlib import Path
from PIL import Image
import numpy as np
from feelvos_lab import make_clip
from feelvos_lab.data.images import write_mask
clip = make_clip(1, height=48, width=64, frames=3)
Path("video").mkdir()
for t, frame in enumerate(clip.frames):
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(f"video/{t:05d}.png")
write_mask("first.png", clip.masks[0])
"""
OWN_REPORT = """
import feelvos_lab
from feelvos_lab import lab
print(lab.published("experiments/runs/smoke/report").variants, feelvos_lab.__file__)
lab.published("experiments/results/davis2016")
lab.published()
"""


@pytest.fixture(scope="module")
def listed() -> list[str]:
    """The project's files, as git would commit them."""
    command = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("the project is not in a git repository, so there is no list of its files")
    return [name for name in found.stdout.split("\0") if name and (PROJECT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(listed: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the project, built in a copy of it."""
    pytest.importorskip("setuptools", reason="the project is built with setuptools")
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in listed:
        if name.startswith(("feelvos_lab/", "notebooks/", "experiments/")) or "/" not in name:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((PROJECT / name).read_bytes())
    # what people keep in their clones does not belong into a wheel
    (copy / "experiments" / "runs" / "smoke").mkdir(parents=True)
    (copy / "experiments" / "runs" / "smoke" / "mine.txt").touch()
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(out)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(copy)], check=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel; the packages are those of this one, without this project."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    there = next(venv.glob("bin/python")) if os.name != "nt" else venv / "Scripts" / "python.exe"
    install = ["--python", str(there), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return there


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, in somebody's repository."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run(["git", "-C", str(folder), "init", "-q"], check=True)
    return folder


def call(python: Path, folder: Path, *arguments: str, code: int = 0) -> str:
    """What `python -m feelvos_lab` prints in a folder, or `python -c` with one argument that has several lines."""
    jupyter = Path(sysconfig.get_path("data")) / "share" / "jupyter"  # JupyterLab's own part of this environment
    kept = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
    command = ["-c", *arguments] if "\n" in arguments[0] else ["-m", "feelvos_lab", *arguments]
    environment = {**kept, "OMP_NUM_THREADS": "1", "JUPYTER_PATH": str(jupyter)}
    done = subprocess.run([str(python), *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_every_package_of_the_library_is_named() -> None:
    named = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in (PROJECT / "feelvos_lab").rglob("*.py")}
    assert sorted(named) == sorted(
        [".".join(folder.relative_to(PROJECT).parts) for folder in folders]
        + ["feelvos_lab.experiments", "feelvos_lab.notebooks"]
    )


def test_the_wheel_holds_the_package_the_notebooks_the_experiments_and_the_results(
    wheel: Path, listed: list[str]
) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("feelvos_lab/")}
    wanted = {name for name in listed if name.startswith("feelvos_lab/") and name != "feelvos_lab/README.md"}
    wanted |= {f"feelvos_lab/{name}" for name in listed if name.startswith(("notebooks/", "experiments/"))}
    assert names == {name for name in wanted if not name.startswith("feelvos_lab/experiments/benchmarks/")}
    assert wheel.stat().st_size < 8e6


def test_the_notebooks_are_copied_and_nothing_is_missing(python: Path, elsewhere: Path) -> None:
    lines = call(python, elsewhere, "start", "--no-lab", "--desk", "mine").splitlines()
    assert not [line for line in lines if line.startswith("missing")]
    assert {path.name for path in PROJECT.glob("notebooks/*.ipynb")} <= {p.name for p in (elsewhere / "mine").iterdir()}
    parts = [line.split()[1] for line in call(python, elsewhere, "doctor").splitlines()]
    assert parts == [line.split()[1] for line in lines[:-1]]


def test_an_experiment_is_run_by_its_name_and_its_report_read(python: Path, elsewhere: Path) -> None:
    printed = call(python, elsewhere, "ablate", "run", "experiments/smoke.yml", "--only", "first-only")
    assert printed.startswith("experiment: ") and "[1/6]" not in printed and "first-only seed 0 … ok" in printed
    report = (elsewhere / "experiments" / "runs" / "smoke" / "report" / "report.md").read_text(encoding="utf-8")
    assert "    feelvos-lab ablate run smoke\n" in report
    assert "\n- code: feelvos_lab 0." in report  # and no commit of the repository around it
    printed = call(python, elsewhere, OWN_REPORT)
    assert "['first-only']" in printed and str(python.parents[1]) in printed
    assert "davis2016: 6 rows" in printed and "components: 6 rows" in printed
    compared = call(python, elsewhere, "ablate", "compare", "components", "experiments/results/components")
    assert compared.count("results: ") == 2 and "previous-global" in compared


def test_an_experiment_of_ones_own_needs_no_notebook(python: Path, elsewhere: Path) -> None:
    call(python, elsewhere, "ablate", "new", "own-idea")
    assert len(call(python, elsewhere, "ablate", "plan", "own-idea").splitlines()) == 1 + 3 * 3


def test_a_figure_is_drawn_and_a_video_segmented(python: Path, elsewhere: Path) -> None:
    call(python, elsewhere, CLIP)
    call(python, elsewhere, "segment", "video", "--mask", "first.png", "--out", "masks", "--overlay", "gif")
    assert len(list((elsewhere / "masks").glob("0*.png"))) == 3
    call(python, elsewhere, "figure", "video", "--mask", "first.png", "--frame", "2", "--out", "figure")
    assert len(list((elsewhere / "figure").glob("*.pdf"))) == 1


def test_an_experiment_is_found_where_it_is_then_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    published = project_folder() / "experiments" / "smoke.yml"
    for name in ("smoke", "smoke.yml", "experiments/smoke.yml"):
        assert find_experiment(Path(name)) == published
    for name in ("other/smoke.yml", "smoke.txt", "none", "../smoke.yml"):
        assert find_experiment(Path(name)) == Path(name)
    (tmp_path / "experiments").mkdir()
    own = Path("experiments", "smoke.yml")
    own.write_bytes(published.read_bytes())
    assert find_experiment(Path("smoke")) == own == find_experiment(own)
    (tmp_path / "smoke").mkdir()
    assert find_experiment(Path("smoke")) == own
    assert load_spec(published).notebook == project_folder() / "notebooks" / "run_experiment.ipynb"


def test_a_path_on_another_drive_of_windows_stays_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert relative_path(tmp_path / "a" / "b", tmp_path / "c") == "../a/b"

    def other_drive(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(project.os.path, "relpath", other_drive)
    assert relative_path(tmp_path / "a", tmp_path / "c") == (tmp_path / "a").as_posix()
