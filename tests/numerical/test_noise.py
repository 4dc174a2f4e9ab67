"""How much of a function's values is noise, and what they are rounded to."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.numerical.noise import noise_around

THETA = np.random.default_rng(1).normal(size=8)


def relu(z):
    return np.maximum(z, 0.0)


def smooth(p):
    return np.sum(np.sin(p)) + 3.0


@pytest.mark.parametrize(
    ("quantum", "rounded"),
    [
        *((10.0**-digits, lambda x, digits=digits: np.round(x, digits)) for digits in (2, 3, 4, 6, 8, 10)),
        (1e-2, lambda x: float(f"{x:.3g}")),
        (2.0**-22, np.float32),
        (2.0**-9, np.float16),
        (1e-3, lambda x: int(1e3 * x) / 1e3),
    ],
)
def test_rounded_values_are_recognised(quantum, rounded):
    for scale in (0.7, 1.0, 1.3):
        level, found = noise_around(THETA, lambda p, scale=scale: float(rounded(smooth(scale * p))))
        assert level >= 0.2 * quantum
        assert found == 0.0 or 0.4 * quantum < found < 4.1 * quantum  # 0: seen as any other noise
        assert found > 0.0 or quantum < 1e-7


@pytest.mark.parametrize(
    "function",
    [
        smooth,
        np.sum,
        lambda p: np.sum(np.abs(p)),
        lambda p: np.sum(np.clip(p, -0.5, 0.5)),
        lambda p: np.sum(relu(p - 9.0)),
        lambda p: np.sum(relu(p - THETA - 1e-3)),
        lambda p: np.sum(np.clip(1e3 * (p - THETA) - 0.5, 0.0, 1.0)),
        lambda p: np.sum(np.floor(10.0 * p) + p * p),
        lambda p: 3.0,
        np.max,
        lambda p: np.sum(np.sin(1e9 * p)),
        lambda p: np.sum(np.log(np.abs(p))),
    ],
    ids=["sine", "sum", "abs", "clip", "dead", "near a kink", "steep", "jumps", "constant", "max", "quick", "log"],
)
def test_what_a_function_does_is_not_noise(function):
    level, quantum = noise_around(THETA, lambda p: float(function(p)))
    assert quantum == 0.0
    assert level < 1e-6


@pytest.mark.parametrize("size", [1e-12, 1e-9, 1e-6])
def test_noise_of_the_last_bits_is_measured(size):
    jitter = lambda p: np.random.default_rng(crc32(p.tobytes())).normal()
    level, _ = noise_around(THETA, lambda p: float(smooth(p) + size * jitter(p)))
    assert 0.3 * size < level < 5.0 * size


@pytest.mark.parametrize("digits", [2, 3, 4])
def test_what_is_added_up_of_rounded_values_is_recognised(digits):
    random = np.random.default_rng(0)
    A, v = random.normal(size=(3, 4)), random.normal(size=3)
    at = np.arange(1.0, 5.0) / 3.0
    for loss in (lambda p: v @ np.round(np.tanh(A @ p), digits), lambda p: v @ np.tanh(A @ np.round(p, digits))):
        assert 0.01 * 10.0**-digits < noise_around(at, lambda p, loss=loss: float(loss(p))).level < 10.0 * 10.0**-digits


def small_network(seed):
    """The loss of a network, its gradient, and parameters."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))

    def run(p):
        h = np.tanh(X @ p["W"] + p["b"])
        d = (h @ p["V"] - y) / len(X)
        dh = d @ p["V"].T * (1 - h**2)
        return 0.5 * len(X) * np.sum(d**2), {"W": X.T @ dh, "b": dh.sum(0), "V": h.T @ d}

    params = {"W": rng.normal(size=(3, 4)), "b": rng.normal(size=4), "V": rng.normal(size=(4, 2))}
    return lambda p: run(p)[0], run(params)[1], params


@pytest.mark.parametrize("digits", [2, 3, 4, 5, 6, 8])
def test_a_right_gradient_of_a_rounded_loss_is_not_wrong(digits):
    for seed in range(10):
        loss, gradient, params = small_network(seed)
        report = gf.gradcheck(lambda p, loss=loss: np.round(loss(p), digits), gradient, params)
        assert report.verdict == ("PASS" if digits > 5 else "INCONCLUSIVE") or (digits in (4, 5) and report.ok), seed
        if digits < 7:
            assert "the values of the loss are rounded, to multiples of" in report.notes[0]


def test_a_wrong_gradient_of_a_rounded_loss_is():
    for seed in range(10):
        loss, gradient, params = small_network(seed)
        gradient["V"] = gradient["V"] * 1.5
        assert gf.gradcheck(lambda p, loss=loss: np.round(loss(p), 5), gradient, params).verdict == "FAIL"
