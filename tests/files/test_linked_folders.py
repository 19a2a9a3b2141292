"""A folder for results may be a link: to an empty folder or to none. What is written lies there, and the link stays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from bad_input_folder import build

from feelvos_lab.cli import main as cli
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_folder, writable_folder

Opened = Callable[[Path], AbstractContextManager[Path]]

WAYS = {"complete": complete_folder, "writable": partial(writable_folder, resuming=("state.safetensors",))}


@pytest.fixture(params=WAYS)
def opened(request: pytest.FixtureRequest) -> Opened:
    return WAYS[request.param]


@pytest.mark.parametrize("target", ["empty", "missing", "missing/deep", "to-empty", "absolute"])
def test_a_link_to_an_empty_folder_or_to_none_is_written_through(opened: Opened, tmp_path: Path, target: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "to-empty").symlink_to("empty")
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "other" if target == "absolute" else target)
    with opened(link) as folder:
        (folder / "result.txt").write_text("whole")
    assert link.is_symlink() and (link / "result.txt").read_text() == "whole"
    hidden = [path for path in tmp_path.rglob(".*") if "partial" in path.name]
    assert hidden == []


def test_a_link_that_leads_to_no_folder_is_rejected(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "work").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, reason in (("full", "holds files already"), ("file", "there is a file"), ("out", "leads in a circle")):
        link = tmp_path / "out"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        with pytest.raises(LabError, match=rf"^the output .*out .*{reason}"), opened(link):
            pass
        assert link.is_symlink()
    assert (tmp_path / "full" / "work").read_text() == (tmp_path / "file").read_text() == "mine"


def test_a_link_stays_where_the_work_fails(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").symlink_to("empty")
    with pytest.raises(RuntimeError), opened(tmp_path / "out") as folder:
        (folder / "half.txt").write_text("half")
        raise RuntimeError
    assert (tmp_path / "out").is_symlink()


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("segment TMP/video --mask TMP/mask.png --checkpoint MODEL --overlay none --out TMP/out", "00000.png"),
        (
            "evaluate --data davis-2017 --data-root TMP/davis --predictions TMP/masks --split test --out TMP/out",
            "copy_first_mask",
        ),
        ("train --preset smoke --set steps=1 --set hard_anneal_steps=1 --out TMP/out", "model.safetensors"),
    ],
)
def test_commands_write_through_a_link(command: str, written: str, tmp_path: Path, checkpoint: Path) -> None:
    build(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").symlink_to("empty")
    with pytest.raises(SystemExit) as left:
        cli.main(command.replace("TMP", str(tmp_path)).replace("MODEL", str(checkpoint)).split())
    assert left.value.code == 0
    assert (tmp_path / "out").is_symlink() and (tmp_path / "empty" / written).exists()
