"""Tells how far a long check is, and how long it will still take."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias

from gradcheck_fast.inputs.arguments import duration

#: What `progress=` takes: False or None for nothing, True for a line on stderr, or a function of the fraction done, 0
#: to 1.
Progress: TypeAlias = bool | Callable[[float], object] | None

#: How many seconds work is watched before anything is said of it: earlier, it could not be told how long it will take.
PATIENCE_SECONDS = 1.0
#: A warning is given of a run that will take more seconds than this.
LONG_SECONDS = 60.0
#: How many seconds pass before a terminal's line is written again, at least: nobody reads faster.
LINE_SECONDS = 0.1
#: Which part of the work must have been done before a log gets another line: a log of ten lines is still read.
LINE_FRACTION = 0.1


class LongRunWarning(UserWarning):
    """A check will take more than a minute; the message says how long, and what would take less."""


class Meter:
    """Is called with the fraction of the work that is done, again and again, and tells those who want to know.

    Parameters
    ----------
    progress : bool, callable or None
        With True, a line is written on stderr if the work takes more than a second. A function is called with every
        fraction.
    faster : callable, optional
        If it is given, a `LongRunWarning` is given of a run of more than a minute; ``faster(seconds)`` says what takes
        less than these.
    name : str
        What is going on, if it is not the first run.

    Raises
    ------
    TypeError
        If `progress` is neither a bool, nor None, nor callable.
    """

    def __init__(self, progress: Progress = None, faster: Callable[[float], str] | None = None, name: str = "") -> None:
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise TypeError(
                f"progress: expected True, False, None or a function of the fraction done, got {progress!r}"
            )
        self._tell = progress if callable(progress) else None
        self._line = _Line(name) if progress is True else None
        self._faster = faster
        self._first: tuple[float, float] | None = None
        self._last = 0.0

    def __call__(self, fraction: float) -> None:
        if self._tell:
            self._tell(fraction)
        if self._line is None and self._faster is None:
            return
        now = perf_counter()
        # Time is measured from the end of the first piece on: what came before may have been the start of processes, or
        # an earlier run.
        if self._first is None or fraction < self._last:
            self._first = now, fraction
        self._last = fraction
        began, first = self._first
        if fraction <= first or now - began < PATIENCE_SECONDS:
            return
        left = (now - began) * (1.0 - fraction) / (fraction - first)
        if self._line:
            self._line.write(fraction, left, now)
        if self._faster and fraction < 1.0 and now - began + left > LONG_SECONDS:
            seconds, faster, self._faster = now - began + left, self._faster, None
            text = f"this takes about {duration(seconds)}; {faster(seconds)}"
            warnings.warn(text, LongRunWarning, stacklevel=calls_inside())

    def aside(self, name: str) -> Meter:
        """Returns a meter for another run, which is told to a line on stderr, but not to a function."""
        return Meter(self._line is not None, self._faster, name)


class _Line:
    """Writes on stderr: on a terminal one line that is rewritten as work goes on, in a log a line now and then."""

    def __init__(self, name: str) -> None:
        self._name = f"{name} " if name else ""
        self._due, self._fraction = 0.0, -1.0

    def write(self, fraction: float, left: float, now: float) -> None:
        is_terminal, done = sys.stderr.isatty(), fraction >= 1.0
        if done and not self._due:  # nothing was said before it was done
            return
        if not done and (now < self._due if is_terminal else abs(fraction - self._fraction) < LINE_FRACTION):
            return
        self._due, self._fraction = now + LINE_SECONDS, fraction
        text = f"gradcheck_fast: {self._name}{fraction:4.0%}" + ("" if done else f", about {duration(left)} left")
        if is_terminal:
            print(f"\r{text}\033[K", end="\n" if done else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


def calls_inside() -> int:
    """Returns how many calls up the caller of this package stands, for the `stacklevel` of a warning."""
    frame, calls = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("gradcheck_fast."):
        frame, calls = frame.f_back, calls + 1
    return calls
