"""Prepares a method in difference arithmetic on a chunk of the samples as a job, and adds up what the chunks find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from gradcheck_fast.numerical.gradient import Kinks
from gradcheck_fast.running.jobs import Job
from gradcheck_fast.running.pieces import PIECE_SECONDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine._loops import Workspace
    from gradcheck_fast.engine._tape import Chunk
    from gradcheck_fast.engine.memory import Memory
    from gradcheck_fast.engine.routes import Tasks

#: Any machine does at least this many estimated operations per second.
SURE_SPEED = 4e9


class Perturbation(NamedTuple):
    """What is to be perturbed, how far, and whether kinks are counted.

    Attributes
    ----------
    h : float
        The step.
    by_units : bool
        Whether units are perturbed, or else parameters.
    kinks : bool
        Whether kinks are counted.
    entries : ndarray of int or None
        The parameters that are perturbed; None for all.
    """

    h: float
    by_units: bool
    kinks: bool
    entries: NDArray[np.intp] | None


class PartialResult(NamedTuple):
    """What some tasks found: the values that are not zero and their places, and how many kinks each task crossed."""

    places: NDArray[np.intp]
    found: NDArray[np.float64]
    slope_places: NDArray[np.intp]
    slopes: NDArray[np.float64]
    counts: NDArray[np.intp]


class Sweep(NamedTuple):
    """A method that propagates differences, ready to be run on a chunk of the samples.

    Attributes
    ----------
    memory : Memory
        The memory that it works in.
    work : Workspace
        What its tasks read and write.
    method : callable
        `_loops.units` or `_loops.incremental`.
    n_threads : int
    tasks : Tasks
    """

    memory: Memory
    work: Workspace
    method: Callable[[Workspace, int, int, int], None]
    n_threads: int
    tasks: Tasks

    @property
    def chunk(self) -> Chunk:
        return self.work.chunk

    @property
    def found(self) -> NDArray[np.float64]:
        return self.work.found

    @property
    def slopes(self) -> NDArray[np.float64]:
        return self.work.slopes

    def perturb(self, begin: int, end: int) -> None:
        """Runs the tasks begin..end."""
        self.method(self.work, self.n_threads, begin, end)

    @property
    def crossed(self) -> int:
        """The number of kinks that all tasks crossed; 0 if they are not counted."""
        return int(self.work.crossed.sum()) if len(self.slopes) else 0

    def partial_result(self, begin: int, end: int) -> PartialResult:
        """Returns everything that was found so far, where only the tasks begin..end have been run."""
        places, slope_places = np.flatnonzero(self.found), np.flatnonzero(self.slopes)
        slopes, counts = self.slopes.ravel()[slope_places], self.work.crossed[begin:end].copy()
        return PartialResult(places, self.found[places], slope_places, slopes, counts)

    def put(self, begin: int, end: int, result: PartialResult) -> None:
        """Writes what `result` returned, perhaps in another process, into the arrays of this sweep."""
        self.found[result.places] = result.found
        self.slopes.reshape(-1)[result.slope_places] = result.slopes
        self.work.crossed[begin:end] = result.counts

    def job(self, what: tuple[Any, ...], share: Callable[[int, int], PartialResult]) -> Job:
        """Returns a job of all tasks; `what` identifies it, and `share` runs some of them elsewhere."""
        surely_quick = self.n_threads * SURE_SPEED * PIECE_SECONDS / self.tasks.most
        return Job(
            what, len(self.tasks.table), (self.found, self.slopes, self.work.crossed), self.perturb, share, self.put,
            self.n_threads, surely_quick, self.tasks.work,
        )  # fmt: skip


class Shared(Protocol):
    """An engine of which other processes do a share."""

    def part(self, number: int) -> Shared:
        """Makes an engine that has only one chunk of the samples."""

    def share(
        self, number: int, theta: NDArray[np.float64], perturbation: Perturbation, n_threads: int, begin: int, end: int
    ) -> PartialResult:
        """Returns what the tasks begin..end of a chunk of the samples find."""


@dataclass(frozen=True, eq=False, repr=False)
class Share:
    """Calls `Shared.share` for one chunk. When it is pickled for another process, only that chunk goes with it."""

    engine: Shared
    number: int
    options: tuple[NDArray[np.float64], Perturbation, int]

    def __call__(self, begin: int, end: int) -> PartialResult:
        return self.engine.share(self.number, *self.options, begin, end)

    def __reduce__(self) -> tuple[type[Share], tuple[Any, ...]]:
        return Share, (self.engine.part(self.number), 0, self.options)


class Totals:
    """The sums over the chunks of the samples: the gradient, and the kinks that were crossed."""

    def __init__(self, size: int, kinks: bool) -> None:
        self.gradient = np.zeros(size)
        self.slopes = np.zeros((2 if kinks else 0, size))
        self.crossed = np.zeros(1, np.intp)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        return self.gradient, self.slopes, self.crossed

    @property
    def kinks(self) -> Kinks | None:
        """The kinks; None if none were crossed, or if they were not counted."""
        return Kinks(int(self.crossed[0]), *self.slopes) if self.crossed[0] else None
