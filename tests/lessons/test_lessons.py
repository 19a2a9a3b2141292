"""The lessons run three times over: as shipped, with every exercise stubbed, and with every exercise solved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lesson_runs import EXERCISES, LESSONS, QUICK, run_here, run_in_kernel, stubbed

from feelvos_lab.config import configure
from feelvos_lab.files import notebooks
from feelvos_lab.model.checkpoint import shipped_mismatch

pytestmark = pytest.mark.skipif(
    bool(shipped_mismatch(configure("reduced"), seed=0)), reason="the reduced model is not shipped"
)
STUBS = (
    ("return None",),
    ('raise NotImplementedError("not yet")',),
    ("pass",),
    ("return undefined  # a slip",),
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The cells of each lesson after a kernel has run them, every exercise as it is handed out."""
    halves = (LESSONS[:4], LESSONS[4:])
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda names: run_in_kernel(names, tmp_path_factory.mktemp("desk")), halves)
        return {name: cells for half in runs for name, cells in half.items()}


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_as_shipped_and_uses_the_library_where_nothing_is_solved(name, shipped):
    outputs = [(c["id"], o) for c in shipped[name] for o in c.get("outputs", [])]
    assert not [(where, o) for where, o in outputs if o.get("name") == "stderr"]
    said = ["".join(o["text"]) for w, o in outputs if o.get("name") == "stdout" and w[3:].startswith("ex-")]
    assert [text.split(";")[0] for text in said] == [f"○ {e}: not attempted" for e in EXERCISES[name]]
    drawn = {where for where, o in outputs if "image/png" in o.get("data", {})}
    saved = {c["id"] for c in shipped[name] if "lab.save_figure" in notebooks.source(c)}
    assert len(drawn) >= 2 and saved <= drawn


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory):
    """One folder for all stubbed lessons: the network of preset smoke is trained once."""
    return tmp_path_factory.mktemp("stubbed")


@pytest.mark.parametrize(("name", "stub"), [(n, STUBS[i % len(STUBS)]) for i, n in enumerate(LESSONS)])
def test_a_lesson_runs_to_its_end_whatever_a_student_has_begun(name, stub, desk, one_thread):
    scope, printed = run_here(name, desk, change=stubbed(*stub), preset="smoke", **QUICK.get(name, {}))
    said = [text for where, text in printed.items() if where.startswith("ex-")]
    assert [text[:1] for text in said] == ["✗" if stub[0].startswith("return") else "○"] * len(EXERCISES[name])
    assert all("library's is used below" in text for text in said)
    for exercise in EXERCISES[name]:
        assert scope[exercise].__module__.startswith("feelvos_lab.")


@pytest.mark.parametrize("name", LESSONS)
def test_a_solved_lesson_runs_with_the_students_own_functions(name, solved):
    scope, printed = solved[name]
    assert [t[: t.index(":")] for w, t in printed.items() if w.startswith("ex-")] == [f"✓ {e}" for e in EXERCISES[name]]
    for exercise in EXERCISES[name]:
        assert scope[exercise].__module__ == "lesson"
