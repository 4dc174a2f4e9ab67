"""A problem is what has all members of the protocol, whoever has written it."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.checks.as_problem import as_problem
from gradcheck_fast.losses.problem import is_problem, samples_of


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


@pytest.mark.parametrize(
    "member", ["methods", "pack", "cost", "costs_at", "fingerprint", "faster", "central_differences"]
)
def test_what_lacks_a_member_is_no_problem(member):
    own = {name: getattr(OwnProblem, name) for name in vars(OwnProblem) if not name.startswith("__") and name != member}
    incomplete = type("Incomplete", (), own)()
    if member in ("central_differences", "pack"):
        assert not is_problem(incomplete)
    else:
        with pytest.raises(TypeError, match=f"it has central_differences and pack, but lacks {member}$"):
            is_problem(incomplete)


@pytest.mark.parametrize("other", [None, 1.0, np.sum, {"cost": 1}])
def test_other_things_are_none(other):
    assert not is_problem(other)
