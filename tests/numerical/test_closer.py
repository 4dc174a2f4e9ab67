"""Kinks close to the parameters, and ties at them, are looked at more closely before anything is called wrong."""

from __future__ import annotations

import numpy as np
import pytest
from rectifiers import rectifier_network

import gradcheck_fast as gf


def relu(z):
    return np.maximum(z, 0.0)


CLOSE = {
    "two kinks": (lambda b: 0.0579 * max(b + 1.7e-8, 0) - 0.0217 * max(b - 9.4e-9, 0), 0.0, 0.0579),
    "one kink": (lambda b: 2.0 * abs(b - 3e-8) + b, 0.0, -1.0),
    "the other side": (lambda b: 2.0 * abs(b + 3e-8) + b, 0.0, 3.0),
    "beside a large cost": (lambda b: 5.0 + max(3.0 * (b + 2e-7), 0.0), 0.0, 3.0),
    "a narrow tent": (lambda b: b + max(1e-8 - abs(b - 1e-9), 0.0), 0.0, 2.0),
}


@pytest.mark.parametrize("case", CLOSE)
def test_kinks_closer_than_the_step(case):
    function, at, slope = CLOSE[case]
    assert gf.gradcheck(function, slope, at, trace=False).verdict != "FAIL"
    assert gf.gradcheck(function, slope + 5.0, at, trace=False).verdict == "FAIL"


def test_several_values_on_their_kinks():
    """Back-propagation takes 0 for both units; along b alone the slopes are 2 and 3."""
    loss = lambda p: float(2.0 * relu(p["b"] + p["c"][0]) - 3.0 * relu(-p["b"] + p["c"][1]))
    gradient = {"b": np.array(0.0), "c": np.zeros(2)}
    params = {"b": np.array(0.0), "c": np.zeros(2)}
    assert gf.gradcheck(loss, gradient, params, trace=False).verdict != "FAIL"
    assert gf.gradcheck(loss, {**gradient, "b": np.array(9.0)}, params, trace=False).verdict == "FAIL"
    assert gf.gradcheck(loss, {**gradient, "b": np.array(-4.0)}, params, trace=False).verdict != "PASS"


def test_a_curve_is_no_kink_however_closely_it_is_looked_at():
    x = np.random.default_rng(0).normal(size=20)
    for scale in (1.0, 1e3):
        loss = lambda p, scale=scale: float(np.sum(np.sin(scale * p)))
        wrong = scale * np.cos(scale * x)
        wrong[3] *= 1 + 1e-4
        report = gf.gradcheck(loss, wrong, x, trace=False)
        assert report.wrong == 1
        assert report.arrays[0].at_kink == 0


def deep(seed):
    rng = np.random.default_rng(seed)
    depth, width = int(rng.integers(5, 12)), int(rng.integers(3, 12))
    return rectifier_network(
        seed, depth, [width] * (depth + 1), int(rng.integers(2, 10)), zero_biases=True, tied=rng.random() < 0.5
    )


@pytest.mark.parametrize("seed", range(8))
def test_deep_networks_with_biases_of_zero_pass(seed):
    loss, gradient, params = deep(seed)
    assert gf.gradcheck(loss, gradient, params, trace=False).verdict == "PASS"


@pytest.mark.long
def test_sixty_deep_networks():
    verdicts = [gf.gradcheck(*deep(100 + seed), trace=False).verdict for seed in range(60)]
    assert "FAIL" not in verdicts
    assert verdicts.count("PASS") >= 59


def test_error_bars_are_those_of_the_closer_look():
    function, at, slope = CLOSE["two kinks"]
    report = gf.gradcheck(function, slope, at, trace=False)
    assert abs(float(report.numerical) - slope) <= float(report.error_bars) < 1e-6
