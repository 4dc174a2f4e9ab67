"""Progress: how far a long check is, and how long it will still take."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from networks import make

import gradcheck_fast as gf
from gradcheck_fast.engine import engine as methods
from gradcheck_fast.inputs.arguments import duration
from gradcheck_fast.running import progress
from gradcheck_fast.running.progress import Meter


@pytest.fixture
def clock(clock_of):
    return clock_of(progress)


# ---- what progress= takes


@pytest.mark.parametrize("silent", [None, False])
def test_no_progress(silent, capsys):
    Meter(silent)(0.5)
    gf.numerical_gradient(lambda x: x**2, 1.0, progress=silent, trace=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("bad", [1, "yes", 0.5, []], ids=repr)
def test_progress_is_a_bool_or_a_function(bad):
    with pytest.raises(TypeError, match=r"^progress: expected True, False, None or a function"):
        gf.numerical_gradient(lambda x: x**2, 1.0, progress=bad, trace=False)


def test_short_work_writes_no_line(capsys):
    gf.numerical_gradient(lambda x: (x**2).sum(), np.ones(100), progress=True, trace=False)
    assert capsys.readouterr() == ("", "")


def report(clock, meter, fractions, seconds=1.5):
    for fraction in fractions:
        clock.now += seconds
        meter(fraction)


def test_work_that_was_not_reported_before_it_was_done_writes_no_line(clock, capsys):
    report(clock, Meter(True), [0.5, 1.0], seconds=10.0)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def terminal(capsys, monkeypatch):
    """A terminal, and a function that returns what it has shown: for each drawing of the bar the title and the rest."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)

    def drawn():
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
        found = re.findall(r"(gradcheck_fast[^━╸╺\r\n]*?) [━╸╺ ]+ +(\d+%) *([^\r\n]*)", text)
        return [(title, percent, rest.strip()) for title, percent, rest in found]

    return drawn


def test_a_terminal_shows_one_bar_with_the_time_left(clock, terminal):
    with Meter(True) as meter:
        report(clock, meter, [0.2, 0.4, 0.6, 0.8, 1.0])
    assert list(dict.fromkeys(terminal())) == [
        ("gradcheck_fast", "40%", "about 4.5 s left"),
        ("gradcheck_fast", "60%", "about 3 s left"),
        ("gradcheck_fast", "80%", "about 1.5 s left"),
        ("gradcheck_fast", "100%", ""),
    ]


def test_a_bar_ends_and_gives_the_cursor_back(clock, terminal, capsys):
    with Meter(True) as meter:
        report(clock, meter, [0.2, 0.4])
    err = capsys.readouterr().err
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") == 1
    assert err.rstrip("\x1b[?25h").endswith("\n")
    report(clock, meter, [0.5, 0.6])
    assert terminal() == [], "what comes after the end is not shown"


def test_a_bar_that_is_interrupted_stays_where_it_was(clock, terminal):
    def work():
        with Meter(True) as meter:
            report(clock, meter, [0.2, 0.4])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert {percent for _, percent, _ in terminal()} == {"40%"}


def test_a_second_run_is_shown_by_the_same_bar(clock, terminal, capsys):
    with Meter(True) as meter:
        report(clock, meter, [0.2, 0.4, 1.0])
        report(clock, meter.aside("error bars"), [0.2, 0.4])
    found = terminal()
    assert ("gradcheck_fast: error bars", "40%", "about 4.5 s left") in found
    assert found[-1] == ("gradcheck_fast", "100%", "")


def test_a_check_draws_one_bar_that_ends(terminal, monkeypatch, capsys):
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    w = np.ones(300)
    gf.gradcheck(lambda x: np.sum(np.sin(x)), np.cos(w), w, trace=False, progress=True, error_bars=True)
    err = capsys.readouterr().err
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") == 1
    assert "100%" in err


def test_parts_make_up_the_whole():
    heard = []
    meter = Meter(heard.append)
    for number in range(2):
        part = Meter(meter.part(number, 2))
        part(0.5)
        part(1.0)
    assert heard == [0.25, 0.5, 0.75, 1.0]


def test_a_terminal_is_not_written_to_more_than_ten_times_a_second(clock, terminal):
    with Meter(True) as meter:
        report(clock, meter, np.linspace(0.0, 1.0, 4001), seconds=1e-3)
    assert 20 <= len(terminal()) <= 40


def test_a_log_gets_a_line_for_every_tenth(clock, capsys):
    report(clock, Meter(True), np.linspace(0.0, 1.0, 1001))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "gradcheck_fast:   0%, about 25 minutes left"
    assert lines[-1] == "gradcheck_fast: 100%"


def test_what_an_interrupted_run_had_done_does_not_count_as_speed(clock, capsys):
    report(clock, Meter(True), [0.8, 0.85])
    assert "about 4.5 s left" in capsys.readouterr().err


def test_another_run_begins_where_the_fraction_falls_back(clock, capsys):
    report(clock, Meter(True), [0.5, 0.9, 0.1, 0.2])
    assert capsys.readouterr().err.splitlines()[-1] == "gradcheck_fast:  20%, about 12 s left"


def test_a_second_run_says_its_name(clock, capsys):
    heard = []
    report(clock, Meter(True).aside("error bars"), [0.2, 0.4])
    report(clock, Meter(heard.append).aside("error bars"), [0.2, 0.4])
    assert capsys.readouterr().err == "gradcheck_fast: error bars  40%, about 4.5 s left\n"
    assert heard == [], "it has been told that all was done"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2e-7, "0 us"), (4.56e-5, "46 us"), (0.00345, "3.45 ms"), (1.0, "1 s"), (90.0, "90 s"), (130.0, "2.17 minutes"),
        (9000.0, "2.5 hours"), (2e6, "23.1 days"),
    ],
)  # fmt: skip
def test_times_are_said_in_the_unit_that_a_person_would_take(seconds, text):
    assert duration(seconds) == text


# ---- runs of more than a minute


def faster(seconds):
    return f"not {seconds:.0f} s"


def test_a_long_run_is_warned_of_once_with_an_estimate_and_what_is_faster(clock):
    meter = Meter(None, faster)
    with pytest.warns(gf.LongRunWarning) as warned:
        report(clock, meter, [0.01, 0.02, 0.03], seconds=2.0)
    assert [str(warning.message) for warning in warned] == ["this takes about 3.3 minutes; not 198 s"]
    assert warned[0].filename == __file__, "it points to the code that asked for the run"


@pytest.mark.parametrize(
    ("fractions", "seconds"),
    [
        ([0.1, 0.2, 0.3], 5.9),  # 53 s in all
        ([1e-9, 1e-8, 1e-7], 0.3),  # so far too little to tell by
        ([1e-9, 0.5, 1.0], 20.0),  # a slow start, of processes
    ],
)
def test_no_other_run_is_warned_of(clock, fractions, seconds):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report(clock, Meter(None, faster), fractions, seconds)


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("direct", "method='units' would take about [0-9.]+ m?s$"),
        ("incremental", "method='units' would take about"),
        ("units", "with fewer samples it takes less, and executor="),
        ("auto", "with fewer samples it takes less, and executor="),
    ],
)
def test_a_network_knows_its_faster_method(method, advice, clock, monkeypatch):
    monkeypatch.setattr(methods, "CHUNK_DOUBLES", 1)
    clock.each_look = 60.0
    case = make(np.random.default_rng(0), [30, 20, 10], ["tanh", "identity"], samples=200)
    with pytest.warns(gf.LongRunWarning, match=advice):
        gf.numerical_gradient(case.loss, case.params, method=method)


def test_a_function_may_be_a_network_or_use_more_processes(clock):
    clock.each_look = 60.0
    with pytest.warns(gf.LongRunWarning, match="method='directional'.* gf.Network .*executor="):
        gf.numerical_gradient(lambda x: x.sum(), np.ones(100), trace=False)


# ---- fractions


@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
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
    gf.gradcheck(lambda x: x.sum(), np.ones(300), np.ones(300), progress=seen.append, trace=False)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
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


def test_no_run_is_warned_of_that_is_over(clock):
    meter = Meter(None, lambda seconds: "nothing")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meter(0.5)
        clock.now = 71.0
        meter(1.0)
