"""The widgets in JupyterLab's dark theme, in a real browser: texts and figures can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

from browser import (
    NEEDS_BROWSER,
    NOTEBOOKS,
    canvas_of,
    cells_in,
    contrast,
    faint_texts,
    jupyterlab,
    open_notebook,
    opened_browser,
    run_all,
    settled,
)
from painter_page import press, said

pytestmark = NEEDS_BROWSER


def test_all_is_readable_in_the_dark_theme(tmp_path: Path) -> None:
    shutil.copy(NOTEBOOKS / "app.ipynb", tmp_path)
    with opened_browser() as browser, jupyterlab(tmp_path, theme="JupyterLab Dark") as address:
        notebook = open_notebook(browser, address, "app.ipynb")
        notebook.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
        run_all(notebook, cells=cells_in("app"))
        explorer = canvas_of(notebook, "feelvos-explorer")
        settled(explorer)
        notebook.get_by_text("Keys, after a click").click()
        press(notebook, "propagate")
        said(notebook, "⚠ the first mask is empty")
        assert faint_texts(notebook.locator(".feelvos-painter")) == []
        press(notebook, "given mask")
        said(notebook, "this mask came with the video")
        press(notebook, "propagate")
        press(notebook, "stop")  # once it is called so
        said(notebook, "frames are segmented")
        press(notebook, "browse")
        for widget in ("feelvos-explorer", "feelvos-painter"):
            assert faint_texts(notebook.locator(f".{widget}")) == []
        strip = canvas_of(notebook, "feelvos-painter", 1)
        for figure, top, bottom in ((explorer, 0, 0.06), (strip, 0.8, 1)):  # its heading; the name of its axis
            picture = settled(figure)
            height = len(picture)
            assert contrast(picture[int(top * height) : int(bottom * height)]) > 4.5
        notebook.close()
