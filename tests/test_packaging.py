"""The ways to install the project say the same thing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import feelvos_lab

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
OLDEST, NEWEST = (3, 10), (3, 13)


def pins(python: tuple[int, int]) -> dict[str, str]:
    """The constraints that hold for a Python version."""
    lines = [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
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
    python, pip, by_pip = environment["dependencies"]
    assert python == "python" + PYPROJECT["project"]["requires-python"]
    assert pip == "pip"
    installs = re.search(r"pip install .*-c (\S+) -e \"(.+)\"", (PROJECT / "Makefile").read_text())
    assert by_pip == {"pip": [f"-c {installs[1]}", f"-e {installs[2]}"]}


@pytest.mark.parametrize("python", [OLDEST, (3, 11), (3, 12), NEWEST])
def test_every_dependency_has_a_tested_version_within_its_range(python):
    pinned = pins(python)
    for text in [*PYPROJECT["project"]["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]:
        wanted = Requirement(text)
        assert wanted.specifier, f"{wanted.name} needs a range"
        assert pinned[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize("python", [OLDEST, NEWEST])
def test_torch_and_torchvision_are_a_matching_pair(python):
    """torchvision 0.N belongs to torch 2.(N − 15) and carries the same patch number."""
    torch, vision = (pins(python)[name].split(".") for name in ("torch", "torchvision"))
    assert (vision[0], int(vision[1]) - 15, vision[2]) == ("0", int(torch[1]), torch[2])


def test_no_pin_asks_the_oldest_python_for_what_it_cannot_have():
    """numpy, scipy and pandas left Python 3.10 behind."""
    old, new = pins(OLDEST), pins(NEWEST)
    assert old["numpy"].startswith("2.2") and new["numpy"].startswith("2.4")
    assert old["pandas"].startswith("2.") and new["pandas"].startswith("3.")


def test_the_version_is_said_once():
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", feelvos_lab.__version__)
    assert feelvos_lab.__version__ in (PROJECT / "CHANGELOG.md").read_text()


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
    plan = subprocess.run(
        ["make", "-n", "-C", str(PROJECT), f"VENV={tmp_path}/venv", target], capture_output=True, text=True, check=True
    ).stdout
    (call,) = [line for line in plan.splitlines() if "-m pytest" in line]
    assert call.endswith(selection)


@pytest.mark.parametrize(
    "target",
    [
        *("ablation", "test", "test-browser", "test-all", "lab", "app", "bench", "figures", "screenshots", "smoke"),
        *("lint", "soak", "audit"),
    ],
)
def test_every_target_sets_up_its_environment_first(target, tmp_path):
    """`make -n` prints the installation before the target's own commands, as for a fresh clone."""
    plan = subprocess.run(
        ["make", "-n", "-C", str(PROJECT), f"VENV={tmp_path}/venv", target], capture_output=True, text=True, check=True
    ).stdout
    assert "pip install" in plan
    assert plan.index("-m venv") < plan.index("pip install")
    if target != "lint":
        assert plan.index("pip install") < plan.rindex(f"{tmp_path}/venv/bin/")


def test_an_audit_fails_where_a_version_cannot_be_looked_up(tmp_path):
    """Without --strict a service that knows none of the packages would give a clean bill."""
    plan = subprocess.run(
        ["make", "-n", "-C", str(PROJECT), f"VENV={tmp_path}/venv", "audit"], capture_output=True, text=True, check=True
    ).stdout
    (call,) = [line for line in plan.splitlines() if "pip-audit " in line and "constraints.txt" in line]
    assert "--strict" in call.split() and "--ignore-vuln" not in call


def test_an_old_python_is_refused_in_one_sentence(tmp_path):
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.8.1;; *) exit 1;; esac\n')
    old.chmod(0o755)
    refusal = subprocess.run(
        ["make", "-C", str(PROJECT), f"VENV={tmp_path}/venv", f"PYTHON={old}", "lint"], capture_output=True, text=True
    )
    assert refusal.returncode != 0
    assert "needs Python 3.10 or newer" in refusal.stderr and "Python 3.8.1" in refusal.stderr
    assert not (tmp_path / "venv").exists()


def test_the_licence_is_apaches_in_full():
    text = (PROJECT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
