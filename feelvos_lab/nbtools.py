"""Notebooks as files: read their parameters, lint them, strip them.

python -m feelvos_lab.nbtools lint notebooks/*.ipynb
python -m feelvos_lab.nbtools strip notebooks/*.ipynb
"""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError
from feelvos_lab.guard import DEBUG, one_sentence
from feelvos_lab.lessons import NUMBERED, Cell, lesson_problems

WORD_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NUMBERED_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?")  # what editors make up: 3f2a90bc
SETUP_LINES = 4


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: annotation = default  # help`."""

    name: str
    annotation: str
    default: Any
    help: str


def papermill_path(path: Path | str) -> str:
    """The path as papermill must be told it: it takes `{name}` in one for a parameter to fill in."""
    return str(path).replace("{", "{{").replace("}", "}}")


def read_notebook(path: Path) -> dict[str, Any]:
    """The notebook's JSON.

    Raises:
        LabError: no such file, or one that is no notebook of format 4.
    """
    try:
        book = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError(f"there is no notebook {path}") from None
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path} is not a notebook: {error}") from None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror or error}") from None
    if not isinstance(book, dict) or book.get("nbformat") != 4 or not isinstance(book.get("cells"), list):
        raise LabError(f"{path} must be a notebook of nbformat 4")
    for number, cell in enumerate(book["cells"], 1):
        _check_cell(cell, f"cell {number} of {path}")
    return book


def _check_cell(cell: Any, where: str) -> None:
    """Raise unless the cell has the form that everything here relies on."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        raise LabError(f"{where} must be of cell_type code, markdown or raw")
    text, notes = cell.get("source", ""), cell.get("metadata", {})
    if not isinstance(text, str) and not (isinstance(text, list) and all(isinstance(line, str) for line in text)):
        raise LabError(f"{where} must have a source of text or lines of text")
    if not isinstance(notes, dict) or not isinstance(notes.get("tags", []), list):
        raise LabError(f"{where} must have metadata whose tags are a list")
    if not isinstance(cell.get("id", ""), str):
        raise LabError(f"{where} must have an id of text")


def source(cell: dict[str, Any]) -> str:
    """The cell's text; on disk it may be a list of lines."""
    return "".join(cell.get("source", ""))


def tags(cell: dict[str, Any]) -> list[str]:
    """The cell's tags."""
    return cell.get("metadata", {}).get("tags", [])


def read_parameters(path: Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name, from the one cell tagged `parameters`.

    Raises:
        LabError: no such cell or several, or a line that is not `name: type = literal`.
    """
    found = [cell for cell in read_notebook(path)["cells"] if "parameters" in tags(cell)]
    if len(found) != 1:
        raise LabError(f"{path} must have one cell tagged 'parameters', it has {len(found)}")
    return parse_parameters(source(found[0]), where=str(path))


def parse_parameters(text: str, *, where: str) -> dict[str, Parameter]:
    """The parameters that the cell's text declares; nothing in it is executed.

    Raises:
        LabError: a line that is not `name: type = literal`, or a name declared twice.
    """
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        line = f" in line {error.lineno}" if error.lineno else ""
        raise LabError(f"the parameters cell of {where} does not parse: {error.msg}{line}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # zero bytes, or brackets without end
        raise LabError(f"the parameters cell of {where} does not parse: {error}") from None
    lines = text.splitlines()
    parameters: dict[str, Parameter] = {}
    for node in body:
        line = lines[node.lineno - 1].strip()
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
            raise LabError(f"the parameters cell of {where} must hold `name: type = literal` only, got {line!r}")
        try:
            default = ast.literal_eval(node.value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            raise LabError(f"{node.target.id} in the parameters cell of {where} must be a literal: {line!r}") from None
        if node.target.id in parameters:
            raise LabError(f"the parameters cell of {where} declares {node.target.id} twice")
        comment = lines[node.end_lineno - 1][node.end_col_offset :]
        parameters[node.target.id] = Parameter(
            node.target.id, ast.unparse(node.annotation), default, comment.partition("#")[2].strip()
        )
    return parameters


def lint(path: Path) -> list[str]:
    """What is wrong with a notebook as it should be committed; an empty list when nothing is.

    Checked: nbformat 4.5, cell ids that are distinct words, no outputs and no execution counts, a header
    (a first markdown cell with a title, the time it takes and what one will be able to do), one cell tagged
    `parameters` that holds commented literals only, and a `setup` cell of at most four lines. A notebook with a
    number in its name is a lesson and keeps the rules of `lessons.py` too.
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
            problems.append(f"cell {cell.get('id')!r} has outputs: run `python -m feelvos_lab.nbtools strip {path}`")
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


def strip(path: Path) -> bool:
    """Remove outputs, execution counts and editors' traces from a notebook file; True when that changed it."""
    path = Path(path)
    book = read_notebook(path)
    for cell in book["cells"]:
        kept = {"tags": tags(cell)} if tags(cell) else {}
        cell["metadata"] = kept
        cell["source"] = source(cell).splitlines(keepends=True)
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    book["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    text = json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if text == path.read_text(encoding="utf-8"):
        return False
    path.write_text(text, encoding="utf-8")
    return True


def main(arguments: list[str]) -> int:
    """`lint` or `strip` the notebooks named; 1 when lint found something."""
    if len(arguments) < 2 or arguments[0] not in ("lint", "strip"):
        print("usage: python -m feelvos_lab.nbtools lint|strip NOTEBOOK…", file=sys.stderr)
        return 2
    command, *paths = arguments
    if command == "strip":
        for path in paths:
            if strip(Path(path)):
                print(f"stripped {path}")
        return 0
    problems = [f"{path}: {problem}" for path in paths for problem in lint(Path(path))]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    with one_sentence("nbtools", debug=DEBUG in sys.argv):
        sys.exit(main([a for a in sys.argv[1:] if a != DEBUG]))
