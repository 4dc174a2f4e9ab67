"""Factors and divisors of a whole product or quotient, which are wrong in all that goes back from it."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def classes(rng, mistake=""):
    """Two classes with weights, a modulating factor, and dropout with its scale."""
    n = 10
    x, y = rng.normal(size=(n, 4)), (rng.random(n) < 0.5).astype(float)
    weights = rng.uniform(0.5, 3.0, size=n)
    mask = (rng.random((n, 5)) < 0.7) / 0.7
    mask[0, 0], mask[1, 1] = 0.0, 1 / 0.7
    params = {"w": rng.normal(size=(4, 5)), "v": rng.normal(size=5), "b": rng.normal(size=5)}

    def forward(p):
        h = np.tanh(x @ p["w"] + p["b"])
        d = h * mask
        q = 1 / (1 + np.exp(-(d @ p["v"])))
        return h, d, np.where(y == 1, q, 1 - q)

    def loss(p):
        h, _, q = forward(p)
        cost = -np.sum(weights * (1 - q) ** 2 * np.log(q)) / np.sum(weights)
        return cost + 0.3 * np.sum(h**4)

    def gradient(p):
        h, d, q = forward(p)
        w = np.ones(n) if mistake == "weights" else weights
        m = (1 - q) ** 2
        dq = -w / q if mistake == "modulating factor" else w * (2 * (1 - q) * np.log(q) - m / q)
        dq = dq / (n if mistake == "divisor" else np.sum(weights))
        du = dq * np.where(y == 1, 1, -1) * q * (1 - q)
        dd = np.outer(du, p["v"])
        dh = dd * ((mask > 0) if mistake == "scale of the mask" else mask)
        dh = dh + 0.3 * 4 * h**3
        dz = dh * (1 - h * h)
        return {"w": x.T @ dz, "v": d.T @ du, "b": dz.sum(axis=0)}

    return loss, gradient, params


MISTAKES = {
    "weights": (r"`weights` is left out in all that goes back", "cost = -np.sum("),
    "modulating factor": (r"`\(1 - q\) \*\* 2` is left out in all that goes back", "cost = -np.sum("),
    "divisor": (r"what goes back is divided by 10, not by [\d.]+ \(`np\.sum\(weights\)`\)", "cost = -np.sum("),
    "scale of the mask": (r"the scale 1\.42857 of `mask` is left out", "d = h * mask"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_with_a_factor_of_all_that_goes_back(mistake, seed):
    pattern, piece = MISTAKES[mistake]
    causes = explain(*classes(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], pattern, line_of(classes, piece)), causes


def test_nothing_is_said_of_right_classes_and_of_noise():
    loss, gradient, params = classes(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, wrong, params) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_quotient_rule_without_the_square(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(8, 3)), (rng.random(8) < 0.5).astype(float)
    params = {"w": rng.normal(size=3)}

    def loss(p):
        q = 1 / (1 + np.exp(-(x @ p["w"])))
        overlap, total = np.sum(q * y), np.sum(q) + np.sum(y) + 1.0
        return 1 - (2 * overlap + 0.5) / total

    def gradient(p, power, smooth=0.5):
        q = 1 / (1 + np.exp(-(x @ p["w"])))
        overlap, total = np.sum(q * y), np.sum(q) + np.sum(y) + 1.0
        dq = -(2 * y * total - (2 * overlap + smooth)) / total**power
        return {"w": x.T @ (dq * q * (1 - q))}

    assert explain(loss, gradient(params, 2), params) == []
    line = line_of(test_a_quotient_rule_without_the_square, "return 1 - (2 * overlap")
    (cause,) = explain(loss, gradient(params, 1), params)
    divisor = r"(`total`|`np\.sum\(q\) \+ np\.sum\(y\) \+ 1\.0`) of line \d+"
    assert is_said(cause, f"the quotient rule divides by {divisor}, not by the square of it", line)
    (cause,) = explain(loss, gradient(params, 2, smooth=0.0), params)
    assert is_said(cause, r"the 0\.5 that is added there is left out on the way back", line)


def rewards(rng, mistake=""):
    """A policy that is rewarded step by step, and kept from being too certain."""
    x, action, reward = rng.normal(size=(6, 4)), rng.integers(0, 3, 6), rng.normal(size=6)
    params = {"w": rng.normal(size=(4, 3))}

    def policy(p, t):
        e = np.exp(x[t] @ p["w"])
        return e / np.sum(e)

    def loss(p):
        total = 0.0
        for t in range(6):
            q = policy(p, t)
            total = total - np.log(q[action[t]]) * reward[t] + 0.2 * np.sum(q**3)
        return total

    def gradient(p):
        dw = np.zeros_like(p["w"])
        for t in range(6):
            q = policy(p, t)
            dz = reward[t] * (q - np.eye(3)[action[t]])
            dq = 0.6 * q**2
            back = dq * q if mistake == "jacobian in part" else q * (dq - dq @ q)
            dw += np.outer(x[t], dz + back * (reward[t] if mistake == "factor of the other term" else 1))
        return {"w": dw}

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(3))
def test_the_factor_of_one_term_of_a_cost_that_is_applied_to_another(seed):
    causes = explain(*rewards(np.random.default_rng(seed), "factor of the other term"))
    pattern = r"the factor `reward\[t\]` of .* is applied to what goes back to `0\.2 \* np\.sum\(q\*\*3\)`, too"
    assert causes and is_said(causes[0], pattern, line_of(rewards, "total = total - ")), causes


@pytest.mark.parametrize("seed", range(3))
def test_a_jacobian_of_softmax_that_is_wrong_for_one_term_of_a_cost(seed):
    causes = explain(*rewards(np.random.default_rng(seed), "jacobian in part"))
    pattern = r"in what comes back from .*the sum in the Jacobian of softmax is left out"
    assert causes and is_said(causes[0], pattern, line_of(rewards, "return e / np.sum(e)")), causes


def test_nothing_is_said_of_right_rewards():
    loss, gradient, params = rewards(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
