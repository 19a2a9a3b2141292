"""The page of one pixel's distances as people open it: a file in a real browser, on a laptop and on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from browser import NEEDS_BROWSER

from feelvos_lab.data.clip import Clip
from feelvos_lab.figures import style
from feelvos_lab.figures.explorable import Written, write_explorable
from feelvos_lab.figures.make_distance_maps import find_clips
from feelvos_lab.inference.probe import Probe, Switches
from feelvos_lab.model.checkpoint import load_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = NEEDS_BROWSER

FRAMES = (4, 9)
LAPTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
    "color_scheme": "dark",
}
NAMES = {1: "the first thing", 2: "the second thing"}


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Two objects, and a look-alike of each far away."""
    return find_clips(["doubles-1000000500"])[0].clip


@pytest.fixture(scope="module")
def probe(clip: Clip) -> Probe:
    return Probe(load_model("reduced"), clip)


@pytest.fixture(scope="module")
def written(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Written:
    path = tmp_path_factory.mktemp("page") / "page.html"
    return write_explorable(clip, path, model=load_model("reduced"), frames=FRAMES, names=NAMES)


@contextmanager
def opened(browser: Browser, path: Path, device: dict[str, object]) -> Iterator[Page]:
    """The page from its file, without a network; at the end it has requested and reported nothing."""
    context = browser.new_context(**device)
    context.set_offline(True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(path.as_uri())
    settle(page)
    yield page
    assert [words for words in said if not words.startswith("data:")] == [path.as_uri()]
    context.close()


def settle(page: Page) -> None:
    """Wait until both maps are drawn, and whatever was asked before."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    for name in ("global", "local"):
        page.locator(f'#{name} canvas[aria-busy="false"]').wait_for()


def read(page: Page) -> list[tuple[float, float]]:
    """The table: the global and the local map's value at the chosen pixel, for background and objects."""
    settle(page)
    rows = page.locator("#say tbody tr").all()
    return [tuple(float(cell) for cell in row.locator("td").all_inner_texts()[1:]) for row in rows]


def cell_of(page: Page) -> tuple[int, int]:
    settle(page)
    found = re.search(r"row (\d+), column (\d+)", page.locator("#now canvas").get_attribute("aria-label"))
    return int(found[1]) - 1, int(found[2]) - 1


def drawn(page: Page, name: str, grid: tuple[int, int]) -> np.ndarray:
    """The values of a distance map that the colours in the middle of its cells stand for: (h, w)."""
    colours = page.evaluate(
        """([name, h, w]) => {
          const canvas = document.querySelector(`#${name} canvas`), copy = canvas.cloneNode(), found = [];
          const pen = copy.getContext("2d", {willReadFrequently: true});
          pen.drawImage(canvas, 0, 0);
          const zoom = canvas.width / W, down = (H - 1) / (h - 1), across = (W - 1) / (w - 1);
          const image = pen.getImageData(0, 0, canvas.width, canvas.height);
          for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
            const i = Math.floor((y * down + 0.5) * zoom) * canvas.width + Math.floor((x * across + 0.5) * zoom);
            found.push([...image.data.slice(4 * i, 4 * i + 3)]);
          }
          return found;
        }""",
        [name, *grid],
    )
    scale = style.colour_scale("distance").to_rgba((np.arange(256) + 0.5) / 256, bytes=True)[:, :3].astype(int)
    nearest = np.abs(np.array(colours)[:, None] - scale).sum(2).argmin(1)
    return ((nearest + 0.5) / 256).reshape(grid)


def agree(page: Page, probe: Probe, bound: float, *, frame: int, switches: Switches | None = None) -> None:
    cues, (row, column) = probe.answer(frame, switches).cues, cell_of(page)
    for k, values in enumerate(read(page)):
        for value, networks in zip(values, (cues.global_map, cues.local_map), strict=True):
            assert value == pytest.approx(float(networks[k, row, column]), abs=bound + 0.0005)  # three decimals


@pytest.mark.parametrize("device", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_values_and_maps_are_the_librarys_to_the_stated_bound(
    browser: Browser, written: Written, probe: Probe, device: dict[str, object]
) -> None:
    with opened(browser, written.path, device) as page:
        assert f"at most {written.bound} away" in page.locator("#numbers").text_content()
        for frame in FRAMES:
            page.locator("#frames label", has_text=str(frame)).click()
            canvas = page.locator("#now canvas")
            canvas.scroll_into_view_if_needed()
            seen = set()
            for x, y in ((0.02, 0.03), (0.5, 0.5), (0.3, 0.7), (0.98, 0.97)):
                box = canvas.bounding_box()
                position = {"x": x * box["width"], "y": y * box["height"]}
                canvas.tap(position=position) if device is PHONE else canvas.hover(position=position)
                row, column = cell_of(page)
                assert abs(row / (probe.grid[0] - 1) - y) < 0.1 and abs(column / (probe.grid[1] - 1) - x) < 0.1
                agree(page, probe, written.bound, frame=frame)
                seen.add((row, column))
            assert len(seen) == 4
            cues = probe.answer(frame).cues
            for k in range(3):
                page.locator("#say tbody label").nth(k).click()
                settle(page)
                for name, networks in (("global", cues.global_map), ("local", cues.local_map)):
                    difference = np.abs(drawn(page, name, probe.grid) - networks[k].numpy())
                    inside = np.ones(probe.grid, dtype=bool)
                    inside[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = False  # under the cross
                    assert difference[inside].max() <= written.bound + 1 / 256  # 256 colours


def test_arrow_keys_move_the_pixel_and_a_wider_window_changes_the_local_map(
    browser: Browser, written: Written, probe: Probe
) -> None:
    with opened(browser, written.path, LAPTOP) as page:
        page.locator("#now canvas").focus()
        before = cell_of(page)
        for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", "Shift+ArrowRight"):
            page.keyboard.press(key)
        assert cell_of(page) == (before[0] - 1, before[1] + 3)
        agree(page, probe, written.bound, frame=FRAMES[-1])
        trained = probe.trained
        page.locator("#radius").focus()
        for key, radius in (("Home", 0), ("ArrowRight", 1)):
            page.keyboard.press(key)
            agree(page, probe, written.bound, frame=FRAMES[-1], switches=Switches("global", "local", True, radius))
        page.keyboard.press("End")  # the whole frame
        everywhere = Switches("global", "global", True, trained.radius)
        agree(page, probe, written.bound, frame=FRAMES[-1], switches=everywhere)
        assert page.locator("#radius-text").text_content() == "the whole frame"


def test_without_a_cue_the_map_says_1_and_the_answer_is_that_of_the_network(
    browser: Browser, written: Written, probe: Probe
) -> None:
    frame, trained = FRAMES[-1], probe.trained
    names = ["the background", *NAMES.values()]
    with opened(browser, written.path, LAPTOP) as page:
        for cue, name in (("first", "global"), ("previous", "local"), ("mask", "")):
            page.locator(f"#use-{cue}").uncheck()
            switches = Switches(
                "none" if cue == "first" else trained.first_matching,
                "none" if cue == "previous" else trained.previous_matching,
                cue != "mask",
                trained.radius,
            )
            with_all, without = probe.answer(frame).labels, probe.answer(frame, switches).labels
            settle(page)
            rows, columns = ((torch.arange(n) * (side - 1) / (n - 1)).round().long() for n, side in
                             zip(probe.grid, with_all.shape, strict=True))  # fmt: skip
            changed = (with_all != without)[rows][:, columns].nonzero().tolist()
            assert changed, "the cue changes nothing here"
            for row, column in changed[:: max(1, len(changed) // 3)][:3]:
                go_to(page, probe, row, column)
                answer = names[int(without[rows[row], columns[column]])]
                assert page.locator("#verdict").inner_text().endswith(f"The network answers: {answer}.")
            if name:
                assert "off" in page.locator(f"#{name}-caption").inner_text()
                assert drawn(page, name, probe.grid)[:, :2].min() > 0.99
            page.locator(f"#use-{cue}").check()


def go_to(page: Page, probe: Probe, row: int, column: int) -> None:
    """Move the mouse to the middle of a cell."""
    box, (height, width), (h, w) = page.locator("#now canvas").bounding_box(), probe.size, probe.grid
    y, x = (row * (height - 1) / (h - 1) + 0.5) / height, (column * (width - 1) / (w - 1) + 0.5) / width
    page.locator("#now canvas").hover(position={"x": x * box["width"], "y": y * box["height"]})
    assert cell_of(page) == (row, column)


def test_a_look_alike_is_shown_that_the_global_map_takes_for_the_object_and_the_local_one_does_not(
    browser: Browser, written: Written, probe: Probe
) -> None:
    with opened(browser, written.path, PHONE) as page:
        page.locator("#look-alike").tap()
        page.get_by_text("✚ is held").wait_for()
        row, column = cell_of(page)
        cues, labels = probe.answer(FRAMES[-1]).cues, probe.answer(FRAMES[-1]).labels
        assert float(cues.local_map[1, row, column] - cues.global_map[1, row, column]) > 0.2 - 2 * written.bound
        assert int(labels[4 * row, 4 * column]) != 1
        page.locator("#look-alike").scroll_into_view_if_needed()
        assert page.locator("#now canvas").bounding_box()["y"] >= 0  # it stays in sight on a phone


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_nothing_is_wider_than_the_screen_and_every_picture_has_words(
    browser: Browser, written: Written, width: int
) -> None:
    device = {"viewport": {"width": width, "height": 800}, "color_scheme": "dark" if width == 390 else "light"}
    with opened(browser, written.path, device) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        labels = [canvas.get_attribute("aria-label") for canvas in page.locator("canvas").all()]
        assert len(labels) == 8 and all(labels) and any("the first thing" in label for label in labels)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(22, 24, 27)" if width == 390 else "rgb(255, 255, 255)")
        for control in page.locator("input, button").all():
            box = control.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
