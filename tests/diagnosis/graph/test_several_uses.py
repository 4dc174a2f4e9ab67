"""Lines that read a value more than once: the cause says which of the uses is meant."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from searching import explain, is_said, line_of

shows_expressions = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no positions of expressions")


def likelihood(rng, mistake=""):
    """A cost per sample whose parameter r is read six times in one line."""
    x, y = rng.normal(size=(9, 3)), rng.random(9) + 0.5
    params = {"w": rng.normal(size=3), "log_r": np.array(0.4)}

    def loss(p):
        mu = np.exp(x @ p["w"])
        r = np.exp(p["log_r"])
        terms = np.cos(r) + r * np.log(r / (r + mu)) + y * np.log(mu / (r + mu))
        return -np.sum(terms)

    def gradient(p):
        mu, r = np.exp(x @ p["w"]), np.exp(p["log_r"])
        dr = -np.sin(r) + np.log(r / (r + mu)) + 1 - (r + y) / (r + mu)
        if mistake == "factor":
            dr = dr - np.log(r / (r + mu))
        if mistake == "dividend":
            dr = dr - 1
        if mistake == "sum of each sample":
            dr = dr + np.sin(r)
        return {"w": x.T @ -(y - (r + y) * mu / (r + mu)), "log_r": -np.sum(dr) * r}

    return loss, gradient, params


USES = {
    "factor": r"what goes back to `r` of line \d+ as a factor of `r \* np\.log\(.*` is left out",
    "dividend": r"what goes back to `r` of line \d+ as the dividend of `r / \(r \+ mu\)` is left out",
}


@shows_expressions
@pytest.mark.parametrize("mistake", USES)
@pytest.mark.parametrize("seed", range(2))
def test_one_of_several_uses_in_a_line_is_named_by_its_expression(mistake, seed):
    causes = explain(*likelihood(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], USES[mistake], line_of(likelihood, "terms = ")), causes


@pytest.mark.parametrize("seed", range(2))
def test_a_part_of_the_cost_of_each_sample_is_no_penalty(seed):
    causes = explain(*likelihood(np.random.default_rng(seed), "sum of each sample"))
    assert causes and "penalty" not in causes[0]
    assert is_said(causes[0], r"is left out", line_of(likelihood, "terms = ")), causes


def drag(rng, mistake=""):
    """A loop over time with a force - k v |v|, in which v goes back by two equal parts."""
    params = {"v": rng.normal(size=5) + 2, "k": np.array(0.7)}

    def run(p):
        vs = [p["v"]]
        for t in range(6):
            vs.append(vs[t] - 0.1 * p["k"] * vs[t] * np.abs(vs[t]))
        return vs

    def loss(p):
        return np.sum(run(p)[6] ** 2)

    def gradient(p):
        vs, dk = run(p), 0.0
        dv = 2 * vs[6]
        parts = {"": 2, "half": 1, "both": 0}[mistake]
        for t in reversed(range(6)):
            dk -= 0.1 * np.sum(dv * vs[t] * np.abs(vs[t]))
            dv = dv - 0.1 * p["k"] * parts * np.abs(vs[t]) * dv
        return {"v": dv, "k": dk}

    return loss, gradient, params


@pytest.mark.parametrize(("mistake", "pattern"), [
    ("half", r"from this line is halved: of two equal parts one is left out"),
    ("both", r"from this line in two equal parts is left out"),
])  # fmt: skip
def test_equal_parts_are_told_from_a_wrong_sign(mistake, pattern):
    causes = explain(*drag(np.random.default_rng(0), mistake))
    assert causes and is_said(causes[0], pattern, line_of(drag, "vs.append(vs[t] - 0.1")), causes


def unpacked(rng, mistake=""):
    """A function that returns two values, which are unpacked."""
    x = rng.normal(size=(7, 3))
    params = {"w": rng.normal(size=(3, 4)), "v": rng.normal(size=(3, 4))}

    def encode(p):
        return x @ p["w"], x @ p["v"]

    def loss(p):
        mean, spread = encode(p)
        first = np.sum(np.exp(spread) * mean)
        second = np.sum(np.sin(mean + 0.5 * spread))
        return first + second

    def gradient(p):
        mean, spread = encode(p)
        slope = np.cos(mean + 0.5 * spread)
        dmean = np.exp(spread) + (0 if mistake else slope)
        return {"w": x.T @ dmean, "v": x.T @ (np.exp(spread) * mean + 0.5 * slope)}

    return loss, gradient, params


def test_a_value_that_is_unpacked_is_called_by_its_variable():
    causes = explain(*unpacked(np.random.default_rng(0), "a use left out"))
    pattern = rf"`mean` of line {line_of(unpacked, 'mean, spread = encode')}"
    assert causes and is_said(causes[0], pattern, line_of(unpacked, "second = ")), causes


@pytest.mark.parametrize("network", [likelihood, drag, unpacked])
def test_the_right_gradients_have_no_mistake(network):
    assert explain(*network(np.random.default_rng(1))) == []
