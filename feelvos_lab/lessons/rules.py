"""What makes a notebook a lesson: beats, exercises, questions. `nbtools.lint` asks for it where a name has a number.

Order of cells: header, parameters, setup; then beats, each a question (**Predict.**), code, and what came of it
(**What happened.**), with up to three exercises between them; then five questions and two pointers.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

from feelvos_lab.errors import LabError
from feelvos_lab.files.notebooks import read_notebook, read_parameters, source
from feelvos_lab.lessons.checks import LESSONS

NUMBERED = re.compile(r"\d\d_\w+")

CODE_LINES = 10

EXERCISES = 3

_TIME = re.compile(r"`Time: [^`·]*\d[^`·]* · [^`]*\d[^`]*compute[^`]*`")

_ASKED = re.compile(r"^### Exercise (\d) · [●○]{4} · \d+ min$", re.MULTILINE)

_DECORATED = re.compile(r'^@exercise\("(\w+)"\)$', re.MULTILINE)


class Cell(NamedTuple):
    """A cell by what the rules look at."""

    kind: str  # "markdown" or "code"
    name: str  # its id
    text: str


def lesson_problems(cells: list[Cell]) -> list[str]:
    """Which of the rules for lessons the cells break; an empty list when none."""
    names = [c.name for c in cells]
    problems = []
    if names[:3] != ["header", "parameters", "setup"]:
        problems.append(
            f"a lesson begins with the cells header, parameters, setup, this one with {', '.join(names[:3])}"
        )
    if names[-2:] != ["questions", "further"]:
        problems.append(f"a lesson ends with the cells questions, further, this one with {', '.join(names[-2:])}")
    return problems + _header(cells) + _beats(cells) + _code(cells) + _exercises(cells) + _ending(cells)


def _header(cells: list[Cell]) -> list[str]:
    text = cells[0].text if cells else ""
    problems = [f"the header must say {words!r}" for words in ("Paper:", "Before this:") if words not in text]
    if not _TIME.search(text):
        problems.append("the header must say `Time: 30 min · 5 s compute on 2 cores`, in minutes and in compute")
    promised = text.partition("**You will be able to**")[2].partition("\n")[0]
    if promised and promised.count("·") > 2:
        problems.append(f"the header must promise at most 3 things, it promises {promised.count('·') + 1}")
    return problems


def _beats(cells: list[Cell]) -> list[str]:
    """Each question is followed by code, and that by what happened, before the next question."""
    problems, asked, shown = [], "", False
    if not any("**Predict.**" in c.text for c in cells):
        problems.append("a lesson needs a beat: a cell with **Predict.**, code, and a cell with **What happened.**")
    for cell in cells:
        if cell.kind == "code":
            shown = True
            continue
        if "**What happened.**" in cell.text:
            if not asked:
                problems.append(f"cell {cell.name!r} says what happened, and nobody was asked to predict it")
            elif not shown:
                problems.append(f"between cell {asked!r} and {cell.name!r} there must be code")
            asked = ""
        if "**Predict.**" in cell.text:
            if asked:
                problems.append(f"cell {asked!r} asks for a prediction, and no **What happened.** follows")
            asked, shown = cell.name, False
    return problems + ([f"cell {asked!r} asks for a prediction, and no **What happened.** follows"] if asked else [])


def _code(cells: list[Cell]) -> list[str]:
    """At most ten lines a cell; imports and lines that only close a bracket do not count."""
    problems = []
    for cell in cells:
        if cell.kind != "code" or cell.name == "parameters":
            continue
        lines = count_code(cell.text)
        if lines > CODE_LINES:
            problems.append(f"cell {cell.name!r} must have at most {CODE_LINES} lines of code, it has {lines}")
    return problems


def count_code(text: str) -> int:
    """Lines of code that are neither empty, nor comments, nor imports, nor brackets alone."""
    lines = (line.strip() for line in text.splitlines())
    return sum(
        bool(x) and not x.startswith(("#", "import ", "from ")) and not re.fullmatch(r"[\])}, ]+", x) for x in lines
    )


def _exercises(cells: list[Cell]) -> list[str]:
    problems, numbers = [], []
    for before, cell in zip([None, *cells], cells, strict=False):
        if cell.kind != "code" or "@exercise(" not in cell.text:
            continue
        if not cell.name.startswith("ex-"):
            problems.append(f"the id of an exercise's cell must begin with 'ex-', got {cell.name!r}")
        found = _DECORATED.search(cell.text)
        if not found or found[1] not in LESSONS:
            problems.append(f"cell {cell.name!r} must ask for a known exercise: {', '.join(LESSONS)}")
        if not _is_unsolved(cell.text):
            problems.append(f"the function of cell {cell.name!r} must have no body but a docstring and `...`")
        asked = _ASKED.search(before.text) if before and before.kind == "markdown" else None
        if not asked:
            problems.append(
                f"before cell {cell.name!r} there must be a contract under '### Exercise 1 · ●●○○ · 10 min'"
            )
        else:
            numbers.append(int(asked[1]))
    if len(numbers) > EXERCISES:
        problems.append(f"a lesson has at most {EXERCISES} exercises, this one has {len(numbers)}")
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"exercises must be numbered 1, 2, 3 in order, got {numbers}")
    return problems


def _is_unsolved(text: str) -> bool:
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return all(isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for f in functions for n in f.body)


def _ending(cells: list[Cell]) -> list[str]:
    by_name = {c.name: c.text for c in cells}
    questions = len(re.findall(r"^\d+\. ", by_name.get("questions", ""), re.MULTILINE))
    pointers = [line for line in by_name.get("further", "").splitlines() if line.startswith("- ")]
    problems = []
    if "## Say it in your own words" not in by_name.get("questions", "") or questions != 5:
        problems.append(f"cell 'questions' must be '## Say it in your own words' with 5 questions, it has {questions}")
    if "## Go further" not in by_name.get("further", "") or len(pointers) != 2:
        problems.append(f"cell 'further' must be '## Go further' with 2 pointers, it has {len(pointers)}")
    return problems + [
        f"pointer {p[:40]!r} must name a file in experiments/" for p in pointers if "experiments/" not in p
    ]


WORD_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

NUMBERED_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?")  # what editors make up: 3f2a90bc

SETUP_LINES = 4


def lint(path: Path) -> list[str]:
    """What is wrong with a notebook as it should be committed; an empty list when nothing is.

    Checked: nbformat 4.5, cell ids that are distinct words, no outputs and no execution counts, a header
    (a first markdown cell with a title, the time it takes and what one will be able to do), one cell tagged
    `parameters` that holds commented literals only, and a `setup` cell of at most four lines. A notebook with a
    number in its name is a lesson and keeps the rules of `lessons/rules.py` too.
    """
    book = read_notebook(path)
    cells = book["cells"]
    problems = []
    if (book["nbformat"], book.get("nbformat_minor", 0)) < (4, 5):
        problems.append("nbformat must be 4.5, for cell ids")
    ids = [cell.get("id", "") for cell in cells]
    for name in ids:
        if not WORD_ID.fullmatch(name) or NUMBERED_ID.fullmatch(name):
            problems.append(f"cell id {name!r} must be words such as 'ex-global-map'")
    problems += [f"cell id {name!r} occurs twice" for name in sorted({n for n in ids if ids.count(n) > 1})]
    for cell in cells:
        if cell["cell_type"] == "code" and (cell.get("outputs") or cell.get("execution_count") is not None):
            problems.append(f"cell {cell.get('id')!r} has outputs: run `feelvos-lab strip {path}`")
    problems += _header_problems(cells)
    try:
        parameters = read_parameters(path)
        problems += [f"parameter {p.name} needs a `# help` comment" for p in parameters.values() if not p.help]
    except LabError as error:
        problems.append(str(error))
    setup = [source(cell) for cell in cells if cell.get("id") == "setup"]
    if len(setup) != 1:
        problems.append(f"there must be one cell 'setup', found {len(setup)}")
    elif (lines := len([line for line in setup[0].splitlines() if line.strip()])) > SETUP_LINES:
        problems.append(f"cell 'setup' must have at most {SETUP_LINES} lines, it has {lines}")
    if NUMBERED.fullmatch(Path(path).stem):
        problems += lesson_problems([Cell(cell["cell_type"], cell.get("id", ""), source(cell)) for cell in cells])
    return problems


def _header_problems(cells: list[dict[str, Any]]) -> list[str]:
    if not cells or cells[0]["cell_type"] != "markdown" or not source(cells[0]).startswith("# "):
        return ["the first cell must be a markdown header that begins with '# '"]
    header = source(cells[0])
    return [f"the header must say {words!r}" for words in ("You will be able to", "Time:") if words not in header]
