"""A method in difference arithmetic, ready to be run on some samples, and the memory that it works in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

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

#: Estimated operations per second that any machine does.
SURE_SPEED = 4e9


class Perturbation(NamedTuple):
    """What is to be perturbed, how far, and whether kinks are counted; `entries`: these parameters only."""

    h: float
    by_units: bool
    kinks: bool
    entries: NDArray[np.intp] | None


class PartialResult(NamedTuple):
    """What some tasks found: where it is not zero, and how many kinks each crossed."""

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
        """Does some tasks."""
        self.method(self.work, self.n_threads, begin, end)

    @property
    def crossed(self) -> int:
        """How many kinks were crossed."""
        return int(self.work.crossed.sum()) if len(self.slopes) else 0

    def some(self, begin: int, end: int) -> PartialResult:
        """What there is, if only the tasks begin..end have been done."""
        places, slope_places = np.flatnonzero(self.found), np.flatnonzero(self.slopes)
        slopes, counts = self.slopes.ravel()[slope_places], self.work.crossed[begin:end].copy()
        return PartialResult(places, self.found[places], slope_places, slopes, counts)

    def put(self, begin: int, end: int, some: PartialResult) -> None:
        """Writes what `some` gave elsewhere."""
        self.found[some.places] = some.found
        self.slopes.reshape(-1)[some.slope_places] = some.slopes
        self.work.crossed[begin:end] = some.counts

    def job(self, what: tuple[Any, ...], share: Callable[[int, int], PartialResult]) -> Job:
        """All tasks."""
        surely_quick = self.n_threads * SURE_SPEED * PIECE_SECONDS / self.tasks.most
        return Job(
            what, len(self.tasks.table), (self.found, self.slopes, self.work.crossed), self.perturb, share, self.put,
            self.n_threads, surely_quick, self.tasks.work,
        )  # fmt: skip


class Totals:
    """What the chunks of the samples add up to: a gradient, and which kinks were met."""

    def __init__(self, size: int, kinks: bool) -> None:
        self.gradient = np.zeros(size)
        self.slopes = np.zeros((2 if kinks else 0, size))
        self.crossed = np.zeros(1, np.intp)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        return self.gradient, self.slopes, self.crossed

    @property
    def kinks(self) -> Kinks | None:
        """None if none were crossed, or they were not counted."""
        return Kinks(int(self.crossed[0]), *self.slopes) if self.crossed[0] else None
