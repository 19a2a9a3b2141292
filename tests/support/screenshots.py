"""Take the README's pictures of the explorer and the painter, from the page without code, in a real browser.

python tests/support/screenshots.py FOLDER
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from browser import NOTEBOOKS, canvas_of, open_page, opened_browser, paint, settled, voila, why_no_browser
from few_colours import few_colours
from painter_page import finished, said
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BYTES = 200_000


def explorer_picture(page: Page) -> Image.Image:
    """The explorer, looking at the stone in front: near to the bunny in frame 0, and far from it in the window."""
    figure = canvas_of(page, "feelvos-explorer")
    before, now = None, settled(figure)
    while before is None or now.shape != before.shape:  # the page came to its size only now, and took the click
        box = figure.bounding_box()
        figure.click(position={"x": 0.703 * box["width"], "y": 0.316 * box["height"]})
        before, now = now, settled(figure, unlike=now)
    return _shot(page.locator(".feelvos-explorer"))


def painter_picture(page: Page) -> Image.Image:
    """The painter with two painted objects, and the result in a later frame."""
    figure = canvas_of(page, "feelvos-painter")
    before = settled(figure)
    number = page.locator(".feelvos-painter input[type=number]").first
    bunny = [(0.24, 0.45, 0.65), (0.28, 0.45, 0.7), (0.32, 0.45, 0.7), (0.36, 0.45, 0.62)]
    stone = [(0.09, 0.6, 0.62), (0.12, 0.6, 0.67), (0.145, 0.66, 0.68)]
    paint(page, figure, bunny)
    number.fill("2")
    number.press("Enter")
    paint(page, figure, stone)
    settled(figure, unlike=before)
    page.locator(".feelvos-painter .jupyter-button", has_text="propagate").click()
    finished(page, "frames are segmented")
    last = settled(figure)
    page.locator(".feelvos-painter .noUi-handle").last.focus()
    page.keyboard.press("Home")
    for _ in range(8):  # to a frame whose true mask is known
        page.keyboard.press("ArrowRight")
    said(page, "Frame 8 of “bunny”")
    settled(figure, unlike=last)
    return _shot(page.locator(".feelvos-painter"))


def main(folder: Path) -> int:
    if reason := why_no_browser():
        print(reason, file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as desk, opened_browser() as browser:
        shutil.copy(NOTEBOOKS / "app.ipynb", desk)
        with voila(Path(desk)) as address:
            page = open_page(browser, address, width=760)
            for name, take in (("explorer", explorer_picture), ("painter", painter_picture)):
                path = folder / f"{name}.png"
                few_colours(take(page)).save(path, optimize=True)
                print(f"{path}: {path.stat().st_size} bytes")
                if path.stat().st_size > BYTES:
                    print(f"{path} must have at most {BYTES} bytes", file=sys.stderr)
                    return 1
    return 0


def _shot(widget: Locator) -> Image.Image:
    widget.page.mouse.move(0, 0)
    widget.page.evaluate("document.activeElement.blur()")
    return Image.open(io.BytesIO(widget.screenshot())).convert("RGB")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
