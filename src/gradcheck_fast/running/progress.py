"""Tells how far a long check is, and how long it will still take."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from gradcheck_fast.inputs.arguments import duration

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console
    from rich.progress import Progress as Bar

#: What `progress=` takes: False or None for nothing, True for a bar on stderr, or a function of the fraction done, 0 to
#: 1.
Progress: TypeAlias = bool | Callable[[float], object] | None

#: How many seconds work is watched before anything is said of it: earlier, it could not be told how long it will take.
PATIENCE_SECONDS = 1.0
#: A warning is given of a run that will take more seconds than this.
LONG_SECONDS = 60.0
#: How many seconds pass before a bar is drawn again, at least: nobody reads faster.
BAR_SECONDS = 0.1
#: Which part of the work must have been done before a log gets another line: a log of ten lines is still read.
LINE_FRACTION = 0.1


class LongRunWarning(UserWarning):
    """A check will take more than a minute; the message says how long, and what would take less."""


class Meter:
    """Is called with the fraction of the work that is done, again and again, and tells those who want to know.

    Used as a context, it leaves no bar behind that is still drawn.

    Parameters
    ----------
    progress : bool, callable or None
        With True, a bar is drawn on stderr, or in a notebook, if the work takes more than a second; what is no terminal
        gets a line now and then. A function is called with every fraction.
    faster : callable, optional
        If it is given, a `LongRunWarning` is given of a run of more than a minute; ``faster(seconds)`` says what takes
        less than these.

    Raises
    ------
    TypeError
        If `progress` is neither a bool, nor None, nor callable.
    """

    def __init__(self, progress: Progress = None, faster: Callable[[float], str] | None = None) -> None:
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise TypeError(
                f"progress: expected True, False, None or a function of the fraction done, got {progress!r}"
            )
        self._tell = progress if callable(progress) else None
        self._display = _Display() if progress is True else None
        self._name = ""
        self._faster = faster
        self._first: tuple[float, float] | None = None
        self._last = 0.0

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(is_done=error is None)

    def __call__(self, fraction: float) -> None:
        if self._tell:
            self._tell(fraction)
        if self._display is None and self._faster is None:
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
        if self._display:
            self._display.show(self._name, fraction, left, now)
        if self._faster and fraction < 1.0 and now - began + left > LONG_SECONDS:
            seconds, faster, self._faster = now - began + left, self._faster, None
            text = f"this takes about {duration(seconds)}; {faster(seconds)}"
            warnings.warn(text, LongRunWarning, stacklevel=calls_inside())

    def aside(self, name: str) -> Meter:
        """Returns a meter for another run, which is shown by the same bar, under its name; a function hears nothing."""
        other = Meter(None, self._faster)
        other._display, other._name = self._display, name
        return other

    def part(self, number: int, count: int) -> Callable[[float], None]:
        """Returns what is told the fractions of one of `count` parts of the work; it can be another's ``progress=``."""
        return lambda fraction: self((number + fraction) / count)

    def parts(self, count: int) -> Callable[[float], None]:
        """Returns what is told the fractions of `count` parts of the work, one after another; see `part`."""
        number, last = 0, 0.0

        def tell(fraction: float) -> None:
            nonlocal number, last
            number += last >= 1.0 and number < count - 1
            last = fraction
            self((number + fraction) / count)

        return tell

    def close(self, *, is_done: bool = True) -> None:
        """Ends the bar: full, if all is done."""
        if self._display:
            self._display.close(is_done=is_done)


class _Display:
    """Shows how far work is: by one bar on a terminal and in a notebook, in a log by a line now and then."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._is_closed = False
        self._due, self._fraction = 0.0, -1.0

    def show(self, name: str, fraction: float, left: float, now: float) -> None:
        is_done = fraction >= 1.0
        # of what is done at once nothing is said, and that something is done is said once
        if self._is_closed or (is_done and not 0.0 <= self._fraction < 1.0):
            return
        console = _console()
        is_soon = now < self._due if console else abs(fraction - self._fraction) < LINE_FRACTION
        if is_soon and not is_done:
            return
        self._due, self._fraction = now + BAR_SECONDS, fraction
        title = f"gradcheck_fast{f': {name}' * bool(name)}"
        rest = "" if is_done else f"about {duration(left)} left"
        if console is None:
            words = f"gradcheck_fast: {f'{name} ' * bool(name)}{fraction:4.0%}{f', {rest}' * bool(rest)}"
            print(words, file=sys.stderr, flush=True)
            return
        bar = self._bar = self._bar or _new_bar(console)
        bar.update(bar.task_ids[0], description=title, completed=fraction, rest=rest)
        bar.start()  # nothing happens if it has been started
        bar.refresh()

    def close(self, *, is_done: bool) -> None:
        self._is_closed = True
        bar, self._bar = self._bar, None
        if bar is not None:
            if is_done:
                bar.update(bar.task_ids[0], description="gradcheck_fast", completed=1.0, rest="")
            bar.stop()


def _console() -> Console | None:
    """Returns what a bar can be drawn on; None: stderr is a log, or a notebook that cannot redraw."""
    from rich.console import Console  # only who waits long enough to see a bar waits for its import

    console = Console(stderr=True)
    if console.is_jupyter:
        return console if find_spec("ipywidgets") else None
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _new_bar(console: Console) -> Bar:
    """Returns a bar with one task, which is drawn only when it is told to be."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rest]}")
    bar = Bar(*columns, console=console, auto_refresh=False)
    bar.add_task("gradcheck_fast", total=1.0, rest="")
    return bar


def calls_inside() -> int:
    """Returns how many calls up the caller of this package stands, for the `stacklevel` of a warning."""
    frame, calls = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("gradcheck_fast."):
        frame, calls = frame.f_back, calls + 1
    return calls
