"""Slides of a lesson: its questions, its figures with their answers, its closing questions; one file, no script from
another host. A browser prints them as PDF, a slide a page."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from mathml import mathml
from mdit_py_plugins.dollarmath import dollarmath_plugin

from feelvos_lab.files.notebooks import source

PAGE = Path(__file__).with_name("slides.html").read_text(encoding="utf-8")
_markdown = MarkdownIt("commonmark").enable("table")
_markdown.use(dollarmath_plugin, renderer=lambda tex, options: mathml(tex, display=options["display_mode"]))


def slides(name: str, notebook: dict[str, Any]) -> str:
    """The HTML page of an executed lesson's slides, figures included."""
    shown: list[str] = []
    asked: list[str] = []  # the texts since the last answer
    drawn: list[dict[str, Any]] = []  # what the code since the question printed and drew
    for cell in notebook["cells"]:
        text = source(cell)
        if cell["cell_type"] == "code":
            drawn += cell["outputs"] if asked and not cell["id"].startswith("ex-") else []
        elif "**What happened.**" in text:
            shown += [_slide(*asked), _answer(_figures(drawn), text)]
            asked, drawn = [], []
        elif cell["id"] in ("header", "questions"):
            shown.append(_slide(text))
        elif cell["id"] != "further" and not text.startswith("### Exercise"):
            asked.append(text)
    page = re.sub(r'href="(\w+)\.(?:md|ipynb)', r'href="../notebooks/\1.html', "\n".join(shown))
    title = source(notebook["cells"][0]).splitlines()[0].removeprefix("# ")
    return PAGE.replace("TITLE", escape(f"{name[:2]} · {title}")).replace("SLIDES", page)


def _slide(*texts: str) -> str:
    return f"<section>{''.join(_markdown.render(text) for text in texts)}</section>"


def _answer(figures: str, text: str) -> str:
    return f'<section class="answer"><div>{figures}</div><div>{_markdown.render(text)}</div></section>'


def _figures(outputs: list[dict[str, Any]]) -> str:
    """Pictures and tables; where there are none, what was printed."""
    data = [output["data"] for output in outputs if "data" in output]
    parts = [_figure(d) for d in data if "image/png" in d or "text/html" in d]
    printed = [source({"source": output["text"]}) for output in outputs if output.get("name") == "stdout"]
    return "".join(parts) or f"<pre>{escape(''.join(printed))}</pre>"


def _figure(data: dict[str, Any]) -> str:
    if "image/png" in data:
        coded = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="Figure of the lesson" src="data:image/png;base64,{coded}">'
    return "".join(data["text/html"])
