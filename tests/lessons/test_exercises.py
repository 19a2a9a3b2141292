"""Exercises: right answers of any make pass, and a wrong one is told its own mistake and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from right_answers import RIGHT, difference_by_index, pairs_by_broadcasting, pairs_by_einsum, walk
from wrong_answers import UNNAMED, WRONG

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.lessons import exercises
from feelvos_lab.lessons.checks import LESSONS, find_exercise
from feelvos_lab.lessons.exercises import exercise, hint, solution
from feelvos_lab.model.matching import normalise_distance as squash

inf = torch.inf


def attempt(name: str, answer: Callable[..., Any]) -> Any:
    """Hand in an answer under the exercise's name."""
    answer.__name__ = name
    return exercise(name)(answer)


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_of_any_make_passes_and_is_used(name, answer, capsys):
    used = attempt(name, answer)
    said = capsys.readouterr().out
    assert said == f"✓ {name}: right on the hand case, at random and at the edge; yours is used from here on.\n"
    assert used is not find_exercise(name).library


@pytest.mark.parametrize("name", LESSONS)
def test_the_library_itself_passes_and_hands_in_no_stub(name, capsys):
    attempt_of_library = find_exercise(name).library
    exercise(name)(attempt_of_library)
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize(("name", "mistake", "answer"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_answer_is_told_its_own_mistake_and_no_other(name, mistake, answer, capsys):
    task = find_exercise(name)
    used = attempt(name, answer)
    said = capsys.readouterr().out
    assert [m.name for m in task.mistakes if m.hint in said] == [mistake], said
    assert said.startswith(f"✗ {name}: ") and said.count("✗") == 1 and "\n\n" not in said
    assert "expected" in said and "got" in said
    assert used is task.library


def test_every_named_mistake_is_tried_here_and_there_are_enough():
    tried = {(name, mistake) for name, mistake, _ in WRONG}
    named = {(name, m.name) for name in LESSONS for m in find_exercise(name).mistakes}
    assert tried == named
    assert len(LESSONS) >= 11 and len(named) >= 30
    assert {name for name, _ in RIGHT} == set(LESSONS)


@pytest.mark.parametrize("name", LESSONS)
def test_a_named_mistake_never_passes_and_never_goes_by_another_name(name, capsys):
    task = find_exercise(name)
    for mistake in task.mistakes:
        for wrong in mistake.wrong:
            told, right = exercises._check_answer(task, _with_arguments_of(task, wrong))
            assert not right
            assert [m.name for m in task.mistakes if m.hint in told] == [mistake.name]


def _with_arguments_of(task, wrong):
    """The wrong function under the library's signature, which builtins and lambdas lack."""
    import inspect

    def answer(*arguments, **named):
        return wrong(*arguments, **named)

    answer.__signature__ = inspect.signature(task.library)
    return answer


@pytest.mark.parametrize("name", LESSONS)
def test_a_wrong_answer_without_a_name_fails_with_the_hand_case(name, capsys):
    used = attempt(name, UNNAMED[name])
    said = capsys.readouterr().out
    task = find_exercise(name)
    assert said.startswith(f"✗ {name}: that is not it") and "hand case" in said and "expected" in said
    assert task.cases()[0].about in said
    assert not [m for m in task.mistakes if m.hint in said]
    assert used is task.library


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


def test_an_answer_that_raises_at_the_edge_alone_is_shown_that_case(capsys):
    attempt(
        "region_similarity",
        lambda prediction, truth: (prediction & truth).sum().item() / (prediction | truth).sum().item(),
    )
    assert "your code raised ZeroDivisionError" in (said := capsys.readouterr().out)
    assert "both masks are empty" in said


def test_an_answer_that_writes_into_its_input_is_told_which(capsys):
    def scribbles(query, reference):
        right = pairs_by_broadcasting(query, reference)
        reference *= 0
        return right

    used = attempt("pairwise_sq_dist", scribbles)
    assert "writes into its argument `reference`" in capsys.readouterr().out
    assert used is find_exercise("pairwise_sq_dist").library


def test_a_table_that_is_written_into_is_noticed_too(capsys):
    def scribbles(a, b, column):
        b["spare"] = 1
        return difference_by_index(a, b, column)

    attempt("paired_difference", scribbles)
    assert "writes into its argument `b`" in capsys.readouterr().out


def test_arguments_of_another_name_are_told(capsys):
    attempt("pairwise_sq_dist", lambda q, r: pairs_by_broadcasting(q, r))
    assert "the arguments must be (query, reference), they are (q, r)" in capsys.readouterr().out


def test_what_an_answer_leaves_out_the_library_does(capsys):
    used = attempt("propagate", lambda model, clip: walk(model, clip))
    task = find_exercise("propagate")
    model, clip = (task.cases()[1].arguments[n] for n in ("model", "clip"))
    assert isinstance(clip, Clip)
    ours, theirs = list(used(model, clip, feedback="hard")), list(task.library(model, clip, feedback="hard"))
    assert all(torch.equal(a.probabilities, b.probabilities) for a, b in zip(ours, theirs, strict=True))
    assert isinstance(used(model, clip), list)


def test_a_function_or_an_exercise_of_another_name_is_refused():
    with pytest.raises(LabError, match="did you mean 'global_matching'"):
        exercise("global_maching")

    def other(query, reference): ...

    with pytest.raises(LabError, match="must be called pairwise_sq_dist, it is called other"):
        exercise("pairwise_sq_dist")(other)


def test_hints_go_from_a_nudge_to_the_code_and_stay_there(capsys, monkeypatch):
    monkeypatch.setattr(exercises, "_hints_shown", {})
    task = find_exercise("global_matching")
    for level in (0, 1, 2, 2):
        hint("global_matching")
        said = capsys.readouterr().out
        assert [h in said for h in task.hints] == [i == level for i in range(3)]
    hint("global_matching", 2)
    assert task.hints[1] in capsys.readouterr().out
    with pytest.raises(LabError, match="must be 1, 2 or 3, got 4"):
        hint("global_matching", 4)


@pytest.mark.parametrize("name", LESSONS)
def test_the_solution_is_the_librarys_own_source(name, capsys):
    solution(name)
    said = capsys.readouterr().out
    assert said.startswith("# feelvos_lab.") and f"def {name}(" in said
    assert "return" in said or "yield" in said


CODE = {
    "region_similarity": "prediction, truth",
    "pairwise_sq_dist": "query, reference",
    "normalise_distance": "sq",
    "global_matching": "query, reference, labels, *, num_objects",
    "matching_memory": "size, *, references=None",
    "local_matching": "query, previous, labels, *, num_objects, radius",
    "stack_cues": "global_map, local_map, previous_mask",
    "combine_objects": "logits",
    "hard_pixel_loss": "logits, labels, *, keep, ignore=255",
    "paired_difference": "a, b, column",
}


@pytest.mark.parametrize("name", CODE)
def test_the_last_hint_is_code_that_passes(name, capsys):
    body = "\n".join(f"    {line}" for line in find_exercise(name).hints[2].splitlines())
    scope = {
        "torch": torch,
        "F": F,
        "LabError": LabError,
        "normalise_distance": squash,
        "pairwise_sq_dist": pairs_by_einsum,
    }
    exec(f"def {name}({CODE[name]}):\n{body}", scope)
    exercise(name)(scope[name])
    assert capsys.readouterr().out.startswith("✓")
