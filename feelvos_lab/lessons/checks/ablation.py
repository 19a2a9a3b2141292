"""Notebook 09: the paired differences of two rows of an ablation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from feelvos_lab.ablation.statistics import KEYS, paired_difference
from feelvos_lab.lessons.checks.exercise import Case, Exercise, Mistake


def _scores(rng: np.random.Generator, *, seeds: tuple[int, ...], clips: int, shift: float) -> pd.DataFrame:
    rows = [
        {"seed": s, "clip": f"clip-{c}", "object": o, "JF": 20 * c + shift + rng.normal()}
        for s in seeds
        for c in range(clips)
        for o in (1, 2)
    ]
    return pd.DataFrame(rows)


def _cases() -> list[Case]:
    rng = np.random.default_rng(10)
    a = pd.DataFrame({"seed": [0, 0, 0], "clip": ["car", "dog", "dog"], "object": [1, 1, 2], "JF": [80.0, 50.0, 40.0]})
    b = pd.DataFrame({"seed": [0, 0, 0], "clip": ["dog", "dog", "car"], "object": [2, 1, 1], "JF": [43.0, 48.0, 79.0]})
    full, other = (_scores(rng, seeds=s, clips=4, shift=x) for s, x in (((0, 1), 5.0), ((1, 0, 2), 0.0)))
    return [
        Case("hand", "three objects, listed in another order", {"a": a, "b": b, "column": "JF"}),
        Case("random", "two common seeds, a third one in b alone", {"a": full, "b": other, "column": "JF"}),
        Case("edge", "b was not scored on one of the objects", {"a": a, "b": b.iloc[1:], "column": "JF"}),
    ]


def _merged(a: pd.DataFrame, b: pd.DataFrame, column: str, on: list[str]) -> pd.DataFrame:
    both = a.merge(b, on=on, suffixes=("_a", "_b"))
    both["difference"] = both[f"{column}_a"] - both[f"{column}_b"]
    return both.rename(columns={"seed_a": "seed"})[[*KEYS, "difference"]]


def _by_row(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    return a[KEYS].assign(difference=a[column].to_numpy() - b[column].to_numpy()[: len(a)])


EXERCISES = (
    Exercise(
        "paired_difference",
        paired_difference,
        _cases,
        mistakes=(
            Mistake(
                "by-row",
                "rows are subtracted in their order in the tables; subtract rows of the same seed, clip and object, "
                "whatever their order",
                (_by_row,),
            ),
            Mistake(
                "backwards",
                "the sign is reversed; it must be a minus b",
                (lambda a, b, column: paired_difference(b, a, column),),
            ),
            Mistake(
                "absolute",
                "the sign is lost; differences of both signs must be able to cancel",
                (
                    lambda a, b, column: paired_difference(a, b, column).assign(
                        difference=lambda t: t["difference"].abs()
                    ),
                ),
            ),
            Mistake(
                "across-seeds",
                "each seed of a meets each seed of b; the seed is part of the key: the same training clips, the same "
                "first weights",
                (lambda a, b, column: _merged(a, b, column, ["clip", "object"]),),
            ),
            Mistake(
                "dropped",
                "an object that is missing in one of the tables is left out silently; then the rows were not scored on "
                "the same test clips, and that must be a LabError",
                (lambda a, b, column: _merged(a, b, column, KEYS),),
            ),
        ),
        hints=(
            "Which rows of the two tables belong together? Three columns tell.",
            "difference(seed, clip, object) = a(seed, clip, object) − b(seed, clip, object), over the common seeds; "
            "an error where one of the two is missing.",
            "seeds = set(a.seed) & set(b.seed)\n"
            "a, b = a[a.seed.isin(seeds)], b[b.seed.isin(seeds)]\n"
            'both = a.merge(b, on=["seed", "clip", "object"], suffixes=("_a", "_b"))\n'
            "if len(both) != len(a) or len(both) != len(b):\n"
            '    raise LabError("the rows must be scored on the same clips and objects")\n'
            'both["difference"] = both[f"{column}_a"] - both[f"{column}_b"]\n'
            'return both[["seed", "clip", "object", "difference"]]',
        ),
    ),
)
