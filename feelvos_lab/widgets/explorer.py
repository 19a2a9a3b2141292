"""The explorer widget: click a pixel, move a slider or switch a cue, and the picture of `figures.explorer` follows."""

from __future__ import annotations

from html import escape
from typing import Any

from ipywidgets import HTML, Box, Button, Dropdown, HBox, IntSlider, Label, Layout, ToggleButtons, VBox

from feelvos_lab.data.clip import Clip
from feelvos_lab.figures.explorer import ExplorerSheet, explorer_sheet
from feelvos_lab.inference.probe import Cell, Probe, Switches
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets.notebook import Picture, Status, live_canvas, resized, show
from feelvos_lab.widgets.page_width import PageWidth

_DPI = 100  # letters of 8 points are 11 pixels high; a smaller picture is drawn and sent faster

_NARROWEST, _WIDEST = 690, 1100  # pixels; a narrower page scrolls sideways, for the letters

_HINT = "click a pixel of C or of the result; point at any place to read its value; ← and → change the frame"

_WIDE = {"description_width": "110px"}

_OFF = (
    "A cue that is <b>off</b> (none) is constant: distance 1 or probability 1/K for every object. The network was "
    "trained with the cue and is not trained again, and earlier frames are predicted with all cues. What a network "
    "learns without a cue is another question: <code>make ablation</code>."
)


class Explorer(VBox):
    """The widget. Its controls are the arguments of `Probe.look`, its picture is the result.

    Args:
        clip: at least two frames, all objects given in the first.
        model: in evaluation mode.
        frame: shown first, 1 … T−1.
        object_id: shown first; 0 is the background, None the clip's first object.
        cell: row and column on the stride-4 grid; None: in the middle of the object.
        height: see `propagate`.

    Raises:
        LabError: a model, clip, frame or object that `Probe` rejects.

    Example:
        >>> from feelvos_lab import load_model, make_clip
        >>> from feelvos_lab.widgets import Explorer
        >>> explorer = Explorer(make_clip(1, height=32, width=48, frames=3), load_model("reduced"), cell=(4, 6))
        >>> explorer.frame.value, explorer.radius.value = 2, 1  # as by hand: the picture follows
        >>> explorer.look.frame, explorer.look.cell, explorer.look.window
        (2, (4, 6), 1)
    """

    def __init__(
        self,
        clip: Clip,
        model: Feelvos,
        *,
        frame: int = 1,
        object_id: int | None = None,
        cell: Cell | None = None,
        height: int = 0,
    ) -> None:
        self.probe = Probe(model, clip, height=height)
        trained = self.probe.trained
        object_id = clip.object_ids[0] if object_id is None else object_id
        self.cell = self.probe.centre_of(frame, object_id) if cell is None else cell
        self.look = self.probe.look(frame, object_id=object_id, cell=self.cell)
        self.sheet = ExplorerSheet(clip, self.probe.grid, width=_NARROWEST / _DPI, dpi=_DPI)
        self.sheet.show(self.look)
        self.canvas = live_canvas(self.sheet.figure)
        self.canvas.mpl_connect("button_press_event", self._clicked)
        self.canvas.mpl_connect("motion_notify_event", self._pointed)
        self.canvas.mpl_connect("key_press_event", self._typed)

        objects = [("the background", 0), *((f"object {i}", i) for i in clip.object_ids)]
        slider = {"style": _WIDE, "layout": Layout(width="330px")}
        self.frame = IntSlider(frame, 1, len(clip) - 1, description="frame", **slider)
        self.object_id = Dropdown(options=objects, value=object_id, description="object", style=_WIDE)
        self.radius = IntSlider(trained.radius, 0, max(self.probe.grid) - 1, description="window's radius", **slider)
        self.first_matching = _choice(("global", "none"), trained.first_matching)
        self.previous_matching = _choice(("local", "global", "none"), trained.previous_matching)
        self.previous_mask = _choice(("on", "none"), "on" if trained.previous_mask else "none")
        self.reset = Button(
            description="reset to trained",
            tooltip="Switch all cues on, with the window that the network was trained with",
            layout=Layout(width="140px"),
        )
        self.value = HTML("&nbsp;")  # of the place under the mouse
        self.status = Status()
        self.status.say(_HINT)
        self._still = False  # whether controls change without a redraw
        self._page = PageWidth()
        self._page.call(self._fit)
        self.reset.on_click(lambda _: self.reset_to_trained())
        changed = self.status.guarded(self._changed)
        for control in self.controls:
            control.observe(changed, "value")
        self._enable()
        names = ("first frame", "previous frame", "previous mask")
        choices = VBox([_named(name, choice) for name, choice in zip(names, self.controls[3:], strict=True)])
        columns = HBox([VBox(self.controls[:3]), choices, self.reset], layout=Layout(flex_flow="row wrap"))
        self.canvas.layout.flex = "0 0 auto"  # never squeezed, which would cut it
        picture = Box([self.canvas], layout=Layout(overflow="auto hidden"))
        super().__init__([columns, self._page, picture, self.value, self.status, HTML(_OFF)])
        self.add_class("feelvos-explorer")

    @property
    def controls(self) -> tuple[Any, ...]:
        """All controls: sliders and menu, then the three cue switches."""
        first = (self.frame, self.object_id, self.radius)
        return (*first, self.first_matching, self.previous_matching, self.previous_mask)

    @property
    def switches(self) -> Switches:
        """The cues as the controls are set."""
        return Switches(
            first_matching=self.first_matching.value,
            previous_matching=self.previous_matching.value,
            previous_mask=self.previous_mask.value == "on",
            radius=self.radius.value,
        )

    def show(self) -> None:
        """Display the picture, and below it the widget if the front end is live."""
        show(self, self.picture)

    def picture(self) -> Picture:
        """What is shown, as a figure of its own, with a text for those who cannot see it."""
        look, who = self.look, self.object_id.label
        matches = (("frame 0", look.first_match), (f"frame {look.frame - 1}", look.previous_match))
        found = "; ".join(
            f"nearest pixel of {who} in {frame}: row {match.row}, column {match.column}, distance {match.distance:.2f}"
            if match is not None
            else f"no pixel of {who} is matched in {frame}"
            for frame, match in matches
        )
        text = (
            f"Frame {look.frame} of {self.probe.clip.name}, the pixel at row {look.cell[0]}, column {look.cell[1]} of "
            f"the grid: {found}; it is {who} with a probability of {look.probability:.2f}."
        )
        return Picture(explorer_sheet(self.probe.clip, look), text)

    def reset_to_trained(self) -> None:
        """Switch on the cues that the network was trained with, with its window."""
        trained = self.probe.trained
        self._still = True
        self.first_matching.value = trained.first_matching
        self.previous_matching.value = trained.previous_matching
        self.previous_mask.value = "on" if trained.previous_mask else "none"
        self.radius.value = min(trained.radius, self.radius.max)
        self._still = False
        self._changed(None)

    def redraw(self) -> None:
        """Compute and draw what the controls are set to."""
        self.look = self.probe.look(
            self.frame.value, object_id=self.object_id.value, cell=self.cell, switches=self.switches
        )
        self.sheet.show(self.look)
        self.canvas.draw_idle()

    def _changed(self, _: Any) -> None:
        if self._still:
            return
        self._enable()
        self.redraw()
        self.status.say(_HINT)

    def _enable(self) -> None:
        """Disable cues the network was trained without, and the radius if there is no window."""
        trained = self.probe.trained
        self.radius.disabled = self.previous_matching.value != "local"
        self.first_matching.disabled = trained.first_matching == "none"
        self.previous_matching.disabled = trained.previous_matching == "none"
        self.previous_mask.disabled = not trained.previous_mask

    def _fit(self) -> None:
        """Make the picture as wide as the page allows."""
        width = min(max(self._page.width - 10, _NARROWEST), _WIDEST)
        self.sheet.fit(width / _DPI)
        self.sheet.show(self.look)
        resized(self.canvas)

    def _clicked(self, event: Any) -> None:
        if event.inaxes in self.sheet.clickable and event.xdata is not None:
            self.cell = self.probe.cell_at(event.ydata, event.xdata)
            self.redraw()

    def _pointed(self, event: Any) -> None:
        if event.inaxes is not None:
            self.value.value = escape(self.sheet.value_at(event.inaxes, event.ydata, event.xdata))

    def _typed(self, event: Any) -> None:
        by = {"left": -1, "right": 1}.get(event.key, 0)
        self.frame.value = min(max(self.frame.value + by, self.frame.min), self.frame.max)


def explore(
    clip: Clip,
    model: Feelvos,
    *,
    frame: int = 1,
    object_id: int | None = None,
    cell: Cell | None = None,
    height: int = 0,
) -> None:
    """Display how one pixel of a clip is matched: a picture, and below it the widget if the front end is live.

    Args: see `Explorer`, the widget itself.

    Example:
        >>> from feelvos_lab import explore, load_model, make_clip
        >>> explore(make_clip(1, height=32, width=48, frames=3), load_model("reduced"))  # outside IPython: no display
    """
    Explorer(clip, model, frame=frame, object_id=object_id, cell=cell, height=height).show()


def _choice(options: tuple[str, ...], value: str) -> ToggleButtons:
    return ToggleButtons(options=options, value=value, style={"button_width": "64px"})


def _named(name: str, choice: ToggleButtons) -> HBox:
    return HBox([Label(name, layout=Layout(width="110px", justify_content="flex-end")), choice])
