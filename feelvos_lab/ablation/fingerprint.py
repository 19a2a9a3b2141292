"""The fingerprint of a run: a hash of everything in reach that could change its number.

It covers the configuration, the seed, the worker notebook's code cells up to the one tagged `record` (later cells draw,
and cannot change a number), the library's sources that can change a number, the modules that the notebook imports from
its own folder or that of the experiment file, and the files that the experiment file names under `sources`.

Python sources are compared as tokens, so comments, docstrings and blank lines do not count, and every version of Python
finds the same: a dump of the syntax tree differs between them.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import feelvos_lab
from feelvos_lab.config import WEIGHT_FILES
from feelvos_lab.errors import LabError, reporting
from feelvos_lab.files.notebooks import read_notebook, source, tags

PACKAGE = Path(feelvos_lab.__file__).parent

# Everything that training, inference and evaluation import, directly or not; a test holds the list complete.
SOURCES = (
    "config.py",
    "data/**/*.py",
    "model/**/*.py",
    "training/**/*.py",
    "inference/overlap.py",
    "inference/propagation.py",
    "evaluation/**/*.py",
)
HARMLESS = ("model/matching/naive.py", "model/matching/dense.py")  # the slow twins, called by tests and lessons only

_UNSEEN = ("COMMENT", "NL", "ENCODING", "ENDMARKER")

_DOCSTRING = re.compile(r"(?i)(r|u|b|rb|br)?['\"]")


def fingerprint(
    notebook: Path,
    parameters: Mapping[str, object],
    digest: str,
    network: Path | None = None,
    own: Mapping[str, bytes] | None = None,
) -> str:
    """16 hexadecimal digits that differ when the run's number could.

    LabError if a parameter `start` is neither "trunk" nor "all", no checkpoint to start from is shipped, or `network`
    does not exist.

    Args:
        notebook: the worker that will run.
        parameters: what is injected into it, without the output folder.
        digest: the variant's, which covers the preset's values too.
        network: the checkpoint to score, where none is trained.
        own: the files of the experiment's own, see `own_sources`.
    """
    given = dict(parameters)
    if str(weights := given.get("pretrained")).lower().endswith(WEIGHT_FILES):  # its content counts, not its folder
        path = Path(str(weights))
        given["pretrained"] = f"{path.name} {_file_checksum(path)}"
    parts = [json.dumps(given, sort_keys=True), digest]
    parts += [meaning(code) for code in worker_code(notebook)]
    if start := parameters.get("start"):  # initial weights change a number as sources do
        from feelvos_lab.model.checkpoint import read_card, shipped_path  # imports torch: seconds

        if start not in ("trunk", "all"):
            raise LabError(f"start must be 'trunk' or 'all', got {start!r}")
        parts.append(read_card(shipped_path(parameters["preset"]))["sha256"])
    if network is not None:
        if not network.is_file():
            raise LabError(
                f"the network {network} is missing: one checkpoint <row>-s<seed>.safetensors a run is expected"
            )
        parts.append(hashlib.sha256(network.read_bytes()).hexdigest())
    for path in number_sources():
        stat = path.stat()
        parts.append(f"{path.relative_to(PACKAGE).as_posix()}:{_file_meaning(path, stat.st_mtime_ns, stat.st_size)}")
    parts += [f"{name}:{_content_meaning(name, content)}" for name, content in sorted((own or {}).items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def number_sources() -> list[Path]:
    """The library's files that can change a number, sorted."""
    found = {path for pattern in SOURCES for path in PACKAGE.glob(pattern)}
    return sorted(found - {PACKAGE / name for name in HARMLESS})


def worker_code(notebook: Path) -> list[str]:
    """The code cells that can change a number: up to the cell tagged `record`, or all where there is none."""
    cells = [cell for cell in read_notebook(notebook)["cells"] if cell["cell_type"] == "code"]
    last = next((i for i, cell in enumerate(cells) if "record" in tags(cell)), len(cells) - 1)
    return [source(cell) for cell in cells[: last + 1]]


def own_sources(notebook: Path, experiment: Path, sources: Sequence[Path] = ()) -> dict[str, bytes]:
    """The contents of the experiment's own files that count, by name.

    A module is named "import mine.py", after its path in the folder in which it is found: the notebook's, else the
    experiment file's. Modules that these import in turn are found too. One of `sources` is named "source lib/net.py",
    after its path from the experiment file. LabError if a file cannot be read.
    """
    found: dict[str, bytes] = {}
    folders = import_folders(notebook, experiment)
    todo = [name for code in worker_code(notebook) for name in _imported(code)]
    seen: set[str] = set()
    while todo:
        dotted = todo.pop()
        if dotted in seen:
            continue
        seen.add(dotted)
        for folder, path in _module_files(dotted, folders):
            name = f"import {path.relative_to(folder).as_posix()}"
            if name not in found:
                found[name] = _read(path)
                parts = path.relative_to(folder).with_suffix("").parts
                todo += _imported(found[name].decode("utf-8", "replace"), package=parts[:-1])
    for path in sources:
        found[f"source {_relative(path, experiment)}"] = _read(path)
    return found


def import_folders(notebook: Path, experiment: Path) -> list[Path]:
    """The folders whose modules a worker notebook may import: its own, then the experiment file's."""
    return list(dict.fromkeys((notebook.resolve().parent, experiment.resolve().parent)))


def _relative(path: Path, experiment: Path) -> str:
    folder = experiment.resolve().parent
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _read(path: Path) -> bytes:
    with reporting(f"{path}, on which the runs depend, cannot be read"):
        return path.read_bytes()


def _imported(code: str, *, package: tuple[str, ...] = ()) -> set[str]:
    """The dotted names that code imports anywhere; `package` is that of the module, for relative imports."""
    plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in code.splitlines())
    try:
        nodes = list(ast.walk(ast.parse(plain)))
    except (SyntaxError, ValueError, RecursionError):  # other magic of IPython: the lines that begin as imports do
        return set(re.findall(r"^\s*(?:from|import)\s+([A-Za-z_][\w.]*)", plain, re.MULTILINE))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)}
    return names - {""}


def _module_files(dotted: str, folders: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """The files that importing a module from one of the folders executes, each with the folder; none if none has it."""
    parts = dotted.split(".")
    if parts[0] == "feelvos_lab" or parts[0] in sys.stdlib_module_names:
        return
    for folder in folders:
        found, place = [], folder
        for part in parts:
            place = place / part
            found += [p for p in (place.with_name(f"{part}.py"), place / "__init__.py") if p.is_file()]
        if found:
            yield from ((folder, path) for path in found)
            return


@lru_cache(maxsize=512)
def _file_meaning(path: Path, modified: int, size: int) -> str:
    return hashlib.sha256(meaning(path.read_text(encoding="utf-8")).encode()).hexdigest()


def _file_checksum(path: Path) -> str:
    with reporting(f"{path}, on which the runs depend, cannot be read"):
        stat = path.stat()
        return _checksum(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=32)
def _checksum(path: Path, modified: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content_meaning(name: str, content: bytes) -> str:
    if name.endswith(".py"):
        with contextlib.suppress(UnicodeDecodeError):  # of another encoding: its bytes count
            content = meaning(content.decode("utf-8")).encode()
    return hashlib.sha256(content).hexdigest()


def meaning(code: str) -> str:
    """The code's tokens, a statement a line, without comments and docstrings; the text where it is not plain Python.

    Equal for all versions of Python.

    Example:
        >>> meaning("def f(x):  # twice\\n    '''Its double.'''\\n    return f'{2 * x}'")
        "def f ( x ) :\\nINDENT\\nreturn f'{2 * x}'\\nDEDENT"
    """
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    lines: list[str] = []
    statement: list[str] = []
    try:
        ast.parse(code)
        for kind, text in _tokens(code):
            if kind in ("INDENT", "DEDENT"):
                lines.append(kind)
            elif kind != "NEWLINE":
                statement.append(text)
            else:
                # a string alone is a docstring, or as good as a comment
                if not (len(statement) == 1 and _DOCSTRING.match(statement[0])):
                    lines.append(" ".join(statement))
                statement = []
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
        tokenize.TokenError,
    ):  # `%matplotlib inline` and the like
        return code
    return "\n".join(lines)


def _tokens(code: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token that counts; an f-string is one token, as before Python 3.12."""
    lines = list(io.StringIO(code))
    depth, begin = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        kind = tokenize.tok_name[token.type]
        if kind.endswith("STRING_START"):
            begin = begin if depth else token.start
            depth += 1
        elif kind.endswith("STRING_END"):
            depth -= 1
            if not depth:
                yield "STRING", _between(lines, begin, token.end)
        elif not depth and kind not in _UNSEEN:
            yield kind, token.string


def _between(lines: Sequence[str], begin: tuple[int, int], end: tuple[int, int]) -> str:
    """The text between two positions, each a line from 1 on and a column from 0 on."""
    taken = list(lines[begin[0] - 1 : end[0]])
    taken[-1] = taken[-1][: end[1]]  # first, since both may lie in one line
    taken[0] = taken[0][begin[1] :]
    return "".join(taken)
