"""Lessons: exercises and their checks, guesses, lint rules for notebooks, costs, the roofline of lessons 03 and 04."""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "exercise": "exercises",
        "guess": "guesses",
        "hint": "exercises",
        "progress": "exercises",
        "reveal": "guesses",
        "solution": "exercises",
    },
)
