"""Ctrl-C between two steps, so that a training can be saved whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def postponed_ctrl_c(on: bool = True) -> Iterator[Callable[[], bool]]:
    """A block in which the first Ctrl-C is only noted; the function that it yields says whether it came.

    A second one raises KeyboardInterrupt at once. Nothing is postponed without `on`, in another thread than the main
    one, or where other code handles or ignores Ctrl-C.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not (on and in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        yield lambda: False
        return
    came = False

    def note(_number: int, _frame: object) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
