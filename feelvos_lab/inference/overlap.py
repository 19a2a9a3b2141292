"""Read ahead of the network and write behind it, each with one thread, so that a GPU need not wait for files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

DEPTH = 3  # items at most that are read but not yet used, and items that are written or wait for it

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map(read, items)` with up to `DEPTH` calls made ahead by one thread, in order.

    An exception is raised where its result would have been yielded. When the iterator is closed, the call in progress
    is waited for and no other is made.

    Example:
        >>> from feelvos_lab.inference.overlap import read_ahead
        >>> list(read_ahead(lambda n: n * n, range(5)))
        [0, 1, 4, 9, 16]
    """
    left = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="read ahead")
    try:
        waiting = deque(pool.submit(read, item) for item in islice(left, DEPTH))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(read, item) for item in islice(left, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def write_behind(*, on: bool = True) -> Iterator[Callable[..., None]]:
    """Yields a function `later(write, *arguments)`: one thread makes the calls in order, up to `DEPTH` behind.

    `later` waits while `DEPTH` calls are unfinished, so memory stays constant. The exception of a call is raised by the
    next `later`, or by the end of the block, which waits for all calls. Where the block itself raises, as at an
    interrupt, the call in progress is waited for and the others are dropped. With `on=False`, `later` makes the call.

    Example:
        >>> from feelvos_lab.inference.overlap import write_behind
        >>> written = []
        >>> with write_behind() as later:
        ...     for frame in range(4):
        ...         later(written.append, frame)
        >>> written
        [0, 1, 2, 3]
    """
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="write behind")

    def later(write: Callable[..., object], *arguments: object) -> None:
        if not on:
            write(*arguments)
            return
        while waiting and (len(waiting) >= DEPTH or waiting[0].done()):
            waiting.popleft().result()
        waiting.append(pool.submit(write, *arguments))

    try:
        yield later
        while waiting:
            waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
