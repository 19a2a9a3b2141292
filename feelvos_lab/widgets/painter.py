"""The painter widget: paint a first mask, propagate it through the video, inspect and save the result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ipywidgets import (
    HTML,
    BoundedIntText,
    Button,
    Dropdown,
    HBox,
    IntProgress,
    IntSlider,
    Layout,
    Text,
    ToggleButtons,
    VBox,
)
from matplotlib.figure import Figure
from torch import Tensor

from feelvos_lab.data.clip import Clip, FrameSource, check_clip
from feelvos_lab.data.images import MAX_OBJECTS, read_mask
from feelvos_lab.data.readers import read_frames
from feelvos_lab.data.sample_video import FILMS, film
from feelvos_lab.data.video import require_writer
from feelvos_lab.errors import LabError
from feelvos_lab.figures.painter import FrameSheet, swatch
from feelvos_lab.files.atomic import complete_folder, refuse_occupied
from feelvos_lab.inference.output import Movie, write_segmentation
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets.explorer import Explorer
from feelvos_lab.widgets.mask_editor import Painting
from feelvos_lab.widgets.notebook import Status, live_canvas, show

_DPI = 100

_FIRST = "paint over an object of frame 0, choose another number for the next one, then propagate"


class Painter(VBox):
    """The widget. Its handlers edit a `Painting`, run `propagate`, and save as `feelvos-lab segment` does.

    Args:
        video: a clip, a folder of numbered frames, a video file, or "bunny", the sample video (see `film`).
        model: in evaluation mode.
        mask: a first mask to correct: an image file or int64 (H, W). A button starts from the clip's own mask.
        height: see `propagate`.
        out: the folder proposed for the result; it must be new or empty when saving.

    Raises:
        LabError: a video or mask that cannot be read, or a mask of another size than the frames.

    Example:
        >>> from feelvos_lab import load_model, make_clip
        >>> from feelvos_lab.widgets import Painter
        >>> clip = make_clip(1, height=32, width=48, frames=3)
        >>> painter = Painter(clip, load_model("reduced"), mask=clip.masks[0])
        >>> painter.run()  # as the button "propagate" does
        >>> painter.status.text
        '3 of 3 frames are segmented: look at them below'
    """

    def __init__(
        self,
        video: Clip | Path | str,
        model: Feelvos,
        *,
        mask: Tensor | Path | str | None = None,
        height: int = 0,
        out: Path | str = "masks",
    ) -> None:
        self.model, self.height = model, height
        self.labels: list[Tensor] = []  # of each segmented frame, int64 (H, W)
        self.clip: Clip | None = None  # the video with the mask that was last propagated
        self._last: tuple[float, float] | None = None  # where the brush is pressed
        self._working: Any = None  # the task that propagates
        self._stopped = False
        self._make_controls(video, mask, str(out))
        self.load(video, mask)
        super().__init__(
            [
                HBox([self.video, self.mask, self.open_button]),
                HBox([self.tool, self.object_id, self.colour, self.brush]),
                HBox([self.undo, self.clear, self.given, self.propagate, self.progress]),
                self._canvas_box,
                self.status,
                self._result_box,
                self._explorer_box,
            ]
        )
        self.add_class("feelvos-painter")

    def load(self, video: Clip | Path | str, mask: Tensor | Path | str | None = None) -> None:
        """Open another video, with a mask to correct if one is given."""
        start = mask if isinstance(mask, Tensor) or mask is None else read_mask(mask)
        given: Tensor | None = None
        if not isinstance(video, Clip) and str(video) in FILMS and not Path(video).exists():
            video = film(str(video))
        if isinstance(video, Clip):
            name, frames, given = video.name, video.frames, video.masks[0]
        else:
            name, frames = read_frames(Path(video).expanduser())
        size = tuple(frames[0].shape[1:])
        self.painting = Painting(size, start=start)  # first, since it may raise
        self.name: str = name
        self.frames: FrameSource = frames
        self._given = given if start is None else start
        self.given.disabled = self._given is None
        self.labels, self.clip = [], None
        self.sheet, self.result_sheet = FrameSheet(size, dpi=_DPI), FrameSheet(size, dpi=_DPI)
        self.canvas, self.result_canvas = live_canvas(self.sheet.figure), live_canvas(self.result_sheet.figure)
        self.canvas.mpl_connect("button_press_event", self._pressed)
        self.canvas.mpl_connect("button_release_event", self._released)
        self.canvas.mpl_connect("motion_notify_event", self._moved)
        self.brush.max = max(2, size[0] // 6)
        self.brush.value = max(1, size[0] // 20)
        self._canvas_box.children = [self.canvas]
        self._result_box.layout.display = "none"
        self._explorer_box.children = []
        self._draw()
        self.status.say(_FIRST)

    def show(self) -> None:
        """Display frame 0 with its mask as a picture, and below it the widget if the front end is live."""
        show(self, self.picture)

    def picture(self) -> Figure:
        """Frame 0 and its mask as a figure of its own."""
        ids = ", ".join(map(str, self.painting.object_ids)) or "nothing is painted yet"
        title = f"Frame 0 of “{self.name}” and its mask (objects: {ids})"
        return FrameSheet(self.sheet.size, dpi=_DPI).show(self.frames[0], self.painting.labels, title=title)

    def steps(self) -> Iterator[int]:
        """Propagate the mask as it is now, one frame per step; the frames so far are in `labels`.

        An empty mask, or a video of fewer than two frames, raises LabError.
        """
        mask = self.painting.finished()
        clip = Clip(self.name, self.frames, mask[None], self.painting.object_ids)
        check_clip(clip)
        self.clip, self.labels = clip, []
        for prediction in propagate(self.model, clip, height=self.height):
            self.labels.append(prediction.labels)
            yield prediction.frame

    def run(self) -> None:
        """Run all steps, blocking."""
        for _ in self.steps():
            self._advance()
        self._finish()

    def save(self, folder: Path | str, *, movie: Movie = "none") -> None:
        """Write one indexed PNG per frame, and a movie, to a new or empty folder, as `feelvos-lab segment` does.

        LabError: nothing is segmented yet, an occupied folder, or mp4 without PyAV.
        """
        if not self.labels or self.clip is None:
            raise LabError("there is no result to save yet: paint a mask and propagate it")
        refuse_occupied(folder)
        require_writer(movie)
        done = (Prediction(t, labels, labels, None) for t, labels in enumerate(self.labels))
        with complete_folder(folder) as unfinished:
            write_segmentation(done, self.clip, unfinished, movie=movie)

    def _make_controls(self, video: Clip | Path | str, mask: Tensor | Path | str | None, out: str) -> None:
        wide, narrow = Layout(width="310px"), Layout(width="190px")
        self.status = Status()
        shown = "" if isinstance(video, Clip) else str(video)
        self.video = Text(
            shown, description="video", placeholder="a folder of frames, a video file, or bunny", layout=wide
        )
        first = "" if isinstance(mask, Tensor) or mask is None else str(mask)
        self.mask = Text(first, description="mask", placeholder="optional: a PNG to correct", layout=wide)
        self.open_button = self._button("open", self._open, "Read the video, and the mask if one is named")
        self.tool = ToggleButtons(options=("brush", "eraser"), style={"button_width": "64px"})
        self.object_id = BoundedIntText(1, 1, MAX_OBJECTS, description="object", layout=Layout(width="150px"))
        self.colour = HTML()
        self.object_id.observe(self._show_colour, "value")
        self._show_colour(None)
        style = {"description_width": "90px"}
        self.brush = IntSlider(8, 1, 100, description="brush radius", style=style, layout=Layout(width="320px"))
        self.undo = self._button("undo", self._undo, "Undo the last stroke")
        self.clear = self._button("clear", self._clear, "Erase everything")
        self.given = self._button("given mask", self._take_given, "Start from the mask that came with the video")
        self.propagate = self._button("propagate", self._propagate, "Carry the mask through the video")
        self.propagate.button_style = "primary"
        self.progress = IntProgress(0, 0, 1, layout=narrow)
        self.frame = IntSlider(0, 0, 1, description="frame", layout=Layout(width="480px"))
        self.frame.observe(self._show_result, "value")
        self.out = Text(out, description="save to", placeholder="a new folder", layout=wide)
        self.movie = Dropdown(options=("none", "mp4", "gif"), description="movie", layout=narrow)
        self.save_button = self._button("save", self._save, "Write one indexed PNG per frame")
        self.explore = self._button("explore", self._explore, "Show how its pixels are matched")
        self._canvas_box, self._explorer_box = VBox(), VBox()
        self._result_box = VBox([], layout=Layout(display="none"))
        self._saving = HBox([self.out, self.movie, self.save_button, self.explore])

    def _button(self, name: str, action: Any, tooltip: str) -> Button:
        button = Button(description=name, tooltip=tooltip, layout=Layout(width="96px"))
        button.on_click(self.status.guarded(action))
        return button

    def _show_colour(self, _: Any) -> None:
        """A patch in the colour of the current object."""
        look = f"display:inline-block;width:20px;height:20px;background:{swatch(self.object_id.value)}"
        self.colour.value = f'<span style="{look}"></span>'

    def _open(self, _: Any) -> None:
        if self._working is not None:
            raise LabError("a video is being segmented: stop that first, then open another")
        if not self.video.value.strip():
            raise LabError("no video is named: a folder of frames or a video file was expected")
        self.load(self.video.value.strip(), self.mask.value.strip() or None)

    def _draw(self) -> None:
        ids = ", ".join(map(str, self.painting.object_ids)) or "none yet"
        title = f"Frame 0 of “{self.name}”: paint each object with its own number"
        self.sheet.show(self.frames[0], self.painting.labels, title=title, caption=f"painted objects: {ids}")
        self.canvas.draw_idle()

    def _pressed(self, event: Any) -> None:
        if event.inaxes is self.sheet.axes and event.button == 1:
            self.painting.begin()
            self._stroke((event.ydata, event.xdata))

    def _moved(self, event: Any) -> None:
        if event.inaxes is not self.sheet.axes:
            self._last = None
            self.sheet.brush(None, radius=self.brush.value)
            self.canvas.draw_idle()
            return
        at = (event.ydata, event.xdata)
        self.sheet.brush(at, radius=self.brush.value)
        if self._last is not None:
            self._stroke(at)
        else:
            self.canvas.draw_idle()

    def _released(self, _: Any) -> None:
        self._last = None

    def _stroke(self, at: tuple[float, float]) -> None:
        object_id = 0 if self.tool.value == "eraser" else self.object_id.value
        self.painting.stroke(self._last or at, at, radius=self.brush.value, object_id=object_id)
        self._last = at
        self._draw()

    def _undo(self, _: Any) -> None:
        self.status.say("undone" if self.painting.undo() else "there is nothing to undo")
        self._draw()

    def _clear(self, _: Any) -> None:
        self.painting.clear()
        self._draw()
        self.status.say(_FIRST)

    def _take_given(self, _: Any) -> None:
        self.painting.replace(self._given)
        self._draw()
        self.status.say("this mask came with the video: correct it, or propagate it")

    def _propagate(self, _: Any) -> None:
        """In a kernel the steps run as a task between other messages, so that a second click can stop them."""
        if self._working is not None:
            self._stopped = True
            return
        self.painting.finished()  # raises before anything is displayed
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.run()
            return
        self._stopped = False
        self._working = loop.create_task(self._run_as_task())

    async def _run_as_task(self) -> None:
        self.propagate.description = "stop"
        try:
            for _ in self.steps():
                self._advance()
                await asyncio.sleep(0.01)  # lets the kernel handle clicks and send pictures
                if self._stopped:
                    break
            self._finish()
        except LabError as error:
            self.status.say(str(error), error=True)
        finally:
            self.propagate.description, self._working = "propagate", None

    def _advance(self) -> None:
        self.progress.max, self.progress.value = len(self.frames), len(self.labels)
        self.status.say(f"frame {len(self.labels)} of {len(self.frames)}")

    def _finish(self) -> None:
        last = len(self.labels) - 1
        self._result_box.children = [self.frame, self.result_canvas, self._saving]
        self._result_box.layout.display = ""
        self.frame.max = last
        self.frame.value = last
        self._show_result(None)
        stopped = "" if last + 1 == len(self.frames) else f", stopped before frame {last + 1}"
        self.status.say(f"{last + 1} of {len(self.frames)} frames are segmented{stopped}: look at them below")

    def _show_result(self, _: Any) -> None:
        t = self.frame.value
        if t < len(self.labels):
            given = "the painted mask" if t == 0 else "predicted"
            title = f"Result · frame {t} of “{self.name}”: {given}"
            pixels = {i: int((self.labels[t] == i).sum()) for i in self.clip.object_ids}
            caption = ", ".join(f"object {i}: {n} pixels" if n else f"object {i}: lost" for i, n in pixels.items())
            self.result_sheet.show(self.frames[t], self.labels[t], title=title, caption=caption)
            self.result_canvas.draw_idle()

    def _save(self, _: Any) -> None:
        self.save(self.out.value.strip() or "masks", movie=self.movie.value)
        movie = "" if self.movie.value == "none" else f" and overlay.{self.movie.value}"
        self.status.say(f"{len(self.labels)} masks{movie} are in {Path(self.out.value).absolute()}")

    def _explore(self, _: Any) -> None:
        if self.clip is None:
            raise LabError("there is no result to explore yet: paint a mask and propagate it")
        frame = max(1, self.frame.value)
        self._explorer_box.children = [Explorer(self.clip, self.model, frame=frame, height=self.height)]


def paint(
    video: Clip | Path | str,
    model: Feelvos,
    *,
    mask: Tensor | Path | str | None = None,
    height: int = 0,
    out: Path | str = "masks",
) -> None:
    """Display frame 0 with its mask, and below it the painter if the front end is live.

    Args: see `Painter`, the widget itself.

    Example:
        >>> from feelvos_lab import load_model, make_clip, paint
        >>> paint(make_clip(1, height=32, width=48, frames=3), load_model("reduced"))  # outside IPython: no display
    """
    Painter(video, model, mask=mask, height=height, out=out).show()
