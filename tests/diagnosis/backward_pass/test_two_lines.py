"""Two lines of a backward pass that are wrong side by side, and factors that may belong into one line or another."""

from __future__ import annotations

import pytest
from plant_lines import parting, planted_module

import gradcheck_fast as gf

NORMALISED = """
import numpy as np

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))


def forward(p):
    z = X @ p["W1"]
    mu = z.mean(axis=0)
    zc = z - mu
    var = (zc**2).mean(axis=0)
    s = np.sqrt(var + 1e-3)
    xhat = zc / s
    h = np.tanh(xhat * p["g"] + p["b"])
    return h @ p["W2"], (zc, s, xhat, h)


def loss(p):
    out, _ = forward(p)
    return 0.5 * np.mean((out - Y) ** 2)


def backprop(p):
    out, (zc, s, xhat, h) = forward(p)
    dout = (out - Y) / out.size
    da = (dout @ p["W2"].T) * (1 - h**2)
    dxhat = da * p["g"]
    dvar = -0.5 * (dxhat * zc).sum(axis=0) / s**3
    dmu = -dxhat.sum(axis=0) / s
    dz = dxhat / s + dvar * 2 * zc / len(X) + dmu / len(X)
    return {"W1": X.T @ dz, "g": (da * xhat).sum(axis=0), "b": da.sum(axis=0), "W2": h.T @ dout}


def init_params():
    shapes = {"W1": (5, 6), "g": (6,), "b": (6,), "W2": (6, 3)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}
"""

CHAIN = """
import numpy as np

rng = np.random.default_rng(0)
X, y = rng.normal(size=(7, 4)), rng.normal(size=7)


def loss(p):
    return np.mean(np.tanh(X @ p["W"] + p["b"]) * y)


def backprop(p):
    out = np.tanh(X @ p["W"] + p["b"])
    dout = y / len(y)
    dz = dout * (1 - out**2)
    return {"W": X.T @ dz, "b": dz.sum()}


def init_params():
    return {"W": rng.normal(size=4), "b": np.array(0.3)}
"""


@pytest.mark.parametrize(
    ("dvar", "dmu"),
    [
        ("-0.5 * (dxhat * zc).sum(axis=0) * s", "-dxhat.sum(axis=0) * s"),
        ("-0.5 * (dxhat * zc).sum(axis=0) * s", "dxhat.sum(axis=0) / s"),
        ("(dxhat * xhat).sum(axis=0) * s", "-dxhat.sum(axis=0)"),
    ],
)
def test_of_two_wrong_parts_of_a_sum_the_line_of_each_is_named(tmp_path, dvar, dmu):
    source = NORMALISED.replace("-dxhat.sum(axis=0) / s", dmu)
    module, line = planted_module(source, tmp_path, right="-0.5 * (dxhat * zc).sum(axis=0) / s**3", wrong=dvar)
    report = gf.gradcheck(module.loss, module.backprop, module.init_params())
    lines = [number for found in report.diagnoses for _, number in found.lines]
    assert lines == [line, line + 1]
    assert all("in the other line" in found.evidence for found in report.diagnoses)


def test_a_factor_that_may_as_well_belong_into_the_next_line_has_no_line(tmp_path):
    module, _ = planted_module(CHAIN, tmp_path, right="dout = y / len(y)", wrong="dout = 1.0 * y")
    grad = module.backprop

    def not_of_one_factor(p):
        return {**grad(p), "b": 2.5 * grad(p)["b"]}

    assert parting(module.loss, not_of_one_factor, module.init_params()) is None


def test_two_lines_that_read_what_is_wrong_already_are_not_named(tmp_path):
    """What `dvar` and `dmu` both read lacks a factor, and nothing else reads it."""
    source = NORMALISED.replace("dz = dxhat / s", "dz = da * p['g'] / s")
    module, line = planted_module(source, tmp_path, right='dxhat = da * p["g"]', wrong="dxhat = da")
    report = gf.gradcheck(module.loss, module.backprop, module.init_params())
    assert not {number for found in report.diagnoses for _, number in found.lines} & {line + 1, line + 2}
