"""The painter in a page: its buttons, its status, and files from the computer that shows the page."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from browser import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page


def press(page: Page, name: str) -> None:
    """Click a button of the painter."""
    page.locator(".feelvos-painter .jupyter-button", has_text=re.compile(f"^{name}$")).click()


def said(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait until the painter says this."""
    from playwright.sync_api import TimeoutError as NotSaid

    painter = page.locator(".feelvos-painter")
    try:
        painter.get_by_text(text).first.wait_for(timeout=PATIENCE)
    except NotSaid as error:
        raise AssertionError(f"the painter says {painter.inner_text()!r}, and {text!r} was expected") from error


def finished(page: Page, text: str) -> None:
    """Wait until the painter's status holds this, for as long as it keeps changing."""
    status = page.locator(".feelvos-painter [role=status]").first
    before, since = "", time.monotonic()
    while time.monotonic() - since < PATIENCE / 1000:
        now = status.inner_text()
        if text in now:
            return
        if now != before:
            before, since = now, time.monotonic()
        page.wait_for_timeout(200)
    raise AssertionError(f"the painter says {before!r}, and {text!r} was expected")


def upload(page: Page, *paths: Path) -> None:
    """Choose files with the painter's button."""
    with page.expect_file_chooser() as chooser:
        page.locator(".feelvos-painter .jupyter-button", has_text="upload").click()
    chooser.value.set_files(paths)
