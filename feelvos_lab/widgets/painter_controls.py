"""The controls of the painter, without what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from ipywidgets import (
    HTML,
    BoundedIntText,
    Button,
    Dropdown,
    FloatSlider,
    HBox,
    IntProgress,
    IntSlider,
    Label,
    Layout,
    Play,
    Text,
    ToggleButtons,
    jslink,
)

from feelvos_lab.data.images import MAX_OBJECTS
from feelvos_lab.data.sample_video import CREDITS
from feelvos_lab.figures.painter import OPACITY, swatch, text_colour
from feelvos_lab.widgets.notebook import Status
from feelvos_lab.widgets.painted_video import PaintedVideo

_ORIGINS = {
    "painted": "painted",
    "predicted": "predicted",
    "outdated": "predicted before the last edit, propagate again",
    "empty": "not segmented yet",
}


def row(*widgets: Any) -> HBox:
    """Widgets side by side, on further lines where the page is narrow."""
    return HBox(list(widgets), layout=Layout(flex_flow="row wrap", align_items="center"))


class ObjectList(HBox):
    """A button for each painted object, in its colour, that chooses it; and one for a new object."""

    def __init__(self, choose: Callable[[int], None]) -> None:
        self._choose = choose
        self._new = Button(description="+ new", tooltip="Paint another object", layout=Layout(width="64px"))
        self._new.on_click(lambda _: choose(min(set(range(1, MAX_OBJECTS + 1)) - set(self.buttons), default=1)))
        self.buttons: dict[int, Button] = {}
        super().__init__(layout=Layout(flex_flow="row wrap", align_items="center"))
        self.show({}, chosen=1)

    def show(self, notes: Mapping[int, str], *, chosen: int) -> None:
        """Show these objects with a note each, the chosen one with a rim."""
        if list(notes) != list(self.buttons):
            self.buttons = {i: self._button(i) for i in notes}
            self.children = (Label("objects:"), *self.buttons.values(), self._new)
        for i, note in notes.items():
            button = self.buttons[i]
            button.description = f"{i} · {note}"
            button.layout.border = (
                "3px solid var(--jp-ui-font-color1, #888)" if i == chosen else "3px solid transparent"
            )

    def _button(self, i: int) -> Button:
        button = Button(tooltip=f"Choose object {i}", layout=Layout(width="auto", height="34px"))
        button.style.button_color = swatch(i)
        button.style.text_color = text_colour(i)
        button.on_click(lambda _: self._choose(i))
        return button


class Controls:
    """The painter's buttons, sliders and fields; the painter puts them into rows.

    `button` makes one of a name, an action and a tooltip; actions are the painter's methods.
    """

    def __init__(self, status: Status, out: str) -> None:
        self._status = status
        narrow = Layout(width="150px")
        self.tool = ToggleButtons(options=("brush", "eraser", "fill"), style={"button_width": "66px"})
        self.tool.tooltips = ("Paint the object (B)", "Paint background (E)", "Fill a closed outline (F)")
        self.object_id = BoundedIntText(1, 1, MAX_OBJECTS, description="object", layout=narrow)
        self.colour = HTML()
        style = {"description_width": "95px"}
        self.brush = IntSlider(8, 1, 100, description="brush radius", style=style, layout=Layout(width="320px"))
        self.opacity = FloatSlider(OPACITY, min=0, max=1, step=0.05, description="opacity", readout_format=".2f")
        self.opacity.layout.width = "290px"
        self.title, self.credit = HTML(), HTML()
        self.frame = IntSlider(0, 0, 1, description="frame", layout=Layout(width="480px", max_width="100%"))
        self.play = Play(0, 0, 1, interval=150, show_repeat=False, tooltip="Play (Space)")
        jslink((self.play, "value"), (self.frame, "value"))
        self.progress = IntProgress(0, 0, 1, layout=narrow)
        self.out = Text(out, description="save to", placeholder="a new folder", layout=Layout(width="300px"))
        self.movie = Dropdown(options=("none", "mp4", "gif"), description="movie", layout=Layout(width="190px"))

    def button(self, name: str, action: Callable[[], Any], tooltip: str, *, width: int = 96) -> Button:
        """A button whose action may raise a LabError."""
        button = Button(description=name, tooltip=tooltip, layout=Layout(width=f"{width}px"))
        button.on_click(self._status.guarded(lambda _: action()))
        return button

    def show_title(self, video: PaintedVideo, frame: int) -> None:
        """Name the video and the frame, and say where its mask comes from and whose video it is."""
        origin = _ORIGINS[video.origin(frame)]
        self.title.value = f"<b>Frame {frame}</b> of “{escape(video.name)}” (0 to {len(video) - 1}): {origin}"
        self.credit.value = escape(CREDITS.get(video.name, ""))

    def show_colour(self, object_id: int) -> None:
        """Show a patch in the colour of the current object."""
        look = f"display:inline-block;width:20px;height:20px;background:{swatch(object_id)}"
        self.colour.value = f'<span role="img" aria-label="colour of object {object_id}" style="{look}"></span>'
