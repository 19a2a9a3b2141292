"""Lessons as a student uses them, in JupyterLab in a real browser: run by hand, a slider moved, a vector dragged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browser import (
    NEEDS_BROWSER,
    NOTEBOOKS,
    PATIENCE,
    canvas_of,
    cells_in,
    jupyterlab,
    open_notebook,
    run_all,
    settled,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = NEEDS_BROWSER

# The picture above the first slider: JupyterLab puts a new element in its place when it changes.
_ABOVE = """
() => [...document.querySelectorAll('.jp-OutputArea')].find(area => area.querySelector('.feelvos-slide'))
  .querySelector('img').src
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    desk = tmp_path_factory.mktemp("desk")
    for name in ("00_start_here", "02_pixel_embeddings"):
        shutil.copy(NOTEBOOKS / f"{name}.ipynb", desk)
    with jupyterlab(desk) as address:
        yield address


def test_the_first_notebook_shows_its_figures_and_a_slider_changes_the_one_above_it(browser: Browser, lab: str) -> None:
    page = open_notebook(browser, lab, "00_start_here.ipynb")
    run_all(page, cells=cells_in("00_start_here"))
    page.wait_for_function("document.querySelectorAll('.jp-OutputArea-output img').length >= 3", timeout=PATIENCE)
    slider = page.locator(".feelvos-slide .noUi-handle").first
    slider.wait_for(timeout=PATIENCE)
    before = page.evaluate(_ABOVE)
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"before => ({_ABOVE})() !== before", arg=before, timeout=PATIENCE)
    assert_no_errors(page)
    page.close()


def test_a_vector_of_the_pair_follows_the_mouse_while_its_button_is_down_and_the_arrow_keys(
    browser: Browser, lab: str
) -> None:
    page = open_notebook(browser, lab, "02_pixel_embeddings.ipynb")
    cells = json.loads((NOTEBOOKS / "02_pixel_embeddings.ipynb").read_text(encoding="utf-8"))["cells"]
    run_all(page, cells=[cell["id"] for cell in cells].index("pair") + 1)
    figure = canvas_of(page, "feelvos-pair")
    first = settled(figure)
    box = figure.bounding_box()
    grasp, release, elsewhere = (
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ((0.28, 0.5), (0.32, 0.68), (0.2, 0.3))
    )
    page.mouse.move(*grasp)
    page.mouse.down()
    grasped = settled(figure, unlike=first)
    page.mouse.move(*release, steps=6)
    dragged = settled(figure, unlike=grasped)
    page.mouse.up()
    page.mouse.move(*elsewhere, steps=6)
    assert abs(settled(figure) - dragged).max() < 24  # the button is up
    page.keyboard.press("ArrowUp")
    settled(figure, unlike=dragged)
    assert_no_errors(page)
    page.close()


def assert_no_errors(page: Page) -> None:
    assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count() == 0
