"""Trust on the way in: no code in this project can run what a file brings along."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
UNSAFE = {"yaml.load", "yaml.full_load", "yaml.unsafe_load", "pd.read_pickle", "np.fromfile", "torch.package"}
# the only torch.load: weights that an installed package brings, and those of a user's own file
WEIGHTS = {"feelvos_lab/model/backbone.py", "feelvos_lab/model/weight_file.py"}


def sources() -> Iterator[tuple[str, ast.AST]]:
    """Every Python file of the library and the notebooks' code cells, as syntax trees by their names."""
    for path in sorted((PROJECT / "feelvos_lab").rglob("*.py")):
        yield path.relative_to(PROJECT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "code" and not any(line.lstrip().startswith("%") for line in text.splitlines()):
                yield f"{path.relative_to(PROJECT).as_posix()}:{cell['id']}", ast.parse(text)


def findings(where: str, tree: ast.AST) -> list[str]:
    """What could run code that a file brings along, or a command that a text spells out."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"{where}: imports {name}" for name in names if name.split(".")[0] in PICKLES]
        if not isinstance(node, ast.Call):
            continue
        name, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name in CALLS | UNSAFE:
            found.append(f"{where}: calls {name}")
        if name == "torch.load" and (where not in WEIGHTS or keywords.get("weights_only") != "True"):
            found.append(f"{where}: torch.load({', '.join(keywords)})")
        if "shell" in keywords or keywords.get("allow_pickle", "False") != "False":
            found.append(f"{where}: {name} with shell or allow_pickle")
        loader = keywords.get("Loader", "SafeLoader")
        if name.startswith("yaml.") and not loader.endswith("SafeLoader"):
            found.append(f"{where}: {name} with {loader}")
        if name.rsplit(".", 1)[-1] in ("extract", "extractall", "unpack_archive"):
            found.append(f"{where}: {name} trusts an archive")
    return found


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell() -> None:
    checked = list(sources())
    assert len(checked) > 150
    assert [finding for where, tree in checked for finding in findings(where, tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.UnsafeLoader)",
        "yaml.compose(text, Loader=yaml.FullLoader)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "archive.extractall(folder)",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert findings("feelvos_lab/some.py", ast.parse(code))


@pytest.mark.parametrize("where", sorted(WEIGHTS))
def test_weights_of_others_are_read_as_weights_alone(where: str) -> None:
    assert not findings(where, ast.parse("torch.load(path, weights_only=True)"))
    assert findings(where, ast.parse("torch.load(path)"))


def test_experiment_files_are_read_by_a_safe_loader() -> None:
    from yaml import SafeLoader

    from feelvos_lab.ablation.spec_yaml import _Loader

    assert issubclass(_Loader, SafeLoader)
