"""Files of one's own count in a run as the library's do; two experiments never share a folder of runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from standin_experiment import MEASURE, SPEC, record_by_hand, write_spec, write_worker

from feelvos_lab.ablation import execute
from feelvos_lab.ablation.fingerprint import fingerprint, meaning, own_sources
from feelvos_lab.ablation.local_runs import plan_content
from feelvos_lab.ablation.record import RECORD, files_digest
from feelvos_lab.ablation.results import read_results
from feelvos_lab.ablation.runs import plan
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.ablation.tables import table_text
from feelvos_lab.ablation.worker import PLAN
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json, write_json

ONE = SPEC.split("  narrow")[0] + "claims: []\n"


def marks(path: Path) -> list[str]:
    return [planned.fingerprint for planned in plan(load_spec(path), root=path.parent / "root")]


def test_a_module_that_the_worker_imports_counts_and_so_do_those_that_it_imports(tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    (folder / "parts").mkdir(parents=True)
    path = write_spec(tmp_path, ONE.replace("worker.ipynb", "worker/worker.ipynb"))
    write_worker(folder, measure="%matplotlib inline\nfrom mine import loss\nimport json, beside\n" + MEASURE)
    for name, text in {
        "worker/mine.py": "import parts.inner\nfrom parts import other\n",
        "worker/parts/inner.py": "from . import near\n",
        "worker/parts/near.py": "one = 1\n",
        "worker/parts/other.py": "one = 1\n",
        "worker/json.py": "shadows = 'nothing'\n",
        "worker/unused.py": "one = 1\n",
        "beside.py": "one = 1\n",
        "worker/beside.py": "first = 1\n",
    }.items():
        (tmp_path / name).write_text(text)
    spec = load_spec(path)
    counted = ["beside.py", "mine.py", "parts/inner.py", "parts/near.py", "parts/other.py"]
    assert sorted(own_sources(spec.notebook, spec.path)) == [f"import {name}" for name in counted]
    before = marks(path)
    for name in counted:
        file = folder / name
        text = file.read_text()
        file.write_text(text + "# a remark\n")
        assert marks(path) == before, name
        file.write_text(text + "two = 2\n")
        assert marks(path) != before, name
        file.write_text(text)
    (tmp_path / "beside.py").write_text("two = 2\n")  # the notebook's folder comes first
    (folder / "unused.py").write_text("two = 2\n")
    assert marks(path) == before


def test_files_that_the_experiment_names_count(tmp_path: Path) -> None:
    path = write_spec(tmp_path, ONE.replace("seeds:", "sources: [lib/**/*.py, weights.bin]\nseeds:"))
    with pytest.raises(LabError, match=r"demo\.yml:7: sources names 'lib/\*\*/\*\.py', but no such file is in"):
        load_spec(path)
    (tmp_path / "lib/deep").mkdir(parents=True)
    (tmp_path / "folder.yml").write_text(path.read_text().replace("lib/**/*.py", "lib"))
    with pytest.raises(LabError, match=r"folder\.yml:7: sources names the folder 'lib', expected files, such as lib/"):
        load_spec(tmp_path / "folder.yml")
    for name in ("lib/a.py", "lib/deep/b.py", "weights.bin"):
        (tmp_path / name).write_text("one = 1\n")
    before = marks(path)
    for name in ("lib/a.py", "lib/deep/b.py", "weights.bin"):
        (tmp_path / name).write_text("one = 2\n")
        assert marks(path) != before, name
        (tmp_path / name).write_text("one = 1\n")
    assert marks(path) == before


def test_a_run_imports_the_module_that_counts_from_whatever_folder_it_is_started(tmp_path: Path, monkeypatch) -> None:
    path = write_spec(tmp_path, ONE)
    write_worker(tmp_path, measure="from my_base import BASE\n" + MEASURE.replace("base = 0.5", "base = BASE"))
    (tmp_path / "my_base.py").write_text("BASE = 0.2\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (made,) = execute.run(load_spec(path), root=tmp_path, progress=lambda _line: None)
    assert made.state == "ok", made.reason
    assert made.mean("JF") == pytest.approx(33.0)
    (tmp_path / "my_base.py").write_text("BASE = 0.3\n")
    assert [planned.state for planned in plan(load_spec(path), root=tmp_path)] == ["stale"]


CODE = '''\
"""A module."""
import os  # of the system


def f(x, *, y=1):
    """What it does."""
    # why
    text = f"{x!r:>{y}} {{and}} {'nested'} {f'{x}'}"
    long = (1 +
            2)
    """a remark"""
    return f"""{text}
{os.sep}""", long


class C:
    """Nothing else."""
'''

TOKENS = '''\
import os
def f ( x , * , y = 1 ) :
INDENT
text = f"{x!r:>{y}} {{and}} {'nested'} {f'{x}'}"
long = ( 1 + 2 )
return f"""{text}
{os.sep}""" , long
DEDENT
class C :
INDENT
DEDENT'''


def test_what_code_means_is_the_same_for_every_version_of_python() -> None:
    """The text is written here once: a Python that finds another one would make all runs stale."""
    assert meaning(CODE) == TOKENS
    assert meaning(CODE.replace("\n", "\r\n")) == TOKENS
    assert meaning("%time f(1)") == "%time f(1)"
    assert meaning("x = 'a'") != meaning("x = 'b'") and meaning("f'{x}'") == "f'{x}'"


def test_the_fingerprint_of_code_is_written_down(tmp_path: Path) -> None:
    worker = write_worker(tmp_path)
    one, other = (fingerprint(worker, {}, "0", None, {"import a.py": text}) for text in (b"a = 1", b"a = 1  # one\n"))
    assert one == other != fingerprint(worker, {}, "0", None, {"import a.py": b"a = 2"})


def with_plans(path: Path, root: Path) -> None:
    spec = load_spec(path)
    record_by_hand(root, spec)
    for planned in plan(spec, root=root):
        write_json(planned.folder / PLAN, plan_content(planned, spec))


def test_two_experiment_files_of_one_name_do_not_share_a_folder_of_runs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    root = tmp_path / "root"
    first = write_spec(tmp_path / "one")
    with_plans(first, root)
    second = write_spec(tmp_path / "two", SPEC.replace("Does a wider window help?", "Is it slower?"))
    with pytest.raises(LabError, match=r"holds runs of .*one/demo\.yml, not of .*two/demo\.yml: rename") as refusal:
        plan(load_spec(second), root=root)
    assert "\n" not in str(refusal.value)
    assert {planned.state for planned in plan(load_spec(first), root=root)} == {"ok"}
    second.write_text(first.read_text())  # a copy asks the same
    assert {planned.state for planned in plan(load_spec(second), root=root)} == {"ok"}
    second.write_text(SPEC + "# moved, and edited\n")
    first.unlink()
    assert {planned.state for planned in plan(load_spec(second), root=root)} == {"ok"}


def test_a_copied_project_keeps_its_runs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with_plans(write_spec(tmp_path / "a"), tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copied = tmp_path / "b" / "demo.yml"
    copied.write_text(SPEC + "# edited\n")
    assert {planned.state for planned in plan(load_spec(copied), root=tmp_path / "b")} == {"ok"}


@pytest.mark.parametrize("name", ["..", "Demo", "a b", "-", "a" * 101])
def test_an_experiment_s_name_fits_into_the_name_of_a_folder(name: str, tmp_path: Path) -> None:
    path = write_spec(tmp_path, name=name)
    with pytest.raises(LabError, match=r"an experiment file's name without \.yml must") as refusal:
        load_spec(path)
    assert "\n" not in str(refusal.value)


def test_a_notebook_that_names_no_kernel_is_run_in_python(tmp_path: Path) -> None:
    path = write_spec(tmp_path, ONE)
    worker = tmp_path / "worker.ipynb"
    book = json.loads(worker.read_text())
    worker.write_text(json.dumps({**book, "metadata": {}}))
    (made,) = execute.run(load_spec(path), root=tmp_path, progress=lambda _line: None)
    assert made.state == "ok", made.reason


@pytest.mark.parametrize("fault", ["no metadata", "no minor", "no metadata of a cell"])
def test_a_notebook_that_no_run_could_execute_is_rejected_by_plan(fault: str, tmp_path: Path) -> None:
    path = write_spec(tmp_path, ONE)
    worker = tmp_path / "worker.ipynb"
    book = json.loads(worker.read_text())
    match fault:
        case "no metadata":
            book["metadata"] = None
        case "no minor":
            del book["nbformat_minor"]
        case _:
            del book["cells"][1]["metadata"]
    worker.write_text(json.dumps(book))
    with pytest.raises(
        LabError, match=r"demo\.yml:2: (cell 2 of )?.*worker\.ipynb must have metadata, which may be empty"
    ):
        load_spec(path)


def test_a_record_holds_a_digest_of_the_files_that_were_scored_and_the_report_says_where_runs_differ(
    tmp_path: Path,
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("00000.jpg", "00001.jpg"):
            (tmp_path / folder / name).write_bytes(b"12345678")
    clips = {folder: SimpleNamespace(name="bear", frames=files(tmp_path / folder), masks=[]) for folder in ("a", "b")}
    assert files_digest([clips["a"]]) == files_digest([clips["b"]]) is not None  # wherever they lie
    (tmp_path / "b" / "00001.jpg").write_bytes(b"123456789")
    assert files_digest([clips["a"]]) != files_digest([clips["b"]])
    assert files_digest([SimpleNamespace(name="made", frames=[], masks=[])]) is None  # synthetic

    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec)
    assert "scored clips" not in table_text(read_results(spec, root=tmp_path))
    record = plan(spec, root=tmp_path)[0].folder / RECORD
    write_json(record, {**read_json(record), "files": files_digest([clips["a"]])})
    note = "different files of the scored clips, by name or size"
    assert note in table_text(read_results(spec, root=tmp_path))


def files(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(paths=sorted(folder.iterdir()))
