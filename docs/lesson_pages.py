"""A lesson as a page of the book: its executed notebook with folded answers, hints and, in some, the explorable."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from feelvos_lab.files.notebooks import source
from feelvos_lab.lessons.checks import LESSONS, find_exercise

HINTS = ("a nudge", "the formula", "a skeleton", "the code")
EXPLORABLE = {  # lesson → the cell after which the explorable stands
    "00_start_here": "after-cues",
    "03_global_matching": "after-clip",
    "04_local_matching": "after-radius",
}

Cell = dict[str, Any]


def lesson_page(name: str, notebook: dict[str, Any], *, explorable: str = "") -> dict[str, Any]:
    """The notebook of a lesson as MyST-NB shows it.

    Outputs between a question (**Predict.**) and its answer (**What happened.**) are folded, except for that of a
    guess, which tells nothing. So are an exercise's hints, which follow its stub. Below the header is a link to slides.

    Args:
        explorable: address of the page to embed where `EXPLORABLE` names the lesson; empty for none.
    """
    cells: list[Cell] = []
    asked = False
    for cell in notebook["cells"]:
        text = source(cell)
        if cell["cell_type"] == "markdown":
            asked = ("**Predict.**" in text) or (asked and "**What happened.**" not in text)
        elif asked and not cell["id"].startswith(("ex-", "guess-")):
            cell = cell | {"metadata": cell["metadata"] | {"tags": [*cell["metadata"].get("tags", []), "hide-output"]}}
        cells.append(cell)
        if cell["id"] == "header":
            cells.append(_html("slides", f'<a href="../slides/{name}.html">Slides of this lesson</a>', kind="slides"))
        cells += [_hints(exercise) for exercise in LESSONS if f'@exercise("{exercise}")' in text]
        if explorable and EXPLORABLE.get(name) == cell["id"]:
            cells.append(_explorable(explorable))
    metadata = {key: value for key, value in notebook["metadata"].items() if key in ("kernelspec", "language_info")}
    return notebook | {"cells": cells, "metadata": metadata}  # without papermill's notes, and without widgets' state


def _hints(exercise: str) -> Cell:
    task = find_exercise(exercise)
    texts = [re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(hint, quote=False)) for hint in task.hints]
    shown = [f"<{tag}>{text}</{tag}>" for tag, text in zip(("p", "p", "pre", "pre"), texts, strict=True)]
    texts = [
        f"<details><summary>Hint {level}: {what}</summary>{text}</details>"
        for level, (what, text) in enumerate(zip(HINTS, shown, strict=True), 1)
    ]
    return _html(f"hints-{exercise.replace('_', '-')}", "\n".join(texts), kind="hints")


def _explorable(address: str) -> Cell:
    text = (
        f'<iframe src="{address}" title="Explorable: distance maps of a clip" loading="lazy"></iframe>\n'
        f'<p><a href="{address}">The explorable on a page of its own</a></p>'
    )
    return _html("explorable", text, kind="explorable")


def _html(name: str, text: str, *, kind: str) -> Cell:
    block = f'```{{raw}} html\n<div class="{kind}">\n{text}\n</div>\n```'
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": block}
