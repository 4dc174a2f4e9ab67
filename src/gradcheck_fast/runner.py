"""Where work is done: a job of many tasks, in pieces, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .progress import pieces, reporter
from .threads import resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .progress import Progress


class Job(NamedTuple):
    """Tasks that may be done in any order and anywhere: the results do not depend on how they are split.

    Attributes
    ----------
    tasks : int
        How many tasks.
    results : tuple of ndarray
        What they fill in, each task its own part.
    here : callable
        ``here(begin, end)`` does the tasks begin..end, into `results`, on the runner's threads.
    share : callable
        ``share(begin, end)`` finds what these tasks give, and changes nothing. It can be pickled, if the loss can.
    put : callable
        ``put(begin, end, found)`` writes what `share` found into `results`.
    smallest, largest : float
        Tasks to be done at once, at least; and to begin with, for all of them may take long.
    work : ndarray, shape (tasks,), optional
        Estimated operations up to and including each task, where they are not alike.
    """

    tasks: int
    results: tuple[NDArray[Any], ...]
    here: Callable[[int, int], object]
    share: Callable[[int, int], Any]
    put: Callable[[int, int, Any], object]
    smallest: int = 1
    largest: float = float("inf")
    work: NDArray[np.float64] | None = None


class Runner:
    """Does jobs in pieces of about a tenth of a second, and says how far it is.

    Parameters
    ----------
    n_threads : int or None
        As for `threads.resolve`.
    progress : bool, callable or None
        As for `progress.reporter`.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """

    def __init__(self, n_threads: int | None = None, progress: Progress = None) -> None:
        self.n_threads = resolve(n_threads)
        self.report = reporter(progress)

    def run(self, job: Job, report: Callable[[float], object] | None = None) -> None:
        """Does a job; `report`, instead of the runner's own, gets the fraction done."""
        for begin, end in pieces(job.tasks, job.smallest, report or self.report, job.largest, job.work):
            job.here(begin, end)

    def quietly(self) -> Runner:
        """The same without reports."""
        return Runner(self.n_threads)
