"""Notebooks as files: read their parameters, lint them, strip them."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError


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
