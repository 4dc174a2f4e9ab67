"""Loops of Python that end once a value is small: what is known of such a function."""

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.frontends.numpy_trace.decisions import Decisions
from gradcheck_fast.program.program import Source

AT = np.array([2.0, 3.0, 7.0])


def root(x, left):
    y = np.ones_like(x)
    while np.abs(y * y - x).max() > left:
        y = 0.5 * (y + x / y)
    return y.sum()


@pytest.mark.parametrize(
    ("truths", "ends"),
    [
        ([True, True, False], True),
        ([False, False, False, True], True),
        ([True, False], False),
        ([True, True, True], False),
        ([True, True, False, True], False),
        ([False, True, False, True, True], False),
    ],
)
def test_a_loop_ends_at_the_one_decision_that_is_another(truths, ends):
    decisions, line = Decisions(), Source("a.py", 3)
    for truth in truths:
        decisions.add(line, truth)
    assert decisions.iterations == [line] * ends


def test_the_exact_derivative_of_what_an_iteration_converges_to_passes_with_a_note():
    report = gf.gradcheck(lambda x: root(x, 1e-7), 0.5 / np.sqrt(AT), AT)
    assert report.verdict == "PASS"
    assert any("a loop ends once a value is small enough" in note for note in report.notes)


@pytest.mark.parametrize("error", [1e-6, 1e-3])
def test_an_error_that_the_iteration_does_not_leave_is_found(error):
    assert gf.gradcheck(lambda x: root(x, 1e-7), (0.5 + error) / np.sqrt(AT), AT).verdict == "FAIL"


def test_a_gradient_that_follows_the_turns_needs_no_note():
    def turns(x):
        y, dy = np.ones_like(x), np.zeros_like(x)
        while np.abs(y * y - x).max() > 1e-7:
            y, dy = 0.5 * (y + x / y), 0.5 * (dy + 1.0 / y - x / y**2 * dy)
        return dy

    report = gf.gradcheck(lambda x: root(x, 1e-7), turns(AT), AT)
    assert report.verdict == "PASS"
    assert not any("a loop ends" in note for note in report.notes)
