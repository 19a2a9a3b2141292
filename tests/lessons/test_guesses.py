"""Guesses: noted before the answer, judged with it, and no obstacle where none was made."""

from __future__ import annotations

import pytest

from feelvos_lab.errors import LabError
from feelvos_lab.lessons import guess, reveal

NAME = "cells of the object"


@pytest.fixture(autouse=True)
def no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    guess(NAME, ...)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("value", "answer", "tolerance", "mark"),
    [
        (1 / 3, 1 / 3, {}, "✓"),
        (0.3, 1 / 3, {"within": 0.05}, "✓"),
        (0.25, 1 / 3, {"within": 0.05}, "✗"),
        (10, 4, {"factor": 3}, "✓"),
        (1.4, 4, {"factor": 3}, "✓"),
        (13, 4, {"factor": 3}, "✗"),
        (-4, 4, {"factor": 3}, "✗"),
        (0, 0, {"factor": 2}, "✓"),
        (1, 0, {"factor": 2}, "✗"),
    ],
)
def test_a_number_is_right_within_its_tolerance(value, answer, tolerance, mark, capsys) -> None:
    guess(NAME, value)
    reveal(NAME, answer, **tolerance)
    noted, judged = capsys.readouterr().out.splitlines()
    assert noted == f"● {NAME}: {value} is noted"
    assert judged.startswith(f"{mark} {NAME}: it is ") and judged.endswith(f"your guess was {value}")


def test_a_choice_is_right_if_it_is_the_answer(capsys) -> None:
    for value, mark in (("near", "✓"), ("far", "✗")):
        guess(NAME, value, choices=("near", "far"))
        reveal(NAME, "near")
        assert capsys.readouterr().out.splitlines()[1] == f"{mark} {NAME}: it is near, your guess was {value}"


def test_dots_are_no_guess_and_take_an_earlier_one_back(capsys) -> None:
    guess(NAME, 4)
    guess(NAME, ...)
    reveal(NAME, 15_400.0)
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith(f"○ {NAME}: no guess yet") and said[2] == f"○ {NAME}: it is 15,400; there was no guess"


@pytest.mark.parametrize(
    ("value", "choices", "words"),
    [
        ("four", (), "must be a number, got 'four'"),
        (None, (), "must be a number, got None"),
        (True, (), "must be a number, got True"),
        (float("nan"), (), "must be a number, got nan"),
        ("neer", ("near", "far"), r"one of 'near', 'far', got 'neer' \(did you mean 'near'\?\)"),
        (1, ("near", "far"), "one of 'near', 'far', got 1"),
    ],
)
def test_what_is_neither_a_number_nor_a_choice_is_rejected(value, choices, words) -> None:
    with pytest.raises(LabError, match=words):
        guess(NAME, value, choices=choices)
