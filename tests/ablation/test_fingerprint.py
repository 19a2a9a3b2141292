"""The list of sources that can change a number is complete."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
from standin_experiment import record_by_hand, write_spec

from feelvos_lab.ablation.fingerprint import PACKAGE, fingerprint, number_sources
from feelvos_lab.ablation.record import RECORD
from feelvos_lab.ablation.runs import plan, with_state
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.ablation.worker import PLAN
from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.model import checkpoint


def imports_of(path: Path) -> set[Path]:
    """The files of the library that one file imports anywhere, also inside functions; not as a command of its own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "__main__" in ast.unparse(node.test))]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    found = set()
    for name in names:
        if name.startswith("feelvos_lab."):
            base = PACKAGE.joinpath(*name.split(".")[1:])
            found |= {p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()}
    return found


def test_every_source_that_training_and_scoring_import_is_fingerprinted():
    names = ("training/loop.py", "evaluation/scoring.py", "model/checkpoint.py", "data/datasets.py")
    todo = {PACKAGE / name for name in names}
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        seen.add(path)
        todo |= imports_of(path) - seen
    assert len(seen) > 10
    harmless = {PACKAGE / "errors.py", *PACKAGE.glob("files/*.py")}  # neither changes a number
    lacking = seen - set(number_sources()) - harmless
    assert not lacking


def test_nothing_that_only_draws_is_fingerprinted():
    names = {path.relative_to(PACKAGE).as_posix() for path in number_sources()}
    assert not names & {
        "figures/basic.py",
        "figures/style.py",
        "lab.py",
        "cli/main.py",
        "model/matching/naive.py",
        "ablation/report.py",
    }


def test_weights_that_a_run_starts_from_are_fingerprinted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    worker = PACKAGE.parent / "notebooks" / "run_experiment.ipynb"
    started = {"preset": "reduced", "start": "trunk"}
    before = fingerprint(worker, started, "0")
    assert before == fingerprint(worker, started, "0")
    for name in ("reduced.safetensors", "reduced.json"):
        shutil.copy(checkpoint.FOLDER / name, tmp_path)
    monkeypatch.setattr(checkpoint, "FOLDER", tmp_path)
    assert fingerprint(worker, started, "0") == before
    other = tmp_path / "reduced.safetensors"
    other.write_bytes(other.read_bytes() + b"\0")
    with pytest.raises(LabError, match="must have sha256"):
        fingerprint(worker, started, "0")
    checkpoint.write_card(other, config=configure("reduced"), seed=0, command="")
    assert fingerprint(worker, started, "0") != before


@pytest.mark.parametrize(
    ("preset", "start", "sentence"), [("reduced", "trnk", "'trunk' or 'all'"), ("full", "all", "missing")]
)
def test_a_start_that_is_none_is_refused_before_the_runs(preset: str, start: str, sentence: str):
    with pytest.raises(LabError, match=sentence):
        fingerprint(PACKAGE.parent / "notebooks" / "run_experiment.ipynb", {"preset": preset, "start": start}, "0")


def test_a_changed_code_cell_counts_and_a_comment_does_not(tmp_path: Path):
    worker, copy = PACKAGE.parent / "notebooks" / "run_experiment.ipynb", tmp_path / "copy.ipynb"
    text, right = (
        worker.read_text(encoding="utf-8"),
        "scores = evaluate(model, scored_clips, height=config.data.test_height)",
    )
    assert text.count(right) == 1
    marks = []
    for cell in (right, right + "  # all of them", right.replace("scored_clips", "scored_clips[1:]")):
        copy.write_text(text.replace(right, cell), encoding="utf-8")
        marks.append(fingerprint(copy, {"preset": "smoke"}, "0"))
    assert marks[0] == marks[1] != marks[2]


def test_a_record_of_another_run_than_the_planned_one_is_no_evidence(tmp_path: Path):
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec)
    planned = plan(spec, root=tmp_path)[0]
    assert planned.state == "ok"
    right = (planned.folder / RECORD).read_text(encoding="utf-8")
    for key, wrong in (("seed", 1), ("split", "validation"), ("digest", "0" * len(json.loads(right)["digest"]))):
        changed = json.loads(right) | {key: wrong}
        (planned.folder / RECORD).write_text(json.dumps(changed), encoding="utf-8")
        found = with_state(planned)
        assert found.state == "failed" and key in found.reason, key


def test_a_record_of_other_code_is_stale(tmp_path: Path):
    planned = plan(load_spec(PACKAGE.parent / "experiments" / "smoke.yml"), root=tmp_path)[0]
    planned.folder.mkdir(parents=True)
    (planned.folder / RECORD).write_text("{}", encoding="utf-8")
    (planned.folder / PLAN).write_text('{"fingerprint": "another"}', encoding="utf-8")
    assert with_state(planned).state == "stale"


def test_a_given_network_makes_another_run_than_training_does(tmp_path: Path):
    worker = PACKAGE.parent / "notebooks" / "run_experiment.ipynb"
    first, second = tmp_path / "full-s0.safetensors", tmp_path / "full-s1.safetensors"
    first.write_bytes(b"one"), second.write_bytes(b"another")
    marks = {fingerprint(worker, {"preset": "smoke"}, "0", network) for network in (None, first, second)}
    assert len(marks) == 3
    with pytest.raises(LabError, match=r"no\.safetensors is missing: one checkpoint <row>-s<seed>\.safetensors a run"):
        fingerprint(worker, {"preset": "smoke"}, "0", tmp_path / "no.safetensors")
