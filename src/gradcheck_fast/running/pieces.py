"""Cuts the tasks of a job into pieces that take about the same time, and does them one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gradcheck_fast.running.jobs import Job

#: A range of tasks, as the number of the first and the one after the last.
Range: TypeAlias = tuple[int, int]

#: How long a piece takes, in seconds. Between two of them the interpreter runs, so that Ctrl-C works and progress
#: moves.
PIECE_SECONDS = 0.1
#: How many times the tasks of a piece the next one may have: the time that a few tasks took may have been chance.
LARGEST_GROWTH = 4
#: The shortest time that is taken to be measured, in seconds: a clock may not tell a shorter one from none.
SHORTEST_SECONDS = 1e-9


def in_pieces(job: Job, missing: Iterable[Range]) -> Generator[Range]:
    """Does the missing tasks of a job here, in pieces of about `PIECE_SECONDS`; yields each range that is done."""
    gaps = deque(missing)
    size = first_size(job)
    while gaps:
        begin, end = cut(gaps, size)
        started = perf_counter()
        job.here(begin, end)
        size = next_size(job, end - begin, perf_counter() - started, PIECE_SECONDS)
        yield begin, end


def cut(gaps: deque[Range], size: int) -> Range:
    """Takes up to `size` tasks off the first of the gaps, and returns their range."""
    begin, end = gaps.popleft()
    if begin + size < end:
        gaps.appendleft((begin + size, end))
        end = begin + size
    return begin, end


def first_size(job: Job) -> int:
    """Returns how many tasks to begin with: as many as surely take no longer than a piece."""
    return job.smallest if job.largest == float("inf") else max(job.smallest, int(min(job.tasks, job.largest)))


def next_size(job: Job, tasks: int, took: float, seconds: float) -> int:
    """Returns how many tasks to do next, so that they take about the given time.

    `job.largest` is a limit as well: tasks that took hardly any time may be followed by others that take long.

    Parameters
    ----------
    job : Job
    tasks : int
        How many tasks were done last.
    took : float
        How many seconds they took.
    seconds : float
        How many seconds the next ones are to take.
    """
    expected = tasks * seconds / max(took, SHORTEST_SECONDS)
    return max(job.smallest, int(min(LARGEST_GROWTH * tasks, job.largest * seconds / PIECE_SECONDS, expected)))
