"""The notebooks as people use them: in JupyterLab and as a page without code, in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from browser import (
    NEEDS_BROWSER,
    NOTEBOOKS,
    PATIENCE,
    canvas_of,
    cells_in,
    faint_texts,
    jupyterlab,
    open_notebook,
    open_page,
    paint,
    run_all,
    settled,
    voila,
)
from painter_page import finished, press, said, upload
from PIL import Image

from feelvos_lab.data.images import read_mask, write_mask
from feelvos_lab.data.synthetic import make_clip

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = NEEDS_BROWSER


# Of each part of the widgets that is wider than it is shown, and does not scroll: its class.
_CUT_OFF = """
() => [...document.querySelectorAll('.feelvos-explorer, .feelvos-painter')]
  .flatMap(widget => [widget, ...widget.querySelectorAll('*')])
  .filter(part => part.scrollWidth > part.clientWidth + 12 && part.clientWidth > 0)
  .filter(part => getComputedStyle(part).overflowX === 'hidden' && !part.closest('.feelvos-width'))
  .map(part => `${part.className}: ${part.clientWidth} of ${part.scrollWidth}`)
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the notebooks, as `feelvos-lab start` makes it."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(NOTEBOOKS / "app.ipynb", folder)
    write_frames(folder / "frames")
    return folder


@pytest.fixture(scope="module")
def lab(desk: Path) -> Iterator[str]:
    with jupyterlab(desk) as address:
        yield address


@pytest.fixture(scope="module")
def notebook(browser: Browser, lab: str) -> Iterator[Page]:
    """The explorer's notebook in JupyterLab, all cells run."""
    page = open_notebook(browser, lab, "app.ipynb")
    run_all(page, cells=cells_in("app"))
    yield page
    page.close()


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page without code."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(NOTEBOOKS / "app.ipynb", folder)
    write_frames(folder / "frames")
    with voila(folder) as address:
        opened = open_page(browser, address)
        opened.desk = folder
        yield opened
        opened.close()


def write_frames(folder: Path) -> None:
    """Twelve frames of a video that is not the one the page shows first."""
    folder.mkdir()
    for t, frame in enumerate(make_clip(5, height=240, width=320, frames=12).frames):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{t:05d}.png")


def test_in_a_notebook_a_picture_stands_above_each_widget(notebook: Page) -> None:
    for widget in ("feelvos-explorer", "feelvos-painter"):
        canvas_of(notebook, widget)
        output = notebook.locator(".jp-OutputArea", has=notebook.locator(f".{widget}")).first
        above = output.locator("img").first.bounding_box()
        assert above["y"] < output.locator(f".{widget}").bounding_box()["y"]


def test_the_explorer_in_a_notebook_follows_clicks_sliders_and_switches(notebook: Page) -> None:
    explore_by_hand(notebook)


def test_the_explorer_on_the_page_follows_clicks_sliders_and_switches(page: Page) -> None:
    explore_by_hand(page)


def test_the_painter_in_a_notebook_goes_from_a_brush_to_saved_masks(notebook: Page, desk: Path) -> None:
    paint_by_hand(notebook, desk)


def test_the_painter_on_the_page_goes_from_a_brush_to_saved_masks(page: Page) -> None:
    paint_by_hand(page, page.desk)


def test_another_video_in_a_notebook_takes_strokes_and_keys(notebook: Page) -> None:
    reopen_and_press_keys(notebook)


def test_another_video_on_the_page_takes_strokes_and_keys(page: Page) -> None:
    reopen_and_press_keys(page)


def test_keys_pressed_in_the_picture_do_nothing_to_the_notebook(notebook: Page) -> None:
    """In JupyterLab, B inserts a cell, Z undoes that, and digits make headings."""
    # Shift+Enter in the last cell has added an empty one
    assert notebook.locator(".jp-Notebook .jp-Cell").count() == cells_in("app") + 1


def test_pictures_are_as_wide_as_the_page_allows(page: Page) -> None:
    width = page.viewport_size["width"]
    for widget, narrow in (("feelvos-explorer", 690), ("feelvos-painter", 0)):
        figure = canvas_of(page, widget)
        wide = figure.bounding_box()["width"]
        page.set_viewport_size({"width": 720, "height": 1400})
        page.wait_for_function(
            "([widget, wide]) => document.querySelector(`.${widget} canvas`).getBoundingClientRect().width < wide",
            arg=[widget, wide],
            timeout=PATIENCE,
        )
        settled(figure)
        assert max(narrow, 600) <= figure.bounding_box()["width"] <= 720 < wide
        page.set_viewport_size({"width": width, "height": 1400})
        page.wait_for_function(
            "([widget, wide]) => document.querySelector(`.${widget} canvas`).getBoundingClientRect().width === wide",
            arg=[widget, wide],
            timeout=PATIENCE,
        )
        settled(figure)


def test_on_a_narrow_page_nothing_is_cut_off(page: Page) -> None:
    """What is wider than the page, as the explorer's picture with its letters, is reached by scrolling sideways."""
    wide = page.viewport_size["width"]
    page.set_viewport_size({"width": 480, "height": 1400})
    page.wait_for_function("document.querySelector('.feelvos-painter canvas').getBoundingClientRect().width < 480")
    page.locator(".feelvos-painter .jupyter-button", has_text=re.compile("^browse$")).click()
    page.locator(".feelvos-painter select[size]").first.wait_for()
    figure = canvas_of(page, "feelvos-explorer")
    assert figure.bounding_box()["width"] == pytest.approx(690, abs=1)
    assert page.evaluate(_CUT_OFF) == []
    shown = settled(figure)
    figure.click(position=on_panel(figure, 0.9, 0.8))  # in the last picture of the row: this scrolls to it
    assert page.evaluate("document.querySelector('.feelvos-explorer canvas').getBoundingClientRect().right") <= 480
    settled(figure, unlike=shown)
    press(page, "browse")
    page.set_viewport_size({"width": wide, "height": 1400})


def test_texts_are_readable_on_the_page(page: Page) -> None:
    page.get_by_placeholder("a folder, a video file, or bunny").fill("bunny")
    press(page, "open")
    said(page, "Frame 0 of “bunny” (0 to 40)")
    press(page, "given mask")
    said(page, "this mask came with the video")
    for widget in ("feelvos-explorer", "feelvos-painter"):
        assert faint_texts(page.locator(f".{widget}")) == []


def test_a_folder_is_found_and_opened(page: Page) -> None:
    press(page, "browse")
    entries = page.locator(".feelvos-painter select[size]").first
    entries.select_option(label="masks/")  # that the painter has saved
    said(page, "41 images")
    press(page, "use this folder")
    said(page, "Frame 0 of “masks” (0 to 40)")
    press(page, "browse")


def test_a_mask_is_uploaded_for_the_video_that_is_open_and_frames_for_another(page: Page, tmp_path: Path) -> None:
    page.get_by_placeholder("a folder, a video file, or bunny").fill("frames")
    press(page, "open")
    said(page, "Frame 0 of “frames” (0 to 11)")
    labels = torch.zeros(240, 320, dtype=torch.int64)
    labels[60:180, 100:300] = 4
    write_mask(tmp_path / "mine.png", labels)
    upload(page, tmp_path / "mine.png")
    page.locator(".feelvos-painter .jupyter-button", has_text="4 · 24,000 pixels").wait_for(timeout=PATIENCE)
    upload(page, *sorted((page.desk / "frames").glob("*.png"))[:5])
    said(page, re.compile("Frame 0 of “feelvos-upload-.*” .0 to 4."))
    page.locator(".feelvos-painter .jupyter-button", has_text=re.compile("^4 · ")).wait_for(state="detached")


def test_the_page_shows_no_code_and_asks_for_its_token(page: Page) -> None:
    canvas_of(page, "feelvos-painter")
    assert "Explore and paint" in page.inner_text("body")
    assert "widgets.explore" not in page.inner_text("body")
    stranger = page.context.browser.new_context().new_page()  # without the cookie that the token gave
    refused = stranger.goto(page.url.partition("?")[0])
    assert "/login" in stranger.url or refused.status == 403
    assert "feelvos" not in stranger.content().lower()
    stranger.context.close()


def explore_by_hand(page: Page) -> None:
    figure = canvas_of(page, "feelvos-explorer")
    first = settled(figure)
    figure.click(position=on_panel(figure, 0.92, 0.2))  # in the sky of the current frame
    clicked = settled(figure, unlike=first)
    heat = maps(clicked)
    assert np.abs(heat - maps(first)).mean() > 8  # the distances are those of another pixel

    page.keyboard.press("ArrowRight")  # the picture has the focus
    later = settled(figure, unlike=clicked)
    slider = page.locator(".feelvos-explorer .noUi-handle").first
    slider.focus()
    page.keyboard.press("ArrowRight")
    moved = settled(figure, unlike=later)

    none = page.locator(".feelvos-explorer .widget-toggle-button", has_text="none").nth(1)
    none.click()
    without = settled(figure, unlike=moved)
    page.locator(".feelvos-explorer .jupyter-button", has_text="reset to trained").click()
    back = settled(figure, unlike=without)
    assert np.array_equal(back, moved)

    box = figure.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.7 * box["height"])
    page.locator(".feelvos-explorer", has_text=re.compile(r"of frame 0: distance [01]\.\d{3}")).wait_for()


def paint_by_hand(page: Page, folder: Path) -> None:
    """From a brush to saved masks, and a later frame corrected."""
    figure, result = canvas_of(page, "feelvos-painter"), folder / "masks"
    empty = settled(figure)
    press(page, "propagate")
    said(page, "the first mask is empty: paint at least one object, then propagate")

    paint(page, figure, [(x, 0.45, 0.65) for x in (0.2, 0.24, 0.28, 0.32, 0.36)])  # down the bunny
    painted = settled(figure, unlike=empty)
    page.keyboard.press("Control+z")
    fewer = settled(figure, unlike=painted)
    page.keyboard.press("Control+y")
    settled(figure, unlike=fewer)
    press(page, "propagate")
    finished(page, "41 of 41 frames are segmented")
    press(page, "save")
    said(page, "41 masks are in")
    before = [read_mask(path) for path in sorted(result.glob("*.png"))]
    assert len(before) == 41
    assert before[0].unique().tolist() == [0, 1] and 500 < int(before[0].sum()) < 16000
    assert int((before[0] * before[1]).sum()) > 300  # it hardly moved in between

    figure.click(button="right")  # takes the focus and paints nothing
    last = settled(figure)
    page.keyboard.press("Home")
    settled(figure, unlike=last)
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    said(page, "Frame 9 of")
    predicted = settled(figure)
    page.keyboard.press("2")
    paint(page, figure, [(0.1, 0.8, 0.95), (0.15, 0.8, 0.95)])
    settled(figure, unlike=predicted)
    said(page, "frame 9 is corrected: propagate goes on from frame 9")
    press(page, "save")
    said(page, "what follows is outdated: propagate it, then save")
    figure.click(button="right")
    page.keyboard.press("Enter")
    finished(page, "41 of 41 frames are segmented")
    page.locator(".feelvos-painter .jupyter-button", has_text=re.compile("^2 · ")).wait_for(timeout=PATIENCE)
    page.get_by_placeholder("a new folder").fill("corrected")
    press(page, "save")
    said(page, re.compile("41 masks are in .*corrected"))
    after = [read_mask(path) for path in sorted((folder / "corrected").glob("*.png"))]
    assert all(torch.equal(a, b) for a, b in zip(before[:9], after[:9], strict=True))
    assert int((after[9] == 2).sum()) > 300 and not (before[9] == 2).any()


def reopen_and_press_keys(page: Page) -> None:
    """Another video on the same canvas; keys, wheel and sliders."""
    figure = canvas_of(page, "feelvos-painter")
    before = settled(figure)
    page.get_by_placeholder("a folder, a video file, or bunny").fill("frames")
    press(page, "open")
    said(page, "Frame 0 of “frames”")
    opened = settled(figure, unlike=before)
    paint(page, figure, [(0.6, 0.3, 0.5)])
    painted = settled(figure, unlike=opened)
    press(page, "open")
    opened = settled(figure, unlike=painted)  # without that stroke
    assert page.locator(".feelvos-painter .jupyter-matplotlib-canvas-div").count() == 2  # picture and strip, no more
    assert (
        page.locator(".feelvos-painter .jupyter-widgets.widget-hprogress .progress-bar").first.evaluate(
            "bar => bar.getBoundingClientRect().width"
        )
        == 0
    )
    paint(page, figure, [(0.3, 0.3, 0.5)])
    stroke = np.abs(settled(figure, unlike=opened) - opened).max(2) > 24
    height, width = stroke.shape
    rows, columns = (places / side for places, side in zip(stroke.nonzero(), (height, width), strict=True))
    assert 0.25 < columns.min() < columns.max() < 0.35 and 0.2 < rows.min() < rows.max() < 0.6  # where the mouse was

    for key in ("3", "7"):  # an object's number
        page.keyboard.press(key)
        page.wait_for_function(
            "value => document.querySelector('.feelvos-painter input[type=number]').value === value",
            arg=key,
            timeout=PATIENCE,
        )
    page.keyboard.press("e")
    page.locator(".feelvos-painter .widget-toggle-button.mod-active", has_text="eraser").wait_for(timeout=PATIENCE)
    page.keyboard.press("b")
    page.locator(".feelvos-painter .widget-toggle-button.mod-active", has_text="brush").wait_for(timeout=PATIENCE)
    for key, radius in (("]", "14"), ("]", "16"), ("[", "14")):
        page.keyboard.press(key)
        page.locator(".feelvos-painter .widget-readout", has_text=re.compile(f"^{radius}$")).first.wait_for()
    shown = settled(figure)
    page.keyboard.press("+")
    zoomed = settled(figure, unlike=shown)
    page.mouse.wheel(0, -240)
    nearer = settled(figure, unlike=zoomed)
    page.keyboard.press("0")
    whole = settled(figure, unlike=nearer)
    opacity = page.locator(".feelvos-painter .widget-slider", has_text="opacity").locator(".noUi-handle")
    opacity.focus()
    page.keyboard.press("Home")
    clear = settled(figure, unlike=whole)
    page.keyboard.press("End")
    settled(figure, unlike=clear)
    figure.click(button="right")
    page.keyboard.press(" ")  # play
    page.get_by_text(re.compile(r"Frame [3-9] of “frames”")).wait_for(timeout=PATIENCE)
    page.keyboard.press(" ")
    paused = settled(figure)
    page.keyboard.press("Home")
    settled(figure, unlike=paused)


def on_panel(figure: Locator, x: float, y: float) -> dict[str, float]:
    """A place in the picture of the current frame, the upper one on the right, from shares of its width and height."""
    box = figure.bounding_box()
    return {"x": box["width"] * (0.68 + 0.31 * x), "y": box["height"] * (0.12 + 0.3 * y)}


def maps(picture: np.ndarray) -> np.ndarray:
    """The part with the two heat maps."""
    height, width = picture.shape[:2]
    return picture[int(0.56 * height) : int(0.86 * height), : int(0.66 * width)]
