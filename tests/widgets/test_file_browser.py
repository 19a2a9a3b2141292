"""Files for the painter are found in folders, or uploaded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feelvos_lab.errors import LabError
from feelvos_lab.widgets.file_browser import FileBrowser, Upload
from feelvos_lab.widgets.notebook import Status


@pytest.fixture
def said() -> SimpleNamespace:
    """What was chosen, and the line for errors."""
    return SimpleNamespace(videos=[], masks=[], status=Status())


def made(kind: Any, said: SimpleNamespace) -> Any:
    return kind(video=said.videos.append, mask=said.masks.append, report=said.status.guarded)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    for name in (
        "frames/00000.jpg",
        "frames/00001.jpg",
        "clip10.mp4",
        "clip9.MOV",
        "mask.png",
        "notes.txt",
        ".x/a.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_lists_folders_videos_and_images_in_natural_order(said: SimpleNamespace, desk: Path) -> None:
    browser = made(FileBrowser, said)
    browser.enter(desk)
    names = [name for name, _ in browser.entries.options]
    assert names == [".. (the folder above)", "frames/", "clip9.MOV", "clip10.mp4", "mask.png"]
    assert browser.entries.value is None and not browser.use.disabled


def test_choosing_enters_a_folder_or_names_a_video_or_a_mask(said: SimpleNamespace, desk: Path) -> None:
    browser = made(FileBrowser, said)
    browser.enter(desk)
    browser.entries.value = desk / "clip10.mp4"
    browser.entries.value = desk / "mask.png"
    assert (said.videos, said.masks) == ([desk / "clip10.mp4"], [desk / "mask.png"])
    browser.entries.value = desk / "frames"
    assert browser.folder == desk / "frames"
    browser.use.click()
    assert said.videos[-1] == desk / "frames"
    browser.entries.value = desk
    assert browser.folder == desk


def test_the_browser_opens_and_closes_and_says_what_it_cannot_read(said: SimpleNamespace, desk: Path) -> None:
    browser = made(FileBrowser, said)
    assert browser.layout.display == "none"
    browser.toggle()
    assert browser.layout.display == "" and browser.folder == Path.cwd()
    browser.toggle()
    assert browser.layout.display == "none"
    with pytest.raises(LabError, match="gone cannot be read: No such file or directory"):
        browser.enter(desk / "gone")


def uploaded(*names: str) -> tuple[dict[str, Any], ...]:
    """Files as a page sends them."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    one = {"type": "", "size": 3, "content": memoryview(b"abc"), "last_modified": now}
    return tuple({"name": name, **one} for name in names)


def test_uploaded_files_are_a_video_frames_or_a_mask(said: SimpleNamespace) -> None:
    upload = made(Upload, said)
    upload.value = uploaded("my clip.mp4")
    upload.value = uploaded("../../00000.jpg", "00001.jpg")
    upload.value = uploaded("first.png")
    clip, folder = said.videos
    assert clip.name == "my clip.mp4" and clip.read_bytes() == b"abc"
    assert sorted(path.name for path in folder.iterdir()) == ["00000.jpg", "00001.jpg"]  # in the folder alone
    assert [mask.name for mask in said.masks] == ["first.png"]
    assert upload.value == ()  # the same file can be sent again


@pytest.mark.parametrize("names", [("notes.txt",), ("a.mp4", "b.mp4"), ("a.png", "b.mp4"), ("photo.jpg",)])
def test_other_files_are_refused_by_name(said: SimpleNamespace, names: tuple[str, ...]) -> None:
    upload = made(Upload, said)
    upload.value = uploaded(*names)
    assert (
        said.status.text == f"one video, one mask or the images of several frames were expected, got {', '.join(names)}"
    )
    assert said.videos == said.masks == []
