"""What a command sets in its environment before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feelvos_lab.cli import main as cli


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_without_spinning_unless_the_user_wants_otherwise(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    seen: list[str | None] = []
    monkeypatch.setattr(cli, "app", lambda *_, **__: seen.append(os.environ.get("OMP_WAIT_POLICY")))
    with pytest.raises(SystemExit) as left:
        cli.main(["doctor"])
    assert left.value.code == 0 and seen == [expected]


def test_torch_is_not_loaded_before() -> None:
    code = "import sys, feelvos_lab.__main__; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_the_scheduler_says_how_to_start_a_worker_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("feelvos_lab.ablation.dask_cluster.open_scheduler", lambda **_: 0)
    with pytest.raises(SystemExit):
        cli.main(["ablate", "scheduler"])
    printed = capsys.readouterr().out
    assert (
        "dask worker tcp://127.0.0.1:8786 " in printed and "one worker for each: put CUDA_VISIBLE_DEVICES=0" in printed
    )
