"""Statistics of scores: means and paired differences with 95 % intervals, verdicts on claims, variance components.

Two intervals answer two questions. For new videos like these and new trainings: a two-level bootstrap that resamples
seeds and clips with replacement; a clip's objects stay together. For these videos and new trainings: Student's paired
t test over the seeds' means. A single seed says nothing about new trainings, so it decides no claim.

In simulated experiments (tests/ablation/test_statistics.py: 3 seeds, 16 clips) the 95 % bootstrap interval covers the
truth in 92 % of them if the spread between clips dominates, but in 76 % alone if that between seeds is four times as
large. If seeds dominate, a verdict therefore needs the t interval as well; the two together cover the truth in 95 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from feelvos_lab.errors import LabError

DRAWS = 10_000

KEYS = ["seed", "clip", "object"]

Verdict = Literal["supported", "contradicted", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """A mean over objects with its 95 % interval over seeds × clips, in the unit of the column."""

    mean: float
    low: float  # nan with one seed and one clip, which leave nothing to resample
    high: float
    seeds: int
    clips: int
    objects: int  # distinct (clip, object) pairs
    rows: int  # measurements: (seed, clip, object)

    @property
    def n(self) -> str:
        return f"{self.seeds}×{self.objects}"

    @property
    def dagger(self) -> str:
        """† for one seed: the interval is over clips alone."""
        return "†" if self.seeds == 1 else ""


@dataclass(frozen=True)
class SeedTest:
    """Student's paired t test over the seeds' mean differences, with its 95 % interval."""

    t: float
    df: int
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class Components:
    """Standard deviations of scores by source, in the unit of the column; nan with one seed or one clip."""

    seeds: float  # a new training moves all clips together
    clips: float  # clips differ, whatever the seed
    rest: float  # a new training moves single clips


@dataclass(frozen=True)
class Difference:
    """Row a minus row b, paired."""

    estimate: Estimate
    test: SeedTest | None  # None with one seed
    spread: Literal["seeds", "clips", "neither"]  # the larger source of uncertainty of the mean

    @property
    def verdict(self) -> Verdict:
        """Verdict on the claim that a is better than b: its interval must exclude 0."""
        if self.test is None or math.isnan(self.estimate.low):
            return "undecided"
        low, high = self.estimate.low, self.estimate.high
        if self.spread == "seeds":  # the bootstrap alone is too narrow then, see the module's docstring
            low, high = min(low, self.test.low), max(high, self.test.high)
        return "supported" if low > 0 else "contradicted" if high < 0 else "undecided"


def estimate(scores: pd.DataFrame, column: str) -> Estimate:
    """The mean of a column over all rows, with a 95 % two-level bootstrap interval.

    Args:
        scores: one row per seed, clip and object, at least one; columns seed, clip, object and `column`.

    Example:
        Every object counts once, so a clip with more objects weighs more.

        >>> rows = [(0, "cat", 1, 60.0), (0, "cat", 2, 70.0), (0, "dog", 1, 50.0)]
        >>> found = estimate(pd.DataFrame(rows, columns=["seed", "clip", "object", "JF"]), "JF")
        >>> found.mean, found.n, found.low <= found.mean <= found.high  # n is seeds × objects
        (60.0, '1×3', True)
    """
    _check(scores)
    grouped = scores.groupby(["seed", "clip"])[column]
    sums = grouped.sum().unstack(fill_value=0.0).to_numpy()  # (seeds, clips), of the objects' values
    counts = grouped.count().unstack(fill_value=0).to_numpy()  # (seeds, clips)
    low, high = _bootstrap(sums, counts)
    return Estimate(
        mean=float(scores[column].mean()),
        low=low,
        high=high,
        seeds=sums.shape[0],
        clips=sums.shape[1],
        objects=len(scores[["clip", "object"]].drop_duplicates()),
        rows=len(scores),
    )


def paired_difference(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    """Row a minus row b, each measurement paired with that of the same seed, clip and object.

    Pairing removes what the two have in common, such as how hard a clip is. Seeds that only one of them has are left
    out. LabError if no seed is common, or a common seed was scored on other clips or objects.

    Args:
        a, b: one row per seed, clip and object, in any order; columns seed, clip, object and `column`.

    Returns:
        columns seed, clip, object and difference, in the unit of the column.

    Example:
        Two clips of different difficulty, and the same gain in both.

        >>> b = pd.DataFrame({"seed": [0, 0], "clip": ["easy", "hard"], "object": [1, 1], "JF": [90.0, 30.0]})
        >>> a = b.assign(JF=b["JF"] + 2)[::-1]  # the order of rows does not matter
        >>> paired_difference(a, b, "JF")["difference"].tolist()
        [2.0, 2.0]
    """
    _check(a)
    _check(b)
    seeds = set(a["seed"]) & set(b["seed"])
    if not seeds:
        raise LabError(f"a difference needs common seeds, got {sorted(set(a['seed']))} and {sorted(set(b['seed']))}")
    a, b = a[a["seed"].isin(seeds)], b[b["seed"].isin(seeds)]
    both = a[[*KEYS, column]].merge(b[[*KEYS, column]], on=KEYS, suffixes=("_a", "_b"), validate="one_to_one")
    if len(both) != len(a) or len(both) != len(b):
        raise LabError(
            f"the rows must be scored on the same clips and objects: {len(a)} and {len(b)}, {len(both)} common"
        )
    both["difference"] = both[f"{column}_a"] - both[f"{column}_b"]
    return both[[*KEYS, "difference"]]


def difference(a: pd.DataFrame, b: pd.DataFrame, column: str) -> Difference:
    """Mean of `paired_difference` with its interval, the t test over seeds, and the larger source of spread."""
    both = paired_difference(a, b, column)
    per_seed = both.groupby("seed")["difference"].mean().to_numpy()
    per_clip = both.groupby("clip")["difference"].mean().to_numpy()
    return Difference(estimate(both, "difference"), _seed_test(per_seed), _larger_spread(per_seed, per_clip))


def variance_components(scores: pd.DataFrame, column: str) -> Components:
    """Variance components of the seeds × clips table of clip means, by analysis of variance.

    score(seed, clip) = mean + a(seed) + b(clip) + e(seed, clip). With S seeds, C clips and mean squares MS,
    var a = (MS_seeds − MS_rest) / C, var b = (MS_clips − MS_rest) / S, var e = MS_rest. A negative value counts as 0.

    Args:
        scores: one row per seed, clip and object, with the same clips for every seed; the columns as in `estimate`.
    """
    _check(scores)
    table = scores.groupby(["seed", "clip"])[column].mean().unstack()  # (S, C)
    if table.isna().any(axis=None):
        raise LabError("the spread between seeds and clips needs the same clips for every seed")
    values = table.to_numpy()
    seeds, clips = values.shape
    if seeds == 1 or clips == 1:
        return Components(math.nan, math.nan, math.nan)
    by_seed, by_clip, mean = values.mean(1), values.mean(0), values.mean()
    left = values - by_seed[:, None] - by_clip[None, :] + mean
    rest = float((left**2).sum() / ((seeds - 1) * (clips - 1)))
    of_seeds = max(0.0, float(by_seed.var(ddof=1)) - rest / clips)
    of_clips = max(0.0, float(by_clip.var(ddof=1)) - rest / seeds)
    return Components(math.sqrt(of_seeds), math.sqrt(of_clips), math.sqrt(rest))


def rank_correlation(ours: list[float], paper: list[float]) -> float:
    """Spearman's correlation of two columns; nan with fewer than three rows or a constant column."""
    if len(ours) < 3 or len(set(ours)) < 2 or len(set(paper)) < 2:
        return math.nan
    from scipy.stats import spearmanr

    return float(spearmanr(ours, paper).statistic)


def _check(scores: pd.DataFrame) -> None:
    if scores.empty:
        raise LabError("there are no scores to take a mean of")
    if scores.duplicated(KEYS).any():
        twice = scores.loc[scores.duplicated(KEYS), KEYS].iloc[0].tolist()
        raise LabError(f"seed, clip and object must occur once, {twice} occurs again")


def _bootstrap(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The 2.5 and 97.5 % points of the mean when seeds and clips are both resampled with replacement."""
    seeds, clips = sums.shape
    if seeds == 1 and clips == 1:
        return math.nan, math.nan
    rng = np.random.default_rng(0)  # the same records give the same interval
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)  # (DRAWS, seeds)
    clip_weights = rng.multinomial(clips, np.full(clips, 1 / clips), size=DRAWS)  # (DRAWS, clips)
    totals = ((seed_weights @ sums) * clip_weights).sum(1)
    weights = ((seed_weights @ counts) * clip_weights).sum(1)
    low, high = np.quantile(totals[weights > 0] / weights[weights > 0], [0.025, 0.975])
    return float(low), float(high)


def _seed_test(per_seed: np.ndarray) -> SeedTest | None:
    if len(per_seed) < 2:
        return None
    from scipy.stats import t as student

    mean, df = float(per_seed.mean()), len(per_seed) - 1
    error = _standard_error(per_seed)
    half = float(student.ppf(0.975, df)) * error
    t = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    return SeedTest(t, df, float(2 * student.sf(abs(t), df)), mean - half, mean + half)


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _larger_spread(per_seed: np.ndarray, per_clip: np.ndarray) -> Literal["seeds", "clips", "neither"]:
    seeds, clips = _standard_error(per_seed), _standard_error(per_clip)
    return "neither" if seeds == clips == 0 else "seeds" if seeds > clips else "clips"
