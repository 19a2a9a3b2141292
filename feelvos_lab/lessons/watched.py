"""Call an answer under watch: for how long it runs, whether it calls the library's function, what it leaves changed."""

from __future__ import annotations

import _thread
import dis
import inspect
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

import feelvos_lab
from feelvos_lab.data.clip import Clip

SECONDS = 5.0  # of CPU time for one call of an answer; plain loops take a tenth of a second
PATIENCE = 4  # times as long on a clock, on a busy machine or where an answer only waits

_TICK = 0.25  # seconds between two looks at the clocks

_PACKAGE = str(Path(feelvos_lab.__file__).parent)


class Raised(NamedTuple):
    """What a call raised instead of returning a result."""

    error: BaseException


class TooSlow(BaseException):
    """A call has run for `SECONDS`. No Exception, so that an answer's own `except Exception` does not catch it."""


class Watched(NamedTuple):
    """The result of a call, and what was seen during it."""

    result: Any  # Raised where the call raised
    asked_library: bool = False  # it called the library's function of the exercise's name


def watch(call: Callable[[], Any], *, name: str, seconds: float = SECONDS) -> Watched:
    """Make a call, and watch for functions of the package that are called `name`.

    TooSlow after so many seconds of CPU time, or after `PATIENCE` times as many on a clock.
    """
    asked = False
    before = sys.getprofile()

    def see(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal asked
        if event == "call" and frame.f_code.co_name == name and frame.f_code.co_filename.startswith(_PACKAGE):
            asked = True

    result: Any
    with torch_as_before(), warnings.catch_warnings(), _limit(seconds):
        warnings.simplefilter("ignore")  # such as numpy's of 0 / 0: the result is judged
        sys.setprofile(see)
        try:
            result = call()
        except (Exception, SystemExit) as error:  # whatever a student's code raises is shown to the student
            result = Raised(error)
        finally:
            sys.setprofile(before)
    return Watched(result, asked)


@contextmanager
def torch_as_before() -> Iterator[None]:
    """Restore torch's global switches, which an answer may have changed for the rest of the lesson."""
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the block after so many seconds. Only the main thread can be stopped: elsewhere nothing is.

    Without SIGALRM, as on Windows, another thread sends the main one the signal of Ctrl-C instead.
    """
    ends = time.process_time() + seconds, time.monotonic() + PATIENCE * seconds

    def late() -> bool:
        return time.process_time() > ends[0] or time.monotonic() > ends[1]

    if threading.current_thread() is not threading.main_thread():
        yield
    else:
        with _alarm(late):
            yield


@contextmanager
def _alarm(late: Callable[[], bool]) -> Iterator[None]:
    if not hasattr(signal, "SIGALRM"):
        with _interrupt(late):
            yield
        return

    def look(number: int, frame: FrameType | None) -> None:
        if late():
            raise TooSlow

    handler = signal.signal(signal.SIGALRM, look)
    began = time.monotonic()
    rest, interval = signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)  # another timer may run, such as a test's
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if rest:
            signal.setitimer(signal.ITIMER_REAL, max(_TICK, rest - (time.monotonic() - began)), interval)


@contextmanager
def _interrupt(late: Callable[[], bool]) -> Iterator[None]:
    over, stopped, one_at_a_time = threading.Event(), threading.Event(), threading.Lock()

    def look() -> None:
        while not over.wait(_TICK):
            with one_at_a_time:  # no interrupt is sent once the block has ended
                if late() and not over.is_set():
                    stopped.set()
                    _thread.interrupt_main()
                    return

    def handle(number: int, frame: FrameType | None) -> None:
        if not stopped.is_set() and callable(before):
            before(number, frame)  # a real Ctrl-C
        elif not over.is_set():
            raise TooSlow

    before = signal.signal(signal.SIGINT, handle)
    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        try:
            with one_at_a_time:
                over.set()
        finally:
            signal.signal(signal.SIGINT, before)  # handles an interrupt that is still to come before it returns


def calls_itself(answer: Callable[..., Any], name: str) -> bool:
    """Whether the code looks up the exercise's name: before the check that is an earlier function, after it itself."""
    with suppress(TypeError):  # a callable that is no function has no code
        return _looks_up(inspect.unwrap(answer).__code__, name)
    return False


def _looks_up(code: CodeType, name: str) -> bool:
    found = any(i.opname in ("LOAD_GLOBAL", "LOAD_NAME") and i.argval == name for i in dis.get_instructions(code))
    return found or any(_looks_up(inner, name) for inner in code.co_consts if isinstance(inner, CodeType))


def change_of(before: Any, after: Any) -> str:
    """What a call changed in an argument of the caller's, with {} in place of the argument; "" if nothing.

    Clips, tables, tensors and models are compared; other arguments cannot be changed.
    """
    if isinstance(before, Clip):
        parts = ("frames", before.frames, after.frames), ("masks", before.masks, after.masks)
        return next((f"writes into the {name} of {{}}" for name, x, y in parts if _differ(x, y)), "")
    if isinstance(before, pd.DataFrame):
        unchanged = before.equals(after) and list(before.index.names) == list(after.index.names)
        return "" if unchanged else "writes into {}"
    if isinstance(before, Tensor):
        if before.requires_grad != after.requires_grad:
            return "changes `requires_grad` of {}"
        return "writes into {}" if _differ(before, after) else ""
    if isinstance(before, nn.Module):
        modes = [[m.training for m in model.modules()] for model in (before, after)]
        if modes[0] != modes[1]:
            return f"leaves {{}} in {'training' if after.training else 'evaluation'} mode"
        states = before.state_dict(), after.state_dict()
        return (
            "writes into the weights of {}" if any(_differ(states[0][n], states[1].get(n)) for n in states[0]) else ""
        )
    return ""


def _differ(before: Any, after: Any) -> bool:
    """Whether two tensors differ; nan equals nan."""
    if not (isinstance(before, Tensor) and isinstance(after, Tensor)):
        return before is not after
    if before.shape != after.shape or before.dtype != after.dtype:
        return True
    return not bool(((before == after) | ((before != before) & (after != after))).all())
