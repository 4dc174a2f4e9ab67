"""What the adapters share: which loss is chosen, and when two losses are the same."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.adapters.common import InTurn, choose_loss, require_same_gradient, same_loss
from gradcheck_fast.frontends.unknown import Unknown
from gradcheck_fast.losses.network_loss import NetworkLoss

EPS = float(np.finfo(np.float32).eps)


def described(factor=1.0):
    """A network that costs `factor` times what `own` does, and its parameters."""
    net = gf.Network(gf.Dense(2, 1), cost=gf.SquaredError(factor=factor))
    X, y = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([[0.5], [1.0]])
    return net.loss(X, y), net.init(0)


def own(params):
    loss, _ = described()
    return loss(params)


def choose(describe, loss=own, method="auto"):
    _, params = described()
    gradient = gf.numerical_gradient(own, params, trace=False)
    return choose_loss(describe, loss, gradient, lambda p: gradient, params, method)


def test_a_network_that_costs_the_same_is_chosen():
    problem, note = choose(lambda: described()[0])
    assert isinstance(problem, NetworkLoss)
    assert "differenced by the compiled engine" in note


def test_one_that_costs_something_else_is_not():
    problem, note = choose(lambda: described(2.0)[0])
    assert not isinstance(problem, NetworkLoss)
    assert "differenced as a Python function: the network that describes it has the cost" in note


def unknown():
    raise Unknown("there is a layer of cheese")


def test_what_is_not_known_is_said():
    _, note = choose(unknown)
    assert note == "differenced as a Python function: there is a layer of cheese"


@pytest.mark.parametrize("method", ["units", "incremental", "chain"])
def test_methods_of_the_engine_need_the_engine(method):
    with pytest.raises(ValueError, match=f"method: '{method}' is one of the compiled engine, but there is a layer"):
        choose(unknown, method=method)


def test_a_random_loss_is_refused():
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"at first and .* the next time"):
        choose(unknown, loss=lambda p: own(p) + random.random())


# ---- the same loss in two dtypes


@pytest.mark.parametrize(("own_value", "in_double", "same"), [(1.0, 1.0 + 1e-5, True), (1.0, 1.5, False)])
def test_losses_are_the_same_but_for_roundings(own_value, in_double, same):
    assert same_loss(own_value, in_double, EPS, lambda p: own_value, {"x": np.ones(3, np.float32)}) is same


def test_a_loss_that_cancels_may_differ_by_what_moved_parameters_change():
    params = {"x": np.array([1e4, -1e4], np.float32)}
    value = lambda p: float(np.float32(p["x"][0]) + np.float32(p["x"][1]))
    assert same_loss(0.0, 1e-3, EPS, value, params)
    assert not same_loss(0.0, 10.0, EPS, value, params)


def test_another_gradient_is_another_loss():
    ours, theirs = {"x": np.ones(2)}, {"x": np.array([1.0, 1.5])}
    require_same_gradient((1.0, 1.0), (ours, ours), EPS, "asking")
    with pytest.raises(ValueError, match=r"in its own dtype but .* in float64.*by asking"):
        require_same_gradient((1.0, 2.0), (ours, theirs), EPS, "asking")


def test_one_thread_after_the_other():
    assert InTurn(lambda a, b: a - b)(5, 3) == 2
