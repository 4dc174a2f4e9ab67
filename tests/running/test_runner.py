"""Jobs, and series of jobs, done by a runner that says how far it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradcheck_fast.running import threads
from gradcheck_fast.running.checkpoint import Checkpoint
from gradcheck_fast.running.jobs import Job
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.runner import Runner


def squares(tasks, what="squares", **options):
    """A job that finds the squares of the tasks' numbers, and its result."""
    found = np.zeros(tasks)

    def put(begin, end, values):
        found[begin:end] = values

    def share(begin, end):
        return np.arange(begin, end) ** 2.0

    return Job((what,), tasks, (found,), lambda b, e: put(b, e, share(b, e)), share, put, **options), found


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor], ids=["here", "threads"])
def test_a_job_is_done(executor):
    job, found = squares(1000)
    with Runner(executor=executor) as runner:
        runner.run(job)
    np.testing.assert_array_equal(found, np.arange(1000) ** 2.0)


def test_a_job_without_tasks_is_nothing_to_report(tmp_path):
    runner = Runner(1, Meter(lambda fraction: pytest.fail("nothing was done")), None, Checkpoint(tmp_path / "x", {}))
    runner.run(squares(0)[0])
    assert not (tmp_path / "x").exists()


def test_fractions_are_those_of_the_work():
    """Of three tasks the last is half of it."""
    seen = []
    Runner(1, Meter(seen.append)).run(squares(3, work=np.array([1.0, 2.0, 4.0]), smallest=1, largest=1)[0])
    assert seen == [0.25, 0.5, 1.0]


def test_a_series_reports_the_fraction_of_the_whole():
    seen = []
    for number, part in Runner(1, Meter(seen.append)).series(("parts",), 4, ()):
        assert seen[-1:] == ([number / 4] if number else [])
        part.run(squares(2, largest=1)[0])
    assert seen == [k / 8 for k in range(1, 9)]


def test_a_series_goes_on_after_its_last_part(tmp_path):
    """What the parts gave is kept as their sum: the jobs of parts that are done are not asked for again."""
    asked = []

    def add_up(stop):
        total = np.zeros(1)
        with Runner(1, checkpoint=Checkpoint(tmp_path / "sums.npz", {})) as runner:
            for number, part in runner.series(("sums",), 5, (total,)):
                if number == stop:
                    break
                asked.append(number)
                job, found = squares(number + 1, what=f"part {number}")
                part.run(job)
                total += found.sum()
        return float(total[0])

    assert add_up(stop=3) == 0 + 1 + 5
    assert add_up(stop=None) == 0 + 1 + 5 + 14 + 30
    assert add_up(stop=None) == 0 + 1 + 5 + 14 + 30
    assert asked == [0, 1, 2, 3, 4]


def test_a_quiet_runner_tells_a_function_nothing():
    Runner(1, Meter(lambda fraction: pytest.fail("it was told"))).quietly().run(squares(10)[0])


def test_one_thread_where_there_is_an_executor_unless_told_otherwise():
    assert Runner(executor=ThreadPoolExecutor).n_threads == 1
    assert Runner(2, executor=ThreadPoolExecutor).n_threads == threads.resolve(2)
    assert Runner().n_threads == threads.resolve(None)


def test_the_workers_that_a_function_made_are_gone_in_the_end():
    made = []

    def make():
        made.append(ThreadPoolExecutor(1))
        return made[-1]

    with Runner(executor=make) as runner:
        runner.run(squares(10)[0])
        runner.run(squares(10)[0])
    assert len(made) == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        made[0].submit(print)
