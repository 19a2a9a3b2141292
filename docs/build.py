"""Build the book: python docs/build.py [--only LESSON …] [--reuse] [--out FOLDER]

Copies of the lessons are executed, two at a time with one thread each, and rendered by Sphinx with the experiments'
reports and a page of the public names. Warnings, and links that lead nowhere, end the build with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from api_page import api_page
from lesson_pages import lesson_page
from links import broken_links
from slides import slides

from feelvos_lab.figures.explorable import write_explorable
from feelvos_lab.files.notebooks import read_notebook
from feelvos_lab.lessons.cost import stated

DOCS = Path(__file__).resolve().parent
PROJECT = DOCS.parent
LESSONS = sorted(path.stem for path in (PROJECT / "notebooks").glob("[0-9]*.ipynb"))
TEXTS = ("notebooks/README.md", "notebooks/symbols.md", "feelvos_lab/README.md", "experiments/README.md")
TEXTS += ("experiments/benchmarks/README.md",)
LINK = re.compile(r"\]\(([^)#\s]+)")


def execute(name: str, done: Path) -> None:
    """Run a copy of a lesson in an empty folder, as a student would, on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "done.ipynb"
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR", "--cwd", folder]
        command += [str(PROJECT / "notebooks" / f"{name}.ipynb"), str(written)]
        ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        if ended.returncode:
            raise SystemExit(f"lesson {name} must run from its first cell to its last:\n{ended.stderr[-3000:]}")
        shutil.copy(written, done)


def copy_with_links(text: Path, source: Path, *, as_if: Path) -> None:
    """A Markdown file, at the place below `source` that `as_if` has in the project, with the files that it links to."""
    for path in (as_if, *((as_if.parent / link).resolve() for link in LINK.findall(text.read_text(encoding="utf-8")))):
        if path == as_if or (path.is_file() and path.suffix != ".md" and path.is_relative_to(PROJECT)):
            target = source / path.relative_to(PROJECT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text if path == as_if else path, target)


def write_sources(lessons: list[str], out: Path) -> Path:
    """The folder that Sphinx reads, laid out as the project is, so that relative links hold."""
    source = out / "source"
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    for name in ("index.md", "teachers.md"):
        copy_with_links(DOCS / name, source, as_if=PROJECT / name)
    (source / "api.md").write_text(api_page(), encoding="utf-8")
    for text in (*(PROJECT / name for name in TEXTS), *(PROJECT / "experiments" / "results").glob("*/report.md")):
        copy_with_links(text, source, as_if=text)
    for name in lessons:
        page = lesson_page(name, read_notebook(out / "executed" / f"{name}.ipynb"), explorable="../explorable.html")
        (source / "notebooks" / f"{name}.ipynb").write_text(json.dumps(page), encoding="utf-8")
    return source


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=LESSONS, default=LESSONS, metavar="LESSON", help="leave out others"
    )
    parser.add_argument("--reuse", action="store_true", help="do not execute what an earlier build executed")
    parser.add_argument("--out", type=Path, default=PROJECT / "build" / "book", metavar="FOLDER")
    given = parser.parse_args()
    out, started = given.out.resolve(), time.monotonic()
    executed, site = out / "executed", out / "site"
    executed.mkdir(parents=True, exist_ok=True)
    waiting = [name for name in given.only if not (given.reuse and (executed / f"{name}.ipynb").exists())]
    waiting.sort(
        key=lambda name: -stated(PROJECT / "notebooks" / f"{name}.ipynb").compute
    )  # else the longest ends last
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: execute(name, executed / f"{name}.ipynb"), waiting))
    ran = time.monotonic() - started

    source = write_sources(given.only, out)
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html"]
    command += ["-c", str(DOCS), "-d", str(out / "doctrees"), str(source), str(site)]
    if subprocess.run(command).returncode:
        return 1
    write_explorable(None, site / "explorable.html")  # of the sample video
    (site / "slides").mkdir()
    for name in given.only:
        page = slides(name, read_notebook(executed / f"{name}.ipynb"))
        (site / "slides" / f"{name}.html").write_text(page, encoding="utf-8")
    if broken := broken_links(site):
        print("\n".join(broken), file=sys.stderr)
        return 1
    pages = len(list(site.rglob("*.html")))
    print(f"{site}/index.html: {pages} pages in {time.monotonic() - started:.0f} s, {ran:.0f} of them for the lessons")
    return 0


if __name__ == "__main__":
    sys.exit(main())
