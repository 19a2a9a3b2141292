"""Notebook 03: the memory for the table of all distances."""

from __future__ import annotations

import math
from collections.abc import Callable

from feelvos_lab.lessons.checks.exercise import Answer, Case, Exercise, Mistake
from feelvos_lab.model.grid import stride4_size
from feelvos_lab.model.matching import matching_memory

Size = tuple[int, int]


def _cases() -> list[Case]:
    return [
        Case("hand", "9×14 pixels are a grid of 3×4 cells", {"size": (9, 14)}, telling=False),
        Case("hand", "the same with `references` given as None", {"size": (9, 14), "references": None}, telling=False),
        Case("hand", "8×16 pixels, whole cells, are a grid of 2×4", {"size": (8, 16)}, telling=False),
        Case("random", "a 480p frame against 1024 reference pixels", {"size": (480, 854), "references": 1024}),
        Case("random", "a 480p frame against another one", {"size": (480, 854)}),
        Case("random", "a frame of 243×90 pixels against 37", {"size": (243, 90), "references": 37}),
        Case("edge", "one reference pixel", {"size": (11, 6), "references": 1}, telling=False),
        Case("edge", "a frame of one pixel", {"size": (1, 1)}, telling=False),
        Case(
            "edge", "no reference pixel: a table without a column", {"size": (30, 50), "references": 0}, telling=False
        ),
    ]


def _cells(size: Size) -> int:
    rows, columns = stride4_size(size)
    return rows * columns


def _wrong(
    *,
    cells: Callable[[Size], float] = _cells,
    of_given: Callable[[int], float] = lambda references: references,
    total: Callable[[float, float], float] = lambda m, n: m * n * 4,
    default: Callable[[Size], float] | None = None,
    falsy: bool = False,
) -> Answer:
    """The table's size with a mistake: in the cells, in the references that are given or not, in the bytes."""

    def wrong(size: Size, *, references: int | None = None) -> float:
        m = cells(size)
        missing = references is None or (falsy and not references)
        n = (default or cells)(size) if missing else of_given(references)
        return total(m, n)

    return wrong


def _side(count: Callable[[int], float]) -> Callable[[Size], float]:
    return lambda size: count(size[0]) * count(size[1])


MEMORY = Exercise(
    "matching_memory",
    matching_memory,
    _cases,
    mistakes=(
        Mistake(
            "full-size",
            "this counts all pixels of the frame; matching works on the stride-4 grid, one cell per 4×4 pixels",
            (
                _wrong(cells=lambda size: size[0] * size[1]),
                _wrong(default=lambda size: size[0] * size[1]),
            ),
        ),
        Mistake(
            "numbers",
            "this counts numbers, not bytes; a float32 has four",
            (_wrong(total=lambda m, n: m * n),),
        ),
        Mistake(
            "bits",
            "this counts bits, not bytes; a byte has eight",
            (_wrong(total=lambda m, n: m * n * 32),),
        ),
        Mistake(
            "other-type",
            "this counts another number of bytes for each distance: a float32 has four, not 2 or 8",
            (_wrong(total=lambda m, n: m * n * 8), _wrong(total=lambda m, n: m * n * 2)),
        ),
        Mistake(
            "unit",
            "this looks like kilo-, mega- or gigabytes; bytes are asked for",
            tuple(_wrong(total=lambda m, n, u=u: m * n * 4 / u) for u in (1e3, 1024, 1e6, 2**20, 1e9, 2**30)),
        ),
        Mistake(
            "rounded-down",
            "the grid is a row or column too small: the first and the last pixel both have a cell, so a side of H "
            "pixels has (H − 1) // 4 + 1 of them",
            (
                _wrong(cells=_side(lambda side: side // 4)),
                _wrong(cells=_side(lambda side: (side - 1) // 4)),
                _wrong(cells=_side(lambda side: max(1, side // 4))),
            ),
        ),
        Mistake(
            "one-side-down",
            "one side of the grid is rounded down and the other up: both have (side − 1) // 4 + 1 cells",
            (
                _wrong(cells=lambda size: ((size[0] - 1) // 4 + 1) * (size[1] // 4)),
                _wrong(cells=lambda size: (size[0] // 4) * ((size[1] - 1) // 4 + 1)),
            ),
        ),
        Mistake(
            "fraction",
            "the grid has a fraction of a cell: divide with `//`, which leaves whole numbers",
            (_wrong(cells=_side(lambda side: (side - 1) / 4 + 1)), _wrong(cells=_side(lambda side: side / 4))),
        ),
        Mistake(
            "overflow",
            "the number is too large for the 32 bits of its type and comes out negative or too small; use Python's "
            "whole numbers",
            (_wrong(total=lambda m, n: (m * n * 4 + 2**31) % 2**32 - 2**31),),
        ),
        Mistake(
            "sixteenth",
            "the cells are counted as the pixels of the frame divided by 16; the rows and the columns of the grid are "
            "rounded up each, (H − 1) // 4 + 1, before they are multiplied",
            (
                _wrong(cells=lambda size: size[0] * size[1] // 16),
                _wrong(cells=lambda size: max(1, size[0] * size[1] // 16)),
                _wrong(cells=lambda size: math.ceil(size[0] * size[1] / 16)),
            ),
        ),
        Mistake(
            "rounded",
            "the grid looks rounded to the nearest number of cells; a side of H pixels has (H − 1) // 4 + 1",
            (
                _wrong(cells=_side(lambda side: round(side / 4))),
                _wrong(cells=_side(lambda side: max(1, round(side / 4)))),
            ),
        ),
        Mistake(
            "one-more",
            "the grid is a row or column too large, where a side is a multiple of 4: it has (H − 1) // 4 + 1 cells, "
            "not H // 4 + 1",
            (_wrong(cells=_side(lambda side: side // 4 + 1)), _wrong(cells=_side(lambda side: (side + 4) // 4))),
        ),
        Mistake(
            "ceil-of-less",
            "one pixel is subtracted from a side and the quotient rounded up, which leaves out a cell: (H − 1) // 4 + "
            "1",
            (_wrong(cells=_side(lambda side: math.ceil((side - 1) / 4))),),
        ),
        Mistake(
            "stride",
            "the grid has another stride than 4: one cell per 4×4 pixels",
            tuple(
                _wrong(cells=cells)
                for cells in (
                    _side(lambda side: (side - 1) // 8 + 1),
                    _side(lambda side: (side - 1) // 16 + 1),
                    _side(lambda side: (side - 1) // 2 + 1),
                    lambda size: size[0] * size[1] // 4,
                    lambda size: (size[0] * size[1] - 1) // 4 + 1,
                )
            ),
        ),
        Mistake(
            "one-side",
            "one side of the frame counts twice and the other not at all: the cells are rows times columns",
            (
                _wrong(cells=lambda size: ((size[0] - 1) // 4 + 1) ** 2),
                _wrong(cells=lambda size: ((size[1] - 1) // 4 + 1) ** 2),
            ),
        ),
        Mistake(
            "added",
            "numbers are added where they are multiplied: cells are rows times columns, and the table has a number for "
            "every pair, M · N",
            (
                _wrong(cells=lambda size: sum(stride4_size(size))),
                _wrong(total=lambda m, n: (m + n) * 4),
                _wrong(total=lambda m, n: m * n + 4),
            ),
        ),
        Mistake(
            "one-sided",
            "this is the size of one frame's list, not of the table, which has a number for every pair: M · N",
            (
                _wrong(total=lambda m, n: m * 4),
                _wrong(total=lambda m, n: n * 4),
                _wrong(default=lambda size: 1),
            ),
        ),
        Mistake(
            "squared",
            "the cells are squared although `references` is given; then the table has N = references columns",
            (_wrong(total=lambda m, n: m * m * 4),),
        ),
        Mistake(
            "extra",
            "the squared cells are multiplied by `references` as well; N replaces the second frame's cells",
            (_wrong(of_given=lambda n: n, total=lambda m, n: m * m * 4 if m == n else m * m * n * 4),),
        ),
        Mistake(
            "half",
            "each pair is counted once or twice in the wrong way: the table has a row for every query and a column for "
            "every reference pixel, M · N numbers",
            (
                _wrong(total=lambda m, n: m * (n - 1) / 2 * 4),
                _wrong(total=lambda m, n: m * (n - 1) * 4),
            ),
        ),
        Mistake(
            "given-grid",
            "`references` looks divided by 16 as if it counted pixels of the frame; it counts cells already",
            (
                _wrong(of_given=lambda n: n // 16),
                _wrong(of_given=lambda n: n / 16),
                _wrong(of_given=lambda n: (n - 1) // 4 + 1),
                _wrong(of_given=lambda n: (n - 1) // 16 + 1),
            ),
        ),
        Mistake(
            "given-squared",
            "`references` looks squared; it is the number of columns N itself",
            (_wrong(of_given=lambda n: n * n), _wrong(total=lambda m, n: n * n * 4)),
        ),
        Mistake(
            "embedding",
            "this counts the embeddings, or multiplies by their size; the table holds one number for each pair",
            tuple(_wrong(total=lambda m, n, d=d: m * n * d * 4) for d in (16, 32, 100, 128)),
        ),
        Mistake(
            "falsy",
            "0 references are treated as None (`references or …`, `if references`): ask `if references is None`",
            (_wrong(falsy=True),),
        ),
        Mistake(
            "at-least-one",
            "0 references give a table without a column, and 0 bytes",
            (_wrong(of_given=lambda n: max(n, 1)),),
        ),
    ),
    hints=(
        "How many rows and columns does the grid have? How many numbers does the table have? How many bytes has each?",
        "M = ((H − 1) // 4 + 1) · ((W − 1) // 4 + 1); N = M where `references` is None; bytes = M · N · 4.",
        "height, width = size\n"
        "cells = ... * ...                                # rows times columns of the grid\n"
        "columns = ... if references is None else ...     # of the table\n"
        "return ...                                       # numbers times bytes of one",
        "cells = ((size[0] - 1) // 4 + 1) * ((size[1] - 1) // 4 + 1)\n"
        "return cells * (cells if references is None else references) * 4",
    ),
)
