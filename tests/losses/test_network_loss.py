"""The loss of a network: its penalty, what it is told from others by, and what it advises."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.losses.network_loss import decay_of


def make(penalty=None, samples=6):
    net = gf.Network([gf.Dense(3, 4, "tanh"), gf.Dense(4, 2)], cost=gf.SquaredError(), penalty=penalty)
    random = np.random.default_rng(0)
    return net, net.loss(random.normal(size=(samples, 3)), random.normal(size=(samples, 2))), net.init(0)


@pytest.mark.parametrize("biases", [False, True])
def test_the_penalty_weighs_each_entry_of_the_flat_vector(biases):
    net, loss, params = make(gf.L2(0.25, biases=biases))
    decay = loss.pack({name: np.full_like(a, 0.25 if biases or a.ndim > 1 else 0.0) for name, a in params.items()})
    assert np.array_equal(decay_of(net), decay.flat)
    _, plain, _ = make()
    squares = sum(0.125 * np.sum(a**2) for a in params.values() if biases or a.ndim > 1)
    assert loss(params) == pytest.approx(plain(params) + squares, rel=1e-14)


def test_without_a_penalty_nothing_decays():
    net, *_ = make()
    assert not decay_of(net).any()


def test_the_penalty_has_a_difference_of_its_own():
    _, loss, params = make(gf.L2(0.25))
    _, plain, _ = make()
    both = [gf.numerical_gradient(one, params) for one in (loss, plain)]
    np.testing.assert_allclose(both[0]["W1"] - both[1]["W1"], 0.25 * params["W1"], rtol=1e-12)
    assert np.array_equal(both[0]["b1"], both[1]["b1"])


def test_samples_and_times_are_known():
    _, loss, _ = make(samples=9)
    assert (loss.samples, loss.times) == (9, 1)
    net = gf.Network([gf.RNN(2, 3), gf.Dense(3, 1)], cost=gf.SquaredError())
    assert net.loss(np.ones((4, 5, 2)), np.ones((4, 1))).times == 5


def test_losses_on_other_data_are_told_apart():
    _, one, params = make(samples=6)
    _, other, _ = make(samples=7)
    _, again, _ = make(samples=6)
    prints = [loss.fingerprint(loss.pack(params)) for loss in (one, other, again)]
    assert prints[0] == prints[2] != prints[1]


def test_a_faster_method_is_named_with_the_time_that_it_would_take():
    _, loss, _ = make(samples=500)
    assert loss.faster("direct", 3600.0).startswith("method='units' would take about ")
    assert "executor=" in loss.faster("units", 3600.0)
    assert "executor=" in loss.faster("auto", 3600.0)
    net = gf.Network([gf.RNN(2, 3), gf.Dense(3, 1)], cost=gf.SquaredError())
    deep = net.loss(np.ones((4, 60, 2)), np.ones((4, 1)))  # what is perturbed passes through up to 60 times
    assert deep.faster("units", 3600.0).startswith("method='chain' would take about ")
    assert "executor=" in deep.faster("chain", 3600.0)


def test_it_keeps_its_own_copy_of_the_data():
    net = gf.Network(gf.Dense(1, 1), cost=gf.SquaredError())
    X, y = np.ones((2, 1)), np.zeros((2, 1))
    loss, params = net.loss(X, y), net.init(0)
    before = loss(params)
    X[...], y[...] = 7.0, 9.0
    assert loss(params) == before
