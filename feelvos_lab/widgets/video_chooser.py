"""The painter's first row: name a video and a mask, find them in folders, or upload them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ipywidgets import Button, HBox, Layout, Text, VBox
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.widgets.file_browser import FileBrowser, Upload
from feelvos_lab.widgets.notebook import Status


class VideoChooser(VBox):
    """Calls `load` with the names of a video and of a mask; its LabErrors are shown in `status`.

    A name is None where nothing is named: then the video stays, and no mask is read.
    """

    def __init__(
        self,
        video: Clip | Path | str,
        mask: Tensor | Path | str | None,
        *,
        load: Callable[[str | None, str | None], None],
        status: Status,
    ) -> None:
        self._load = load
        wide = Layout(width="300px")
        shown = "" if isinstance(video, Clip) else str(video)
        self.video = Text(shown, description="video", placeholder="a folder, a video file, or bunny", layout=wide)
        first = "" if isinstance(mask, Tensor) or mask is None else str(mask)
        self.mask = Text(first, description="mask", placeholder="optional: an image to correct", layout=wide)
        self.open_button = Button(
            description="open", tooltip="Read the video, and the mask if one is named", layout=Layout(width="64px")
        )
        self.browse = Button(
            description="browse",
            tooltip="Find a folder, a video or a mask on the notebook's computer",
            layout=Layout(width="72px"),
        )
        named = {"video": self._name_video, "mask": self._name_mask, "report": status.guarded}
        self.browser, self.upload = FileBrowser(**named), Upload(**named)
        self.open_button.on_click(status.guarded(lambda _: self._open()))
        self.browse.on_click(status.guarded(lambda _: self.browser.toggle()))
        fields = [self.video, self.mask, self.open_button, self.browse, self.upload]
        super().__init__([HBox(fields, layout=Layout(flex_flow="row wrap")), self.browser])

    def _open(self) -> None:
        video, mask = self.video.value.strip(), self.mask.value.strip()
        if not video and not mask:
            raise LabError("no video is named: a folder of frames or a video file was expected")
        self._load(video or None, mask or None)

    def _name_video(self, path: Path) -> None:
        self.video.value, self.mask.value = str(path), ""
        self._open()

    def _name_mask(self, path: Path) -> None:
        self.mask.value = str(path)
        self._open()
