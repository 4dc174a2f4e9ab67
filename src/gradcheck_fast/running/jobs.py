"""Work: a job of many tasks, and what anyone needs to know to do some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Job(NamedTuple):
    """Tasks that may be done in any order and anywhere: the results do not depend on how they are split.

    Attributes
    ----------
    what : tuple
        Strings, numbers and arrays that tell this job from the others of the same loss: a checkpoint goes by them.
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
    smallest : int
        Tasks to be done at once, at least.
    largest : float
        And at most, in a piece; infinite: nothing is known of how long they take, so few are done first.
    work : ndarray, shape (tasks,), optional
        Estimated operations up to and including each task, where they are not alike.
    doing : callable, optional
        ``doing(begin, end)`` says what these tasks are, as in "while differencing W[0, 1]".
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
        """What some tasks are, for people."""
        return self.doing(begin, end) if self.doing else f"doing part {begin + 1} to {end} of {self.tasks} of the work"

    def part(self, begin: int, end: int) -> float:
        """Which part of the work some tasks are."""
        if self.work is None:
            return (end - begin) / self.tasks
        return float((self.work[end - 1] - (self.work[begin - 1] if begin else 0.0)) / self.work[-1])
