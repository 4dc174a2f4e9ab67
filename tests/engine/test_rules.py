"""The executor of any program does what that of tensors does, and planted faults of the rules are seen and named."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from networks import flat, make, random_network

import gradcheck_fast as gf
from gradcheck_fast.engine.cancellation import roundings
from gradcheck_fast.engine.certificate import certified
from gradcheck_fast.engine.chain import chain
from gradcheck_fast.engine.chain import spreads as tensor_spreads
from gradcheck_fast.engine.open_slopes import spreads
from gradcheck_fast.engine.rounding import roundings as network_roundings
from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.numerical.gradient import CHAIN_STEPS, NEAR_KINK, PLAIN_STEP
from gradcheck_fast.program import program as programs
from gradcheck_fast.program import twin
from gradcheck_fast.program.program import Program
from gradcheck_fast.program.steps import PRIMITIVES
from gradcheck_fast.running.runner import Runner


def off(found, expected):
    scale = np.abs(expected).max() or 1.0
    return np.linalg.norm((found - expected) / scale) / (np.linalg.norm(expected / scale) or 1.0)


def recurrent(layer, seed=0):
    net = gf.Network([layer(3, 4, return_sequences=True), layer(4, 3), gf.Dense(3, 2)], cost=gf.CrossEntropy())
    random = np.random.default_rng(seed)
    return net.loss(random.normal(size=(5, 6, 3)), random.integers(0, 2, 5)), flat(net.init(seed))


def some_network(seed):
    case = random_network(np.random.default_rng(seed))
    return case.loss, flat(case.params)


def both(loss):
    """The executors of tensors and of rules, of the same program and data; the penalty is not part of it."""
    tensors = loss._tensors
    return tensors, RulesEngine(tensors.program, tensors.inputs, tensors.targets)


CASES = [
    *(pytest.param(some_network, seed, id=f"network {seed}") for seed in range(20)),
    *(pytest.param(recurrent, layer, id=layer.__name__) for layer in (gf.RNN, gf.GRU, gf.LSTM)),
]
networks = pytest.mark.parametrize(("draw", "what"), CASES)


@networks
def test_it_finds_what_the_executor_of_tensors_finds(draw, what):
    loss, theta = draw(what)
    tensors, rules = both(loss)
    direction = np.random.default_rng(1).normal(size=len(theta))
    with tensors.at(theta, 1) as expected, rules.at(theta, 1) as point:
        assert point.cost() == pytest.approx(expected.cost(), rel=1e-14)
        assert off(point.gradient(), expected.gradient(CHAIN_STEPS[0])) <= 1e-14
        scales = (1e-3, 2.0**-40)
        np.testing.assert_allclose(point.along(direction, scales), expected.along(direction, scales), rtol=1e-13)
        for part in expected.parts():
            own, other = point.sensitivities(), part.backs()
            for number in other.keys() & own.keys():
                np.testing.assert_allclose(own[number], other[number], rtol=1e-12, atol=1e-14)


@networks
def test_its_certificate_holds(draw, what):
    loss, theta = draw(what)
    with both(loss)[1].at(theta, 1) as point:
        found = certified(point, point.gradient(), point.kinks(NEAR_KINK), CHAIN_STEPS[0])
    assert found.holds, found
    assert found.agreement <= 1e-13


def test_values_and_sensitivities_are_those_of_the_twin():
    loss, theta = recurrent(gf.LSTM)
    tensors, rules = both(loss)
    program = rules.program
    values = twin.values(program, program.leaves(theta, tensors.inputs, tensors.targets))
    expected = twin.sensitivities(program, values)
    with rules.at(theta, 1) as point:
        found = point.sensitivities()
        assert all((point.values[number] == values[number]).all() for number in program.needed)
    for number in found:
        np.testing.assert_allclose(found[number], expected[number], rtol=1e-13, atol=1e-17)


def small_program():
    """The sum of exp(x W)² - (x W), and a step that nothing needs."""
    program = Program()
    x, W = program.constant(np.arange(6.0).reshape(2, 3) / 6.0), program.parameter((3, 2))
    z = program.add("matmul", x, W)
    program.add("tanh", z)
    e = program.add("exp", z)
    squared = program.add("multiply", e, e)
    program.total(program.add("sum", program.add("subtract", squared, z), axis=(0, 1), keepdims=False))
    return program


THETA = np.linspace(-0.5, 0.7, 6)


def test_a_program_without_samples_is_run_at_once():
    program = small_program()
    engine = RulesEngine(program)
    x = np.arange(6.0).reshape(2, 3) / 6.0
    z = x @ THETA.reshape(3, 2)
    with engine.at(THETA, 1) as point:
        assert point.cost() == pytest.approx((np.exp(2 * z) - z).sum(), rel=1e-15)
        np.testing.assert_allclose(point.gradient(), (x.T @ (2 * np.exp(2 * z) - 1)).ravel(), rtol=1e-14)
        assert point.values[3] is None  # tanh, which no cost needs
    assert "tanh" not in {program.steps[number].name for number in engine.computed}


def test_the_cost_may_be_several_steps_which_others_read():
    program = Program()
    p = program.parameter((3,))
    e = program.add("exp", p)
    for step in (p, e, program.add("multiply", e, p)):
        program.total(step)
    p = np.array([0.5, -1.0, 2.0])
    with RulesEngine(program).at(p, 1) as point:
        assert point.cost() == pytest.approx((p + np.exp(p) * (1 + p)).sum(), rel=1e-15)
        gradient = point.gradient()
        np.testing.assert_allclose(gradient, 1 + np.exp(p) * (2 + p), rtol=1e-14)
        assert certified(point, gradient, 0, CHAIN_STEPS[0]).holds
        (change,) = point.along(np.ones(3), (0.1,))
    assert change == pytest.approx((0.1 + np.exp(p + 0.1) * (1.1 + p) - np.exp(p) * (1 + p)).sum(), rel=1e-14)


def test_the_chain_is_a_job_like_that_of_tensors():
    engine = pickle.loads(pickle.dumps(RulesEngine(small_program())))
    with engine.at(THETA, 1) as point:
        gradient, kinks = chain(point, CHAIN_STEPS[0], Runner(1))
        assert (gradient == point.gradient()).all()
    assert kinks == 0


def test_sums_of_what_goes_back_do_not_change_what_they_are_made_of():
    """`add` hands the same array to both of its inputs, and one of them is read three times."""
    program = Program()
    p = program.parameter((2,))
    a, b = program.add("exp", p), program.add("tanh", p)
    both_of_them = program.add("add", a, b)
    again = program.add("add", program.add("add", both_of_them, a), a)
    program.total(again)
    with RulesEngine(program).at(np.array([0.3, -0.2]), 1) as point:
        found = point.gradient()
    np.testing.assert_allclose(
        found, 3 * np.exp([0.3, -0.2]) + 1 - np.tanh([0.3, -0.2]) ** 2, rtol=1e-14
    )  # fmt: skip


def test_where_a_rule_is_not_defined_all_is_nan():
    program = Program()
    a = program.parameter((2, 2))
    program.total(program.add("inv", a))
    engine = RulesEngine(program)
    with engine.at(np.zeros(4), 1) as point:
        assert math.isnan(point.cost())
        assert np.isnan(point.gradient()).all()
        assert np.isnan(point.along(np.ones(4), (1.0,))).all()


def test_an_unknown_function_is_differenced_with_a_step_that_suits_plain_arithmetic():
    program = Program()
    p = program.parameter((4,))
    program.total(program.add("opaque", program.add("exp", p), function=np.sort, shape=(4,)))
    engine = RulesEngine(program)
    assert not engine.is_exact
    assert engine.smallest_step == PLAIN_STEP
    theta = np.array([0.5, -0.2, 1.0, 0.1])
    with engine.at(theta, 1) as point:
        gradient = point.gradient()
        np.testing.assert_allclose(gradient, np.exp(theta), rtol=1e-9)
        assert certified(point, gradient, 0, engine.smallest_step).holds


# ---- kinks


def on_kinks():
    net = gf.Network([gf.Dense(3, 5, "relu"), gf.Dense(5, 4, "relu"), gf.Dense(4, 2)], cost=gf.CrossEntropy())
    random, params = np.random.default_rng(0), net.init(0)
    X = random.normal(size=(8, 3))
    X[[1, 4]] = 0.0
    params["b1"][:] = params["b2"][:] = 0.0
    return net.loss(X, random.integers(0, 2, 8)), flat(params)


def test_kinks_are_counted_and_bounded_as_by_the_executor_of_tensors():
    loss, theta = on_kinks()
    tensors, rules = both(loss)
    with tensors.at(theta, 1) as expected, rules.at(theta, 1) as point:
        assert point.kinks(NEAR_KINK) == expected.chain(CHAIN_STEPS[0], 0, np.zeros_like(theta)) > 0
        found = spreads(point, NEAR_KINK).by_parameter
        np.testing.assert_allclose(found, tensor_spreads(expected, NEAR_KINK), rtol=1e-6, atol=1e-9)
        assert certified(point, point.gradient(), point.kinks(NEAR_KINK), CHAIN_STEPS[0]).holds


def test_without_kinks_nothing_is_open():
    loss, theta = recurrent(gf.GRU)
    with both(loss)[1].at(theta, 1) as point:
        assert point.kinks(NEAR_KINK) == 0
        assert not spreads(point).by_parameter.any()


# ---- faults of the rules


def plant(monkeypatch, name, **rules):
    monkeypatch.setattr(programs, "PRIMITIVES", {**PRIMITIVES, name: replace(PRIMITIVES[name], **rules)})


def certificate_of(program, theta):
    with RulesEngine(program).at(theta, 1) as point:
        return certified(point, point.gradient(), 0, CHAIN_STEPS[0])


def test_without_a_fault_it_holds():
    found = certificate_of(small_program(), THETA)
    assert found.holds
    assert not found.fault


def test_a_wrong_transpose_is_seen_and_named(monkeypatch):
    plant(monkeypatch, "matmul", back=lambda x, k, up: np.flip(x[0], 1).T @ up if k else up @ x[1].T)
    found = certificate_of(small_program(), THETA)
    assert not found.holds
    assert "step 1, parameter: what goes back to it from step 2, matmul" in found.fault


def test_a_wrong_slope_is_seen_and_named(monkeypatch):
    plant(monkeypatch, "exp", back=lambda x, k, up: up * 1.0001 * np.exp(x[0]))
    found = certificate_of(small_program(), THETA)
    assert not found.holds
    assert "what goes back to it from step 4, exp" in found.fault


def test_a_wrong_difference_is_seen_by_the_large_step_and_named(monkeypatch):
    """The slopes are made of it, so that the chain and the small differences agree."""
    right = PRIMITIVES["exp"].difference
    wrong = lambda x, d: 1.01 * right(x, d)
    plant(monkeypatch, "exp", difference=wrong, back=lambda x, k, up: up * 1.01 * np.exp(x[0]))
    found = certificate_of(small_program(), THETA)
    assert found.agreement <= found.allowed
    assert not found.holds
    assert found.fault == "step 4, exp: its difference is not that of two of its values"


# ---- what rounding may do


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu", "relu", "softsign"])
def test_roundings_are_about_those_that_are_known_of_networks(activation):
    case = make(np.random.default_rng(2), [4, 9, 7, 3], [activation, activation, "identity"], "class_logits")
    tensors, rules = both(case.loss)
    with tensors.at(flat(case.params), 1) as expected, rules.at(flat(case.params), 1) as point:
        own, other = roundings(point), network_roundings(expected)
        assert (own >= np.abs(point.gradient()) * (1.0 - 1e-12)).all()
    assert 0.8 <= own.sum() / other.sum() <= 2.0


def test_softmax_and_cross_entropy_lose_what_cancels_in_it():
    """p - y of a sample that is right is a difference of numbers near 1, and back-propagation rounds it so."""
    program = Program()
    z = program.parameter((1, 2))
    top = program.add("logsumexp", z, axis=(1,), keepdims=True)
    program.total(program.add("subtract", top, program.add("slice", z, ranges=((0, 1), (0, 1)))))
    with RulesEngine(program).at(np.array([20.0, -20.0]), 1) as point:
        assert abs(point.gradient()[0]) < 1e-15
        assert 0.5 <= roundings(point)[0] <= 4.0


def test_a_saturated_unit_loses_the_roundings_of_its_value():
    program = Program()
    p = program.parameter((1,))
    program.total(program.add("tanh", p))
    with RulesEngine(program).at(np.array([9.0]), 1) as point:
        assert point.gradient()[0] < 1e-7
        assert 0.5 <= roundings(point)[0] <= 2.0


@pytest.mark.parametrize("z", [40.0, 9.0, -9.0, -40.0])
def test_so_does_one_that_is_written_out(z):
    """1 / (1 + exp(-z)), whose slope is a (1 - a): digits are lost where a is near 1, not where it is near 0."""
    program = Program()
    e = program.add("exp", program.add("multiply", program.parameter((1,)), program.constant([-1.0])))
    a = program.add("reciprocal", program.add("add", program.constant([1.0]), e))
    program.total(program.add("multiply", a, program.constant([5.0])))
    with RulesEngine(program).at(np.array([z]), 1) as point:
        found, gradient = roundings(point)[0], abs(point.gradient()[0])
    assert 4.0 <= found <= 6.0 if z > 0.0 else found == pytest.approx(gradient, rel=1e-6)
