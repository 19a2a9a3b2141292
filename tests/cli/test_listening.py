"""What listens here listens to this computer alone, and asks for a token: looked up in the sockets that are open."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import pytest

from feelvos_lab.ablation import dask_cluster
from feelvos_lab.cli import main as cli

ROOT = Path(__file__).parents[2]
OPEN_LAB = (
    "import sys; from pathlib import Path; from feelvos_lab.cli.jupyter import open_lab; open_lab(Path(sys.argv[1]))"
)
EMPTY = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
Server = Callable[..., list[tuple[str, int]]]


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Server]:
    """Start a command, wait until it and its children listen at so many ports, and give address and port of each."""
    config = tmp_path / "config"
    config.mkdir()
    careless = {"ServerApp": {"ip": "0.0.0.0", "port": 0}, "Voila": {"ip": "0.0.0.0"}}  # in a user's own files
    for name in ("jupyter_server_config.json", "jupyter_lab_config.json", "voila.json"):
        (config / name).write_text(json.dumps(careless))
    places = {"JUPYTER_CONFIG_DIR": config, "JUPYTER_RUNTIME_DIR": tmp_path / "runtime", "BROWSER": "true"}
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}, "PYTHONPATH": str(ROOT)}
    started: list[subprocess.Popen[bytes]] = []

    def server(*arguments: str, ports: int = 1) -> list[tuple[str, int]]:
        with open(tmp_path / "log.txt", "wb") as log:
            command = [sys.executable, *arguments]
            started.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log))
        end = time.monotonic() + 120
        while len(found := _ports(started[-1].pid)) < ports:
            assert started[-1].poll() is None and time.monotonic() < end, (tmp_path / "log.txt").read_text()
            time.sleep(0.2)
        return found

    yield server
    for process in started:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):  # a child may end between the list and this line
                one.terminate()
        process.wait(30)


def _ports(pid: int) -> list[tuple[str, int]]:
    found = set()
    for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            found |= {tuple(c.laddr) for c in one.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN}
        except psutil.NoSuchProcess:
            continue
    return sorted(found)


def _answer(address: str) -> tuple[int, str]:
    """The status, and the path at which one ends."""
    try:
        with urlopen(address, timeout=60) as answer:
            return answer.status, urlsplit(answer.url).path
    except HTTPError as error:
        return error.code, urlsplit(error.url).path


def test_jupyterlab_listens_to_this_computer_alone_and_asks_for_its_token(listening: Server, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "00_start_here.ipynb").write_text(EMPTY)
    found = listening("-c", OPEN_LAB, str(tmp_path / "work"))
    assert {address for address, _ in found} == {"127.0.0.1"}
    (note,) = (tmp_path / "runtime").glob("jpserver-*.json")
    server = json.loads(note.read_text())
    assert len(server["token"]) >= 40
    address = f"http://127.0.0.1:{server['port']}/api/contents"
    assert _answer(address) == (403, "/api/contents")
    assert _answer(f"{address}?token={server['token']}") == (200, "/api/contents")
    root = f"http://127.0.0.1:{server['port']}/?token={server['token']}"
    assert _answer(root) == (200, "/lab/tree/00_start_here.ipynb")  # the first lesson


def test_the_page_listens_to_this_computer_alone_and_asks_for_its_token(listening: Server, tmp_path: Path) -> None:
    (tmp_path / "empty.ipynb").write_text(EMPTY)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["-m", "feelvos_lab", "app", "--no-browser", "--port", str(port), "--notebook", "empty.ipynb"]
    assert listening(*command) == [("127.0.0.1", port)]
    for path in ("/", "/voila/render/empty.ipynb", "/api/kernels", "/files/empty.ipynb"):
        assert _answer(f"http://127.0.0.1:{port}{path}") == (200, "/login")


def test_the_scheduler_and_its_dashboard_listen_to_this_computer_alone(listening: Server) -> None:
    found = listening("-m", "feelvos_lab", "ablate", "scheduler", "--port", "0", "--dashboard", "0", ports=2)
    assert len(found) == 2 and {address for address, _ in found} == {"127.0.0.1"}


def test_a_worker_started_as_the_command_says_listens_to_this_computer_alone(
    listening: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dask_cluster, "open_scheduler", lambda **_: 0)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["ablate", "scheduler"])
    (command,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("workers: dask worker")]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    listening("-m", "feelvos_lab", "ablate", "scheduler", "--port", port, "--dashboard", "0", ports=2)
    options = command.split("dask worker ")[1].split()[1:]
    options[options.index("ADDRESS")] = "127.0.0.1"
    found = listening(
        "-m", "dask", "worker", f"tcp://127.0.0.1:{port}", *options, ports=3
    )  # nanny, worker, and its web server
    assert {where for where, _ in found} == {"127.0.0.1"}


def test_a_public_scheduler_is_what_one_asks_for_and_is_told_what_it_means(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(dask_cluster, "_require_free", lambda *_: None)
    monkeypatch.setattr(subprocess, "call", lambda command: commands.append(command) or 0)
    for arguments, public in (([], False), (["--host", "localhost"], False), (["--host", "0.0.0.0"], True)):
        with pytest.raises(SystemExit, match="0"):
            cli.main(["ablate", "scheduler", *arguments])
        assert ("can run code as you" in capsys.readouterr().out) is public
    assert commands[0][3:] == [
        *("scheduler", "--host", "127.0.0.1", "--port", "8786", "--dashboard-address", "127.0.0.1:8787"),
        "--no-jupyter",
    ]
    assert commands[2][4:6] == ["--host", "0.0.0.0"]
    assert dask_cluster.is_this_computer("::1") and not dask_cluster.is_this_computer("192.168.0.1")
