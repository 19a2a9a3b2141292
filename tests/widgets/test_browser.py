"""The notebooks as people use them: in JupyterLab and as a page without code, in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import (
    NOTEBOOKS,
    PATIENCE,
    canvas_of,
    jupyterlab,
    open_notebook,
    open_page,
    opened_browser,
    paint,
    run_all,
    settled,
    voila,
    why_no_browser,
)

from feelvos_lab.data.images import read_mask

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "there is one"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the notebooks, as `feelvos-lab start` makes it."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("00_start_here", "app"):
        shutil.copy(NOTEBOOKS / f"{name}.ipynb", folder)
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
    with voila(folder) as address:
        opened = open_page(browser, address)
        opened.desk = folder
        yield opened
        opened.close()


def cells_in(name: str) -> int:
    return len(json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"])


def test_the_first_notebook_runs_by_hand_and_shows_its_figures(browser: Browser, lab: str) -> None:
    page = open_notebook(browser, lab, "00_start_here.ipynb")
    run_all(page, cells=cells_in("00_start_here"))
    page.wait_for_function("document.querySelectorAll('.jp-OutputArea-output img').length >= 3", timeout=PATIENCE)
    assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    page.close()


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
    figure.click(position=on_panel(figure, 0.25, 0.7))  # elsewhere in the current frame
    clicked = settled(figure, unlike=first)
    heat = maps(clicked)
    assert np.abs(heat - maps(first)).mean() > 8  # the distances are those of another pixel

    slider = page.locator(".feelvos-explorer .noUi-handle").first
    slider.focus()
    page.keyboard.press("ArrowRight")
    moved = settled(figure, unlike=clicked)

    none = page.locator(".feelvos-explorer .widget-toggle-button", has_text="none").nth(1)
    none.click()
    without = settled(figure, unlike=moved)
    page.locator(".feelvos-explorer .widget-toggle-button", has_text="local").click()
    back = settled(figure, unlike=without)
    assert np.array_equal(back, moved)


def paint_by_hand(page: Page, folder: Path) -> None:
    figure = canvas_of(page, "feelvos-painter")
    empty = settled(figure)
    button = page.locator(".feelvos-painter .jupyter-button")
    button.filter(has_text="propagate").click()
    page.get_by_text("the first mask is empty: paint at least one object, then propagate").wait_for(timeout=PATIENCE)

    paint(page, figure, [(x, 0.3, 0.55) for x in (0.7, 0.74, 0.78, 0.82, 0.86)])  # down the blue thing
    settled(figure, unlike=empty)
    button.filter(has_text="propagate").click()
    page.get_by_text("16 of 16 frames are segmented").wait_for(timeout=PATIENCE)

    result = canvas_of(page, "feelvos-painter", 1)
    last = settled(result)
    slider = page.locator(".feelvos-painter .noUi-handle").last
    slider.focus()
    page.keyboard.press("Home")
    settled(result, unlike=last)

    button.filter(has_text="save").click()
    page.get_by_text("16 masks are in").wait_for(timeout=PATIENCE)
    saved = sorted((folder / "masks").glob("*.png"))
    assert len(saved) == 16
    painted, following = read_mask(saved[0]), read_mask(saved[1])
    assert painted.unique().tolist() == [0, 1] and 500 < int(painted.sum()) < 12000
    assert int((following * painted).sum()) > 300  # the thing hardly moved in between


def on_panel(figure: Locator, x: float, y: float) -> dict[str, float]:
    """A place in the picture of the current frame, the upper one on the right, from shares of its width and height."""
    box = figure.bounding_box()
    return {"x": box["width"] * (0.68 + 0.31 * x), "y": box["height"] * (0.12 + 0.3 * y)}


def maps(picture: np.ndarray) -> np.ndarray:
    """The part with the two heat maps."""
    height, width = picture.shape[:2]
    return picture[int(0.56 * height) : int(0.86 * height), : int(0.66 * width)]
