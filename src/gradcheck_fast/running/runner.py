"""Does jobs: in pieces in this process, or in shares by the workers of an executor."""

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
    """Does jobs, tells how far they are, and keeps what was found. Used as a context, it leaves nothing running behind.

    Parameters
    ----------
    n_threads : int or None
        As for `threads.resolve`; but with an executor, None is one thread, here and in each worker.
    meter : Meter, optional
        Is told how far the work is.
    executor : Executor, callable or None
        Does the work; see `executors.Pool`. If it is None, the work is done in this process.
    checkpoint : Checkpoint, optional
        Keeps what was found, and knows what an earlier run has found.

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
        self._meter.close(is_done=error is None)
        # after an error the last save stands: a piece may have been done in part since then
        if self._checkpoint and error is None:
            self._checkpoint.save()

    def run(self, job: Job) -> None:
        """Does a job, except for what the checkpoint has of it."""
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
        """Yields the numbers from 0 to `count` - 1, each with a runner for the jobs of that number.

        The caller adds what the jobs of a number have found to `results` before it asks for the next number. A
        checkpoint then keeps `results` in place of what each job has found, and after an interruption the series goes
        on from there.
        """
        record = self._checkpoint.record(what, count, results) if self._checkpoint else None
        begin = next((begin for begin, _ in record.missing()), count) if record else 0
        if record and begin == count:
            self._report(1.0)
        for number in range(begin, count):
            yield number, self if count == 1 else self.part(number, count)
            if self._checkpoint and record:
                self._checkpoint.forget_since(record)
                record.mark(number, number + 1)

    def part(self, number: int, count: int) -> Runner:
        """Returns a runner for one of `count` parts of the work: the fractions that it tells are those of the whole."""
        report = self._report
        return self._telling(lambda fraction: report((number + fraction) / count))

    def tell(self, fraction: float) -> None:
        """Tells how far work is that is not done by jobs."""
        self._report(fraction)

    def saying(self, fraction: Callable[[], float | None]) -> Runner:
        """Returns a runner that tells `fraction()` in place of how far a job is; it tells nothing if that is None."""
        report = self._report

        def say(_: float) -> None:
            said = fraction()
            if said is not None:
                report(said)

        return self._telling(say)

    def quietly(self, name: str = "second run") -> Runner:
        """Returns a runner for a second run: the bar shows its name, a function is told nothing of it."""
        meter = self._meter.aside(name)
        other = self._telling(meter)
        other._meter = meter
        return other

    def _telling(self, report: Callable[[float], object]) -> Runner:
        other = copy(self)
        other._report = report
        return other
