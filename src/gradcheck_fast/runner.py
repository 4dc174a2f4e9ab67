"""Where work is done: a job of many tasks, in pieces in this process or in shares by the workers of an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from .pieces import first_size, in_pieces
from .progress import Meter
from .threads import resolve

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from .checkpoint import Checkpoint
    from .executors import Pool


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


class Runner:
    """Does jobs, says how far it is, and keeps what was found. As a context it leaves nothing running behind.

    Parameters
    ----------
    n_threads : int or None
        As for `threads.resolve`; with an executor None is one thread, here and in each worker.
    meter : Meter, optional
        What is told how far the work is.
    executor : Executor, callable or None
        Where to do it; see `executors.Pool`. None: in this process.
    checkpoint : Checkpoint, optional
        Where to keep what was found, and to look for what an earlier run has found.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """

    def __init__(
        self,
        n_threads: int | None = None,
        meter: Meter | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.n_threads = resolve(1 if n_threads is None and executor is not None else n_threads)
        self._meter = meter or Meter()
        self._report: Callable[[float], object] = self._meter
        self._pool: Pool | None = None
        if executor is not None:
            from .executors import Pool  # only who has an executor waits for the import of multiprocessing

            self._pool = Pool(executor, self.n_threads)
        self._checkpoint = checkpoint

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.close(wait=error is None)
        # after an error the last save stands: a piece may have been done in part since then
        if self._checkpoint and error is None:
            self._checkpoint.save()

    def run(self, job: Job) -> None:
        """Does a job, or what a checkpoint does not have of it yet."""
        if not job.tasks:
            return
        if job.tasks <= first_size(job) and not (self._checkpoint or self._pool):  # small checks are to be quick
            job.here(0, job.tasks)
            self._report(1.0)
            return
        record = self._checkpoint.record(job.what, job.tasks, job.results) if self._checkpoint else None
        missing = record.missing() if record else [(0, job.tasks)]
        left = sum(end - begin for begin, end in missing)
        fraction = 1.0 - sum(job.part(*gap) for gap in missing) if record else 0.0
        if not left:
            self._report(1.0)
            return
        do = self._pool.share_out if self._pool else in_pieces
        with closing(do(job, missing)) as ranges:
            for begin, end in ranges:
                if record:
                    record.mark(begin, end)
                left -= end - begin
                fraction = min(1.0, fraction + job.part(begin, end)) if left else 1.0
                self._report(fraction)

    def series(
        self, what: tuple[Any, ...], count: int, results: tuple[NDArray[Any], ...]
    ) -> Iterator[tuple[int, Runner]]:
        """The numbers from 0 to `count`, each with a runner for the jobs of that number, one after the other.

        The caller adds what they found to `results` before it asks for the next; a checkpoint then keeps these, and no
        longer what each job found, and after an interruption the series goes on from there.
        """
        record = self._checkpoint.record(what, count, results) if self._checkpoint else None
        begin = next((begin for begin, _ in record.missing()), count) if record else 0
        if record and begin == count:
            self._report(1.0)
        for number in range(begin, count):
            yield number, self if count == 1 else self._part(number, count)
            if self._checkpoint and record:
                self._checkpoint.forget_since(record)
                record.mark(number, number + 1)

    def _part(self, number: int, count: int) -> Runner:
        """The same, whose fractions are of one of so many parts."""
        report = self._report
        return self._telling(lambda fraction: report((number + fraction) / count))

    def saying(self, fraction: Callable[[], float | None]) -> Runner:
        """The same, which says of a job not which part of it is done, but what `fraction()` is, unless that is None."""
        report = self._report

        def say(_: float) -> None:
            said = fraction()
            if said is not None:
                report(said)

        return self._telling(say)

    def quietly(self, name: str = "second run") -> Runner:
        """For what is found besides: a line of progress says its name, a function of the fraction hears nothing."""
        meter = self._meter.aside(name)
        other = self._telling(meter)
        other._meter = meter
        return other

    def _telling(self, report: Callable[[float], object]) -> Runner:
        other = copy(self)
        other._report = report
        return other
