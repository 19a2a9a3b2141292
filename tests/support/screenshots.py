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

from browser import NOTEBOOKS, PATIENCE, canvas_of, open_page, opened_browser, paint, settled, voila, why_no_browser
from few_colours import few_colours
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BYTES = 200_000


def explorer_picture(page: Page) -> Image.Image:
    """The explorer, looking at background that resembles an object: near in frame 0, and not in the window."""
    figure = canvas_of(page, "feelvos-explorer")
    before = settled(figure)
    box = figure.bounding_box()
    figure.click(position={"x": 0.767 * box["width"], "y": 0.179 * box["height"]})
    settled(figure, unlike=before)
    return _shot(page.locator(".feelvos-explorer"))


def painter_picture(page: Page) -> Image.Image:
    """The painter with two painted objects, and the result in a later frame."""
    figure = canvas_of(page, "feelvos-painter")
    before = settled(figure)
    number = page.locator(".feelvos-painter input[type=number]")
    blue = [(0.71, 0.3, 0.42), (0.75, 0.26, 0.5), (0.8, 0.24, 0.58), (0.85, 0.24, 0.58), (0.89, 0.34, 0.52)]
    chequered = [(0.1, 0.47, 0.62), (0.15, 0.43, 0.61), (0.2, 0.38, 0.54), (0.25, 0.31, 0.52), (0.28, 0.3, 0.47)]
    paint(page, figure, blue)
    number.fill("2")
    number.press("Enter")
    paint(page, figure, chequered)
    settled(figure, unlike=before)
    page.locator(".feelvos-painter .jupyter-button", has_text="propagate").click()
    page.get_by_text("frames are segmented").wait_for(timeout=PATIENCE)
    last = settled(figure)
    page.locator(".feelvos-painter .noUi-handle").last.focus()
    page.keyboard.press("Home")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
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
