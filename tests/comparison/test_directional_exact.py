"""Directions in difference arithmetic: what networks show along them to twelve digits."""

from __future__ import annotations

import numpy as np
import pytest
from networks import backprop, flat, make, random_network

import gradcheck_fast as gf
from gradcheck_fast.comparison.lines import Tolerance, check_along
from gradcheck_fast.comparison.probe import ExactProbe, Table
from gradcheck_fast.inputs.arrays import DOUBLE, SINGLE
from gradcheck_fast.numerical.gradient import EXACT_STEP
from gradcheck_fast.running.replay import Answers


def check(case, gradient=None, **options):
    gradient = case.gradient if gradient is None else gradient
    return gf.gradcheck(case.loss, gradient, case.params, method="directional", **options)


@pytest.fixture
def case():
    return make(
        np.random.default_rng(0), [20, 30, 6], ["tanh", "identity"], "class_logits", samples=20, penalty=gf.L2(0.1)
    )


@pytest.mark.parametrize("seed", range(30))
def test_right_gradients_pass_with_a_power_of_twelve_digits(seed):
    case = random_network(np.random.default_rng(seed))
    report = check(case, seed=seed)
    assert not report.wrong
    powers = [array.power for array in report.arrays if array.status == "right"]
    assert all(power <= 1e-10 for power in powers)
    assert np.median(powers or [0.0]) <= 1e-12
    assert report.evaluations <= 10 * len(report.arrays)


@pytest.mark.parametrize("array", ["W1", "b1", "W2", "b2"])
def test_a_part_in_ten_billion_of_one_array_is_seen_by_directions_alone(case, array):
    gradient = case.gradient
    gradient[array] = gradient[array] * (1.0 + 1e-10)
    report = check(case, gradient)
    assert [result.name for result in report.arrays if result.wrong] == [array]


def test_one_entry_is_found_by_halving(case):
    gradient = case.gradient
    gradient["W1"][7, 11] *= 1.0 + 1e-7
    (wrong,) = [result for result in check(case, gradient).arrays if result.wrong]
    assert wrong.entries == ((7, 11),)


def test_a_block_is_found(case):
    gradient = case.gradient
    gradient["W1"][3:9] *= 1.0 + 1e-6
    (wrong,) = [result for result in check(case, gradient).arrays if result.wrong]
    (block,) = wrong.blocks
    assert block.rows == ((3, 9),)


def test_an_error_of_the_stated_power_is_seen(case):
    """With a probability of 0.999 for each seed."""
    right = {array.name: array.power for array in check(case).arrays}
    for seed in range(12):
        gradient = case.gradient
        name = ("W1", "b1", "W2", "b2")[seed % 4]
        error = np.random.default_rng(seed).normal(size=gradient[name].shape)
        error *= 2.0 * right[name] * np.linalg.norm(gradient[name]) / np.linalg.norm(error)
        gradient[name] = gradient[name] + error
        seen = check(case, gradient, seed=seed)
        (array,) = [array for array in seen.arrays if array.name == name]
        assert array.wrong or array.power > 1.5 * right[name], "an error of twice the power changes nothing"


def test_float32_gradients_are_compared_in_their_own_roundings(case):
    single = {name: array.astype(np.float32) for name, array in case.gradient.items()}
    report = check(case, single)
    assert report.ok
    assert all(1e-6 < array.power < 1e-3 for array in report.arrays)
    single["W2"][1] *= np.float32(1.001)
    assert [array.name for array in check(case, single).arrays if array.wrong] == ["W2"]


def test_the_steps_are_those_of_difference_arithmetic(case):
    changes = []

    def change(direction, step):
        changes.append(step)
        return case.loss.change(flat(case.params), direction, step)

    theta, gradient = flat(case.params), flat(case.gradient)
    table = Table((20, 30), 0, theta, gradient, (0, 0))
    tested = check_along(ExactProbe(change, len(theta), 1.0, Answers()), table, Tolerance(1e-14, 0.0), None)
    assert not tested.wrong
    assert max(map(abs, changes)) <= 2.5 * EXACT_STEP * table.scale


def test_a_step_of_the_user_is_used(case):
    assert check(case, step=1e-9).ok
    assert check(case, step=1e-9).step == 1e-9


def test_the_change_of_a_loss_is_exact_with_its_penalty(case):
    theta = flat(case.params)
    direction = np.random.default_rng(1).normal(size=len(theta))
    for step in (1e-2, 1e-9):
        expected = case.loss(theta + step * direction) - case.loss(theta)
        assert case.loss.change(theta, direction, step) == pytest.approx(expected, rel=1e-5 if step < 1e-5 else 1e-12)
    slope = flat(case.gradient) @ direction
    assert case.loss.change(theta, direction, 1e-13) / 1e-13 == pytest.approx(slope, rel=1e-11)


def test_what_rounding_hides_is_counted_in_the_power():
    for precision in (DOUBLE, SINGLE):
        assert Tolerance.of_precision(precision, True).hides
        assert not Tolerance.of_precision(precision).hides
    assert Tolerance.of_precision(DOUBLE, True).rtol > Tolerance.of_precision(DOUBLE).rtol
    assert Tolerance.of_precision(SINGLE, True).rtol == Tolerance.of_precision(SINGLE).rtol


def test_kinks_make_no_false_alarm():
    net = gf.Network([gf.Dense(3, 8, "relu"), gf.Dense(8, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(0)
    X, y, params = random.normal(size=(9, 3)), random.normal(size=(9, 2)), net.init(0) | {"b1": np.zeros(8)}
    X[[2, 5]] = 0.0
    report = gf.gradcheck(net.loss(X, y), backprop(net, params, X, y), params, method="directional")
    assert not report.wrong
