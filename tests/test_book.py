"""The book: its pages are made from the notebooks as they are, and its site opens on screens wide and narrow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from browser import PATIENCE, opened_browser, why_no_browser
from lesson_runs import EXERCISES

from feelvos_lab.files.notebooks import read_notebook, source
from feelvos_lab.lessons.cost import stated

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

reason = "the book's packages are not installed: pip install -e '.[book]', or make book"
pytest.importorskip("myst_nb", reason=reason)
pytest.importorskip("latex2mathml", reason=reason)

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = PROJECT / "notebooks"
LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb"))
FORMULA = re.compile(r"(\$\$?)([^$]+)\1")


@pytest.fixture(autouse=True)
def docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "docs"))


def page_of(name: str) -> list[dict[str, Any]]:
    from lesson_pages import lesson_page

    return lesson_page(name, read_notebook(NOTEBOOKS / f"{name}.ipynb"), explorable="../explorable.html")["cells"]


@pytest.mark.parametrize("name", LESSONS)
def test_exactly_the_code_between_a_question_and_its_answer_is_folded(name: str) -> None:
    folded = {cell["id"] for cell in page_of(name) if "hide-output" in cell["metadata"].get("tags", [])}
    between: set[str] = set()
    text = "".join(
        f"\0{cell['id']}\0" if cell["cell_type"] == "code" and "guess(" not in source(cell) else source(cell)
        for cell in read_notebook(NOTEBOOKS / f"{name}.ipynb")["cells"]
        if not cell["id"].startswith("ex-")
    )
    for beat in re.findall(r"\*\*Predict\.\*\*(.*?)\*\*What happened\.\*\*", text, re.DOTALL):
        between |= set(re.findall(r"\0(.+?)\0", beat))
    assert folded == between and folded


@pytest.mark.parametrize("name", LESSONS)
def test_an_exercise_is_a_stub_followed_by_its_four_hints(name: str) -> None:
    cells = page_of(name)
    given = [after["source"] for cell, after in pairwise(cells) if cell["id"].startswith("ex-")]
    assert len(given) == len(EXERCISES.get(name, []))
    assert all(text.count("<details><summary>Hint ") == 4 for text in given)


def test_the_explorable_stands_in_the_lessons_that_explain_the_maps() -> None:
    embedded = {name for name in LESSONS if any("<iframe " in source(cell) for cell in page_of(name))}
    assert embedded == {"00_start_here", "03_global_matching", "04_local_matching"}


def test_pages_leave_the_notebook_as_it_was() -> None:
    from lesson_pages import lesson_page

    notebook = read_notebook(NOTEBOOKS / "03_global_matching.ipynb")
    before = json.dumps(notebook)
    lesson_page("03_global_matching", notebook)
    assert json.dumps(notebook) == before


def test_every_formula_of_the_lessons_can_be_drawn() -> None:
    from mathml import mathml

    texts = [(NOTEBOOKS / "symbols.md").read_text(encoding="utf-8")]
    for name in LESSONS:
        cells = read_notebook(NOTEBOOKS / f"{name}.ipynb")["cells"]
        texts += [source(cell) for cell in cells if cell["cell_type"] == "markdown"]
    formulas = [found for text in texts for found in FORMULA.findall(text)]
    assert len(formulas) > 50
    for dollars, tex in formulas:
        assert mathml(tex, display=len(dollars) == 2).startswith("<math")
    with pytest.raises(ValueError, match="must have commands that latex2mathml knows"):
        mathml(r"\nosuch x", display=False)


def test_slides_show_each_question_and_then_its_figure_with_the_answer() -> None:
    from slides import slides

    name = "00_start_here"
    notebook = read_notebook(NOTEBOOKS / f"{name}.ipynb")
    for cell in notebook["cells"]:
        if cell["id"] == "clip":
            cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0KGgo="}}]
        if cell["id"] == "match":
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1 < 2\n"]}]
    page = slides(name, notebook)
    shown = page.split("<section")[1:]
    answers = [number for number, slide in enumerate(shown) if "What happened." in slide]
    assert len(answers) == sum("**What happened.**" in source(cell) for cell in notebook["cells"])
    assert all("Predict." in shown[number - 1] and "What happened." not in shown[number - 1] for number in answers)
    assert "<pre>1 &lt; 2\n</pre>" in shown[answers[0]] and "data:image/png;base64,iVBORw0KGgo=" in shown[answers[1]]
    assert "http" not in re.sub(r'xmlns="[^"]+"', "", page)


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    from links import broken_links

    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a> <a href="https://example.org">elsewhere</a>')
    (tmp_path / "b.html").write_text('<p id="here"><a href="#here">up</a> <img src="data:image/png;base64,AA"></p>')
    assert broken_links(tmp_path) == []
    (tmp_path / "a.html").write_text('<a href="b.html#there">b</a><a href="c.html">c</a>')
    (tmp_path / "b.html").write_text('<script src="https://example.org/x.js"></script>')
    assert broken_links(tmp_path) == [
        "a.html links to b.html#there, and there is no such anchor",
        "a.html links to c.html, and there is no such file",
        "b.html loads https://example.org/x.js from another host",
    ]


def test_each_public_name_has_one_place_on_the_page_of_the_library() -> None:
    from api_page import api_page
    from test_examples import PUBLIC

    listed = re.findall(r"^\.\. auto\w+:: (\S+)$", api_page(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    names = [path.rpartition(".")[2] for path in listed if not path.startswith("feelvos_lab.lab.")]
    assert sorted(names) == sorted(PUBLIC)


def test_a_session_of_the_teachers_plans_is_no_longer_than_it_says() -> None:
    text = (PROJECT / "docs" / "teachers.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if re.match(r"\| \d · ", line)]
    assert len(rows) == 2 + 6
    assert sorted(re.findall(r"`(\d\d_\w+)`", str(rows[2:]))) == LESSONS
    for names in (re.findall(r"`(\d\d_\w+)`", row[2]) for row in rows):
        assert sum(stated(NOTEBOOKS / f"{name}.ipynb").minutes for name in names) <= 90, names


def test_the_workflow_publishes_what_make_book_builds_and_may_do_no_more() -> None:
    workflow = yaml.load((PROJECT / ".github" / "workflows" / "book.yml").read_text(), yaml.BaseLoader)
    assert workflow["on"] == {"push": {"branches": ["main"]}} and workflow["permissions"] == {"contents": "read"}
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert [step["run"] for step in build["steps"] if "run" in step] == ["make book"] and "permissions" not in build
    assert build["steps"][-1]["with"]["path"] == "build/book/site"
    assert publish["permissions"] == {"pages": "write", "id-token": "write"} and publish["needs"] == "build"
    used = [step["uses"] for job in (build, publish) for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)


# The site, built once: as `make book` does, or as the folder holds it that FEELVOS_BOOK names.

PAGES = ("index", "notebooks/03_global_matching", "notebooks/symbols", "experiments/results/factors/report", "api")
PAGES += ("experiments/README", "teachers")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if missing := why_no_browser():
        pytest.skip(missing)
    site = os.environ.get("FEELVOS_BOOK", "")
    if not site:
        out = tmp_path_factory.mktemp("book")
        command = [sys.executable, str(PROJECT / "docs" / "build.py"), "--out", str(out)]
        built = subprocess.run(command, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr[-3000:]
        assert "WARNING" not in built.stderr
        site = str(out / "site")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


def open_in(browser: Browser, *, width: int, scheme: str = "light", problems: list[str]) -> Page:
    """A page that notes errors and requests to other hosts in `problems`."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith(("http://127.0.0.1", "data:")) else problems.append(r.url))
    return page


LEAST_CONTRAST = """() => {
  const light = (c) => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0.9) return c.slice(0, 3);
  } return [255, 255, 255]; };
  const found = [...document.querySelectorAll("article :is(p, li, td, th, pre, summary, h1, h2, h3)")].map(e => {
    const [a, b] = [light(parse(getComputedStyle(e).color).slice(0, 3)), light(behind(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 200)];
  });
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_kind_of_page_fits_and_is_legible(address: str, browser: Browser, width: int, scheme: str) -> None:
    problems: list[str] = []
    page = open_in(browser, width=width, scheme=scheme, problems=problems)
    for name in PAGES:
        page.goto(f"{address}/{name}.html")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.evaluate("Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode())))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        contrast, element = page.evaluate(LEAST_CONTRAST)
        assert contrast >= 4.5, (name, contrast, element)
        red, green, blue = map(
            int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
        )
        assert (red + green + blue > 600) == (scheme == "light"), name
    assert problems == []
    page.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1500)
def test_an_answer_is_folded_until_it_is_clicked(address: str, browser: Browser) -> None:
    problems: list[str] = []
    page = open_in(browser, width=390, problems=problems)
    page.goto(f"{address}/notebooks/00_start_here.html")
    folded = page.locator("details.hide.below-input").filter(has=page.locator("img"))
    figures = folded.locator("img")
    assert folded.count() >= 3 and not any(figure.is_visible() for figure in figures.all())
    folded.nth(1).locator("summary").click()
    shown = folded.nth(1).locator("img").first
    assert shown.is_visible() and shown.evaluate("i => i.naturalWidth") > 300
    assert not folded.nth(2).locator("img").first.is_visible()
    assert problems == []
    page.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1500)
def test_the_search_finds_a_lesson_and_slides_move_by_keys(address: str, browser: Browser) -> None:
    problems: list[str] = []
    page = open_in(browser, width=1280, problems=problems)
    page.goto(f"{address}/search.html?q=window")
    page.locator("ul.search li a[href*='04_local_matching']").first.wait_for()
    page.goto(f"{address}/notebooks/03_global_matching.html")
    page.locator(".slides a").click()
    assert page.locator("section").count() >= 12
    page.keyboard.press("ArrowRight")
    page.wait_for_function("Math.abs(document.querySelectorAll('section')[1].getBoundingClientRect().top) < 2")
    assert problems == []
    page.close()
