"""Where work is done: in pieces in this process, or in shares by the workers of an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from copy import copy
from typing import TYPE_CHECKING, Any

from gradcheck_fast.running.pieces import first_size, in_pieces
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.threads import resolve

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from types import TracebackType

    from numpy.typing import NDArray

    from gradcheck_fast.running.checkpoint import Checkpoint
    from gradcheck_fast.running.executors import Pool
    from gradcheck_fast.running.jobs import Job


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
            from gradcheck_fast.running.executors import (
                Pool,  # only who has an executor waits for the import of multiprocessing
            )

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
