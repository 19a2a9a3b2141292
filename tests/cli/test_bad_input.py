"""Wrong input on the command line: one sentence, exit code 2, and every file as it was.

The cases are the tables of `bad_files.py` and `bad_texts.py`; below them what a table cannot say.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from bad_files import CASES as FILES
from bad_input_folder import Case, build, model
from bad_texts import CASES as TEXTS
from safetensors import safe_open

from feelvos_lab.cli.errors import report_errors
from feelvos_lab.cli.main import main
from feelvos_lab.files import notebooks

CASES = FILES + TEXTS


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The room as it is before something in it is spoilt. Not to be written to."""
    room = tmp_path_factory.mktemp("room")
    build(room)
    return room


@pytest.fixture
def room(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "room")


@pytest.fixture
def refused(room: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused; its sentence, with the room's folder written as TMP."""

    def run(command: str, *, code: int = 2) -> str:
        before = _snapshot(room)
        with pytest.raises(SystemExit) as left:
            main([word.replace("TMP", str(room)) for word in command.split()])
        printed = capsys.readouterr().err
        assert left.value.code == code, printed
        assert printed.startswith("feelvos-lab: ") and printed.count("\n") == 1, printed
        assert _snapshot(room) == before, "the refused command left something behind"
        return printed.removeprefix("feelvos-lab: ").strip().replace(str(room), "TMP")

    return run


@pytest.mark.parametrize("case", CASES, ids=[case[0].replace(" ", "-") for case in CASES])
def test_what_is_wrong_is_told_in_one_sentence(case: Case, room: Path, refused: Callable[..., str]) -> None:
    _, command, change, sentence = case
    if change is not None:
        change(room)
    told = refused(command)
    if sentence.endswith(" …"):
        assert told.startswith(sentence[:-1]) and len(told) > len(sentence)
    else:
        assert told == sentence


def test_no_case_stands_in_the_tables_twice() -> None:
    assert len({case[0] for case in CASES}) == len(CASES) >= 60


def test_the_room_is_good_before_it_is_spoilt(room: Path) -> None:
    model()(room)
    segment = f"segment {room}/video --mask {room}/mask.png --overlay none --checkpoint {room}/model.safetensors"
    for command in (f"{segment} --out {room}/out", f"ablate plan {room}/demo.yml --root {room}/runs"):
        with pytest.raises(SystemExit, match="0"):
            main(command.split())


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("train", "Missing option '--out': see feelvos-lab train --help"),
        ("train --out", "Option '--out' requires an argument: see feelvos-lab"),
        ("segment TMP/video", "video TMP/video needs --mask FILE, the mask of its first frame"),
        (
            "segment --mask TMP/mask.png --out TMP/out",
            "--mask TMP/mask.png needs a video: expected feelvos-lab segment",
        ),
        ("segment TMP/video --mask TMP/mask.png", "video TMP/video needs --out DIR, a new or empty folder"),
        ("trian", "No such command 'trian'"),
        ("train --out TMP/out --seed two", "Invalid value for '--seed': "),
        ("evaluate --data cifar --out TMP/out", "Invalid value for '--data': "),
    ],
)
def test_options_that_are_wrong_are_told_in_one_sentence(
    command: str, sentence: str, refused: Callable[..., str]
) -> None:
    assert refused(command).startswith(sentence)  # how it goes on differs between versions of typer


def test_an_exception_that_nobody_foresaw_is_named_and_debug_shows_it(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(notebooks, "strip", broken)
    command = "strip TMP/lesson.ipynb"
    assert refused(command, code=1) == (
        "stopped by an unexpected ZeroDivisionError: division by zero; --debug shows the traceback"
    )
    for arguments in (["--debug", *command.split()], [*command.split(), "--debug"]):
        with pytest.raises(ZeroDivisionError):
            main(arguments)


@pytest.mark.parametrize("arguments", [["doctor"], ["segment", "nö", "--mask", "x", "--out", "é"]])
def test_a_log_that_lacks_letters_stops_nothing(arguments: list[str]) -> None:
    words = [sys.executable, "-m", "feelvos_lab", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert "Unicode" not in done.stdout + done.stderr
    assert ("\\u2026" in done.stdout and done.returncode == 0) or "there is no n\\xf6" in done.stderr


def test_debug_shows_where_a_refusal_comes_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown preset"):
        main(["train", "--preset", "nope", "--out", str(tmp_path / "out"), "--debug"])


def test_no_write_permission(room: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: object, *_: object) -> None:  # permission bits do not bind root, who may run the tests
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    model()(room)
    monkeypatch.setattr(os, "mkdir", forbid)
    sentence = "cannot write to the output folder TMP/out: Permission denied"
    segment = "segment TMP/video --mask TMP/mask.png --checkpoint TMP/model.safetensors"
    assert refused(f"{segment} --out TMP/out") == sentence
    assert refused("train --preset smoke --out TMP/out") == sentence


@pytest.mark.slow
def test_ctrl_c_ends_with_one_line_and_keeps_the_training_as_of_its_last_step(room: Path) -> None:
    out = room / "out"
    command = [
        sys.executable,
        "-u",
        "-m",
        "feelvos_lab",
        "train",
        "--preset",
        "smoke",
        "--set",
        "steps=100000",
    ]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background is born deaf to it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    training = subprocess.Popen([*command, "--out", out], preexec_fn=heard, **pipes)
    try:
        assert training.stdout is not None and "step 20/" in training.stdout.readline()
        training.send_signal(signal.SIGINT)
        printed, told = training.communicate(timeout=200)
    finally:
        training.kill()
        training.wait()
    assert told == "feelvos-lab: interrupted\n"
    assert training.returncode == 130
    assert [path.name for path in out.iterdir()] == ["state.safetensors"]
    with safe_open(out / "state.safetensors", framework="pt") as state:
        step = int(state.metadata()["step"])
    assert 20 <= step < 200  # before the first step at which it is saved anyway
    assert printed.splitlines()[-1].endswith(f"state.safetensors keeps the training as of step {step}, to resume from")


def test_the_tools_for_notebooks_end_in_one_sentence_too(room: Path) -> None:
    for command in (["strip"], ["lint"], ["cost", "--stated"]):
        command = [sys.executable, "-m", "feelvos_lab", *command, str(room / "none.ipynb")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert done.stderr.endswith(f"there is no {room / 'none.ipynb'}\n"), done.stderr


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def test_a_full_gpu_is_reported_with_what_takes_less(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, report_errors(debug=False):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")
    printed = capsys.readouterr().err
    assert left.value.code == 2 and printed.count("\n") == 1
    assert printed.startswith("feelvos-lab: the GPU is out of memory: a lower --height takes less")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 192000000000 bytes. Error code 12 (Cannot allocate memory)"
            ),
            "192.0 GB were asked for at once",
        ),
        (MemoryError("Unable to allocate 7.28 TiB for an array"), "Unable to allocate 7.28 TiB for an array"),
        (MemoryError(), "none is left"),
    ],
)
def test_full_memory_is_reported_with_what_takes_less(
    capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    with pytest.raises(SystemExit) as left, report_errors(debug=False):
        raise error
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(f"feelvos-lab: out of memory: {said}; smaller frames (--height)")
