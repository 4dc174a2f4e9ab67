"""Ranges of tasks in pieces that take a given time."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import pytest

from gradcheck_fast.running import pieces
from gradcheck_fast.running.jobs import Job
from gradcheck_fast.running.pieces import cut, in_pieces


def job(tasks, do=lambda begin, end: None, smallest=1, largest=float("inf")):
    return Job(("test",), tasks, (), do, do, lambda begin, end, found: None, smallest, largest)


def sizes_of(some, missing=None):
    return [end - begin for begin, end in in_pieces(some, missing or [(0, some.tasks)])]


@pytest.mark.parametrize(("total", "smallest"), [(1, 1), (10, 1), (10, 3), (10, 100), (1000, 7)])
def test_pieces_cover_everything_once(total, smallest):
    done = []
    ranges = list(in_pieces(job(total, lambda b, e: done.append((b, e)), smallest), [(0, total)]))
    assert ranges == done
    assert [k for begin, end in ranges for k in range(begin, end)] == list(range(total))
    assert all(end - begin >= min(smallest, total - begin) for begin, end in ranges)


def test_pieces_of_what_is_missing():
    missing = [(3, 5), (7, 8), (20, 40)]
    ranges = list(in_pieces(job(50), missing))
    assert [k for begin, end in ranges for k in range(begin, end)] == [3, 4, 7, *range(20, 40)]


def test_a_piece_ends_where_a_gap_does():
    gaps = deque([(0, 5), (8, 9)])
    assert [cut(gaps, 3), cut(gaps, 3), cut(gaps, 3)] == [(0, 3), (3, 5), (8, 9)]
    assert not gaps


@pytest.fixture
def clock(clock_of):
    return clock_of(pieces)


def taking(clock, seconds_each):
    def do(begin, end):
        clock.now += sum(map(seconds_each, range(begin, end)))

    return do


@pytest.mark.parametrize("seconds_each", [1e-6, 1e-4, 1e-2, 1.0])
def test_pieces_take_about_a_tenth_of_a_second(clock, seconds_each):
    total = 1_000_000 if seconds_each < 1e-3 else 1000
    sizes = sizes_of(job(total, taking(clock, lambda k: seconds_each)))
    assert sizes[0] == 1  # unknown yet how long one takes
    assert all(after <= 4 * before for before, after in pairwise(sizes))
    longest = max(sizes) * seconds_each
    assert longest <= max(0.1001, seconds_each)
    if seconds_each < 0.1:
        assert longest >= 0.05


def test_pieces_shrink_when_the_work_gets_harder(clock):
    sizes = sizes_of(job(10_000, taking(clock, lambda k: 1e-4 if k < 5000 else 1e-2)))
    assert max(sizes) > 500
    assert sizes[-2] <= 10


def test_pieces_do_not_outgrow_the_cap_while_tasks_take_no_time():
    """Tasks with nothing to do may be followed by others that take long."""
    assert max(sizes_of(job(10_000, smallest=2, largest=50))) == 50
