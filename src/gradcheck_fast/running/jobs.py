"""A job: work in many tasks, with what anyone needs to know to do some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Job(NamedTuple):
    """Tasks that may be done in any order and anywhere: their results do not depend on how they are split.

    Attributes
    ----------
    what : tuple
        Strings, numbers and arrays that tell this job from the other jobs of the same loss. A checkpoint finds the
        results of a job by them.
    tasks : int
        The number of tasks.
    results : tuple of ndarray
        The arrays that the tasks fill, each task its own part.
    here : callable
        ``here(begin, end)`` does the tasks begin..end - 1 on the runner's threads, and writes into `results`.
    share : callable
        ``share(begin, end)`` does these tasks, returns what they give, and changes nothing. It can be pickled, if the
        loss can.
    put : callable
        ``put(begin, end, found)`` writes what `share` has returned into `results`.
    smallest : int
        How many tasks are done at once, at least.
    largest : float
        How many tasks are done in one piece, at most. It is infinite if nothing is known of how long they take; then
        few are done first.
    work : ndarray of float64, shape (tasks,), optional
        The estimated number of operations up to and including each task; None if all tasks are alike.
    doing : callable, optional
        ``doing(begin, end)`` says what these tasks do, in words that follow "while": "differencing W[0, 1]".
    """

    what: tuple[Any, ...]
    tasks: int
    results: tuple[NDArray[Any], ...]
    here: Callable[[int, int], object]
    share: Callable[[int, int], Any]
    put: Callable[[int, int, Any], object]
    smallest: int = 1
    largest: float = float("inf")
    work: NDArray[np.float64] | None = None
    doing: Callable[[int, int], str] | None = None

    def said(self, begin: int, end: int) -> str:
        """Returns what the tasks begin..end - 1 do, in words that follow "while"."""
        return self.doing(begin, end) if self.doing else f"doing part {begin + 1} to {end} of {self.tasks} of the work"

    def part(self, begin: int, end: int) -> float:
        """Returns which part of the whole work the tasks begin..end - 1 are, from 0 to 1."""
        if self.work is None:
            return (end - begin) / self.tasks
        return float((self.work[end - 1] - (self.work[begin - 1] if begin else 0.0)) / self.work[-1])
