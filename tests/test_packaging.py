"""The ways to install the project say the same thing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import feelvos_lab

PROJECT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
DEPENDENCIES = [
    Requirement(text) for texts in (PYPROJECT["project"]["dependencies"], *EXTRAS.values()) for text in texts
]
VERSION = "Programming Language :: Python :: "
WORKFLOW = yaml.load((PROJECT / ".github" / "workflows" / "ci.yml").read_text(), yaml.BaseLoader)
PYTHONS = [(3, 11), (3, 12), (3, 13)]  # those that the tests were run with
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]


def run_make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The Makefile, without what a `make` that runs these tests was given itself."""
    given = ("MAKE", "MFLAGS", "VENV", "CONSTRAINTS", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(given)}
    return subprocess.run(["make", "-C", str(PROJECT), *arguments], capture_output=True, text=True, env=kept)


def make(*arguments: str) -> str:
    done = run_make(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pins(python: tuple[int, int], constraints: str = "constraints.txt") -> dict[str, str]:
    """The constraints that hold for a Python version."""
    lines = [line for line in (PROJECT / constraints).read_text().splitlines() if line and line[0] != "#"]
    wanted = [Requirement(line) for line in lines]
    version = f"{python[0]}.{python[1]}"
    environment = {"python_version": version, "python_full_version": f"{version}.0"}
    kept = [r for r in wanted if r.marker is None or r.marker.evaluate(environment)]
    names = [canonicalize_name(r.name) for r in kept]
    assert len(names) == len(set(names)), "a package is pinned twice"
    assert all(re.fullmatch(r"==[^=*,]+", str(r.specifier)) for r in kept)
    return {canonicalize_name(r.name): str(r.specifier)[2:] for r in kept}


def test_the_conda_route_installs_what_pip_installs():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    assert environment["name"] == PYPROJECT["project"]["name"]
    python, torch, torchvision, pip, by_pip = environment["dependencies"]
    assert python == "python" + PYPROJECT["project"]["requires-python"]
    assert pip == "pip"
    needed = {wanted.name: f"{wanted.name}{wanted.specifier}" for wanted in DEPENDENCIES}
    assert (torch, torchvision) == (needed["torch"].replace("torch", "pytorch-cpu"), needed["torchvision"])
    (line,) = [line for line in (PROJECT / "environment.yml").read_text().splitlines() if torch in line]
    assert line.endswith(torch.replace("-cpu", "-gpu"))  # the line for a GPU is next to it, in a comment
    makefile = (PROJECT / "Makefile").read_text()
    installed = re.search(r"pip install .* -e \"(.+)\"", makefile)[1]
    assert by_pip == {"pip": [f"-e {installed}"]}


def test_a_python_is_declared_where_the_tests_were_run_with_it():
    names = [f"{major}.{minor}" for major, minor in PYTHONS]
    project = PYPROJECT["project"]
    stated = [text.removeprefix(VERSION) for text in project["classifiers"] if text.startswith(VERSION)]
    assert stated == names
    assert project["requires-python"] == f">={names[0]}"
    assert WORKFLOW["jobs"]["tested"]["strategy"]["matrix"]["python"] == names
    assert f"(Python {names[0]} to {names[-1]})" in (PROJECT / "constraints.txt").read_text()
    assert f"Python {names[0]} or newer" in (PROJECT / "README.md").read_text()


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_has_a_tested_version_within_its_range(python):
    pinned = pins(python)
    for wanted in DEPENDENCIES:
        assert wanted.specifier, f"{wanted.name} needs a range"
        assert pinned[canonicalize_name(wanted.name)] in wanted.specifier


def test_the_lowest_version_of_every_range_is_the_one_that_is_tested():
    lowest = pins(OLDEST, "constraints-min.txt")
    for wanted in DEPENDENCIES:
        (bound,) = wanted.specifier
        assert bound.operator in (">=", "=="), f"{wanted.name} has no lowest version"
        assert Version(lowest[canonicalize_name(wanted.name)]) == Version(bound.version.removesuffix(".*"))


@pytest.mark.parametrize("constraints", ["constraints.txt", "constraints-min.txt"])
def test_torch_and_torchvision_are_a_matching_pair(constraints):
    """torchvision 0.N belongs to torch 2.(N − 15) and carries the same patch number."""
    torch, vision = (pins(OLDEST, constraints)[name].split(".") for name in ("torch", "torchvision"))
    assert (vision[0], int(vision[1]) - 15, vision[2]) == ("0", int(torch[1]), torch[2])


def test_the_version_is_said_once():
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", feelvos_lab.__version__)
    assert feelvos_lab.__version__ in (PROJECT / "CHANGELOG.md").read_text()


def test_the_citation_names_this_version_and_the_paper():
    """The required fields of the Citation File Format 1.2.0, and what must agree with the package."""
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys() and citation["cff-version"] == "1.2.0"
    assert (citation["version"], citation["license"]) == (feelvos_lab.__version__, PYPROJECT["project"]["license"])
    (paper,) = citation["references"]
    assert paper["title"].startswith("FEELVOS: ") and paper["year"] == 2019 and len(paper["authors"]) == 6


def test_ci_runs_the_readmes_commands_with_a_browser():
    script = PROJECT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test-all"
    assert any(line.startswith("command -v chromium") and "exit 1" in line for line in lines)
    readme = (PROJECT / "README.md").read_text()
    assert "make test " in readme and "make test-browser" in readme


@pytest.mark.parametrize(
    ("target", "selection"), [("test", '-m "not browser"'), ("test-browser", "-m browser"), ("test-all", "-q")]
)
def test_tests_that_need_a_browser_run_where_they_are_asked_for(target, selection, tmp_path):
    plan = make("-n", f"VENV={tmp_path}/venv", target)
    (call,) = [line for line in plan.splitlines() if "-m pytest" in line]
    assert call.endswith(selection)


@pytest.mark.parametrize(
    "target",
    [
        *("ablation", "test", "test-browser", "test-all", "lab", "app", "bench", "figures", "screenshots", "smoke"),
        *("lint", "soak", "audit", "book"),
    ],
)
def test_every_target_sets_up_its_environment_first(target, tmp_path):
    """`make -n` prints the installation before the target's own commands, as for a fresh clone."""
    plan = make("-n", f"VENV={tmp_path}/venv", target)
    assert "pip install" in plan
    assert plan.index("-m venv") < plan.index("pip install")
    if target != "lint":
        assert plan.index("pip install") < plan.rindex(f"{tmp_path}/venv/")


def test_an_audit_fails_where_a_version_cannot_be_looked_up(tmp_path):
    """Without --strict a service that knows none of the packages would give a clean bill."""
    plan = make("-n", f"VENV={tmp_path}/venv", "audit")
    (call,) = [line for line in plan.splitlines() if "pip-audit " in line and "constraints.txt" in line]
    assert "--strict" in call.split() and "--ignore-vuln" not in call


@pytest.mark.parametrize(
    ("target", "constraints"),
    [("test", "constraints.txt"), ("test-min", "constraints-min.txt"), ("test-newest", "")],
)
def test_each_set_of_versions_has_an_environment_of_its_own(target, constraints, tmp_path):
    plan = make("-n", f"VENV={tmp_path}/venv", target).splitlines()
    folder = f"{tmp_path}/venv{target.removeprefix('test')}"
    (install,) = [line for line in plan if "pip install" in line]
    assert re.fullmatch(
        rf"{folder}/bin/python -m pip install .*--disable-pip-version-check -c {folder}/constraints.txt -e .*", install
    )
    (copied,) = [line for line in plan if "sed " in line]
    assert re.search(rf'/d}}" *{constraints} */dev/null >> {folder}/constraints.txt$', copied)
    (call,) = [line for line in plan if "-m pytest" in line]
    assert call == f'OMP_NUM_THREADS=1 {folder}/bin/python -m pytest -q -n 2 --dist loadfile -m "not browser"'


def test_the_workflow_runs_the_makefiles_commands_and_may_only_read():
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    targets = re.search(r"^\.PHONY: (.+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[1].split()
    commands = [step["run"] for step in steps if "run" in step]
    made = {command.removeprefix("make ") for command in commands if command.startswith("make ")}
    assert made <= set(targets)
    assert {"test-all", "test-min", "test-newest"} == made
    assert all(command.startswith("python -m ") for command in commands if not command.startswith("make "))
    assert WORKFLOW["jobs"]["systems"]["strategy"]["matrix"]["system"] == [
        *("ubuntu-latest", "macos-latest", "windows-latest")
    ]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job or "secrets" in job]
    assert "schedule" in WORKFLOW["on"] and "push" in WORKFLOW["on"]


def test_every_target_is_listed_with_the_same_commands_without_make():
    targets = re.search(r"^\.PHONY: (.+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[1].split()
    text = (PROJECT / "CONTRIBUTING.md").read_text().partition("**Without make,**")[2].partition("\n\n**")[0]
    table = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", text, re.MULTILINE))
    assert sorted(table) == sorted(set(targets) - {"help"})
    for name in ("test", "test-fast", "test-browser", "test-all", "coverage"):
        selected = re.findall(r'-m "[a-z ]+"|-m browser', make("-n", f"-o{PROJECT}/.venv/.installed", name))
        assert re.findall(r'-m "[a-z ]+"|-m browser', table[name]) == selected[-1:], name
    for command in re.findall(r"`python ([^`]+)`", " ".join(table.values())):
        script = command.split()[0]
        assert script == "-m" or "NAME" in script or (PROJECT / script).is_file()


STANDIN = """#!{python}
import sys
from pathlib import Path
arguments = sys.argv[1:]
if arguments[:2] == ["-m", "venv"]:
    binary = Path(arguments[2], "bin", "python")
    binary.parent.mkdir(parents=True)
    binary.write_bytes(Path(__file__).read_bytes())
    binary.chmod(0o755)
elif arguments[:3] == ["-m", "pip", "list"]:
    print({listed!r})
elif arguments[:3] == ["-m", "pip", "install"]:
    Path({log!r}).write_text(" ".join(arguments))
"""


@pytest.mark.parametrize(
    ("there", "kept"),
    [
        ("pip==25.0\ntorch==2.13.0+cpu\ntorchvision==0.28.0+cpu", ["torch==2.13.0+cpu", "torchvision==0.28.0+cpu"]),
        ("pip==25.0\ntorch==2.13.0+cu130\ntorchvision==0.28.0+cu130", []),
        ("pip==25.0", []),
    ],
)
def test_a_torch_for_the_cpu_that_is_there_already_is_kept(there, kept, tmp_path):
    """A script stands in for Python and pip, in an environment with these packages."""
    fake, log = tmp_path / "python3", tmp_path / "called"
    fake.write_text(STANDIN.format(python=sys.executable, listed=there, log=str(log)))
    fake.chmod(0o755)
    stamp = tmp_path / "venv" / ".installed"
    printed = make(f"VENV={tmp_path}/venv", f"PYTHON={fake}", str(stamp))
    assert stamp.exists() and f"-c {tmp_path}/venv/constraints.txt " in log.read_text()
    given = (tmp_path / "venv" / "constraints.txt").read_text().splitlines()
    pinned = [line for line in given if line.startswith(("torch==", "torchvision=="))]
    tested = [f"{name}=={pins(NEWEST)[name]}" for name in ("torch", "torchvision")]
    assert pinned == (kept or tested) and ("kept:" in printed) == bool(kept)
    others = [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if line not in tested]
    assert [line for line in given if line and line not in pinned] == others


def test_pip_takes_a_build_for_the_cpu_from_another_index_for_the_tested_version(tmp_path):
    """The constraint torch==2.14.1 lets 2.14.1+cpu in, and pip prefers it, where an index of the user's has it."""
    for version in ("1.0", "1.0+cpu"):
        info = f"somepackage-{version}.dist-info"
        with zipfile.ZipFile(tmp_path / f"somepackage-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: somepackage\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    (tmp_path / "constraints.txt").write_text("somepackage==1.0\n")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--find-links", str(tmp_path)]
    command += ["-c", str(tmp_path / "constraints.txt"), "somepackage"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "Would install somepackage-1.0+cpu"


def test_an_old_python_is_refused_in_one_sentence(tmp_path):
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.8.1;; *) exit 1;; esac\n')
    old.chmod(0o755)
    refusal = run_make(f"VENV={tmp_path}/venv", f"PYTHON={old}", "lint")
    assert refusal.returncode != 0
    assert "needs Python 3.11 or newer" in refusal.stderr and "Python 3.8.1" in refusal.stderr
    assert not (tmp_path / "venv").exists()


def test_the_licence_is_apaches_in_full():
    text = (PROJECT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
