"""Names of frames whose natural order is not theirs: dates with the year last, clocks of twelve hours, decimals, signs.

Each check reads a key from every name and rejects keys that do not ascend where the names are in natural order. What
stands before a date or a time in a name counts first.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_YEAR_FIRST = re.compile(r"(?<!\d)(19|20)\d\d([-_. ]?)(0\d|1[0-2])\2([0-2]\d|3[01])(?!\d)")  # 2024-01-16

_YEAR_LAST = re.compile(r"(?<!\d)(\d{1,2})(?:([-_. ])(\d{1,2})\2|()(\d\d))((?:19|20)?\d\d)(?!\d)")  # 16-01-24, 16012024

_DAY_AND_TIME = re.compile(r"(?<!\d)(?:19|20)\d{6}[-_. tT]?\d{6}(?!\d)")  # 20240131_235959

_WITH_MONTH = re.compile(  # 16Jan2024, 2024-Jan-16, January 16
    r"(?:(?<!\d)(?P<year>(?:19|20)\d\d)[-_. ]?)?(?:(?<!\d)(?P<day>\d{1,2})[-_. ]?)?(?<![a-z])"
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?![a-z])"
    r"(?:[-_. ]?(?P<later_day>\d{1,2})(?!\d))?(?:[-_., ]*(?P<later_year>(?:19|20)\d\d)(?!\d))?"
)

_HALF_DAY = re.compile(r"(?<!\d)(\d{1,2})((?:[-_.:]?\d\d){0,2})\s?([ap])\.?m(?![a-z])")  # 12.59.58 PM, 9AM

_DECIMAL = re.compile(r"(?<![\d.])(\d+)\.(\d+)(?![\d.])")  # 0.25

_NEGATIVE = re.compile(r"(?:^|[_=(\[ ])-\d")


def natural_key(name: str) -> list[tuple[int, str]]:
    """A key that sorts names with their numbers by value: `a9` before `a10`; upper and lower case are one.

    Example:
        >>> from feelvos_lab.data.name_order import natural_key
        >>> sorted(["day2_10", "day10_1", "day2_9"], key=natural_key)
        ['day2_9', 'day2_10', 'day10_1']
    """
    parts = re.split(r"(\d+)", name.casefold())  # text and digits in turn, so parts of one kind are compared
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)]


def check_order(folder: Path, stems: Sequence[str]) -> None:
    """Raise LabError where the natural order of names contradicts the dates, times or numbers in them.

    Two-digit years may stand first or last: the reading by which all names lie closest together counts, and a tie is
    decided against the names. Decimals of different lengths are numbers of parts, such as 1.9 and 1.10, where one ends
    in 0.

    Args:
        stems: names of files without their endings, in natural order.
    """
    names = [stem.casefold() for stem in stems]
    if any(
        not _ascend(names, starts, dates)
        for starts, dates in (*_closest(_numeric_dates(names)), *_dates_with_months(names))
    ):
        raise LabError(
            f"{folder} cannot be ordered by its dates, such as {stems[0]}: expected the year first, then the month "
            "as a number"
        )
    times = [_HALF_DAY.search(name) for name in names]
    if all(times):
        starts = [match.start() for match in times]
        clock = [_clock(*match.groups()) for match in times]
        if not _ascend(names, starts, clock):
            raise LabError(f"{folder} cannot be ordered by its times, such as {stems[0]}: expected hours from 00 to 23")
    decimals = [found[0] if len(found := _DECIMAL.findall(name)) == 1 else None for name in names]
    if all(decimals) and len({len(fraction) for _, fraction in decimals}) > 1:
        parts = any(len(fraction) > 1 and fraction.endswith("0") for _, fraction in decimals)
        starts = [_DECIMAL.search(name).start() for name in names]
        values = [float(f"{whole}.{fraction}") for whole, fraction in decimals]
        if not parts and not _ascend(names, starts, values):
            raise LabError(
                f"{folder} cannot be ordered by its decimals, such as {stems[0]}: expected as many digits after the "
                "point in each name"
            )
    if negative := [stem for stem in stems if _NEGATIVE.search(stem)]:
        raise LabError(f"{folder} cannot be ordered by its numbers: {negative[0]} has a minus sign, expected none")


def are_times(names: Sequence[str], numbers: Sequence[int]) -> bool:
    """Whether the numbers of frames are dates or times, whose steps change at the end of a month or minute.

    They are YYYYMMDD, such as 20240131, alone or followed by HHMM or HHMMSS, or HHMMSS after that in each name.

    Example:
        >>> from feelvos_lab.data.name_order import are_times
        >>> are_times(["a_20240131_115959", "a_20240131_120000"], [115959, 120000]), are_times(["7", "8"], [7, 8])
        (True, False)
    """
    if all(_DAY_AND_TIME.search(name) for name in names) and max(numbers) < 10**6:
        return all(_is_clock(f"{number:06}") for number in numbers)
    texts = [str(number) for number in numbers]
    return all(
        len(text) in (8, 12, 14)
        and text[:2] in ("19", "20")
        and _is_date(text[:8])
        and _is_clock(text[8:].ljust(6, "0"))
        for text in texts
    )


def _is_date(text: str) -> bool:
    return _date(int(text[:4]), int(text[4:6]), int(text[6:])) is not None


def _is_clock(text: str) -> bool:
    return text[:2] < "24" and text[2:4] < "60" and text[4:] < "60"


def _ascend(names: Sequence[str], starts: Sequence[int], keys: Sequence[Any]) -> bool:
    """Whether names ascend by what stands before the key in each, and then by the key."""
    order = [(natural_key(name[:start]), key) for name, start, key in zip(names, starts, keys, strict=True)]
    return all(first <= second for first, second in itertools.pairwise(order))


Dated = tuple[list[int], list[date]]  # where the date begins in each name, and which it is


def _numeric_dates(names: Sequence[str]) -> list[Dated]:
    """The readings of the first numeric date in each name; none where one has none, or a date with its year first."""
    matches = [None if _YEAR_FIRST.search(name) else _YEAR_LAST.search(name) for name in names]
    if not all(matches):
        return []
    fields = [(int(m[1]), int(m[3] or m[5]), int(m[6])) for m in matches]
    short = any(len(m[6]) == 2 for m in matches)
    if len(set(fields)) < 2 or (short and any(not 10 <= c <= 39 for *_, c in fields)):
        return []  # two digits that are the year of no photo
    readings = [[_date(c, b, a) for a, b, c in fields], [_date(c, a, b) for a, b, c in fields]]
    if short:
        readings.append([_date(a, b, c) for a, b, c in fields])
    return [([m.start() for m in matches], dates) for dates in readings if all(dates)]


def _closest(readings: Sequence[Dated]) -> list[Dated]:
    """Those whose dates span the fewest days."""
    spans = [(max(dates) - min(dates)).days for _, dates in readings]
    return [reading for reading, span in zip(readings, spans, strict=True) if span == min(spans)]


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return None


def _dates_with_months(names: Sequence[str]) -> list[tuple[list[int], list[tuple[int, ...]]]]:
    """Year, month and day by the name of the month, 0 where missing; none where all names hold the same month."""
    matches = [_WITH_MONTH.search(name) for name in names]
    if not all(matches) or len({m["month"][:3] for m in matches}) < 2:
        return []
    dates = [
        (int(m["year"] or m["later_year"] or 0), _MONTHS.index(m["month"][:3]), int(m["day"] or m["later_day"] or 0))
        for m in matches
    ]
    return [([m.start() for m in matches], dates)]


def _clock(hour: str, rest: str, half: str) -> tuple[int, list[int]]:
    return int(hour) % 12 + 12 * (half == "p"), [int(digits) for digits in re.findall(r"\d\d", rest)]
