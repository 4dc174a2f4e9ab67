"""A network's loss as a function of transposed parameters, some of them, in another order."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.losses.transposed import Transposed
from gradcheck_fast.running.runner import Runner


@pytest.fixture
def case():
    net = gf.Network([gf.Dense(3, 4, "tanh"), gf.Dense(4, 2)], cost=gf.SquaredError(), penalty=gf.L2(0.1))
    random = np.random.default_rng(0)
    loss, params = net.loss(random.normal(size=(5, 3)), random.normal(size=(5, 2))), net.init(0)
    return loss, params, {name: array.T.copy() for name, array in params.items()}


@pytest.mark.parametrize("names", [("W1", "b1", "W2", "b2"), ("b2", "W2", "b1", "W1"), ("W2",), ("b1", "W1")])
@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
def test_its_gradient_is_the_transposed_one_of_these_parameters(case, names, method):
    loss, params, turned = case
    transposed = Transposed(loss, turned, names)
    given = {name: turned[name] for name in names}
    at = transposed.pack(given)
    assert transposed.cost(at, at.flat) == loss(params)
    found = gf.numerical_gradient(transposed, given, method=method)
    expected = gf.numerical_gradient(loss, params, method=method)
    for name in names:
        np.testing.assert_allclose(
            found[name], expected[name].T, rtol=1e-7 if method == "direct" else 1e-13, atol=1e-12
        )


def test_a_sample_of_entries_is_that_of_these_parameters(case):
    loss, _, turned = case
    transposed = Transposed(loss, turned, ("W2", "W1"))
    given = {"W2": turned["W2"], "W1": turned["W1"]}
    at, whole = transposed.pack(given), gf.numerical_gradient(transposed, given, method="incremental")
    entries = np.array([10, 3])
    found = transposed.central_differences(at, entries=entries, method="incremental", step=None, runner=Runner(1))
    assert found.gradient.tolist() == transposed.pack(whole).flat[entries].tolist()


def test_it_is_told_from_others(case):
    loss, _, turned = case
    one, other = Transposed(loss, turned, ("W1",)), Transposed(loss, turned, ("W2",))
    moved = Transposed(loss, {**turned, "b1": turned["b1"] + 1.0}, ("W1",))
    prints = {t.fingerprint(t.pack({n: turned[n]})) for t, n in ((one, "W1"), (other, "W2"), (moved, "W1"))}
    assert len(prints) == 3
