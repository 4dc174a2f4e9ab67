"""Progress: how far a long check is, and loops in pieces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from networks import make

import gradcheck_fast as gf
from gradcheck_fast import progress
from gradcheck_fast.progress import pieces, reporter

# ---- pieces


@pytest.mark.parametrize(("total", "smallest"), [(1, 1), (10, 1), (10, 3), (10, 100), (1000, 7)])
def test_pieces_cover_everything_once(total, smallest):
    ranges = list(pieces(total, smallest, lambda fraction: None))
    assert [k for begin, end in ranges for k in range(begin, end)] == list(range(total))
    assert all(end - begin >= min(smallest, total - begin) for begin, end in ranges)


def test_pieces_of_nothing():
    assert list(pieces(0, 1, lambda fraction: pytest.fail("nothing to report"))) == []


def test_pieces_report_the_fraction_done():
    seen = []
    for _, end in pieces(100, 10, seen.append):
        assert len(seen) == 0 or seen[-1] < end / 100
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when told."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "perf_counter", clock)
    return clock


@pytest.mark.parametrize("seconds_each", [1e-6, 1e-4, 1e-2, 1.0])
def test_pieces_take_about_a_tenth_of_a_second(clock, seconds_each):
    sizes = []
    for begin, end in pieces(1_000_000 if seconds_each < 1e-3 else 1000, 1, lambda fraction: None):
        sizes.append(end - begin)
        clock.now += (end - begin) * seconds_each
    assert sizes[0] == 1  # unknown yet how long one takes
    assert all(after <= 4 * before for before, after in pairwise(sizes))
    longest = max(sizes) * seconds_each
    assert longest <= max(0.1001, seconds_each)
    if seconds_each < 0.1:
        assert longest >= 0.05


def test_pieces_shrink_when_the_work_gets_harder(clock):
    sizes = []
    for begin, end in pieces(10_000, 1, lambda fraction: None):
        sizes.append(end - begin)
        clock.now += (end - begin) * (1e-4 if begin < 5000 else 1e-2)
    assert max(sizes) > 500
    assert sizes[-2] <= 10


# ---- what progress= takes


@pytest.mark.parametrize("silent", [None, False])
def test_no_progress(silent, capsys):
    reporter(silent)(0.5)
    gf.numerical_gradient(lambda x: x**2, 1.0, progress=silent)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("bad", [1, "yes", 0.5, []], ids=repr)
def test_progress_is_a_bool_or_a_function(bad):
    with pytest.raises(TypeError, match=r"^progress: expected True, False, None or a function"):
        gf.numerical_gradient(lambda x: x**2, 1.0, progress=bad)


def test_short_work_writes_no_line(capsys):
    gf.numerical_gradient(lambda x: (x**2).sum(), np.ones(100), progress=True)
    assert capsys.readouterr() == ("", "")


def test_work_that_was_not_reported_before_it_was_done_writes_no_line(clock, capsys):
    report = reporter(True)
    clock.now += 10.0
    report(1.0)
    assert capsys.readouterr() == ("", "")


def test_long_work_writes_one_line_on_stderr(clock, capsys):
    report = reporter(True)
    for fraction in (0.2, 0.4, 0.6, 0.8, 1.0):
        clock.now += 1.5
        report(fraction)
    out, err = capsys.readouterr()
    assert out == ""
    assert "40%" in err
    assert "100%" in err
    assert err.count("\n") == 1
    assert err.endswith("\n")


@pytest.mark.parametrize("method", ["units", "incremental", "direct"])
@pytest.mark.parametrize("samples", [5, 2100], ids=["one-chunk", "three-chunks"])
def test_a_network_reports_fractions_that_rise_to_one(method, samples):
    case = make(np.random.default_rng(0), [3, 4, 2], ["tanh", "identity"], samples=samples)
    seen = []
    gf.numerical_gradient(case.loss, case.params, method=method, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert all(0 < fraction <= 1 for fraction in seen)


def test_a_function_reports_fractions_that_rise_to_one():
    seen = []
    gf.gradcheck(lambda x: x.sum(), np.ones(300), np.ones(300), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("method", ["units", "incremental", "direct"])
def test_work_may_be_stopped_from_the_progress_function(method):
    case = make(np.random.default_rng(0), [3, 4, 2], ["tanh", "identity"])
    before = {name: array.copy() for name, array in case.params.items()}
    compiled = case.loss
    value = compiled(case.params)

    def stop(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gf.gradcheck(compiled, case.gradient, case.params, method=method, progress=stop)
    np.testing.assert_equal(case.params, before)
    assert compiled(case.params) == value
    assert gf.gradcheck(compiled, case.gradient, case.params, method=method)


def test_progress_does_not_change_the_result():
    case = make(np.random.default_rng(0), [3, 4, 2], ["tanh", "identity"])
    np.testing.assert_equal(
        gf.numerical_gradient(case.loss, case.params, progress=lambda fraction: None),
        gf.numerical_gradient(case.loss, case.params),
    )


def test_pieces_do_not_outgrow_the_cap_while_tasks_take_no_time():
    """Tasks with nothing to do may be followed by others that take long."""
    assert max(end - begin for begin, end in pieces(10_000, 2, lambda fraction: None, largest=50)) == 50
