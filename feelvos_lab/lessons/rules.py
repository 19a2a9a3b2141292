"""Lint rules for notebooks as they are committed, and for lessons: notebooks with a number in their name.

The cells of a lesson, in order: header, parameters, setup; then beats, each a question (**Predict.**), code and the
answer (**What happened.**), with up to three exercises between them; last five questions with folded answers and two
pointers. What a cell asks with `guess`, a later one answers with `reveal`.
"""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from feelvos_lab.errors import LabError
from feelvos_lab.files.notebooks import read_notebook, read_parameters, source
from feelvos_lab.lessons.checks import LESSONS

NUMBERED = re.compile(r"\d\d_\w+")  # the name of a lesson's file
TIME = re.compile(r"`Time: (\d+) min · (?=\d)(?:(\d+) min )?(?:(\d+) s )?compute on (\d+) cores")
WORD_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
GENERATED_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?")  # written by editors: 3f2a90bc
SETUP_LINES, CODE_LINES = 4, 10  # at most, of the setup cell and of any other; imports do not count
EXERCISES = 3  # at most in a lesson
GUESSES = 2  # at least in a lesson

_ASKED = re.compile(r"^### Exercise (\d) · [●○]{4} · \d+ min$", re.MULTILINE)
_DECORATED = re.compile(r'^@exercise\("(\w+)"\)$', re.MULTILINE)


class Cell(NamedTuple):
    """What the rules look at in a cell."""

    kind: str  # "markdown", "code" or "raw"
    name: str  # its id
    text: str


def lint(path: Path) -> list[str]:
    """The rules that a notebook breaks, a message each; an empty list if it can be committed.

    Checked in every notebook: nbformat 4.5, distinct words as cell ids, no outputs and no execution counts, a header
    (a first markdown cell with a title, the time it takes and what the reader will be able to do), one cell tagged
    `parameters` with commented literals only, a `setup` cell of at most four lines. Lessons have further rules.
    """
    book = read_notebook(path)
    cells = [Cell(cell["cell_type"], cell.get("id", ""), source(cell)) for cell in book["cells"]]
    problems = [] if book.get("nbformat_minor") == 5 else ["nbformat must be 4.5, for cell ids"]
    names = [cell.name for cell in cells]
    for name in names:
        if not WORD_ID.fullmatch(name) or GENERATED_ID.fullmatch(name):
            problems.append(f"cell id {name!r} must be words such as 'ex-global-map'")
    problems += [f"cell id {name!r} occurs twice" for name in sorted({n for n in names if names.count(n) > 1})]
    for cell in book["cells"]:
        if cell["cell_type"] == "code" and (cell.get("outputs") or cell.get("execution_count") is not None):
            problems.append(f"cell {cell.get('id')!r} has outputs: run `feelvos-lab strip {path}`")
    lesson = bool(NUMBERED.fullmatch(Path(path).stem))
    problems += _header(cells, lesson=lesson)
    try:
        parameters = read_parameters(path)
        problems += [f"parameter {p.name} needs a `# help` comment" for p in parameters.values() if not p.help]
    except LabError as error:
        problems.append(str(error))
    setup = [cell.text for cell in cells if cell.name == "setup"]
    if len(setup) != 1:
        problems.append(f"there must be one cell 'setup', found {len(setup)}")
    elif (lines := count_code(setup[0])) > SETUP_LINES:
        problems.append(f"cell 'setup' must have at most {SETUP_LINES} lines, it has {lines}")
    if lesson:
        problems += _order(cells) + _beats(cells) + _guesses(cells) + _code(cells) + _exercises(cells) + _ending(cells)
    return problems


def _header(cells: list[Cell], *, lesson: bool) -> list[str]:
    if not cells or cells[0].kind != "markdown" or not cells[0].text.startswith("# "):
        return ["the first cell must be a markdown header that begins with '# '"]
    text = cells[0].text
    words = ("You will be able to", "Time:", *(("Paper:", "Before this:", "(symbols.md)") if lesson else ()))
    problems = [f"the header must say {word!r}" for word in words if word not in text]
    if lesson and not TIME.search(text):
        problems.append("the header must say `Time: 30 min · 5 s compute on 2 cores`, in minutes and in compute")
    promised = text.partition("**You will be able to**")[2].partition("\n")[0].count("·") + 1
    if lesson and promised > 3:
        problems.append(f"the header must promise at most 3 things, it promises {promised}")
    return problems


def _order(cells: list[Cell]) -> list[str]:
    names = [cell.name for cell in cells]
    problems = []
    for verb, wanted, found in (
        ("begins", ["header", "parameters", "setup"], names[:3]),
        ("ends", ["questions", "further"], names[-2:]),
    ):
        if found != wanted:
            problems.append(f"a lesson {verb} with the cells {', '.join(wanted)}, this one with {', '.join(found)}")
    return problems


def _beats(cells: list[Cell]) -> list[str]:
    """Each question is followed by code, and the code by what happened, before the next question."""
    problems, asked, shown = [], "", False
    if not any("**Predict.**" in cell.text for cell in cells):
        problems.append("a lesson needs a beat: a cell with **Predict.**, code, and a cell with **What happened.**")
    for cell in [*cells, Cell("markdown", "", "**Predict.**")]:  # the last one asks whether a question is still open
        if cell.kind == "code":
            shown = True
            continue
        if "**What happened.**" in cell.text:
            if not asked:
                problems.append(f"cell {cell.name!r} says what happened, but no cell asked for a prediction")
            elif not shown:
                problems.append(f"between cell {asked!r} and {cell.name!r} there must be code")
            asked = ""
        if "**Predict.**" in cell.text:
            if asked:
                problems.append(f"cell {asked!r} asks for a prediction, but no **What happened.** follows")
            asked, shown = cell.name, False
    return problems


def _guesses(cells: list[Cell]) -> list[str]:
    """There are two guesses, and after a cell with one the answer is revealed before the text says what happened."""
    problems, open_guess = [], ""
    asked = sum(len(re.findall(r"\bguess\(", cell.text)) for cell in cells if cell.kind == "code")
    if asked < GUESSES:
        problems.append(f"a lesson must ask {GUESSES} questions that check themselves, with `guess`, it asks {asked}")
    for cell in cells:
        if open_guess and ("**What happened.**" in cell.text or cell is cells[-1]):
            problems.append(f"no cell reveals what cell {open_guess!r} asks")
            open_guess = ""
        if cell.kind == "code" and re.search(r"\breveal\(", cell.text):
            open_guess = ""
        elif cell.kind == "code" and re.search(r"\bguess\(", cell.text):
            open_guess = cell.name
    return problems


def _code(cells: list[Cell]) -> list[str]:
    return [
        f"cell {cell.name!r} must have at most {CODE_LINES} lines of code, it has {lines}"
        for cell in cells
        if cell.kind == "code" and cell.name != "parameters" and (lines := count_code(cell.text)) > CODE_LINES
    ]


def count_code(text: str) -> int:
    """The number of lines of code, without empty lines, comments, imports and lines of closing brackets."""
    lines = (line.strip() for line in text.splitlines())
    return sum(
        bool(x) and not x.startswith(("#", "import ", "from ")) and not re.fullmatch(r"[\])}, ]+", x) for x in lines
    )


def _exercises(cells: list[Cell]) -> list[str]:
    problems, numbers = [], []
    for before, cell in pairwise(cells):
        if cell.kind != "code" or "@exercise(" not in cell.text:
            continue
        if not cell.name.startswith("ex-"):
            problems.append(f"the id of an exercise's cell must begin with 'ex-', got {cell.name!r}")
        found = _DECORATED.search(cell.text)
        if not found or found[1] not in LESSONS:
            problems.append(f"cell {cell.name!r} must ask for a known exercise: {', '.join(LESSONS)}")
        try:
            if not _is_unsolved(cell):
                problems.append(f"the function of cell {cell.name!r} must have no body but a docstring and `...`")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # also null bytes and deep nesting
            problems.append(f"cell {cell.name!r} does not parse: {error}")
        if asked := _ASKED.search(before.text) if before.kind == "markdown" else None:
            numbers.append(int(asked[1]))
        else:
            problems.append(
                f"before cell {cell.name!r} there must be a contract under '### Exercise 1 · ●●○○ · 10 min'"
            )
    if len(numbers) > EXERCISES:
        problems.append(f"a lesson has at most {EXERCISES} exercises, this one has {len(numbers)}")
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"exercises must be numbered 1, 2, 3 in order, got {numbers}")
    return problems


def _is_unsolved(cell: Cell) -> bool:
    functions = [node for node in ast.parse(cell.text, filename=cell.name).body if isinstance(node, ast.FunctionDef)]
    return all(isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for f in functions for n in f.body)


def _ending(cells: list[Cell]) -> list[str]:
    texts = {cell.name: cell.text for cell in cells}
    asks, goes_on = texts.get("questions", ""), texts.get("further", "")
    questions = len(re.findall(r"^\d+\. ", asks, re.MULTILINE))
    answers = len(re.findall(r"<details><summary>Answer</summary>.+</details>$", asks, re.MULTILINE))
    pointers = [line for line in goes_on.splitlines() if line.startswith("- ")]
    problems = []
    if "## Say it in your own words" not in asks or questions != 5:
        problems.append(f"cell 'questions' must be '## Say it in your own words' with 5 questions, it has {questions}")
    if answers != questions:
        problems.append(
            f"cell 'questions' must have a folded answer to each of {questions} questions, it has {answers}"
        )
    if "## Go further" not in goes_on or len(pointers) != 2:
        problems.append(f"cell 'further' must be '## Go further' with 2 pointers, it has {len(pointers)}")
    return problems + [
        f"pointer {p[:40]!r} must name a file in experiments/" for p in pointers if "experiments/" not in p
    ]
