"""Answers to `paired_difference`."""

from __future__ import annotations

import pandas as pd
from answers import right, wrong

from feelvos_lab.errors import LabError

PAIRED = "paired_difference"
KEYS = ["seed", "clip", "object"]


def common(a, b):
    seeds = set(a.seed) & set(b.seed)
    return a[a.seed.isin(seeds)], b[b.seed.isin(seeds)]


@right(PAIRED)
def difference_by_index(a, b, column):
    x, y = (t.set_index(KEYS)[column].sort_index() for t in common(a, b))
    if not x.index.equals(y.index):
        raise LabError("not the same test")
    return (x - y).rename("difference").reset_index()


@right(PAIRED)
def difference_by_merge(a, b, column):
    a, b = common(a, b)
    both = pd.merge(a[[*KEYS, column]], b[[*KEYS, column]], on=KEYS, suffixes=("_a", "_b"))
    if not len(a) == len(b) == len(both):
        raise LabError("not the same clips and objects")
    both["difference"] = both[column + "_a"] - both[column + "_b"]
    return both[[*KEYS, "difference"]]


@right(PAIRED)
def difference_by_outer_merge(a, b, column):
    a, b = common(a, b)
    both = a.merge(b, on=KEYS, how="outer", suffixes=("_a", "_b"), indicator=True)
    if (both["_merge"] != "both").any():
        raise LabError("a clip or object is missing")
    return both.assign(difference=both[f"{column}_a"] - both[f"{column}_b"])[[*KEYS, "difference"]]


@right(PAIRED)
def difference_by_dict(a, b, column):
    seeds = set(a["seed"]).intersection(b["seed"])
    tables = []
    for t in (a, b):
        rows = t[t["seed"].isin(seeds)]
        keys = zip(rows["seed"], rows["clip"], rows["object"], strict=True)
        tables.append(dict(zip(keys, rows[column], strict=True)))
    x, y = tables
    if x.keys() != y.keys():
        raise LabError(f"only one of them has {sorted(x.keys() ^ y.keys())}")
    return pd.DataFrame([(*key, x[key] - y[key]) for key in x], columns=[*KEYS, "difference"])


@right(PAIRED)
def difference_by_loop(a, b, column):
    rows = []
    for seed in sorted(set(a.seed) & set(b.seed)):
        one, other = a[a.seed == seed], b[b.seed == seed]
        if set(zip(one["clip"], one["object"], strict=True)) != set(zip(other["clip"], other["object"], strict=True)):
            raise LabError("other clips or objects")
        for _, row in one.iterrows():
            partner = other[(other["clip"] == row["clip"]) & (other["object"] == row["object"])].iloc[0]
            rows.append(dict(zip(KEYS, row[KEYS], strict=True)) | {"difference": row[column] - partner[column]})
    return pd.DataFrame(rows)


@right(PAIRED)
def difference_by_concat(a, b, column):
    a, b = common(a, b)
    table = pd.concat([a.set_index(KEYS)[column], -b.set_index(KEYS)[column]], axis=1)
    if table.isna().to_numpy().any():
        raise LabError("not scored on the same test")
    return table.sum(axis=1).rename("difference").reset_index()


@right(PAIRED)
def difference_by_sorting(a, b, column):
    a, b = (t.sort_values(KEYS).reset_index(drop=True) for t in common(a, b))
    if len(a) != len(b) or not (a[KEYS].to_numpy() == b[KEYS].to_numpy()).all():
        raise LabError("not the same rows")
    return a[KEYS].assign(difference=a[column] - b[column])


@wrong(PAIRED, "order in the tables")
def difference_by_row(a, b, column):
    a, b = common(a, b)
    n = min(len(a), len(b))
    return a[KEYS].iloc[:n].assign(difference=a[column].to_numpy()[:n] - b[column].to_numpy()[:n])


@wrong(PAIRED, "index")
def difference_by_alignment(a, b, column):
    result = a[KEYS].copy()
    result["difference"] = a[column] - b[column]
    return result


@wrong(PAIRED, "index|order")
def difference_of_aligned_frames(a, b, column):
    a, b = (t.reset_index(drop=True) for t in common(a, b))
    return a[KEYS].assign(difference=a[column].sub(b[column]))


@wrong(PAIRED, "sign is reversed")
def difference_backwards(a, b, column):
    return difference_by_index(b, a, column)


@wrong(PAIRED, "sign is lost")
def difference_absolute(a, b, column):
    return difference_by_index(a, b, column).assign(difference=lambda t: t.difference.abs())


@wrong(PAIRED, "seed is part of the key")
def difference_across_seeds(a, b, column):
    both = a.merge(b, on=["clip", "object"], suffixes=("", "_b"))
    return both.assign(difference=both[column] - both[f"{column}_b"])[[*KEYS, "difference"]]


@wrong(PAIRED, "object is part of the key")
def difference_across_objects(a, b, column):
    a, b = common(a, b)
    both = a.merge(b, on=["seed", "clip"], suffixes=("", "_b"))
    return both.assign(difference=both[column] - both[f"{column}_b"])[[*KEYS, "difference"]]


@wrong(PAIRED, "left out silently")
def difference_inner(a, b, column):
    both = a.merge(b, on=KEYS, suffixes=("_a", "_b"))
    return both.assign(difference=both[f"{column}_a"] - both[f"{column}_b"])[[*KEYS, "difference"]]


@wrong(PAIRED, "left merge")
def difference_left(a, b, column):
    both = a.merge(b, on=KEYS, suffixes=("_a", "_b"), how="left")
    return both.assign(difference=both[f"{column}_a"] - both[f"{column}_b"])[[*KEYS, "difference"]]


@wrong(PAIRED, "outer|nan")
def difference_outer(a, b, column):
    a, b = common(a, b)
    both = a.merge(b, on=KEYS, suffixes=("_a", "_b"), how="outer")
    return both.assign(difference=both[f"{column}_a"] - both[f"{column}_b"])[[*KEYS, "difference"]]


@wrong(PAIRED, "only one of the two tables")
def difference_left_checked(a, b, column):
    a, b = common(a, b)
    both = a.merge(b, on=KEYS, suffixes=("_a", "_b"), how="left")
    if both[f"{column}_b"].isna().any():
        raise LabError("b lacks a row")
    return both.assign(difference=both[f"{column}_a"] - both[f"{column}_b"])[[*KEYS, "difference"]]


@wrong(PAIRED, "numbers of rows")
def difference_counted(a, b, column):
    a, b = common(a, b)
    if len(a) != len(b):
        raise LabError("not the same number of rows")
    return difference_inner(a, b, column)


@wrong(PAIRED, "written into the code")
def difference_of_one_column(a, b, column):
    return difference_by_index(a, b, "JF")


@wrong(PAIRED, "exception|LabError")
def difference_value_error(a, b, column):
    try:
        return difference_by_index(a, b, column)
    except LabError:
        raise ValueError("not the same test") from None


@wrong(PAIRED, "exception|LabError")
def difference_assertion(a, b, column):
    x, y = (t.set_index(KEYS)[column].sort_index() for t in common(a, b))
    assert x.index.equals(y.index), "not the same test"
    return (x - y).rename("difference").reset_index()


@wrong(PAIRED, "exception|LabError|KeyError")
def difference_key_error(a, b, column):
    a, b = common(a, b)
    partner = b.set_index(KEYS)[column]
    values = [row[column] - partner[tuple(row[KEYS])] for _, row in a.iterrows()]
    return a[KEYS].assign(difference=values)


@wrong(PAIRED, "more columns|as well")
def difference_extra_columns(a, b, column):
    both = difference_by_index(a, b, column)
    return a.merge(both, on=KEYS)


@wrong(PAIRED, "another name")
def difference_named_otherwise(a, b, column):
    return difference_by_index(a, b, column).rename(columns={"difference": column})


@wrong(PAIRED, "Series|only the differences")
def difference_series(a, b, column):
    return difference_by_index(a, b, column)["difference"]


@wrong(PAIRED, "index|columns")
def difference_indexed(a, b, column):
    return difference_by_index(a, b, column).set_index(KEYS)


@wrong(PAIRED, "averaged")
def difference_averaged(a, b, column):
    return difference_by_index(a, b, column).groupby(["seed", "clip"], as_index=False)["difference"].mean()


@wrong(PAIRED, "averaged|got .* number|expected a table")
def difference_mean(a, b, column):
    return float(difference_by_index(a, b, column)["difference"].mean())


@wrong(PAIRED, "seed .*left out|not an error")
def difference_strict(a, b, column):
    if set(a.seed) != set(b.seed):
        raise LabError("other seeds")
    return difference_by_index(a, b, column)


@wrong(PAIRED, "writes into its argument `b`")
def difference_in_place(a, b, column):
    result = difference_by_index(a, b, column)
    b["difference"] = 0.0
    return result


@wrong(PAIRED, "writes into its argument `a`")
def difference_sorted_in_place(a, b, column):
    a.sort_values(KEYS, inplace=True, ascending=False)
    return difference_by_index(a, b, column)


@wrong(PAIRED, "library")
def difference_of_library(a, b, column):
    from feelvos_lab.ablation.statistics import paired_difference as known

    return known(a, b, column)


@wrong(PAIRED, "differences are divided")
def difference_relative(a, b, column):
    right = difference_by_index(a, b, column)
    base = b.set_index(KEYS)[column]
    return right.assign(difference=[d / base[tuple(k)] for *k, d in right.itertuples(index=False)])


@right(PAIRED)
def difference_by_signs(a, b, column):
    a, b = common(a, b)
    both = pd.concat([a.assign(sign=1), b.assign(sign=-1)])
    sizes = both.groupby(KEYS)["sign"].agg(["size", "sum"])
    if ((sizes["size"] != 2) | (sizes["sum"] != 0)).any():
        raise LabError("a row has no partner")
    return both.assign(difference=both[column] * both["sign"]).groupby(KEYS, as_index=False)["difference"].sum()


class OtherTestError(LabError):
    """Another test."""


@right(PAIRED)
def difference_with_own_error(a, b, column):
    try:
        return difference_by_index(a, b, column)
    except LabError as error:
        raise OtherTestError("not the same test") from error


@wrong(PAIRED, "added")
def difference_as_sum(a, b, column):
    right = difference_by_index(a, b, column)
    base = b.set_index(KEYS)[column]
    return right.assign(difference=[d + 2 * base[tuple(k)] for *k, d in right.itertuples(index=False)])


@wrong(PAIRED, "two functions are compared")
def difference_of_methods(a, b, column):
    a, b = (t.sort_values(KEYS) for t in common(a, b))
    if (a.clip != b.clip).any():
        raise LabError("other clips")
    return a[KEYS].assign(difference=a[column].to_numpy() - b[column].to_numpy())


@wrong(PAIRED, "refused, not answered")
def difference_returns_the_error(a, b, column):
    try:
        return difference_by_index(a, b, column)
    except LabError as error:
        return error
