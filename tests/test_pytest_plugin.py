"""The pytest plugin, in runs of pytest itself."""

import subprocess
import sys

import pytest

import gradcheck_fast  # noqa: F401  # once, not anew in every run below

pytest_plugins = ["pytester"]

QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # Hypothesis is imported anew in every run
PRELUDE = """
import numpy as np
import gradcheck_fast as gf

w = np.arange(1.0, 5.0)
params = {"weights": w, "offset": np.ones(2)}
loss = lambda p: float(np.sum(p["weights"] ** 2) + p["offset"].sum())
right = {"weights": 2 * w, "offset": np.ones(2)}
wrong = {"weights": 3 * w, "offset": np.ones(2)}
"""


@pytest.fixture
def run(pytester):
    def run(tests, *arguments):
        pytester.makepyfile(PRELUDE + tests)
        return pytester.runpytest_inprocess(*QUICK, *arguments)

    return run


def report_lines(result):
    """The lines that show the one report of a run, without the "E" in front of an exception's message."""
    lines = [line.removeprefix("E").strip() for line in result.outlines]
    begin = next(k for k, line in enumerate(lines) if line.startswith("gradcheck: FAIL"))
    return lines[begin : begin + 12]


def failures(result):
    """What a run printed before the summary, which repeats each message: all of it where the variable CI is set."""
    return str(result.stdout).partition("short test summary info")[0]


# ---- assertions


@pytest.mark.parametrize(
    "test",
    [
        "def test(): assert gf.gradcheck(loss, wrong, params)",
        "def test(): assert gf.gradcheck(loss, wrong, params).ok",
        "def test():\n    report = gf.gradcheck(loss, wrong, params)\n    assert report",
        "def test():\n    report = gf.gradcheck(loss, wrong, params)\n    assert report.ok, report",
        "def test():\n    report = gf.gradcheck(loss, wrong, params)\n    assert 1 + 1 == 2 and report.ok",
        "def helper(report): assert report\ndef test(): helper(gf.gradcheck(loss, wrong, params))",
    ],
    ids=["call", "call-ok", "name", "message", "and", "helper"],
)
def test_a_failed_assertion_shows_the_report_once(run, test):
    result = run(test)
    result.assert_outcomes(failed=1)
    text = "\n".join(report_lines(result))
    assert "4 of 6 entries are wrong, in weights" in text
    assert "weights[3]" in text
    assert "\noffset" not in text  # the short form
    assert failures(result).count("weights[3]") == 1


@pytest.mark.parametrize("option", ["--tb=short", "--tb=long", "--show-capture=no", "--full-trace"])
def test_the_report_is_shown_with_other_options(run, option):
    result = run("def test(): assert gf.gradcheck(loss, wrong, params)", option)
    assert "4 of 6 entries are wrong, in weights" in report_lines(result)[0]


def test_the_diagnosis_is_shown(run):
    result = run(
        """
import dataclasses
from gradcheck_fast.diagnosis.diagnose import Diagnosis

def test():
    report = gf.gradcheck(loss, wrong, params)
    report = dataclasses.replace(report, diagnoses=(Diagnosis("a factor of 1.5", "agrees to 1e-16", ("weights",)),))
    assert report
"""
    )
    result.stdout.fnmatch_lines(["Most likely: a factor of 1.5", "  agrees to 1e-16"])


@pytest.mark.parametrize(
    "test",
    [
        "def test():\n    report = gf.gradcheck(loss, wrong, params)\n    assert 1 == 2",
        "def test():\n    report = gf.gradcheck(loss, wrong, params)\n    raise ValueError(repr(report))",
        "def test(): assert 1 == 2",
    ],
    ids=["another-assertion", "another-error", "no-report"],
)
def test_other_failures_are_left_alone(run, test):
    result = run(test)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("gradcheck: FAIL*")


def test_passing_tests_and_skipped_ones_are_left_alone(run):
    result = run(
        "import pytest\ndef test(): assert not gf.gradcheck(loss, wrong, params)\ndef test_skip(): pytest.skip()"
    )
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.no_fnmatch_line("*gradcheck: *")


@pytest.mark.parametrize("style", ["native", "line", "no"])
def test_other_styles_of_traceback_do_not_break_it(run, style):
    result = run("def test(): assert gf.gradcheck(loss, wrong, params)", f"--tb={style}")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


# ---- the fixture


def test_the_fixture_fails_the_test_at_its_line(run):
    result = run("def test(gradcheck):\n    gradcheck(loss, wrong, params)\n    raise RuntimeError('not reached')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [">       gradcheck(loss, wrong, params)", "E *GradientError: gradcheck: FAIL   4 of 6*"]
    )
    result.stdout.no_fnmatch_line("*_gradcheck_fast_pytest*")
    assert failures(result).count("weights[3]") == 1


def test_the_fixture_returns_the_report_and_passes_options_on(run):
    run(
        """
def test(gradcheck):
    report = gradcheck(loss, lambda p: right, params, step=0.5)
    assert isinstance(report, gf.Report) and report.ok and report.step == 0.5
"""
    ).assert_outcomes(passed=1)


def test_the_summary_counts_every_check(run):
    result = run(
        """
import pytest

@pytest.mark.parametrize("k", range(3))
def test_right(gradcheck, k):
    gradcheck(loss, right, params)
    gradcheck(lambda x: x * x, 2.0, 1.0)

def test_wrong(gradcheck):
    gradcheck(loss, right, params)
    gradcheck(loss, wrong, params)

def test_bare():
    assert gf.gradcheck(loss, right, params)

def test_unused(gradcheck):
    pass
"""
    )
    result.stdout.fnmatch_lines(["gradcheck: 8 checks, 7 passed, 1 failed; 33 entries"])


def test_there_is_no_summary_unless_the_fixture_was_used(run):
    result = run("def test(gradcheck): pass\ndef test_bare(): assert gf.gradcheck(loss, right, params)")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*gradcheck:*")


TWO = """
def test(gradcheck): gradcheck(loss, right, params)
def test_bare(): assert gf.gradcheck(loss, wrong, params)
"""


def test_what_tests_report_can_be_sent_between_processes_as_json(run, pytester):
    pytester.makeconftest("import json\ndef pytest_runtest_logreport(report): json.dumps(report._to_json())")
    result = run(TWO)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["gradcheck: 1 check, 1 passed, 0 failed; 6 entries"])


def test_with_xdist(run):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    result = run(TWO, "-n2")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["gradcheck: FAIL*", "gradcheck: 1 check, 1 passed, 0 failed; 6 entries"])


# ---- being there


def test_it_can_be_switched_off(run):
    result = run("def test(): assert gf.gradcheck(loss, wrong, params)", "-p", "no:gradcheck_fast")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("gradcheck: FAIL*")


def test_starting_pytest_imports_neither_the_package_nor_numpy():
    code = "import sys, _gradcheck_fast_pytest; assert not {'gradcheck_fast', 'numpy', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pytest_finds_it(pytester, monkeypatch):
    pytester.makepyfile("import sys\ndef test(): assert not {'gradcheck_fast', 'numpy'} & set(sys.modules)")
    result = pytester.runpytest_subprocess(*QUICK, "--fixtures")
    result.stdout.fnmatch_lines(["gradcheck -- *_gradcheck_fast_pytest.py:*"])
    # other plugins import NumPy themselves (jaxtyping, which comes with equinox)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.runpytest_subprocess(*QUICK, "-p", "gradcheck_fast").assert_outcomes(passed=1)
