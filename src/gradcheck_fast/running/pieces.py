"""Ranges of tasks in pieces that take a given time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gradcheck_fast.running.jobs import Job

#: Tasks from the first number to before the second.
Range: TypeAlias = tuple[int, int]

#: What a piece takes: between two of them the interpreter runs, so that Ctrl-C works and progress moves.
PIECE_SECONDS = 0.1


def in_pieces(job: Job, missing: Iterable[Range]) -> Generator[Range]:
    """Does a job here, in pieces of about PIECE_SECONDS; yields each range of tasks that has been done."""
    gaps = deque(missing)
    size = first_size(job)
    while gaps:
        begin, end = cut(gaps, size)
        started = perf_counter()
        job.here(begin, end)
        size = next_size(job, end - begin, perf_counter() - started, PIECE_SECONDS)
        yield begin, end


def cut(gaps: deque[Range], size: int) -> Range:
    """Takes up to `size` tasks off the first gap."""
    begin, end = gaps.popleft()
    if begin + size < end:
        gaps.appendleft((begin + size, end))
        end = begin + size
    return begin, end


def first_size(job: Job) -> int:
    """How many tasks to begin with: as many as surely take no longer than a piece."""
    return job.smallest if job.largest == float("inf") else max(job.smallest, int(min(job.tasks, job.largest)))


def next_size(job: Job, tasks: int, took: float, seconds: float) -> int:
    """How many tasks may take so many seconds, after some that took so long.

    `job.largest` is a cap, too, where tasks that took no time may be followed by others that do.
    """
    expected = tasks * seconds / max(took, 1e-9)
    return max(job.smallest, int(min(4 * tasks, job.largest * seconds / PIECE_SECONDS, expected)))
