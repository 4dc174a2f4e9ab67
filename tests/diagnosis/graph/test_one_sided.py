"""What belongs on one of several ways back: a factor that is left out on one, a slope that is applied on all."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def skip(rng, mistake=""):
    """A rectifier with a skip connection around it."""
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 4))
    params = {"w": rng.normal(size=(4, 4)), "v": rng.normal(size=(4, 4)), "b": rng.normal(size=4)}

    def loss(p):
        a = x @ p["w"] + p["b"]
        h = np.maximum(a, 0)
        out = h @ p["v"] + a
        return 0.5 * np.sum((out - y) ** 2)

    def gradient(p):
        a = x @ p["w"] + p["b"]
        h = np.maximum(a, 0)
        dout = h @ p["v"] + a - y
        dh = dout @ p["v"].T
        da = dh * (a > 0) + dout
        if mistake:
            da = (dh + dout) * (a > 0)
        return {"w": x.T @ da, "v": h.T @ dout, "b": da.sum(axis=0)}

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_that_is_applied_to_the_gradient_of_the_skip_connection_too(seed):
    causes = explain(*skip(np.random.default_rng(seed), "mask on both"))
    pattern = rf"derivative of relu is applied, too, .* from line {line_of(skip, 'out = h @')}\b"
    assert len(causes) == 1
    assert is_said(causes[0], pattern, line_of(skip, "h = np.maximum")), causes


def scaled(rng, shape=(), mistake=""):
    """Logits with a learned scale, and one output with a vector of weights."""
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 3))
    params = {"w": rng.normal(size=(3, 4)), "u": rng.normal(size=(4, 3)), "s": rng.random(shape) + 1.5}

    def loss(p):
        h = np.tanh(x @ p["w"])
        z = p["s"] * (h @ p["u"])
        return 0.5 * np.sum((z - y) ** 2)

    def gradient(p):
        h = np.tanh(x @ p["w"])
        raw = h @ p["u"]
        dz = p["s"] * raw - y
        ds = np.sum(dz * raw, axis=0) if shape == (3,) else np.sum(dz * raw).reshape(shape)
        draw = p["s"] * dz
        dh = (dz if mistake == "down" else draw) @ p["u"].T
        du = h.T @ (dz if mistake == "weights" else draw)
        return {"w": x.T @ (dh * (1 - h * h)), "u": du, "s": ds}

    return loss, gradient, params


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
@pytest.mark.parametrize(("mistake", "to"), [("down", "`h` of line"), ("weights", "u through")])
def test_a_learned_scale_that_is_left_out_for_one_of_two_matrices(shape, mistake, to):
    causes = explain(*scaled(np.random.default_rng(0), shape, mistake))
    pattern = rf"the factor \(s\) is left out in what goes back to {to}"
    assert len(causes) == 1
    assert is_said(causes[0], pattern, line_of(scaled, 'z = p["s"] *')), causes


def one_output(rng, mistake=""):
    x, y = rng.normal(size=(7, 3)), rng.normal(size=7)
    params = {"w": rng.normal(size=(3, 5)), "v": rng.normal(size=5)}

    def loss(p):
        a = np.tanh(x @ p["w"])
        e = a @ p["v"] - y
        return 0.5 * np.sum(e**2)

    def gradient(p):
        a = np.tanh(x @ p["w"])
        e = a @ p["v"] - y
        da = np.outer(e, np.ones(5) if mistake else p["v"])
        return {"w": x.T @ (da * (1 - a * a)), "v": a.T @ e}

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(3))
def test_the_weights_of_an_output_that_are_forgotten_on_the_way_down(seed):
    causes = explain(*one_output(np.random.default_rng(seed), "forgotten"))
    pattern = r"the factor \(v\) is left out in what goes back to `a` of line"
    assert len(causes) == 1
    assert is_said(causes[0], pattern, line_of(one_output, 'e = a @ p["v"]')), causes


@pytest.mark.parametrize("network", [skip, scaled, one_output])
def test_the_right_gradients_have_no_mistake(network):
    assert explain(*network(np.random.default_rng(5))) == []
