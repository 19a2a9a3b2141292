"""The painter widget: paint masks of a video, propagate them, correct any frame and go on from there, save."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ipywidgets import HTML, VBox
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.sample_video import CREDITS
from feelvos_lab.errors import LabError
from feelvos_lab.figures.painter import frame_picture
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets.explorer import Explorer
from feelvos_lab.widgets.mask_editor import Painting
from feelvos_lab.widgets.notebook import Picture, Status, show
from feelvos_lab.widgets.page_width import PageWidth
from feelvos_lab.widgets.paint_canvas import PaintCanvas, Point
from feelvos_lab.widgets.painted_video import open_video
from feelvos_lab.widgets.painter_controls import Controls, ObjectList, row
from feelvos_lab.widgets.painter_keys import action_of, keys_as_html
from feelvos_lab.widgets.strip import Strip
from feelvos_lab.widgets.video_chooser import VideoChooser

_WIDTH, _WIDEST = 690, 1060  # pixels of the pictures: before the page says how wide it is, and at most

_FIRST = "paint over an object of frame 0, choose another number for the next one, then propagate"


class Painter(VBox):
    """The widget. Its handlers edit a `PaintedVideo`, propagate its masks, and save as `feelvos-lab segment` does.

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
        '3 of 3 frames are segmented: look at them, and correct any of them'
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
        self._source, self.video = video, open_video(video, mask)
        self._working: Any = None  # the task that propagates
        self._stopped = False
        self.status = Status()
        self.chooser = VideoChooser(video, mask, load=self.load, status=self.status)
        self.controls = controls = Controls(self.status, str(out))
        self.frame, self.object_id = controls.frame, controls.object_id
        self.tool, self.brush = controls.tool, controls.brush
        self.objects = ObjectList(self.choose_object)
        self.view = PaintCanvas(self.video.size, width=_WIDTH, hand=self, guarded=self.status.guarded)
        self.strip = Strip(len(self.video), width=_WIDTH, choose=self.go)
        self._page = PageWidth()
        self._explorer_box = VBox()
        super().__init__(self._rows())
        self.object_id.observe(lambda _: self._show_objects(), "value")
        self.tool.observe(lambda _: self._show_brush(), "value")
        self.brush.observe(lambda _: self._show_brush(), "value")
        controls.opacity.observe(lambda _: self.look(), "value")
        self.frame.observe(lambda _: self._show_frame(), "value")
        self._page.call(self._fit)
        self._begin()
        self.add_class("feelvos-painter")

    def load(self, video: Clip | Path | str | None, mask: Tensor | Path | str | None = None) -> None:
        """Open another video, None: the same one anew, with a mask to correct if one is given."""
        self._refuse_while_working("open another")
        video = self._source if video is None else video
        opened = open_video(video, mask)
        self.go(0)  # the other video may have no frame of this number
        self._source, self.video = video, opened
        self._fit()
        self._begin()

    @property
    def labels(self) -> list[Tensor]:
        """The masks predicted so far, one per frame, int64 (H, W)."""
        return self.video.predicted

    @property
    def painting(self) -> Painting:
        """The mask of the frame that is shown, to edit."""
        return self.video.painting(self.frame.value)

    def show(self) -> None:
        """Display frame 0 with its mask as a picture, and below it the widget if the front end is live."""
        show(self, self.picture)

    def picture(self) -> Picture:
        """Frame 0 and its mask as a figure of its own."""
        ids = ", ".join(map(str, self.video.object_ids)) or "nothing is painted yet"
        title = f"Frame 0 of “{self.video.name}” and its mask (objects: {ids})"
        credit = CREDITS.get(self.video.name, "")
        return Picture(frame_picture(self.video.frames[0], self.video.labels(0), title=title, caption=credit), title)

    def steps(self) -> Iterator[int]:
        """Propagate the painted masks, one frame per step, see `PaintedVideo.steps`."""
        yield from self.video.steps(self.model, height=self.height)

    def run(self) -> None:
        """Run all steps, blocking."""
        for frame in self.steps():
            self._advance(frame)
        self._finish()

    # What buttons and keys do

    def choose_tool(self, name: str) -> None:
        """Take the brush, the eraser, or fill."""
        self.tool.value = name

    def choose_object(self, object_id: int) -> None:
        """Paint this object from here on; the brush takes the eraser's place."""
        self.object_id.value = object_id
        if self.tool.value == "eraser":
            self.tool.value = "brush"

    def grow(self, direction: int) -> None:
        """Make the brush larger (1) or smaller (−1) by about a sixth, at least a pixel."""
        self.brush.value += direction * max(1, self.brush.value // 6)

    def take_back(self) -> None:
        """Undo the last step in the frame that is shown."""
        self._edit(Painting.undo, "undone", nothing="there is nothing to undo")

    def do_again(self) -> None:
        """Redo what was undone last in the frame that is shown."""
        self._edit(Painting.redo, "done again", nothing="there is nothing to redo")

    def go(self, frame: int) -> None:
        """Show this frame; the first or the last one if there is none such."""
        self.frame.value = min(max(frame, 0), self.frame.max)

    def toggle_play(self) -> None:
        """Play the video from the frame that is shown, or pause."""
        self.controls.play.playing = not self.controls.play.playing

    def propagate_or_stop(self) -> None:
        """Carry the masks on; while that is done, stop it.

        In a kernel the steps run as a task between other messages, so that a second click can stop them.
        """
        if self._working is not None:
            self._stopped = True
            return
        self.video.clip()  # raises before anything is displayed
        self.status.say("")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.run()
            return
        self._stopped = False
        self._working = loop.create_task(self._run_as_task())

    def _rows(self) -> list[Any]:
        controls, button = self.controls, self.controls.button
        self.undo = button("undo", self.take_back, "Undo the last step in this frame (Ctrl+Z)")
        self.redo = button("redo", self.do_again, "Do again what was undone (Ctrl+Y)")
        self.clear = button("clear", self._clear, "Erase everything in this frame")
        self.given = button("given mask", self._take_given, "Take the mask that came with the video for this frame")
        self.unpaint = button("unpaint", self._unpaint, "Remove what was painted in this frame: it is predicted again")
        self.propagate = button("propagate", self.propagate_or_stop, "Carry the masks through the video (Enter)")
        self.propagate.button_style = "primary"
        self.save_button = button("save", self._save, "Write one indexed PNG per frame")
        self.explore = button("explore", self._explore, "Show how its pixels are matched")
        closer = button("zoom +", lambda: self.view.zoom(1.5), "Zoom in (+)")
        away = button("zoom −", lambda: self.view.zoom(1 / 1.5), "Zoom out (−)")
        whole = button("whole", self.view.whole, "Show the whole frame (0)")
        self._saving = row(controls.out, controls.movie, self.save_button, self.explore)
        return [
            self.chooser,
            row(self.tool, self.object_id, controls.colour, self.brush, controls.opacity),
            row(self.undo, self.redo, self.clear, self.given, self.unpaint, away, closer, whole),
            self.objects,
            controls.title,
            self._page,
            self.view.canvas,
            row(controls.play, self.frame, self.propagate, controls.progress),
            self.status,
            self.strip.canvas,
            controls.credit,
            HTML(keys_as_html()),
            self._saving,
            self._explorer_box,
        ]

    def _begin(self) -> None:
        """Show frame 0 of a video that was just opened, with nothing left of the one before."""
        last, play = len(self.video) - 1, self.controls.play
        play.playing, play.max, self.frame.max = False, last, last
        self.controls.progress.value, self.controls.progress.max = 0, len(self.video)
        self.brush.max = max(2, self.video.size[0] // 6)
        self.brush.value = max(1, self.video.size[0] // 20)
        self._saving.layout.display = "none"
        self._explorer_box.children = []
        self.strip.hide()
        self.frame.value = 0
        self._show_frame()
        self._show_brush()
        self.status.say(_FIRST)

    def _fit(self) -> None:
        """Give the pictures the size that the video and the page have room for."""
        width = min(self._page.width - 10, _WIDEST) if self._page.width else _WIDTH
        self.view.fit(self.video.size, width=width)
        self.strip.fit(len(self.video), width=width)
        self.look()
        self.strip.show(self.video, self.frame.value)

    # What is shown

    def look(self) -> None:
        """Draw the frame that is shown, with its mask."""
        t = self.frame.value
        self.view.show(self.video.frames[t], self.video.labels(t), opacity=self.controls.opacity.value)

    def _show_frame(self) -> None:
        """Show the frame that the slider names, and what is known of it."""
        self.look()
        self._describe()
        self.strip.move(self.frame.value)

    def _describe(self) -> None:
        t = self.frame.value
        self.controls.show_title(self.video, t)
        self.given.disabled = self.video.true_mask(t) is None
        self.unpaint.disabled = not self.video.is_painted(t)
        self._show_objects()

    def _show_objects(self) -> None:
        t = self.frame.value
        self.controls.show_colour(self.object_id.value)
        scores, areas = self.video.scores(t), self.video.areas(t)
        notes = {i: f"J {scores[i]:.2f}" if i in scores else f"{n:,} pixels" if n else "none" for i, n in areas.items()}
        self.objects.show(notes, chosen=self.object_id.value)

    def _show_brush(self) -> None:
        self.view.radius = None if self.tool.value == "fill" else self.brush.value

    # Editing

    def press(self, at: Point) -> bool:
        """Begin a stroke, or fill; see `Hand`."""
        self._refuse_while_working("paint")
        if self.tool.value == "fill":
            self.painting.fill(at, object_id=self.object_id.value)
            self._painted()
            return False
        self.painting.begin()
        return True

    def drag(self, start: Point, end: Point) -> None:
        """Paint from one place to another, or erase."""
        object_id = 0 if self.tool.value == "eraser" else self.object_id.value
        self.painting.stroke(start, end, radius=self.brush.value, object_id=object_id)
        self.look()

    def release(self) -> None:
        """End a stroke."""
        self._painted()

    def key(self, name: str | None) -> None:
        """Do what a key means, see `painter_keys`."""
        if (action := action_of(name)) is not None:
            action(self)

    def _painted(self) -> None:
        self._edited()
        if self.labels:
            t = self.frame.value
            self.status.say(f"frame {t} is corrected: propagate goes on from frame {self.video.valid}")

    def _edited(self) -> None:
        """Draw what was edited, and mark what follows as outdated."""
        self.video.changed(self.frame.value)
        self.controls.progress.value = self.video.valid
        self.look()
        self._describe()
        self.strip.show(self.video, self.frame.value)

    def _edit(self, change: Callable[[Painting], Any], done: str, *, nothing: str | None = None) -> None:
        """Change the frame's mask; where a change returns False, nothing was changed."""
        self._refuse_while_working("edit")
        if change(self.painting) is False:
            self.status.say(nothing or done)
            return
        self._edited()
        self.status.say(done)

    def _clear(self) -> None:
        self._edit(Painting.clear, "everything in this frame is erased")

    def _take_given(self) -> None:
        mask = self.video.true_mask(self.frame.value)
        said = "this mask came with the video: correct it, or propagate it"
        self._edit(lambda painting: painting.replace(mask), said)

    def _unpaint(self) -> None:
        self._refuse_while_working("edit")
        self.video.forget(self.frame.value)
        self._edited()
        self.status.say("what was painted in this frame is removed")

    def _refuse_while_working(self, what: str) -> None:
        if self._working is not None:
            raise LabError(f"a video is being segmented: stop that first, then {what}")

    # Propagating, saving

    async def _run_as_task(self) -> None:
        self.propagate.description = "stop"
        try:
            for frame in self.steps():
                self._advance(frame)
                self.frame.value = frame
                await asyncio.sleep(0.01)  # lets the kernel handle clicks and send pictures
                if self._stopped:
                    break
            self._finish()
        except LabError as error:
            self.status.say(str(error), error=True)
        finally:
            self.propagate.description, self._working = "propagate", None

    def _advance(self, frame: int) -> None:
        self.controls.progress.value = frame + 1
        if not self.status.failed:  # why a click did nothing stays readable
            self.status.say(f"frame {frame + 1} of {len(self.video)}")

    def _finish(self) -> None:
        done, count = self.video.valid, len(self.video)
        self._saving.layout.display = ""
        self.frame.value = done - 1
        self._show_frame()
        self.strip.show(self.video, done - 1)
        stopped = "" if done == count else f", stopped before frame {done}"
        self.status.say(f"{done} of {count} frames are segmented{stopped}: look at them, and correct any of them")

    def _save(self) -> None:
        folder, movie = self.controls.out.value.strip() or "masks", self.controls.movie.value
        self.video.save(folder, movie=movie)
        written = "" if movie == "none" else f" and overlay.{movie}"
        self.status.say(f"{len(self.labels)} masks{written} are in {Path(folder).absolute()}")

    def _explore(self) -> None:
        if not self.labels:
            raise LabError("there is no result to explore yet: paint a mask and propagate it")
        clip = self.video.explorable()
        frame = max(1, self.frame.value)
        self._explorer_box.children = [Explorer(clip, self.model, frame=frame, height=self.height)]
        if len(self.video.key_frames) > 1:
            self.status.say("the explorer shows what the mask of frame 0 gives, without later corrections")


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
