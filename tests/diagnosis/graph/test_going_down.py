"""Mistakes that are made anew in each layer or turn: one cause explains what they do to all arrays."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def layers(rng, mistake=""):
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    sizes = (3, 5, 4, 2)
    params = {f"w{k}": rng.normal(size=sizes[k - 1 : k + 1]) for k in (1, 2, 3)}
    params |= {f"b{k}": rng.normal(size=sizes[k]) for k in (1, 2, 3)}

    def forward(p):
        values = [x]
        for k in (1, 2, 3):
            z = values[-1] @ p[f"w{k}"] + p[f"b{k}"]
            values.append(np.tanh(z))
        return values

    def loss(p):
        return np.sum((forward(p)[3] - y) ** 2) / 6

    def gradient(p):
        values, grads = forward(p), {}
        d = 2 * (values[3] - y) / 6
        for k in (3, 2, 1):
            d = d * (1 - values[k] ** 2)
            grads[f"w{k}"] = values[k - 1].T @ d
            grads[f"b{k}"] = d.sum(axis=0)
            d = d @ p[f"w{k}"].T
            if mistake:
                d = d / 6
        return grads

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(2))
def test_a_division_by_n_in_each_layer_is_one_cause(seed):
    causes = explain(*layers(np.random.default_rng(seed), "divided"))
    assert len(causes) == 1
    pattern = r"all that goes back to its input is divided by 6 .*in each layer"
    assert is_said(causes[0], pattern, line_of(layers, "z = values[-1] @")), causes


def recurrent(rng, mistake=""):
    """Two sequences, one after the other, from the same first state."""
    lengths, n = (4, 5), 3
    sequences = [rng.normal(size=(length, 2)) for length in lengths]
    params = {"w": rng.normal(size=(n, n)), "u": rng.normal(size=(n, 2)), "h0": rng.normal(size=n)}

    def run(p, x):
        hs = [p["h0"]]
        for t in range(len(x)):
            hs.append(np.tanh(p["w"] @ hs[t] + p["u"] @ x[t]))
        return hs

    def loss(p):
        return 0.5 * sum(np.sum(h**2) for x in sequences for h in run(p, x)[1:])

    def gradient(p):
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        for x in sequences:
            hs, later = run(p, x), np.zeros(n)
            for t in reversed(range(len(x))):
                dh = hs[t + 1] + later
                if mistake == "clipped before":
                    dh = np.clip(dh, -0.6, 0.6)
                dz = dh * (1 - (hs[t] if mistake == "before" else hs[t + 1]) ** 2)
                if mistake == "clipped after":
                    dz = np.clip(dz, -0.3, 0.3)
                grads["w"] += np.outer(dz, hs[t])
                grads["u"] += np.outer(dz, x[t])
                later = p["w"].T @ dz + (later if mistake == "kept" else 0)
            grads["h0"] += later
        return grads

    return loss, gradient, params


@pytest.mark.parametrize(("mistake", "pattern"), [
    ("kept", "from the next turn is added to that of all turns after it"),
    ("before", "the derivative of tanh is taken at the state of the turn before"),
    ("clipped after", r"what goes back through the derivative is clipped at 0\.3 in each turn"),
    ("clipped before", r"what comes back is clipped at 0\.6 in each turn"),
])  # fmt: skip
@pytest.mark.parametrize("seed", range(2))
def test_what_is_done_wrongly_in_each_turn(mistake, pattern, seed):
    causes = explain(*recurrent(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], pattern, line_of(recurrent, "hs.append(np.tanh")), causes


@pytest.mark.parametrize("network", [layers, recurrent])
def test_the_right_gradients_have_no_mistake(network):
    assert explain(*network(np.random.default_rng(6))) == []
