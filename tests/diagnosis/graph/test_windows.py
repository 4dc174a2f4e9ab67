"""Mistakes with convolutions and pools are named in whatever way the windows are written."""

from __future__ import annotations

import inspect
import re

import convolutions
import numpy as np
import pytest

import gradcheck_fast as gf

#: By mistake, what is said of it.
SAID = {
    "last": r"several windows is overwritten instead of added",
    "first": r"several windows is overwritten instead of added",
    "stride": r"the stride 2 is forgotten on the way back",
    "stride of the kernel": r"the stride 2 is forgotten in the gradient of what it is multiplied by",
    "flipped": r"the kernel w2 is flipped in what goes back to its input",
    "channels": r"the kernel w2 has its axes 0 and 1 exchanged in what goes back to its input",
    "kernel's gradient flipped": r"flipped",
    "border at the end": r"border of the padding is cut off at the wrong place \(\[0:\d, 0:\d, 0:\d, 0:\d\] is taken",
    "border at the beginning": r"border of the padding is cut off at the wrong place",
}
#: The mistakes that are made where the windows are read.
AT_WINDOWS = ("last", "first", "stride", "stride of the kernel")


def network(convolution, mistake, seed):
    """Two convolutions, of which the second has stride 2, overlapping windows and padding."""
    rng = np.random.default_rng(seed)
    n, c = (int(size) for size in rng.choice([1, 2, 3], 2, replace=False))
    f = 2 if c == 3 else 3
    x = rng.standard_normal((n, c, int(rng.integers(5, 7)), 5))
    params = {
        "w1": rng.standard_normal((f, c, 2, 2)),
        "b1": rng.standard_normal(f),
        "w2": rng.standard_normal((f, f, 3, 3)),
        "b2": rng.standard_normal(f),
    }

    def forward(p):
        h = np.tanh(convolution(x, p["w1"], p["b1"], 1, 0))
        return h, convolution(h, p["w2"], p["b2"], 2, 1)

    def loss(p):
        return 0.5 * np.sum(forward(p)[1] ** 2)

    def gradient(p):
        h, out = forward(p)
        dh, dw2, db2 = convolutions.back(out, h, p["w2"], 2, 1, mistake)
        _, dw1, db1 = convolutions.back(dh * (1 - h * h), x, p["w1"], 1, 0, "")
        return {"w1": dw1, "b1": db1, "w2": dw2, "b2": db2}

    return loss, gradient(params), params


def line_of(function, piece):
    lines, first = inspect.getsourcelines(function)
    return next(first + k for k, text in enumerate(lines) if piece in text)


@pytest.mark.parametrize("way", convolutions.WAYS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_nothing_is_said_of_a_right_convolution(way, seed):
    report = gf.gradcheck(*network(convolutions.WAYS[way][0], "", seed))
    assert report.ok and not report.diagnoses


@pytest.mark.parametrize("way", convolutions.WAYS)
@pytest.mark.parametrize("mistake", SAID)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_mistake_in_a_convolution_is_named(way, mistake, seed):
    report = gf.gradcheck(*network(convolutions.WAYS[way][0], mistake, seed))
    assert re.search(SAID[mistake], report.diagnoses[0].cause), report


@pytest.mark.parametrize("way", ["positions", "columns", "index"])
@pytest.mark.parametrize("mistake", AT_WINDOWS)
def test_the_line_that_reads_the_windows_is_named(way, mistake):
    convolution, piece = convolutions.WAYS[way]
    lines = [line_of(convolution, piece)]
    if way == "positions":  # a view is read where it is used
        lines.append(line_of(convolution, "np.sum(window * w[f]"))
    cause = gf.gradcheck(*network(convolution, mistake, 0)).diagnoses[0].cause
    assert any(cause.startswith(f"convolutions.py line {line}") for line in lines), cause


@pytest.mark.parametrize("way", convolutions.WAYS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_nothing_is_said_of_an_unknown_error(way, seed):
    loss, gradient, params = network(convolutions.WAYS[way][0], "", seed)
    rng = np.random.default_rng(seed)
    wrong = {name: g + 0.1 * rng.standard_normal(g.shape) for name, g in gradient.items()}
    assert gf.gradcheck(loss, wrong, params).diagnoses == ()


def test_a_kernel_that_is_overwritten_by_each_sample():
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((3, 6)), rng.standard_normal((3, 4))
    params = {"w": rng.standard_normal(3), "b": rng.standard_normal(4)}

    def forward(p):
        out = np.zeros((3, 4))
        for n in range(3):
            for i in range(4):
                out[n, i] = np.sum(x[n, i : i + 3] * p["w"][:]) + p["b"][i]
        return out

    def loss(p):
        return 0.5 * np.sum((forward(p) - target) ** 2)

    d = forward(params) - target
    last = sum(d[2, i] * x[2, i : i + 3] for i in range(4))
    cause = gf.gradcheck(loss, {"w": last, "b": d.sum(axis=0)}, params).diagnoses[0].cause
    assert "only the last" in cause and "out[n, i] = np.sum(" in cause
