"""Notebook 09: the paired differences of two rows of an ablation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from feelvos_lab.ablation.statistics import KEYS, paired_difference
from feelvos_lab.errors import LabError
from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake


def _scores(rng: np.random.Generator, *, seeds: tuple[int, ...], clips: int, shift: float) -> pd.DataFrame:
    """Rows as a table of an ablation has them, with columns that nobody asked for."""
    rows = [
        {
            "variant": f"shift {shift}",
            "seed": s,
            "clip": f"clip-{c}",
            "object": o,
            "J": 15 * c + shift + rng.normal(),
            "JF": 20 * c + shift + rng.normal(),
        }
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
    other = other.sample(frac=1, random_state=3)  # the index goes with the rows
    apart, more = (_scores(rng, seeds=s, clips=2, shift=x) for s, x in (((3, 5), 1.0), ((5, 4), 2.0)))
    lost = other[(other["seed"] != 1) | (other["clip"] != "clip-2")]
    exchanged = b.assign(object=[3, 1, 1])
    return [
        Case("hand", "three objects, listed in another order", {"a": a, "b": b, "column": "JF"}),
        Case("random", "two common seeds, a third one in b alone", {"a": full, "b": other, "column": "JF"}),
        Case("random", "the column J, beside another one", {"a": full, "b": other, "column": "J"}),
        Case("edge", "seed 3 is in a alone, seed 4 in b alone", {"a": apart, "b": more, "column": "JF"}),
        Case(
            "edge", "b was not scored on one of the objects", {"a": a, "b": b.iloc[1:], "column": "JF"}, telling=False
        ),
        Case(
            "edge", "a was not scored on one of the objects", {"a": a.iloc[:2], "b": b, "column": "JF"}, telling=False
        ),
        Case(
            "edge",
            "each was scored on an object that the other lacks",
            {"a": a, "b": exchanged, "column": "JF"},
            telling=False,
        ),
        Case("edge", "a clip is missing in one of two seeds", {"a": full, "b": lost, "column": "JF"}, telling=False),
    ]


def _merged(a: pd.DataFrame, b: pd.DataFrame, column: str, on: list[str], how: str = "inner") -> pd.DataFrame:
    both = a[[*KEYS, column]].merge(b[[*KEYS, column]], on=on, suffixes=("_a", "_b"), how=how)  # type: ignore[arg-type]
    both["difference"] = both[f"{column}_a"] - both[f"{column}_b"]
    return both.rename(columns={f"{k}_a": k for k in KEYS})[[*KEYS, "difference"]]


def _common(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    seeds = set(a["seed"]) & set(b["seed"])
    return a[a["seed"].isin(seeds)], b[b["seed"].isin(seeds)]


def _how(how: str, *, common: bool) -> Answer:
    def wrong(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
        pair = _common(a, b) if common else (a, b)
        return _merged(*pair, column, KEYS, how)

    return wrong


def _by_row(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    return a[KEYS].assign(difference=a[column].to_numpy() - b[column].to_numpy()[: len(a)])


def _by_index(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    return a[KEYS].assign(difference=a[column] - b[column])


def _by_new_index(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    a, b = (t.reset_index(drop=True) for t in _common(a, b))
    return _by_index(a, b, column)


def _aligned(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    """By a common index of the keys, with nan where one is missing."""
    a, b = _common(a, b)
    difference = a.set_index(KEYS)[column] - b.set_index(KEYS)[column]
    return difference.rename("difference").reset_index()


def _changed(change: Callable[[pd.DataFrame], object]) -> Answer:
    """The right differences, changed."""
    return lambda a, b, column: change(paired_difference(a, b, column))


def _scored(change: Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame, str], object]) -> Answer:
    """The right differences, changed with the tables at hand."""
    return lambda a, b, column: change(paired_difference(a, b, column), a, b, column)


def _checked(a: pd.DataFrame, b: pd.DataFrame, *, of_a: bool, of_b: bool) -> None:
    a, b = _common(a, b)
    keys = [set(map(tuple, t[KEYS].to_numpy().tolist())) for t in (a, b)]
    if (of_a and keys[0] - keys[1]) or (of_b and keys[1] - keys[0]):
        raise LabError("the rows must be scored on the same clips and objects")


def _half_checked(*, of_a: bool) -> Answer:
    def wrong(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
        _checked(a, b, of_a=of_a, of_b=not of_a)
        return _merged(*_common(a, b), column, KEYS)

    return wrong


def _counted(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    """Only the numbers of rows are compared."""
    if len(_common(a, b)[0]) != len(_common(a, b)[1]):
        raise LabError("the rows must be scored on the same clips and objects")
    return _merged(*_common(a, b), column, KEYS)


def _strict(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    _checked(a, b, of_a=True, of_b=True)
    if set(a["seed"]) != set(b["seed"]):
        raise LabError("the rows must have the same seeds")
    return paired_difference(a, b, column)


def _raising(error: type[Exception]) -> Answer:
    def wrong(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
        try:
            return paired_difference(a, b, column)
        except LabError:
            raise error("not the same test") from None

    return wrong


def _instead(other: object) -> Answer:
    """Something else where the library raises."""

    def wrong(a: pd.DataFrame, b: pd.DataFrame, column: str) -> object:
        try:
            return paired_difference(a, b, column)
        except LabError:
            return other

    return wrong


def _of_pairs(score: Callable[[pd.Series, pd.Series], pd.Series]) -> Answer:
    """Another score of each pair than their difference."""

    def wrong(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
        paired_difference(a, b, column)  # raises where they cannot be paired
        both = a.merge(b, on=KEYS, suffixes=("_a", "_b"))
        return both[KEYS].assign(difference=score(both[f"{column}_a"], both[f"{column}_b"]))

    return wrong


def _by_mean(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    return a[KEYS].assign(difference=a[column] - b[column].mean())


def _fixed(name: str) -> Answer:
    return lambda a, b, column: paired_difference(a, b, name)


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
                (_by_row, lambda a, b, column: _by_row(*_common(a, b), column)),
            ),
            Mistake(
                "by-index",
                "pandas pairs the rows by their index here (index alignment), which says nothing about seed, clip and "
                "object; merge on these three, or make them the index",
                (
                    _by_index,
                    _by_new_index,
                    lambda a, b, column: _by_index(*_common(a, b), column),
                    lambda a, b, column: _by_index(a, b, column).dropna(),
                    lambda a, b, column: _by_index(*_common(a, b), column).dropna(),
                ),
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
                    _changed(lambda t: t.assign(difference=t["difference"].abs())),
                    _changed(lambda t: t.assign(difference=t["difference"] ** 2)),
                ),
            ),
            Mistake(
                "relative",
                "the differences are divided, or their mean is subtracted; the plain difference a − b is asked for",
                (
                    _of_pairs(lambda x, y: x / y),
                    _of_pairs(lambda x, y: (x - y) / x),
                    _of_pairs(lambda x, y: (x - y) / y),
                    _of_pairs(lambda x, y: 100 * (x - y) / y),
                    _changed(lambda t: t.assign(difference=t["difference"] / t["difference"].std())),
                    _changed(lambda t: t.assign(difference=t["difference"] - t["difference"].mean())),
                ),
            ),
            Mistake(
                "plus",
                "the two scores are added; b is subtracted from a",
                (_of_pairs(lambda x, y: x + y),),
            ),
            Mistake(
                "across-seeds",
                "each seed of a meets each seed of b; the seed is part of the key: the same training clips, the same "
                "first weights",
                (
                    lambda a, b, column: _merged(a, b, column, ["clip", "object"]),
                    lambda a, b, column: _merged(*_common(a, b), column, ["clip", "object"]),
                ),
            ),
            Mistake(
                "across-objects",
                "each object of a clip meets each other; the object is part of the key",
                (
                    lambda a, b, column: _merged(a, b, column, ["seed", "clip"]),
                    lambda a, b, column: _merged(*_common(a, b), column, ["seed", "clip"]),
                ),
            ),
            Mistake(
                "across-clips",
                "each clip meets each other; the clip is part of the key",
                (
                    lambda a, b, column: _merged(a, b, column, ["seed", "object"]),
                    lambda a, b, column: _merged(*_common(a, b), column, ["seed", "object"]),
                    lambda a, b, column: _merged(*_common(a, b), column, ["seed"]),
                ),
            ),
            Mistake(
                "averaged",
                "the measurements are averaged (over seeds, clips or objects) before or after they are subtracted; "
                "each keeps a row of its own",
                (
                    *(
                        _changed(lambda t, k=k: t.groupby(k, as_index=False)["difference"].mean())
                        for k in (["seed", "clip"], ["clip", "object"], ["clip"], ["seed"])
                    ),
                    _changed(lambda t: t["difference"].mean()),
                    _changed(lambda t: t["difference"].sum()),
                    lambda a, b, column: a[column].mean() - b[column].mean(),
                ),
            ),
            Mistake(
                "unpaired",
                "the mean of b is subtracted from each row of a; each row has a partner of its own",
                (
                    _of_pairs(lambda x, y: x - y.mean()),
                    lambda a, b, column: _by_mean(*_common(a, b), column),
                    lambda a, b, column: _by_mean(a, b, column),
                ),
            ),
            Mistake(
                "column",
                "the column is written into the code; it is the argument `column`",
                (_fixed("JF"),),
            ),
            Mistake(
                "left",
                "this is a left merge: rows of a without a partner stay, with nan, or rows of b without one are lost; "
                "in a common seed a missing partner is a LabError, and other seeds are left out",
                (_how("left", common=False), _how("left", common=True)),
            ),
            Mistake(
                "right",
                "this is a right merge: rows of b without a partner stay, with nan; in a common seed a missing partner "
                "is a LabError, and other seeds are left out",
                (_how("right", common=False), _how("right", common=True)),
            ),
            Mistake(
                "outer",
                "rows without a partner stay, with nan (an outer merge, or an index that is aligned); in a common seed "
                "a missing partner is a LabError, and other seeds are left out",
                (
                    _how("outer", common=False),
                    _how("outer", common=True),
                    _aligned,
                    lambda a, b, column: _how("outer", common=False)(a, b, column).fillna(0.0),
                    lambda a, b, column: _how("outer", common=True)(a, b, column).fillna(0.0),
                ),
            ),
            Mistake(
                "dropped",
                "an object that is missing in one of the tables is left out silently; then the rows were not scored on "
                "the same test clips, and that must be a LabError",
                (lambda a, b, column: _merged(a, b, column, KEYS),),
            ),
            Mistake(
                "half-checked",
                "only one of the two tables is checked: rows that b lacks and rows that a lacks are both a LabError",
                (_half_checked(of_a=True), _half_checked(of_a=False)),
            ),
            Mistake(
                "counted",
                "only the numbers of rows are compared: as many rows may still be other objects",
                (_counted,),
            ),
            Mistake(
                "strict",
                "a seed that only one table has is left out, not an error",
                (_strict,),
            ),
            Mistake(
                "exception",
                "the exception must be a LabError, so that a caller can tell wrong input from a bug in the code",
                tuple(_raising(e) for e in (ValueError, KeyError, AssertionError, TypeError, RuntimeError, IndexError)),
            ),
            Mistake(
                "none",
                "a missing partner gives None or an empty table; raise a LabError, so that it cannot be overlooked",
                (_instead(None), _instead(pd.DataFrame(columns=[*KEYS, "difference"]))),
            ),
            Mistake(
                "extra-columns",
                "more columns are returned than seed, clip, object and difference: select these four",
                (
                    _scored(lambda t, a, b, column: t.assign(**{f"{column}_a": 0.0, f"{column}_b": 0.0})),
                    _scored(lambda t, a, b, column: a.merge(t, on=KEYS)),
                ),
            ),
            Mistake(
                "name",
                "the column of the differences has another name than `difference`",
                (
                    _scored(lambda t, a, b, column: t.rename(columns={"difference": column})),
                    _changed(lambda t: t.rename(columns={"difference": "diff"})),
                    _changed(lambda t: t.rename(columns={"difference": "delta"})),
                ),
            ),
            Mistake(
                "keys-in-index",
                "seed, clip and object are no columns, but the index, or dropped: `reset_index()` makes columns of an "
                "index",
                (_changed(lambda t: t.set_index(KEYS)),),
            ),
            Mistake(
                "bare",
                "only the differences are returned; their seed, clip and object belong to them",
                (
                    _changed(lambda t: t["difference"]),
                    _changed(lambda t: t["difference"].tolist()),
                    _changed(lambda t: t["difference"].to_numpy()),
                ),
            ),
        ),
        hints=(
            "Which rows of the two tables belong together? Three columns tell.",
            "difference(seed, clip, object) = a(seed, clip, object) − b(seed, clip, object), over the common seeds; "
            "an error where one of the two is missing.",
            "seeds = ...                                      # those that both have\n"
            "a, b = a[...], b[...]                            # only their rows\n"
            'both = a.merge(b, on=[...], suffixes=("_a", "_b"))\n'
            "if ...:                                          # a row of a or of b has no partner\n"
            "    raise LabError(...)\n"
            'both["difference"] = ...\n'
            "return both[[...]]",
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
