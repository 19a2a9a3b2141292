"""How a wrong result relates to the right one: scaled, transposed, wrong for one object only, and the like.

Each relation is a sentence about the numbers alone. They are tried where no named mistake explains an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from feelvos_lab.lessons.checks.compare import as_number

_NEAR = 1e-3  # relative, of two results that are thought the same: a relation is less exact than a check
_LEAST = 3  # different numbers in a result whose relation to another says something


def relation(expected: Any, got: Any, axes: Sequence[str] = ()) -> str:
    """What turns the right result into the given one, as a sentence; "" if nothing simple does."""
    if isinstance(expected, Tensor) and expected.dim() and isinstance(got, Tensor):
        right, answer = expected.detach().double(), got.detach().double()
        if right.shape != answer.shape:
            return _of_shapes(right, answer, axes)
        if _near(right, answer, within=0.01):
            return "the numbers are nearly right: look for a small constant that is added, or a type of lower precision"
        return _of_values(right, answer) or _of_order(right, answer, axes) or _constant(right, answer)
    return ""


def one_sided(pairs: Sequence[tuple[Any, Any]]) -> str:
    """Whether all wrong numbers of several results are too large or all too small, as a sentence."""
    over = under = False
    for expected, got in pairs:
        if isinstance(expected, Tensor) and isinstance(got, Tensor) and expected.shape == got.shape:
            off = got.detach().double() - expected.detach().double()
        elif (right := as_number(expected)) is not None and (number := as_number(got)) is not None:
            off = torch.tensor(number - right)
        else:
            continue
        over, under = over or bool((off > _NEAR).any()), under or bool((off < -_NEAR).any())
    return f"all wrong numbers are too {'large' if over else 'small'}" if over != under else ""


def part(cases: Sequence[tuple[Tensor, Mapping[str, Tensor]]], axes: Sequence[str]) -> str:
    """Which part of the result holds all wrong numbers, in every case, as a sentence; "" if they are everywhere.

    Args:
        cases: for each which numbers are wrong, and the parts of its result that have a name.
    """
    wrongs = [wrong for wrong, _ in cases]
    on_diagonal = all(w.dim() == 2 and not (w & ~torch.eye(*w.shape, dtype=torch.bool)).any() for w in wrongs)
    if on_diagonal and any(w.numel() > 1 for w in wrongs):
        return "only numbers on the diagonal are wrong, where both have the same index"
    named = [
        {name for name, region in regions.items() if region.shape == wrong.shape and not (wrong & ~region).any()}
        for wrong, regions in cases
    ]
    inside = [n for n in set.intersection(*named) if not all(regions[n].all() for _, regions in cases)]
    if inside:
        name = min(inside, key=lambda n: (sum(int(regions[n].sum()) for _, regions in cases), n))
        return f"only numbers {name} are wrong"
    for d, axis in enumerate(axes):
        if any(len(axes) != w.dim() or w.shape[d] < 2 for w in wrongs):
            continue
        hits = [w.any(dim=other) if (other := [i for i in range(w.dim()) if i != d]) else w for w in wrongs]
        if all(hit.sum() == 1 for hit in hits) and len({int(hit.nonzero()[0]) for hit in hits}) == 1:
            last = " (the last one)" if all(hit[-1] and len(hit) > 2 for hit in hits) else ""
            return f"only {axis} {int(hits[0].nonzero()[0])}{last} is wrong"
    return ""


def _near(a: Tensor, b: Tensor, within: float = _NEAR) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=within, atol=within / 10, equal_nan=True)


def _of_values(right: Tensor, answer: Tensor) -> str:
    """A function of each number. Numbers that are not finite say nothing about it."""
    if answer.isnan().all() or answer.isinf().all():
        return f"every number is {'nan' if answer.isnan().all() else 'infinite'}"
    usable = right.isfinite() & answer.isfinite()
    right, answer = right[usable], answer[usable]
    if len(right.unique()) < _LEAST or _near(right, answer):
        return ""
    for turned, words in _turned(right):
        if _near(turned, answer):
            return words
    big = right.abs() > 1e-3 * right.abs().max()
    ratio = (answer[big] / right[big]).median() if big.any() else torch.tensor(0.0)
    if ratio != 0 and _near(right * ratio, answer):
        return f"each number is {_factor(float(ratio))} the right one"
    shift = (answer - right).median()
    if right.numel() > 1 and _near(right + shift, answer):
        return f"each number is {abs(float(shift)):.4g} too {'large' if shift > 0 else 'small'}"
    return ""


def _turned(right: Tensor) -> Iterator[tuple[Tensor, str]]:
    functions: tuple[tuple[Callable[[Tensor], Tensor], str], ...] = (
        (lambda x: -x, "the sign is reversed"),
        (lambda x: 1 - x, "each number is 1 minus the right one"),
        (torch.sqrt, "each number is the square root of the right one"),
        (torch.square, "each number is the square of the right one"),
        (lambda x: 1 / x, "each number is 1 divided by the right one"),
        (torch.log, "each number is the logarithm of the right one"),
        (lambda x: -torch.log(x), "each number is minus the logarithm of the right one"),
        (torch.exp, "each number is the exponential of the right one"),
        (torch.trunc, "the numbers are cut to whole ones"),
        (torch.round, "the numbers are rounded to whole ones"),
        *((lambda x, s=s: (x * s).round() / s, "the numbers are rounded") for s in (10, 100, 1000)),
        (lambda x: x.clamp(0, 1), "the numbers are clamped to 0 … 1"),
        (lambda x: x.clamp(min=0), "negative numbers are clamped to 0"),
        (torch.abs, "the sign is lost"),
        (lambda x: torch.tanh(x / 2), "Eq. 1 is applied to each number, and should not be here"),
        (lambda x: torch.log1p(x), "each number is the logarithm of 1 plus the right one"),
    )
    for function, words in functions:
        yield function(right), words
    if (peak := right.abs().max()) > 0:
        yield right / peak, "each number is divided by the largest one"


def _of_order(right: Tensor, answer: Tensor, axes: Sequence[str]) -> str:
    """The right numbers in the wrong places."""
    names = axes if len(axes) == right.dim() else [f"axis {d}" for d in range(right.dim())]
    for d, name in enumerate(names):
        if right.shape[d] > 1 and _near(right.flip(d), answer):
            return f"the numbers are reversed along the {name}"
        for step in range(1, min(right.shape[d], 4)):
            for sign in (step, -step):
                if right.shape[d] > 1 and _near(right.roll(sign, d), answer):
                    return f"the numbers are shifted by {step} along the {name}"
    for order in permutations(range(right.dim())):
        if list(order) != sorted(order) and _near(right.permute(order), answer):
            return f"the axes are swapped: they are ({', '.join(names[i] for i in order)})"
    if right.numel() >= _LEAST and _near(right.flatten().sort().values, answer.flatten().sort().values):
        return (
            "the right numbers are in the wrong places, as `view` and `reshape` leave them where axes must be swapped"
        )
    return ""


def _constant(right: Tensor, answer: Tensor) -> str:
    if answer.numel() > 1 and len(answer.unique()) == 1 and len(right.unique()) > 1:
        return f"every number is {float(answer.flatten()[0]):.4g}"
    if len(right) > 2 and all(_near(answer[0], a) for a in answer) and not all(_near(right[0], r) for r in right):
        return "everything is the same for each index of the first axis"
    return ""


def _of_shapes(right: Tensor, answer: Tensor, axes: Sequence[str]) -> str:
    names = axes if len(axes) == right.dim() else [f"axis {d}" for d in range(right.dim())]
    if answer.numel() == right.numel() and _near(answer.flatten(), right.flatten()):
        return "the numbers are right, only the shape is not"
    if answer.dim() == right.dim():
        for order in permutations(range(right.dim())):
            if _near(right.permute(order), answer):
                return f"the axes are swapped: they are ({', '.join(names[i] for i in order)})"
        for d, name in enumerate(names):
            less, more = right.narrow(d, 1, max(0, right.shape[d] - 1)), answer.shape[d] - right.shape[d]
            if _near(less, answer):
                return f"the first {name} is missing"
            if _near(right.narrow(d, 0, max(0, right.shape[d] - 1)), answer):
                return f"the last {name} is missing"
            others = [i for i in range(right.dim()) if i != d]
            if more and all(answer.shape[i] == right.shape[i] for i in others):
                return f"the {name} axis has {abs(more)} {'more' if more > 0 else 'fewer'} than it should"
    for d, name in enumerate(names):
        for reduced, words in (
            (right.select(d, 0), f"only the first {name} is returned"),
            (right.sum(d), f"the numbers are summed over the {name}"),
            (right.mean(d), f"the numbers are averaged over the {name}"),
            (right.amax(d), f"only the largest over the {name} is returned"),
            (right.amin(d), f"only the smallest over the {name} is returned"),
        ):
            if _near(reduced, answer) or _near(reduced.unsqueeze(d), answer):
                return words
    if answer.dim() != right.dim():
        return f"the result has {answer.dim()} axes and should have {right.dim()}: ({', '.join(names)})"
    return ""


def _factor(ratio: float) -> str:
    if math.isclose(ratio, round(ratio), rel_tol=_NEAR):
        return f"{round(ratio):,} times"
    if math.isclose(1 / ratio, round(1 / ratio), rel_tol=_NEAR):
        return f"1/{round(1 / ratio):,} of"
    return f"{ratio:.4g} times"
