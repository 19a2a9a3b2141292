"""Answers to the exercises as students write them: right ones of any make, and wrong ones with the reason to be named.

`RIGHT` holds (exercise, answer), `WRONG` (exercise, reason, answer): the reason is a regular expression that the
refusal must match. The answers are in the files that are imported at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Answer = Callable[..., Any]

RIGHT: list[tuple[str, Answer]] = []
WRONG: list[tuple[str, str, Answer]] = []


def right(exercise: str) -> Callable[[Answer], Answer]:
    """Register a right answer."""

    def register(answer: Answer) -> Answer:
        RIGHT.append((exercise, answer))
        return answer

    return register


def wrong(exercise: str, reason: str) -> Callable[[Answer], Answer]:
    """Register a wrong answer, and what its refusal must say."""

    def register(answer: Answer) -> Answer:
        WRONG.append((exercise, reason, answer))
        return answer

    return register


def load() -> None:
    """Import the files that register answers."""
    import answers_ablation  # noqa: F401
    import answers_embeddings  # noqa: F401
    import answers_global  # noqa: F401
    import answers_head  # noqa: F401
    import answers_inference  # noqa: F401
    import answers_local  # noqa: F401
    import answers_score  # noqa: F401
    import answers_training  # noqa: F401
