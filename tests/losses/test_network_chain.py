"""``method="chain"`` of networks: the same gradient as perturbations find, with kinks, penalty, samples and `auto`."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from networks import backprop, flat, make, random_network

import gradcheck_fast as gf
from gradcheck_fast.engine import chain
from gradcheck_fast.losses import network_loss
from gradcheck_fast.numerical.gradient import CHAIN_STEPS
from gradcheck_fast.running.runner import Runner


def find(loss, params, method="chain", step=None, **options):
    return loss.central_differences(loss.pack(params), method=method, step=step, runner=Runner(1), **options)


def off(found, expected):
    scale = np.abs(expected).max() or 1.0
    return np.linalg.norm((found - expected) / scale) / (np.linalg.norm(expected / scale) or 1.0)


@pytest.mark.parametrize("seed", range(60))
def test_it_is_what_units_find(seed):
    case = random_network(np.random.default_rng(seed))
    expected = find(case.loss, case.params, "units")
    found = find(case.loss, case.params)
    assert off(found.gradient, expected.gradient) <= 1e-14
    assert found.certificate.holds
    assert (found.method, found.exact, found.step) == ("chain", True, CHAIN_STEPS[0])


@pytest.mark.parametrize("layer", [gf.RNN, gf.GRU, gf.LSTM])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_recurrent_networks(layer, sequences, seed):
    random = np.random.default_rng(seed)
    net = gf.Network(
        [layer(3, 5, return_sequences=True), layer(5, 4, return_sequences=sequences), gf.Dense(4, 2)],
        cost=gf.SquaredError(),
        penalty=gf.L2(0.1),
    )
    X, lengths = random.normal(size=(6, 7, 3)), random.integers(1, 8, 6)
    y = random.normal(size=(6, 7, 2) if sequences else (6, 2))
    loss, params = net.loss(X, y, lengths=lengths), net.init(seed)
    found = find(loss, params)
    assert off(found.gradient, find(loss, params, "units").gradient) <= 1e-14
    assert found.certificate.agreement <= 1e-13


def test_a_wrong_entry_is_found():
    case = make(np.random.default_rng(0), [4, 6, 3], ["tanh", "identity"], "class_logits", penalty=gf.L2(0.2))
    gradient = backprop(*case)
    assert gf.gradcheck(case.loss, gradient, case.params, method="chain")
    gradient["W1"][2, 3] *= 1.0 + 1e-9
    report = gf.gradcheck(case.loss, gradient, case.params, method="chain")
    assert [(array.name, array.wrong) for array in report.arrays if array.wrong] == [("W1", 1)]
    assert report.certificate.holds


def test_a_check_has_three_vectors_at_once(monkeypatch):
    """A copy of the parameters, the numerical gradient, and a direction; then a copy of the gradient in its place."""
    monkeypatch.setattr(chain, "KEPT_DOUBLES", 0)
    case = make(np.random.default_rng(0), [1200, 1200], ["tanh"])
    gradient = case.gradient
    tracemalloc.start()
    report = gf.gradcheck(case.loss, gradient, case.params, method="chain", n_threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.ok
    assert peak < 3.4 * 8 * flat(gradient).size  # and some for tapes


def test_the_report_says_what_vouches_for_it():
    case = make(np.random.default_rng(0), [4, 6, 3], ["tanh", "identity"], "class_logits")
    report = gf.gradcheck(case.loss, backprop(*case), case.params, method="chain")
    (line,) = [line for line in str(report).splitlines() if line.startswith("Certificate:")]
    assert "along 2 random directions" in line
    assert "would have been seen with 99 %" in " ".join(str(report).split())
    assert "Certificate: along 2 random directions" in report._repr_html_()
    assert report.to_dict()["certificate"]["holds"] is True
    assert gf.gradcheck(case.loss, backprop(*case), case.params, method="units").certificate is None


def test_the_loss_says_how_many_directions_vouch_for_it():
    case = make(np.random.default_rng(0), [4, 6, 3], ["tanh", "identity"], "class_logits")
    loss = case.loss
    two = find(loss, case.params).certificate
    loss.directions = 6
    six = find(loss, case.params).certificate
    assert (two.directions, six.directions) == (2, 6)
    assert six.power < two.power


def test_some_entries_are_those_of_the_whole():
    case = make(np.random.default_rng(1), [4, 6, 3], ["relu", "identity"], penalty=gf.L2(0.2))
    entries = np.array([7, 2, 30])
    some = find(case.loss, case.params, entries=entries)
    whole = find(case.loss, case.params)
    assert (some.gradient == whole.gradient[entries]).all()
    assert (some.again(3.0) == whole.again(3.0)[entries]).all()
    assert some.certificate == whole.certificate


@pytest.mark.parametrize("step", [1e-3, 1e-6, 1e-30, 1e-150])
def test_a_step_of_the_user(step):
    """It is that of each step's difference, so that truncation is of the order of its square."""
    case = make(np.random.default_rng(2), [4, 6, 3], ["tanh", "sigmoid"], "squared")
    found = find(case.loss, case.params, step=step)
    assert found.step == step
    assert off(found.gradient, flat(backprop(*case))) <= max(step**2, 1e-14)
    assert found.certificate.holds


def test_differences_that_overflow_are_found_with_a_smaller_step():
    """What is multiplied by 1e200 in a layer must come back divided by as much."""
    net = gf.Network([gf.Dense(2, 2, "tanh"), gf.Dense(2, 1, "exp"), gf.Dense(1, 1)], cost=gf.SquaredError())
    params = net.init(0)
    params["W2"] *= 0.0
    params["b2"][:] = 640.0
    params["W3"][:] = 1e-278
    X, y = np.random.default_rng(0).normal(size=(3, 2)), np.ones((3, 1))
    found = find(net.loss(X, y), params)
    assert found.step in CHAIN_STEPS
    assert np.isfinite(found.gradient).all()
    assert off(found.gradient, find(net.loss(X, y), params, "units").gradient) <= 1e-13


# ---- kinks


def on_kinks(activation="relu"):
    net = gf.Network([gf.Dense(3, 5, activation), gf.Dense(5, 4, activation), gf.Dense(4, 2)], cost=gf.CrossEntropy())
    random = np.random.default_rng(0)
    X, y, params = random.normal(size=(8, 3)), random.integers(0, 2, 8), net.init(0)
    X[[1, 4]] = 0.0
    params["b1"][:] = params["b2"][:] = 0.0
    return net, net.loss(X, y), params, X, y


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_entries_that_a_kink_reaches_are_decided_by_perturbations(activation):
    _, loss, params, *_ = on_kinks(activation)
    expected, found = (find(loss, params, method, kinks=True) for method in ("units", "chain"))
    assert found.kinks.crossed >= 2 * (5 + 4)
    assert (found.kinks.where == expected.kinks.where).all()
    for own, other in zip(found.kinks[1:], expected.kinks[1:], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-9, atol=1e-12)


def test_beyond_the_budget_they_get_the_bound_of_all_slopes(monkeypatch):
    _, loss, params, *_ = on_kinks()
    expected = find(loss, params, "units", kinks=True)
    monkeypatch.setattr(network_loss, "KINK_WORK", 0.0)
    found = find(loss, params, kinks=True)
    assert (found.kinks.where == expected.kinks.where).all()
    slack = 1e-9
    assert (found.gradient + found.kinks.low <= expected.gradient + expected.kinks.low + slack).all()
    assert (found.gradient + found.kinks.high >= expected.gradient + expected.kinks.high - slack).all()


@pytest.mark.parametrize("budget", [0.0, 1e300])
def test_a_right_gradient_at_kinks_passes_and_a_wrong_one_does_not(budget, monkeypatch):
    monkeypatch.setattr(network_loss, "KINK_WORK", budget)
    net, loss, params, X, y = on_kinks()
    gradient = backprop(net, params, X, y)
    assert gf.gradcheck(loss, gradient, params, method="chain")
    gradient["W2"][1, 2] += 1e-6
    assert gf.gradcheck(loss, gradient, params, method="chain").wrong == 1


def test_kinks_that_reach_no_parameter_are_none():
    """The only input of the units on kinks is 0, and they have no biases."""
    net = gf.Network([gf.Dense(2, 3, "relu", bias=False), gf.Dense(3, 1)], cost=gf.SquaredError())
    loss = net.loss(np.zeros((4, 2)), np.ones((4, 1)))
    assert find(loss, net.init(0), kinks=True).kinks is None


# ---- auto


def recurrent(times):
    net = gf.Network([gf.LSTM(8, 16), gf.Dense(16, 2)], cost=gf.CrossEntropy())
    random = np.random.default_rng(0)
    return net.loss(random.normal(size=(4, times, 8)), random.integers(0, 2, 4)), net.init(0)


def test_auto_perturbs_where_nobody_notices_how_long_it_takes_and_chains_otherwise(monkeypatch):
    loss, params = recurrent(6)
    work = loss._engine.work("units")
    monkeypatch.setattr(network_loss, "NOTICED_WORK", 1.01 * work)
    assert find(loss, params, "auto").method == "units"
    monkeypatch.setattr(network_loss, "NOTICED_WORK", 0.99 * work)
    assert find(loss, params, "auto").method == "chain"


def test_auto_perturbs_a_few_entries_of_a_large_network(monkeypatch):
    loss, params = recurrent(6)
    few = np.array([3])
    monkeypatch.setattr(network_loss, "NOTICED_WORK", 1.01 * loss._engine.work("incremental", few))
    assert find(loss, params, "auto").method == "chain"
    assert find(loss, params, "auto", entries=few).method == "incremental"


def test_auto_of_a_large_program_does_not_plan_perturbations(monkeypatch):
    """For a network over a thousand times the plan alone would take longer than the chain."""
    loss, params = recurrent(6)
    monkeypatch.setattr(network_loss, "NOTICED_WORK", 0.9 * loss._tensors.units_work / network_loss.SURELY_NOTICED)
    monkeypatch.setattr(type(loss), "_engine", None)
    assert find(loss, params, "auto").method == "chain"


def test_what_is_not_finite_is_undecided():
    net = gf.Network([gf.Dense(1, 2, "exp"), gf.Dense(2, 1)], cost=gf.SquaredError())
    params = net.init(0) | {"b1": np.full(2, 800.0)}
    loss = net.loss(np.ones((3, 1)), np.zeros((3, 1)))
    found = find(loss, params)
    assert not np.isfinite(found.gradient).all()
    assert found.certificate is None
    zero = {name: np.zeros(shape) for name, shape in net.shapes.items()}
    assert gf.gradcheck(loss, zero, params, method="chain").verdict == "INCONCLUSIVE"


def test_roundings_are_not_found_by_perturbations(monkeypatch):
    """That would take as long as `units`: they come from the chain, whatever the method."""
    loss, params = recurrent(4)
    for method in ("units", "incremental", "chain", "direct"):
        found = find(loss, params, method)
        with monkeypatch.context() as patch:
            patch.setattr(type(loss._engine), "units", None)
            roundings = found.roundings()
        assert roundings.shape == found.gradient.shape
        assert (roundings > 0.0).all()
