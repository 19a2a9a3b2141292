"""Notebooks as files: read them and their parameters, strip their outputs.

The JSON is read as it is, without `nbformat.read`: that replaces missing and repeated cell ids by random ones, which
`lessons.rules.lint` must report and `strip` must not write.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json, write_text


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: annotation = default  # help`."""

    name: str
    annotation: str
    default: Any
    help: str


def papermill_path(path: Path | str) -> str:
    """The path with its braces doubled: papermill replaces `{name}` in a path by the parameter of that name."""
    return str(path).replace("{", "{{").replace("}", "}}")


def read_notebook(path: Path) -> dict[str, Any]:
    """The notebook's JSON; LabError where the file is missing or no notebook of format 4."""
    book = read_json(path)
    if book.get("nbformat") != 4 or not isinstance(book.get("cells"), list):
        raise LabError(f"{path} must be a notebook of nbformat 4")
    for number, cell in enumerate(book["cells"], 1):
        if expected := _wrong_form(cell):
            raise LabError(f"cell {number} of {path} must {expected}")
    return book


def require_executable(path: Path) -> None:
    """Raise LabError for a notebook without the entries that papermill needs; the kernel's may be missing."""
    book = read_notebook(path)
    if not isinstance(book.get("metadata"), dict) or type(book.get("nbformat_minor")) is not int:
        raise LabError(f"{path} must have metadata, which may be empty, and an nbformat_minor: save it in Jupyter")
    for number, cell in enumerate(book["cells"], 1):
        if "metadata" not in cell:
            raise LabError(f"cell {number} of {path} must have metadata, which may be empty: save it in Jupyter")


def _wrong_form(cell: Any) -> str:
    """What the cell must be or have for the library to read it; empty if it is and has all that."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return "be of cell_type code, markdown or raw"
    text, metadata = cell.get("source", ""), cell.get("metadata", {})
    if not isinstance(text, str) and not (isinstance(text, list) and all(isinstance(line, str) for line in text)):
        return "have a source of text or lines of text"
    if not isinstance(metadata, dict) or not isinstance(metadata.get("tags", []), list):
        return "have metadata whose tags are a list"
    return "" if isinstance(cell.get("id", ""), str) else "have an id of text"


def source(cell: dict[str, Any]) -> str:
    """The cell's text; on disk it may be a list of lines."""
    return "".join(cell.get("source", ""))


def tags(cell: dict[str, Any]) -> list[str]:
    """The cell's tags."""
    return cell.get("metadata", {}).get("tags", [])


def read_parameters(path: Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name, from its one cell tagged `parameters`."""
    found = [cell for cell in read_notebook(path)["cells"] if "parameters" in tags(cell)]
    if len(found) != 1:
        raise LabError(f"{path} must have one cell tagged 'parameters', it has {len(found)}")
    return parse_parameters(source(found[0]), where=str(path))


def parse_parameters(text: str, *, where: str) -> dict[str, Parameter]:
    """The parameters that the text of a cell declares, a line `name: type = literal  # help` each; nothing is executed.

    Raises:
        LabError: a line of another form, or a name declared twice.
    """
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        line = f" in line {error.lineno}" if error.lineno else ""
        raise LabError(f"the parameters cell of {where} does not parse: {error.msg}{line}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, or very deep nesting
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
    """Remove outputs, execution counts and the metadata that editors leave; True if that changed the file."""
    book = read_notebook(path)
    for cell in book["cells"]:
        cell["metadata"] = {"tags": tags(cell)} if tags(cell) else {}
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
    write_text(path, text)
    return True
