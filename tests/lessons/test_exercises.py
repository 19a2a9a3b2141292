"""Exercises: what a student is shown for a right answer, a wrong one, a stub, and code that raises or never ends."""

from __future__ import annotations

import ast
import inspect
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.lessons import exercises, judging, watched
from feelvos_lab.lessons.checks import LESSONS, NUMBERS, find_exercise
from feelvos_lab.lessons.exercises import exercise, hint, progress, solution
from feelvos_lab.model.feelvos import Labelled, label_frame
from feelvos_lab.model.grid import resize_bilinear
from feelvos_lab.model.head import combine_objects
from feelvos_lab.model.matching import normalise_distance, pairwise_sq_dist


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch, one_thread):
    """A folder of its own for what `progress` shows, and one thread, which small tensors are fastest with."""
    monkeypatch.chdir(tmp_path)


def attempt(name: str, answer: Callable[..., Any]) -> Any:
    """Hand in an answer under the exercise's name."""
    answer.__name__ = name
    return exercise(name)(answer)


def pairs(query, reference):
    return (query[:, None] - reference[None]).square().sum(-1)


def test_a_right_answer_is_used(capsys):
    used = attempt("pairwise_sq_dist", lambda query, reference: pairs(query, reference))
    said = capsys.readouterr().out
    assert (
        said == "✓ pairwise_sq_dist: right on the hand cases, at random and at the edge; yours is used from here on.\n"
    )
    assert used is not find_exercise("pairwise_sq_dist").library


def test_a_wrong_answer_is_told_where_it_differs_then_why_then_in_which_case(capsys):
    used = attempt("pairwise_sq_dist", lambda query, reference: pairs(query, reference).sqrt())
    first, why, case, below = capsys.readouterr().out.splitlines()
    assert first == "✗ pairwise_sq_dist: query 0, reference 1: expected 9, got 3 (5 of 6 numbers differ)."
    assert why.startswith("  These look like distances, not squared distances")
    assert case.startswith("  hand case, two vectors of two numbers against three: query = [[0, 0], [3, 4]]")
    assert below.startswith("  The library's is used below") and 'hint("pairwise_sq_dist")' in below
    assert used is find_exercise("pairwise_sq_dist").library


@pytest.mark.parametrize("name", LESSONS)
def test_the_library_itself_is_no_answer(name, capsys):
    library = find_exercise(name).library
    assert exercise(name)(library) is library
    assert f"calls the library's own `{name}`" in capsys.readouterr().out


@pytest.mark.parametrize("name", LESSONS)
def test_a_named_mistake_is_refused_by_its_own_name(name):
    task, known = find_exercise(name), judging._known(name)
    every = range(len(known.cases))
    expected = [known.expected[i] for i in every]
    others = [(mistake, results.__getitem__) for mistake, results in known.mistakes]
    for mistake, results in known.mistakes:
        theirs = [results[i] for i in every]
        failed = [i for i in every if not judging._agree(expected[i], theirs[i])]
        assert failed, mistake.name
        told, _ = judging._mistake(
            judging._Tried(task, mistake.wrong[0], known.cases, expected, theirs, failed, others)
        )
        assert told == mistake.hint, mistake.name


def test_a_mistake_that_differs_in_another_way_is_not_named():
    verdict = judging.judge(
        find_exercise("pairwise_sq_dist"), lambda query, reference: pairs(query, reference).sqrt() + 1
    )
    assert not [m for m in find_exercise("pairwise_sq_dist").mistakes if m.hint == verdict.reason]


def test_the_case_that_is_shown_is_one_in_which_the_named_mistake_shows(capsys):
    def absent_is_zero(query, reference, labels, *, num_objects):
        sq = pairwise_sq_dist(query.flatten(1).t(), reference.flatten(1).t())
        maps = [sq.masked_fill(labels.flatten() != o, torch.inf).amin(1) for o in range(num_objects)]
        return normalise_distance(torch.stack(maps).nan_to_num(posinf=0.0)).view(num_objects, *query.shape[1:])

    attempt("global_matching", absent_is_zero)
    said = capsys.readouterr().out
    assert "An object without a reference pixel should be" in said and "objects 1 and 3 have no pixel" in said


def test_a_number_may_be_of_any_type_but_has_no_axis(capsys):
    def score(kind):
        def region_similarity(prediction, truth):
            union = int((prediction | truth).sum())
            return kind(int((prediction & truth).sum()) / union if union else 1.0)

        return region_similarity

    for kind in (float, torch.tensor, lambda v: torch.tensor(v).numpy(), lambda v: torch.tensor(v).numpy()[()]):
        attempt("region_similarity", score(kind))
        assert capsys.readouterr().out.startswith("✓")
    attempt("region_similarity", score(lambda v: torch.tensor([v])))
    assert "expected one number, 0.4, got a tensor of shape (1,)" in capsys.readouterr().out


def test_the_gradient_is_asked_for_where_a_lesson_uses_it(capsys):
    attempt("normalise_distance", lambda sq: torch.tanh(sq.detach() / 2))
    said = capsys.readouterr().out
    assert "the gradient of the result: expected" in said and "got no gradient" in said
    gradients = {name for name in LESSONS for case in find_exercise(name).cases() if case.gradient}
    assert gradients == {"normalise_distance", "hard_pixel_loss"}


def test_the_kind_of_exception_counts(capsys):
    task, known = find_exercise("paired_difference"), judging._known("paired_difference")
    raised = [r for r in (known.expected[i] for i in range(len(known.cases))) if isinstance(r, watched.Raised)]
    assert len(raised) == 4 and all(isinstance(r.error, LabError) for r in raised)

    def raises_value_error(a, b, column):
        keys = ["seed", "clip", "object"]
        seeds = set(a.seed) & set(b.seed)
        x, y = (t[t.seed.isin(seeds)].set_index(keys)[column].sort_index() for t in (a, b))
        if not x.index.equals(y.index):
            raise ValueError("not the same test")
        return (x - y).rename("difference").reset_index()

    assert attempt("paired_difference", raises_value_error) is task.library
    said = capsys.readouterr().out
    assert "expected a LabError, got ValueError: not the same test" in said


def region_similarity(prediction, truth):
    """Still to be written."""
    ...


def test_a_stub_is_not_attempted_and_the_library_stands_in(capsys):
    def stops(prediction, truth):
        raise NotImplementedError("later")

    def passes(prediction, truth):
        # a note
        pass

    for stub in (region_similarity, stops, passes):
        assert attempt("region_similarity", stub) is find_exercise("region_similarity").library
        said = capsys.readouterr().out
        assert said.startswith("○ region_similarity: not attempted") and said.count("\n") == 1


def test_a_stub_that_does_something_first_is_an_attempt_until_it_says_it_is_none(capsys):
    def forgot(prediction, truth):
        prediction & truth

    attempt("region_similarity", forgot)
    assert "is a `return` missing?" in capsys.readouterr().out

    def begun(prediction, truth):
        both = prediction & truth
        raise NotImplementedError(both)

    attempt("region_similarity", begun)
    assert "not attempted" in capsys.readouterr().out


def test_an_error_of_torch_is_an_attempt_even_where_it_is_called_not_implemented(capsys):
    attempt("region_similarity", lambda prediction, truth: prediction - truth)
    assert "your code raised" in capsys.readouterr().out


def test_a_property_that_a_result_lacks_is_shown_in_a_case_that_lacks_it(capsys):
    attempt("region_similarity", lambda prediction, truth: float((prediction & truth).any()))
    said = capsys.readouterr().out
    assert "expected 1, got 0" in said and "equal masks have J = 1" in said and "both masks are empty" in said


def test_code_that_raises_is_shown_with_the_shapes_it_was_given(capsys):
    def stumbles(query, reference):
        return query @ reference

    used = attempt("pairwise_sq_dist", stumbles)
    said = capsys.readouterr().out
    assert "your code raised RuntimeError in line" in said
    assert "query (2, 2) float32, reference (3, 2) float32" in said
    assert used is find_exercise("pairwise_sq_dist").library


def test_an_error_in_a_decorated_answer_is_found_in_its_own_lines(capsys):
    @torch.inference_mode()
    def stumbles(query, reference):
        raise IndexError("of the student")

    attempt("pairwise_sq_dist", stumbles)
    line = stumbles.__wrapped__.__code__.co_firstlineno + 2
    assert f"your code raised IndexError in line {line}: of the student" in capsys.readouterr().out


def test_an_answer_that_leaves_the_interpreter_does_not_end_the_notebook(capsys):
    attempt("pairwise_sq_dist", lambda query, reference: exit())
    assert "your code raised SystemExit" in capsys.readouterr().out


def test_an_answer_that_writes_into_its_input_is_told_which(capsys):
    def scribbles(query, reference):
        right = pairs(query, reference)
        reference *= 0
        return right

    used = attempt("pairwise_sq_dist", scribbles)
    assert "writes into its argument `reference`" in capsys.readouterr().out
    assert used is find_exercise("pairwise_sq_dist").library


def test_whatever_belongs_to_the_caller_is_watched():
    frame, mask = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4)
    clip, model, table = Clip("a", frame, mask, (1,)), torch.nn.Linear(1, 1), pd.DataFrame({"seed": [0, 1]})
    for before, after, words in (
        (clip, Clip("a", frame + 1, mask, (1,)), "writes into the frames of {}"),
        (clip, Clip("a", frame, mask + 1, (1,)), "writes into the masks of {}"),
        (model.eval(), torch.nn.Linear(1, 1).train(), "leaves {} in training mode"),
        (model, torch.nn.Linear(1, 1).eval(), "writes into the weights of {}"),
        (table, table.assign(spare=1), "writes into {}"),
        (table, table.set_index("seed", drop=False), "writes into {}"),
        (frame, torch.zeros_like(frame, requires_grad=True), "changes `requires_grad` of {}"),
        (torch.tensor([torch.nan]), torch.tensor([torch.nan]), ""),
    ):
        assert watched.change_of(before, after) == words


def test_gradients_that_are_left_switched_off_are_noticed_and_switched_on(capsys):
    def switches(query, reference):
        torch.set_grad_enabled(False)
        return pairs(query, reference)

    attempt("pairwise_sq_dist", switches)
    assert "leaves the gradients switched off" in capsys.readouterr().out and torch.is_grad_enabled()


def spin(query, reference):
    while True:
        with suppress(Exception):  # of no help against an alarm
            time.sleep(0.01)


def test_an_answer_that_never_ends_is_stopped(capsys, monkeypatch):
    monkeypatch.setattr(judging, "SECONDS", 0.1)
    handler = signal.getsignal(signal.SIGALRM)
    used = attempt("pairwise_sq_dist", spin)
    assert "your code was stopped after" in capsys.readouterr().out
    assert used is find_exercise("pairwise_sq_dist").library
    assert signal.getsignal(signal.SIGALRM) is handler


def test_it_is_stopped_on_systems_without_alarms_too(capsys, monkeypatch):
    monkeypatch.setattr(judging, "SECONDS", 0.1)
    monkeypatch.delattr(signal, "SIGALRM")
    attempt("pairwise_sq_dist", spin)
    assert "your code was stopped after" in capsys.readouterr().out


def test_an_answer_is_judged_in_another_thread_without_a_limit(capsys):
    thread = threading.Thread(
        target=attempt, args=("pairwise_sq_dist", lambda query, reference: pairs(query, reference))
    )
    thread.start()
    thread.join()
    assert capsys.readouterr().out.startswith("✓")


def test_an_interrupt_shows_one_line(capsys):
    def interrupted(query, reference):
        raise KeyboardInterrupt

    used = attempt("pairwise_sq_dist", interrupted)
    assert capsys.readouterr().out == "■ pairwise_sq_dist: interrupted; the library's is used below.\n"
    assert used is find_exercise("pairwise_sq_dist").library


def test_arguments_of_another_name_are_told_and_own_ones_need_a_default(capsys):
    attempt("pairwise_sq_dist", lambda q, r: pairs(q, r))
    assert "the arguments must be (query, reference), they are (q, r)" in capsys.readouterr().out
    attempt("pairwise_sq_dist", lambda query, reference, power: pairs(query, reference))
    assert "the arguments must be" in capsys.readouterr().out
    attempt("pairwise_sq_dist", lambda query, reference, power=2: pairs(query, reference))
    assert capsys.readouterr().out.startswith("✓")


def test_a_function_or_an_exercise_of_another_name_is_refused():
    with pytest.raises(LabError, match="did you mean 'global_matching'"):
        exercise("global_maching")

    def other(query, reference): ...

    with pytest.raises(LabError, match="must be called pairwise_sq_dist, it is called other"):
        exercise("pairwise_sq_dist")(other)


def test_progress_shows_the_eleven_boxes_and_keeps_them(capsys):
    progress()
    said = capsys.readouterr().out
    assert said.count("[ ]") == 11 and said.endswith("0 of 11 exercises solved\n")
    attempt("pairwise_sq_dist", lambda query, reference: pairs(query, reference))
    attempt("pairwise_sq_dist", lambda query, reference: query)  # solved stays solved
    attempt("normalise_distance", lambda sq: sq)
    attempt("region_similarity", region_similarity)
    capsys.readouterr()
    progress()
    said = capsys.readouterr().out
    assert "02  [✓] pairwise_sq_dist    [✗] normalise_distance\n" in said and "01  [ ] region_similarity\n" in said
    assert said.endswith("1 of 11 exercises solved\n")
    assert NUMBERS.keys() == LESSONS.keys()


def test_progress_that_cannot_be_kept_is_said(capsys, tmp_path):
    (tmp_path / "runs").write_text("in the way")
    attempt("normalise_distance", lambda sq: sq)
    assert "progress() will not show it" in capsys.readouterr().out


def test_hints_go_from_a_nudge_to_the_code_and_stay_there(capsys, monkeypatch):
    monkeypatch.setattr(exercises, "_hints_shown", {})
    task = find_exercise("global_matching")
    for level in (0, 1, 2, 3, 3):
        hint("global_matching")
        said = capsys.readouterr().out
        assert [h in said for h in task.hints] == [i == level for i in range(4)]
    hint("global_matching", 2)
    assert task.hints[1] in capsys.readouterr().out
    with pytest.raises(LabError, match="must be 1, 2, 3 or 4, got 5"):
        hint("global_matching", 5)


@pytest.mark.parametrize("name", LESSONS)
def test_the_solution_is_the_librarys_own_source(name, capsys):
    solution(name)
    said = capsys.readouterr().out
    assert said.startswith("# feelvos_lab.") and f"def {name}(" in said
    assert "return" in said or "yield" in said


NAMES = {
    "torch": torch,
    "F": F,
    "LabError": LabError,
    "Labelled": Labelled,
    "Prediction": Prediction,
    "combine_objects": combine_objects,
    "label_frame": label_frame,
    "normalise_distance": normalise_distance,
    "pairwise_sq_dist": pairwise_sq_dist,
    "resize_bilinear": resize_bilinear,
}


@pytest.mark.parametrize("name", LESSONS)
def test_the_skeleton_has_gaps_and_the_last_hint_is_code_that_passes(name, capsys):
    task = find_exercise(name)
    sources = [
        f"def {name}({', '.join(_argument(p) for p in _parameters(task))}):\n"
        + "\n".join(f"    {line}" for line in text.splitlines())
        for text in task.hints[2:]
    ]
    ast.parse(sources[0])
    assert task.hints[2].count("...") >= 2 and "..." not in task.hints[3].replace("… ", "")
    scope = dict(NAMES)
    scope.pop(name, None)
    exec(sources[1], scope)
    exercise(name)(scope[name])
    assert capsys.readouterr().out.startswith("✓")


def _parameters(task):
    """Those that every answer takes."""
    return [p for p in inspect.signature(task.library).parameters.values() if p.name not in task.optional]


def _argument(p):
    star = "*, " if p.name in ("num_objects", "references", "keep") else ""
    return f"{star}{p.name}" + ("" if p.default is p.empty else f"={p.default!r}")
