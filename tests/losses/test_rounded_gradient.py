"""By how much a gradient differs from itself in float64 is its rounding."""

from __future__ import annotations

import numpy as np

from gradcheck_fast.checks.as_problem import as_problem
from gradcheck_fast.losses.problem import is_problem
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.running.runner import Runner

AT = np.array([1.0, 2.0, 3.0], np.float32)


def rounded(gradient, in_double):
    problem = as_problem(lambda p: float(np.sum(np.asarray(p, float) ** 2)))
    asked = []
    made = RoundedGradient(problem, gradient, lambda: asked.append(1) or in_double)
    found = made.central_differences(made.pack(AT), method="direct", step=None, runner=Runner(1))
    return made, found, asked


def test_it_is_a_problem_like_the_one_within():
    made, found, _ = rounded(2 * AT, 2.0 * AT.astype(float))
    assert is_problem(made)
    assert made.samples is None
    np.testing.assert_allclose(found.gradient, 2 * AT, rtol=1e-9)


def test_the_gradient_in_float64_is_asked_for_only_when_roundings_are():
    _, found, asked = rounded(2 * AT, 2.0 * AT.astype(float))
    assert asked == []
    found.roundings()
    found.roundings()
    assert asked == [1], "and only once"


def test_roundings_are_at_least_what_differs():
    off = (2 * AT).astype(np.float32)
    off[1] += np.float32(4e-6)
    _, found, _ = rounded(off, 2.0 * AT.astype(float))
    plain = rounded(2 * AT, 2.0 * AT.astype(float))[1]
    assert found.roundings()[1] > np.broadcast_to(plain.roundings(), 3)[1]


def test_where_float64_cannot_be_had_nothing_is_added():
    _, without, _ = rounded((2 * AT).astype(np.float32), None)
    _, equal, _ = rounded((2 * AT).astype(np.float32), 2.0 * AT.astype(float))
    np.testing.assert_array_equal(np.broadcast_to(without.roundings(), 3), np.broadcast_to(equal.roundings(), 3))
