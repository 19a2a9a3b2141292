"""Notebook 05: the input of the segmentation head."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import torch
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake
from feelvos_lab.model.feelvos import stack_cues

Maps = Tensor | None


def _cue_cases() -> list[Case]:
    generator = Generator().manual_seed(6)

    def case(name: str, about: str, size: tuple[int, ...], on: tuple[int, ...], telling: bool = True) -> Case:
        maps = [torch.rand(*size, generator=generator) if i in on else None for i in range(3)]
        return _cues(name, about, maps, telling)

    hand = [
        torch.tensor([[[0.1, 0.2]], [[0.3, 0.4]]]),
        torch.tensor([[[0.5, 0.6]], [[0.7, 0.8]]]),
        torch.tensor([[[1.0, 0]], [[0, 1]]]),
    ]
    dark = [torch.rand(2, 3, 4, generator=generator), torch.zeros(2, 3, 4), torch.ones(2, 3, 4)]
    return [
        _cues("hand", "two objects, maps of 1×2 cells", hand, True),
        case("random", "four objects, maps of 3×5 cells", (4, 3, 5), (0, 1, 2)),
        case("random", "three objects, maps of 3×3 cells: all axes are equally long", (3, 3, 3), (0, 1, 2)),
        _cues("edge", "the local map is 0 everywhere, which is a distance like any other", dark, False),
        case("edge", "one object, the background", (1, 2, 3), (0, 1, 2), False),
        case("edge", "the local map is switched off, so it is None", (3, 2, 4), (0, 2), False),
        case("edge", "the global map is None", (2, 4, 3), (1, 2), False),
        case("edge", "the previous mask is None", (4, 2, 3), (0, 1), False),
        case("edge", "global and local map are both None", (2, 3, 5), (2,), False),
        case("edge", "all but the global map are None", (3, 2, 2), (0,), False),
    ]


def _cues(name: str, about: str, maps: list[Maps], telling: bool) -> Case:
    names = ("global_map", "local_map", "previous_mask")
    return Case(name, about, dict(zip(names, maps, strict=True)), telling=telling)


def _of_given(stack: Callable[[list[Tensor]], Tensor]) -> Answer:
    """The wrong answer that is made of the maps that are not None, in order."""
    return lambda g, n, m: stack([x for x in (g, n, m) if x is not None])


def _filled(value: float | None, first: bool = False) -> Answer:
    """A map of such values in place of None; without a value, the first map that is there."""

    def wrong(g: Maps, n: Maps, m: Maps) -> Tensor:
        there = next(x for x in (g, n, m) if x is not None)
        other = there if value is None else torch.full_like(there, value)
        return torch.stack([other if x is None else x for x in (g, n, m)], 1)

    return wrong


def _ordered(order: tuple[int, ...]) -> Answer:
    def wrong(*maps: Maps) -> Tensor:
        given = [maps[i] for i in order]
        return torch.stack([m for m in given if m is not None], 1)

    return wrong


def _needs_all(g: Maps, n: Maps, m: Maps) -> Tensor:
    return torch.stack([g, n, m], dim=1)  # type: ignore[list-item]  # raises TypeError for None


def _needs_attribute(g: Maps, n: Maps, m: Maps) -> Tensor:
    return torch.stack([x.float() for x in (g, n, m)], dim=1)  # type: ignore[union-attr]  # raises AttributeError for None


def _nothing_dark(g: Maps, n: Maps, m: Maps) -> Tensor:
    return torch.stack([x for x in (g, n, m) if x is not None and bool(x.any())], 1)


def _truth_value(g: Maps, n: Maps, m: Maps) -> Tensor:
    return torch.stack([x for x in (g, n, m) if x], 1)  # raises for a tensor of several numbers


STACK = Exercise(
    "stack_cues",
    stack_cues,
    _cue_cases,
    axes=("object", "cue", "row", "column"),
    mistakes=(
        Mistake(
            "cues-first",
            "cues and objects look swapped, (M, K, h, w); objects come first, as the head treats them as a batch",
            (_of_given(torch.stack),),
        ),
        Mistake(
            "cues-last",
            "the axis of the cues is in the wrong place: it comes after the objects, (K, M, h, w)",
            (
                _of_given(lambda maps: torch.stack(maps, dim=-1)),
                _of_given(lambda maps: torch.stack(maps, dim=2)),
                _of_given(lambda maps: torch.stack(maps).permute(2, 3, 0, 1)),
                _of_given(lambda maps: torch.stack(maps).permute(2, 3, 1, 0)),
            ),
        ),
        Mistake(
            "concatenated",
            "the maps are joined along an axis that they have (`cat`); each object needs an axis of cues of its own: "
            "`stack` makes one, `cat` does not",
            tuple(_of_given(lambda maps, d=d: torch.cat(maps, d)) for d in (0, 1, 2)),
        ),
        Mistake(
            "reshape",
            "the right numbers are in the wrong places: `view` and `reshape` do not swap axes; `stack` with dim=1, or "
            "`transpose` does",
            (
                _of_given(lambda maps: torch.stack(maps).reshape(len(maps[0]), len(maps), *maps[0].shape[1:])),
                _of_given(lambda maps: torch.stack(maps, -1).reshape(len(maps[0]), len(maps), *maps[0].shape[1:])),
            ),
        ),
        Mistake(
            "grid-turned",
            "rows and columns of the maps look swapped",
            (
                _of_given(lambda maps: torch.stack(maps, 1).transpose(2, 3)),
                _of_given(lambda maps: torch.stack(maps).permute(3, 2, 1, 0)),
            ),
        ),
        Mistake(
            "order",
            "the cues come in another order; it must be global, local, previous mask, or the head's weights would "
            "be applied to the wrong map",
            tuple(_ordered(order) for order in permutations(range(3)) if order != (0, 1, 2)),
        ),
        Mistake(
            "left-out",
            "one of the cues is left out although it is there, or occurs twice",
            (
                *(_ordered(order) for order in ((0, 1), (0, 2), (1, 2))),
                *(_ordered(order) for order in ((0, 0, 2), (0, 1, 1), (0, 1, 0), (0, 2, 2), (0, 0, 1, 2))),
            ),
        ),
        Mistake(
            "merged",
            "the maps of an object are added, averaged or multiplied; the head gets each of them as a channel of its "
            "own",
            (
                *(_of_given(lambda maps, k=k: torch.stack(maps, 1).sum(1, keepdim=k)) for k in (True, False)),
                *(_of_given(lambda maps, k=k: torch.stack(maps, 1).mean(1, keepdim=k)) for k in (True, False)),
                *(_of_given(lambda maps, k=k: torch.stack(maps, 1).prod(1, keepdim=k)) for k in (True, False)),
            ),
        ),
        Mistake(
            "changed",
            "the numbers are changed (such as to 1 − d, a mask of 0 and 1, or shares of the largest); the maps are "
            "handed on as they are",
            (
                _of_given(lambda maps: 1 - torch.stack(maps, 1)),
                _of_given(lambda maps: torch.stack([1 - maps[0], *(1 - x for x in maps[1:-1]), maps[-1]], 1)),
                lambda g, n, m: torch.stack(
                    [x for x in (None if g is None else 1 - g, None if n is None else 1 - n, m) if x is not None], 1
                ),
                _of_given(lambda maps: torch.stack(maps, 1).round()),
                _of_given(lambda maps: torch.stack(maps, 1).softmax(1)),
                _of_given(lambda maps: (torch.stack(maps, 1) > 0.5).float()),
                _of_given(lambda maps: torch.stack([m / m.max().clamp(min=1e-6) for m in maps], 1)),
                _of_given(lambda maps: torch.stack([m / m.max() for m in maps], 1)),
            ),
        ),
        Mistake(
            "batch-axis",
            "there is an axis too many: the objects are the batch, and no other axis comes before them",
            (_of_given(lambda maps: torch.stack(maps, 1)[None]), _of_given(lambda maps: torch.stack(maps, 1)[:, None])),
        ),
        Mistake(
            "no-stack",
            "the maps are not joined: a list, a tuple or a dict is returned; `stack` makes one tensor of them",
            (
                _of_given(list),
                _of_given(tuple),
                lambda g, n, m: (g, n, m),
                lambda g, n, m: [g, n, m],
            ),
        ),
        Mistake(
            "none-filled",
            "a cue that is None should have no channel; a map of zeros, ones or others' numbers would be a statement "
            "about the object",
            (*(_filled(v) for v in (0.0, 1.0, 0.5, -1.0)), _filled(None)),
        ),
        Mistake(
            "none-raises",
            "a cue that is switched off is None, and cannot be stacked; leave it out of the list",
            (_needs_all, _needs_attribute),
        ),
        Mistake(
            "truth-value",
            "`if m` asks for the truth of a whole tensor; ask `if m is not None`",
            (_truth_value,),
        ),
        Mistake(
            "dark",
            "a map that is 0 everywhere is left out; only None means switched off: ask `if m is not None`",
            (_nothing_dark,),
        ),
    ),
    hints=(
        "The head treats the objects as a batch of images. What are the channels of such an image?",
        "out[o, 0] = global map of o, out[o, 1] = local map of o, out[o, 2] = previous mask of o: (K, M, h, w).",
        "maps = [... for m in (global_map, local_map, previous_mask) if ...]   # those that are there\n"
        "return torch.stack(maps, ...)                                         # along a new axis: which?",
        "maps = [m for m in (global_map, local_map, previous_mask) if m is not None]\nreturn torch.stack(maps, dim=1)",
    ),
)
