"""Options: what is read where a call comes in, and losses that users write as problems."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.checks.numerical_gradient import as_problem
from gradcheck_fast.checks.options import AllKeywords, CommonKeywords, Options
from gradcheck_fast.losses.problem import is_problem, samples_of


def test_numbers_are_read_once():
    options = Options.for_check(rtol=np.float32(0.5), step=1, seed=np.int64(3), sample=np.int64(7))
    assert (options.rtol, options.step, options.seed, options.sample) == (0.5, 1.0, 3, 7)
    assert [type(x) for x in (options.rtol, options.step, options.seed, options.sample)] == [float, float, int, int]
    assert options.tolerances == (0.5, None)
    assert options.tolerances.are_given
    assert not Options().tolerances.are_given
    with pytest.raises(FrozenInstanceError):
        options.seed = 4


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"rtol": -1.0}, "rtol"),
        ({"atol": "1"}, "atol"),
        ({"seed": -1}, "seed"),
        ({"step": 0.0}, "step"),
        ({"step": 1e-200}, "step"),
        ({"sample": 1.5}, "sample"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(keywords, named):
    for make in (Options, Options.for_check):
        with pytest.raises((TypeError, ValueError), match=f"^{named}: expected"):
            make(**keywords)


def test_methods_of_checks_and_of_gradients():
    assert Options.for_check(method="directional").is_directional
    with pytest.raises(ValueError, match=r"^method: 'directional' checks a gradient without finding one"):
        Options(method="directional").require_gradient()
    with pytest.raises(ValueError, match=r"^method: unknown name 'units2', did you mean 'units'"):
        Options.for_check(method="units2")
    for more, named in (({"sample": 5}, "sample"), ({"error_bars": True}, "error_bars")):
        with pytest.raises(ValueError, match=f"^{named}: .*; leave "):
            Options.for_check(method="directional", **more)


def test_keywords_that_a_function_does_not_have():
    assert Options.from_keywords("f", {"rtol": 1e-3}, CommonKeywords, seed=2) == Options(rtol=1e-3, seed=2)
    with pytest.raises(TypeError, match=r"^f: it has no option 'checkpoint'; its options are method, step, "):
        Options.from_keywords("f", {"checkpoint": "x"}, CommonKeywords)
    with pytest.raises(TypeError, match=r"^f: it has no option 'tol'; .*, checkpoint, seed$"):
        Options.from_keywords("f", {"tol": 1.0}, AllKeywords)


class OwnProblem:
    """A problem written by a user: the loss of another one, called by another name."""

    methods = ("direct",)

    def __init__(self, problem):
        self._problem = problem
        self.asked = []

    def pack(self, params):
        return self._problem.pack(params)

    def cost(self, params, theta, n_threads=None):
        return self._problem.cost(params, theta, n_threads)

    def costs_at(self, params, n_threads):
        return self._problem.costs_at(params, n_threads)

    def fingerprint(self, params):
        return self._problem.fingerprint(params)

    def faster(self, method, seconds, entries=None):
        return "nothing does"

    def central_differences(self, params, *, method, step, runner, kinks=False, entries=None):
        self.asked.append(method)
        return self._problem.central_differences(
            params, method=method, step=step, runner=runner, kinks=kinks, entries=entries
        )


def test_a_problem_of_a_user_is_taken_as_it_is():
    own = OwnProblem(as_problem(lambda p: float((p**3).sum())))
    at = np.array([1.0, 2.0, -1.0])
    assert is_problem(own)
    assert as_problem(own) is own
    assert gf.gradcheck(own, 3 * at**2, at, method="direct")
    assert gf.gradcheck(own, 3 * at**2, at, sample=2)
    assert gf.gradcheck(own, 3 * at**2, at, method="directional")
    np.testing.assert_allclose(gf.numerical_gradient(own, at, method="direct"), 3 * at**2)
    assert own.asked == ["direct", "auto", "direct"]
    with pytest.raises(ValueError, match="vectorized: only Python functions"):
        gf.gradcheck(own, 3 * at**2, at, vectorized=True)


def test_samples_are_known_of_networks_only():
    loss = gf.Network(gf.Dense(1, 1), cost=gf.SquaredError()).loss([[1.0], [2.0]], [[1.0], [0.0]])
    assert samples_of(loss) == 2
    function = as_problem(np.sum)
    assert samples_of(function) is None
