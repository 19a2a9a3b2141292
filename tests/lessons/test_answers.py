"""Answers as students write them: every right one is accepted, every wrong one refused, most with the true reason."""

from __future__ import annotations

import re
from collections import Counter

import answers
import pytest

from feelvos_lab.lessons import exercises
from feelvos_lab.lessons.checks import LESSONS, find_exercise
from feelvos_lab.lessons.judging import judge

answers.load()
NAMED = 0.8  # the least share of refusals with the true reason


def refusal(name, answer):
    """What is printed of a wrong answer."""
    verdict = judge(find_exercise(name), answer)
    assert verdict.state == "wrong", f"{answer.__name__} is {verdict.state}"
    return exercises._paragraph(name, verdict)


def test_there_are_enough_answers_of_every_exercise():
    right, wrong = Counter(name for name, _ in answers.RIGHT), Counter(name for name, _, _ in answers.WRONG)
    assert right.keys() == wrong.keys() == LESSONS.keys()
    assert min(right.values()) >= 6 and min(wrong.values()) >= 15


@pytest.mark.parametrize("name", LESSONS)
def test_right_answers_of_any_make_are_accepted(name, one_thread):
    for _, answer in (pair for pair in answers.RIGHT if pair[0] == name):
        verdict = judge(find_exercise(name), answer)
        assert verdict.state == "right", f"{answer.__name__}: {verdict}"


@pytest.mark.parametrize("name", LESSONS)
def test_wrong_answers_are_refused_and_most_told_why(name, one_thread):
    tried = [(reason, answer) for exercise, reason, answer in answers.WRONG if exercise == name]
    told = {answer.__name__: (reason, refusal(name, answer)) for reason, answer in tried}
    unnamed = [n for n, (reason, said) in told.items() if not re.search(reason, said.replace("\n", " "), re.IGNORECASE)]
    assert len(unnamed) <= (1 - NAMED) * len(told), unnamed
