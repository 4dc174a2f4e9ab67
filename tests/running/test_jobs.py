"""What a job says of some of its tasks: which part of the work they are, and what they do."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.running.jobs import Job


def nothing(*arguments):
    return None


def job(tasks, **options):
    return Job(("test",), tasks, (), nothing, nothing, nothing, **options)


def test_tasks_that_are_alike_are_equal_parts_of_the_work():
    assert job(8).part(0, 8) == 1.0
    assert job(8).part(2, 4) == 0.25


def test_tasks_that_are_not_alike_are_parts_of_the_operations():
    some = job(3, work=np.array([1.0, 2.0, 4.0]))
    assert [some.part(k, k + 1) for k in range(3)] == [0.25, 0.25, 0.5]
    assert some.part(1, 3) == 0.75


@pytest.mark.parametrize("work", [None, np.cumsum(np.arange(1.0, 8.0))], ids=["alike", "not alike"])
def test_the_parts_of_a_split_add_up_to_all_of_the_work(work):
    some = job(7, work=work)
    assert sum(some.part(begin, end) for begin, end in ((0, 1), (1, 4), (4, 7))) == pytest.approx(1.0, rel=1e-15)


def test_tasks_are_named_by_the_job_if_it_can():
    assert job(9, doing=lambda begin, end: f"differencing {begin} to {end - 1}").said(2, 5) == "differencing 2 to 4"


def test_other_tasks_are_counted_from_one():
    assert job(9).said(2, 5) == "doing part 3 to 5 of 9 of the work"


def test_by_default_a_task_is_done_alone_and_nothing_is_known_of_its_time():
    assert (job(1).smallest, job(1).largest) == (1, float("inf"))
