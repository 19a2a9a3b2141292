"""Take the README's pictures of the explorer and the painter, from the page without code, in a real browser.

python tests/screenshots.py FOLDER
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from browser import NOTEBOOKS, PATIENCE, canvas_of, open_page, opened_browser, paint, settled, voila, why_no_browser
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BYTES = 200_000


def explorer_picture(page: Page) -> Image.Image:
    """The explorer, looking at a cell of the object's double, which the global map takes for the object."""
    figure = canvas_of(page, "feelvos-explorer")
    before = settled(figure)
    box = figure.bounding_box()
    figure.click(position={"x": 0.76 * box["width"], "y": 0.33 * box["height"]})
    settled(figure, unlike=before)
    return _shot(page.locator(".feelvos-explorer"))


def painter_picture(page: Page) -> Image.Image:
    """The painter with two painted objects, and the result in a later frame."""
    figure = canvas_of(page, "feelvos-painter")
    before = settled(figure)
    number = page.locator(".feelvos-painter input[type=number]")
    paint(page, figure, [(x, 0.3, 0.6) for x in (0.7, 0.75, 0.8, 0.85)])
    number.fill("2")
    number.press("Enter")
    paint(page, figure, [(x, 0.52 + 0.4 * (0.22 - x), 0.78 - 0.6 * (x - 0.1)) for x in (0.1, 0.14, 0.18, 0.22)])
    settled(figure, unlike=before)
    page.locator(".feelvos-painter .jupyter-button", has_text="propagate").click()
    page.get_by_text("frames are segmented").wait_for(timeout=PATIENCE)
    settled(canvas_of(page, "feelvos-painter", 1))
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
                take(page).quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)
                print(f"{path}: {path.stat().st_size} bytes")
                if path.stat().st_size > BYTES:
                    print(f"{path} must have at most {BYTES} bytes", file=sys.stderr)
                    return 1
    return 0


def _shot(widget: Locator) -> Image.Image:
    widget.page.mouse.move(0, 0)
    return Image.open(io.BytesIO(widget.screenshot())).convert("RGB")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
