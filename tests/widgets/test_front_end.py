"""Widgets in a page: a picture above them, with a text; alone where nobody can click."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure

from feelvos_lab import widgets
from feelvos_lab.data.clip import Clip
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets import Explorer, Painter, notebook
from feelvos_lab.widgets.page_width import PageWidth

pytestmark = pytest.mark.usefixtures("one_thread")


def test_nobody_can_click_outside_a_kernel_or_where_a_file_is_executed(monkeypatch) -> None:
    assert not notebook.is_live()

    def shell(content: dict[str, Any]) -> Any:
        return lambda: SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: {"content": content}))

    monkeypatch.setattr(notebook, "get_ipython", shell({"allow_stdin": False}))  # papermill, nbconvert
    assert not notebook.is_live()
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
    assert notebook.is_live()
    monkeypatch.delenv("SERVER_SOFTWARE")
    monkeypatch.setattr(notebook, "get_ipython", shell({"allow_stdin": True}))  # by hand
    assert notebook.is_live()


@pytest.mark.parametrize("live", [False, True])
def test_a_picture_stands_above_the_widget_and_alone_where_nobody_can_click(live, model, clip, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(notebook, "get_ipython", lambda: SimpleNamespace())
    monkeypatch.setattr(notebook, "is_live", lambda: live)
    monkeypatch.setattr(notebook, "display", lambda thing: shown.append(type(thing).__name__))
    assert widgets.explore(clip, model) is None
    assert widgets.paint(clip, model, mask=clip.masks[0]) is None
    assert shown == (["Picture", "Explorer", "Picture", "Painter"] if live else ["Picture", "Picture"])


def test_widgets_leave_pyplot_and_matplotlibs_settings_alone(model: Feelvos, clip: Clip) -> None:
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    Explorer(clip, model).redraw()
    Painter(clip, model)
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


def test_a_picture_is_an_image_with_its_text_and_nothing_in_it_is_markup() -> None:
    bundle = notebook.Picture(Figure(figsize=(1, 1)), 'an "object" <b>')._repr_mimebundle_()
    assert bundle["text/plain"] == 'an "object" <b>'
    assert bundle["text/html"].startswith('<img alt="an &quot;object&quot; &lt;b&gt;" ')
    assert 'src="data:image/png;base64,iVBOR' in bundle["text/html"]


def test_a_status_is_escaped_and_its_colour_is_the_themes() -> None:
    status = notebook.Status()
    status.say("<i> & more", error=True)
    assert "&lt;i&gt; &amp; more" in status.value and "var(--jp-error-color1" in status.value
    status.say("done")
    assert "var(--jp-ui-font-color1" in status.value and "⚠" not in status.value


@pytest.mark.parametrize("width", [690, 853, 1100])
def test_canvases_have_whole_pixels_whatever_the_width_of_the_page(width: int, model: Feelvos, clip: Clip) -> None:
    explorer, painter = Explorer(clip, model), Painter(clip, model)
    for widget in (explorer, painter):
        widget._page.set(width + 10)
    for canvas in (explorer.canvas, painter.view.canvas, painter.strip.canvas):
        size = canvas.figure.bbox.size
        assert size == pytest.approx(size.round(), abs=1e-6) and size[0] > 200


def test_an_error_that_nobody_expected_is_shown_and_raised() -> None:
    status = notebook.Status()
    with pytest.raises(ZeroDivisionError):
        status.guarded(lambda n: 1 / n)(0)
    assert status.text == "this failed: ZeroDivisionError: division by zero" and status.failed


def test_the_width_of_a_page_is_reported_when_it_changes() -> None:
    page, widths = PageWidth(), []
    page.call(lambda: widths.append(page.width))
    for width in (800, 800, 640):
        page.set(width)
    assert widths == [800, 640]
