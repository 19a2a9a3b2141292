"""Find files for the painter: a browser for the folders of this computer, and an upload from the page's computer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from ipywidgets import HTML, Button, FileUpload, HBox, Layout, Select, VBox

from feelvos_lab.data.name_order import natural_key
from feelvos_lab.data.readers import IMAGES, MASKS
from feelvos_lab.errors import LabError

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".gif")

_MEGABYTES = 10  # that a server takes in one message


class FileBrowser(VBox):
    """The content of one folder: choosing another one enters it.

    Args:
        video: called with the path of a video file, or of a folder whose images are frames.
        mask: called with the path of an image.
        report: called with a function, which it runs and whose LabErrors it shows.

    Example:
        >>> from pathlib import Path
        >>> from feelvos_lab.widgets.file_browser import FileBrowser
        >>> Path("frames").mkdir()
        >>> Path("clip.mp4").touch()
        >>> chosen = []
        >>> browser = FileBrowser(video=chosen.append, mask=chosen.append, report=lambda action: action)
        >>> browser.enter(Path("."))
        >>> [name for name, _ in browser.entries.options]
        ['.. (the folder above)', 'frames/', 'clip.mp4']
        >>> browser.entries.value = Path("clip.mp4").absolute()
        >>> [path.name for path in chosen]
        ['clip.mp4']
    """

    def __init__(
        self,
        *,
        video: Callable[[Path], None],
        mask: Callable[[Path], None],
        report: Callable[[Callable[..., Any]], Callable[..., None]],
    ) -> None:
        self.folder, self._listing = Path(), False
        self._video, self._mask = video, mask
        self._where = HTML()
        self.entries = Select(options=[], rows=9, layout=Layout(width="520px", max_width="100%"))
        self.entries.observe(report(self._chosen), "value")
        self.use = Button(description="use this folder", tooltip="Its images are the video's frames")
        self.use.on_click(report(lambda _: self._video(self.folder)))
        super().__init__([self._where, self.entries, HBox([self.use])], layout=Layout(display="none"))

    def enter(self, folder: Path) -> None:
        """Show a folder; LabError where it cannot be read."""
        folder = folder.absolute()
        try:
            inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
            folders = [path for path in inside if path.is_dir()]
        except OSError as error:
            raise LabError(f"{folder} cannot be read: {error.strerror}") from error
        images = [path for path in inside if path.suffix.lower() in IMAGES]
        files = [path for path in inside if path.suffix.lower() in (*VIDEOS, *MASKS) and path not in folders]
        self.folder = folder
        options = [(".. (the folder above)", folder.parent)]
        for paths, end in ((folders, "/"), (files, "")):
            options += [(path.name + end, path) for path in sorted(paths, key=lambda path: natural_key(path.name))]
        self._listing = True  # new options choose the first one for a moment
        self.entries.options, self.entries.index = options, None
        self._listing = False
        self.use.disabled = not images
        self._where.value = (
            f"<code>{escape(str(folder))}</code>, {len(images)} images · choose a video file, an image as a mask, or a "
            "folder to look into"
        )

    def toggle(self) -> None:
        """Open the browser at the last folder, at first the current one, or close it."""
        closed = self.layout.display == "none"
        if closed:
            self.enter(self.folder)
        self.layout.display = "" if closed else "none"

    def _chosen(self, change: dict[str, Any]) -> None:
        path = change["new"]
        if self._listing or path is None:
            return
        if path.is_dir():
            self.enter(path)
        elif path.suffix.lower() in VIDEOS:
            self._video(path)
        else:
            self._mask(path)


class Upload(FileUpload):
    """A button that takes files from the computer that shows the page, into a folder that ends with the process.

    A video file, or several images as frames, are passed to `video`, a single image to `mask`.
    """

    def __init__(
        self,
        *,
        video: Callable[[Path], None],
        mask: Callable[[Path], None],
        report: Callable[[Callable[..., Any]], Callable[..., None]],
    ) -> None:
        super().__init__(
            description="upload",
            accept="video/*,image/*",
            multiple=True,
            tooltip=f"A video, its frames or a mask from your computer, up to {_MEGABYTES} MB; copy larger files to "
            "the notebook's computer, and browse",
            layout=Layout(width="110px"),
        )
        self._video, self._mask = video, mask
        self._folders: list[tempfile.TemporaryDirectory[str]] = []
        self.observe(report(self._received), "value")

    def _received(self, change: dict[str, Any]) -> None:
        files = change["new"]
        if not files:
            return
        self._folders.append(tempfile.TemporaryDirectory(prefix="feelvos-upload-"))
        folder = Path(self._folders[-1].name)
        paths = [folder / Path(file["name"]).name for file in files]
        kinds = {path.suffix.lower() for path in paths}
        for path, file in zip(paths, files, strict=True):
            path.write_bytes(file["content"])
        self.value = ()  # the same files can be taken again
        if len(paths) == 1 and kinds <= set(VIDEOS):
            self._video(paths[0])
        elif len(paths) == 1 and kinds <= set(MASKS):
            self._mask(paths[0])
        elif len(paths) > 1 and kinds <= set(IMAGES):
            self._video(folder)
        else:
            names = ", ".join(path.name for path in paths[:3])
            raise LabError(f"one video, one mask or the images of several frames were expected, got {names}")
