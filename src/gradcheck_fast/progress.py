"""Long loops in pieces of about a tenth of a second, so that Ctrl-C works and progress moves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What `progress=` takes: nothing, a line on stderr, or a function of the fraction done (0 to 1).
Progress: TypeAlias = bool | Callable[[float], object] | None

PIECE_SECONDS = 0.1
PATIENCE_SECONDS = 1.0


def reporter(progress: Progress) -> Callable[[float], object]:
    """The function that `progress` asks for.

    Raises
    ------
    TypeError
        If it is neither a bool, nor None, nor callable.
    """
    if progress is None or progress is False:
        return lambda fraction: None
    if progress is True:
        return _Line()
    if not callable(progress):
        raise TypeError(f"progress: expected True, False, None or a function of the fraction done, got {progress!r}")
    return progress


class _Line:
    """A line on stderr that is rewritten as work goes on; a check that is done in a moment writes none."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._written = False

    def __call__(self, fraction: float) -> None:
        if self._written or (fraction < 1 and perf_counter() - self._started > PATIENCE_SECONDS):
            self._written = True
            end = "\n" if fraction >= 1 else ""
            print(f"\rgradcheck_fast: {fraction:4.0%}", end=end, file=sys.stderr, flush=True)


def pieces(
    total: int,
    smallest: int,
    report: Callable[[float], object],
    largest: float = float("inf"),
    work: NDArray[np.float64] | None = None,
) -> Iterator[tuple[int, int]]:
    """Ranges ``(begin, end)`` that cover ``range(total)``, sized so that one takes about 0.1 s.

    Between two of them the interpreter runs: a pending Ctrl-C is raised there. `report` gets the fraction done.
    `largest` is the size to begin with, and the cap where tasks that took no time may be followed by others that do;
    `work` says how much has
    been done after each of the `total` tasks, where they are not alike.
    """
    begin, size = 0, max(smallest, int(min(total, largest))) if largest < float("inf") else smallest
    while begin < total:
        end = min(total, begin + size)
        started = perf_counter()
        yield begin, end
        seconds = perf_counter() - started
        size = max(smallest, int(min(4 * size, largest, size * PIECE_SECONDS / max(seconds, 1e-9))))
        begin = end
        report(begin / total if work is None else float(work[begin - 1] / work[-1]))
