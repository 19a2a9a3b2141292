"""A real browser on servers that are started for the test: JupyterLab, and Voilà; all on this computer alone.

The browser is Debian's chromium (`apt-get install chromium`), or the one that FEELVOS_CHROMIUM names; Playwright drives
it, and brings none of its own.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PATIENCE = 1000 * int(os.environ.get("FEELVOS_PATIENCE", "150"))  # milliseconds for what a page must show
_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


def why_no_browser() -> str:
    """Why nothing can be tested in a browser here; empty where it can."""
    from importlib.util import find_spec

    if find_spec("playwright") is None:
        return "no browser: the package playwright is not installed (it comes with the extra [dev])"
    if not chromium():
        return "no browser: install chromium, or name one in FEELVOS_CHROMIUM"
    return ""


def chromium() -> str:
    """The browser's path, or nothing."""
    return os.environ.get("FEELVOS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""


# The `pytestmark` of files whose tests need one.
NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "there is one"),
]


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def jupyterlab(desk: Path, *, theme: str = "JupyterLab Light") -> Iterator[str]:
    """The address of a JupyterLab on a folder, as `feelvos-lab start` opens it, without its question about news."""
    settings = desk / ".settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "{theme}"}}')
    port = free_port()
    command = ["jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={desk}"]
    with _serving(command, desk, f"http://127.0.0.1:{port}/api/status"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def voila(desk: Path) -> Iterator[str]:
    """The address of the page without code, token and all, as `make app` prints it."""
    port = free_port()
    command = [
        "feelvos_lab",
        "app",
        "--no-browser",
        "--port",
        str(port),
        "--notebook",
        str(desk / "app.ipynb"),
    ]
    with _serving(command, desk, f"http://127.0.0.1:{port}/voila/static/") as log:
        yield re.search(rf"http://127\.0\.0\.1:{port}/\?token=\w+", log.read_text())[0]


@contextmanager
def _serving(command: list[str], desk: Path, answering: str) -> Iterator[Path]:
    folders = {f"JUPYTER_{name}_DIR": str(desk / f".{name.lower()}") for name in ("CONFIG", "DATA", "RUNTIME")}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": str(desk / ".settings"), "JUPYTERLAB_WORKSPACES_DIR": str(desk / ".spaces")}
    folders["OMP_NUM_THREADS"] = "1"  # where other programs run, a second thread waits for its turn most of the time
    log = desk / f"{command[0]}.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=desk, env=os.environ | folders, stdout=output, stderr=output
        )
        try:
            _wait_for(answering, server, log)
            yield log
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except urllib.error.HTTPError as answer:  # it answers, if only with a refusal
            answer.close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text()[-3000:]}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_page(browser: Browser, address: str, *, width: int = 1400) -> Page:
    """Any page, as soon as it answers: Voilà's is complete only when the last cell has run."""
    page = browser.new_page(viewport={"width": width, "height": 1400})
    page.set_default_timeout(PATIENCE)
    page.goto(address, wait_until="commit")
    return page


def open_notebook(browser: Browser, address: str, name: str) -> Page:
    """A notebook in JupyterLab, its kernel ready."""
    page = open_page(browser, f"{address}/lab/workspaces/{Path(name).stem}/tree/{name}")

    def accept(dialog: Locator) -> None:
        print(f"JupyterLab asks: {dialog.inner_text()}")
        dialog.locator(".jp-mod-accept").click()

    page.add_locator_handler(page.locator("dialog.jp-Dialog"), accept)
    page.wait_for_selector(".jp-Notebook", timeout=PATIENCE)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached", timeout=PATIENCE)
    return page


def cells_in(name: str) -> int:
    return len(json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"])


def run_all(page: Page, *, cells: int) -> None:
    """Shift+Enter from the first cell to the last, as one does by hand, once the kernel answers.

    What is sent while JupyterLab still connects to its kernel gets lost, so the first code cell is tried first.
    """
    first = page.locator(".jp-CodeCell").first
    for _ in range(30):
        first.locator(".jp-InputPrompt").first.click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(1500)
        if any(digit.isdigit() for digit in first.locator(".jp-InputPrompt").first.inner_text()):
            break
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Escape")
    for _ in range(cells):
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(50)


def canvas_of(page: Page, widget: str, number: int = 0) -> Locator:
    """The figure inside a widget; ipympl lays a second canvas over it, for rubber bands."""
    figure = page.locator(f".{widget} .jupyter-matplotlib-canvas-div").nth(number)
    figure.wait_for(timeout=PATIENCE)
    figure.scroll_into_view_if_needed()
    return figure


def paint(page: Page, figure: Locator, strokes: list[tuple[float, float, float]]) -> None:
    """Draw downwards with the mouse: x, and y from and to, as shares of the figure's width and height."""
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    for x, top, bottom in strokes:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + top * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + x * box["width"], box["y"] + bottom * box["height"], steps=8)
        page.mouse.up()


def pixels(figure: Locator) -> np.ndarray:
    """What the figure shows: (height, width, 3). Left out is its rim, where the browser rings what has the focus.

    A figure is drawn at whole pixels wherever it lies, so that pictures of one size agree when the page has scrolled.
    """
    rim = 6
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    clip = {side: round(box[side]) + rim for side in ("x", "y")}
    clip |= {side: round(box[side]) - 2 * rim for side in ("width", "height")}
    return np.array(Image.open(io.BytesIO(figure.page.screenshot(clip=clip))).convert("RGB")).astype(int)


def settled(figure: Locator, *, unlike: np.ndarray | None = None) -> np.ndarray:
    """The figure once it no longer changes, and, where another picture is given, once it differs from that.

    While the kernel is busy, a canvas that was made wider shows the old picture, and nothing on its right.
    """
    before, deadline = pixels(figure), time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        time.sleep(0.4)
        now = pixels(figure)
        drawn = now[:, -(now.shape[1] // 4) :].std() > 1
        if np.array_equal(now, before) and drawn and (unlike is None or not _alike(now, unlike)):
            return now
        before = now
    raise AssertionError("the figure did not change, or never came to rest")


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and int((np.abs(a - b).max(2) > 24).sum()) < 30


# Of each element with a text of its own: the contrast of its colour with what lies behind it, by WCAG 2.
_CONTRAST = """
root => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = rgb => {
    const [r, g, b] = rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (above, below) => [0, 1, 2].map(i => (above[3] ?? 1) * above[i] + (1 - (above[3] ?? 1)) * below[i]);
  const behind = element => {
    if (!element) return [255, 255, 255];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own.length === 3 ? own : over(own, behind(element.parentElement));
  };
  const faint = [];
  for (const element of root.querySelectorAll('*')) {
    const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent.trim()).join(' ').trim();
    if (!text || !element.getClientRects().length || element.closest(':disabled')) continue;
    const back = behind(element), front = over(parse(getComputedStyle(element).color), back);
    const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) faint.push(`${text.slice(0, 60)}: ${ratio.toFixed(1)}`);
  }
  return faint;
}
"""


def faint_texts(part: Locator) -> list[str]:
    """Texts in a part of the page whose contrast is below 4.5, with it; those of disabled controls are left out."""
    return part.evaluate(_CONTRAST)


def contrast(picture: np.ndarray) -> float:
    """Of what stands out most in a picture (height, width, 3) with its most frequent colour, by WCAG 2."""
    parts = picture.reshape(-1, 3) / 255
    light = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    values, counts = np.unique(light, return_counts=True)
    ground = values[counts.argmax()] + 0.05
    return float(max((values.max() + 0.05) / ground, ground / (values.min() + 0.05)))
