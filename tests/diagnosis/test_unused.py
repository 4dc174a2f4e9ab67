"""A loss that does not use its argument, and one that is finite where its differences are not."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.checks.as_problem import as_problem
from gradcheck_fast.diagnosis.unused import is_finite_here, unused_argument, value_at

AT = np.array([0.5, 0.0, -2.0])


def problem_of(loss):
    problem = as_problem(loss)
    return problem, problem.pack(AT)


def test_a_constant_is_said_not_to_use_its_argument():
    problem, at = problem_of(lambda p: 3.25)
    (said,) = unused_argument(problem, at, np.zeros(3))
    assert said.startswith("the loss was 3.25 whatever was done to the parameters")


def test_nothing_is_evaluated_unless_all_differences_are_zero():
    calls = []
    problem, at = problem_of(lambda p: calls.append(1) or 3.25)
    assert unused_argument(problem, at, np.array([0.0, 1e-300, 0.0])) == ()
    assert calls == []


def test_a_loss_that_is_flat_here_alone_uses_its_argument():
    problem, at = problem_of(lambda p: float(np.maximum(p.sum() - 1.0, 0.0)))
    assert unused_argument(problem, at, np.zeros(3)) == ()


def test_a_loss_that_raises_elsewhere_says_nothing():
    def loss(p):
        if (p != AT).any():
            raise ValueError("outside")
        return 1.0

    problem, at = problem_of(loss)
    assert unused_argument(problem, at, np.zeros(3)) == ()
    assert value_at(problem, at, at.flat + 1.0) is None


@pytest.mark.parametrize(("value", "finite"), [(1.0, True), (np.inf, False), (np.nan, False)])
def test_whether_the_loss_is_finite_here(value, finite):
    problem, at = problem_of(lambda p: value)
    assert is_finite_here(problem, at) is finite
