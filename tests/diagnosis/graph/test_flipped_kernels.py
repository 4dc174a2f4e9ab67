"""Mistakes with kernels and pools in loops over images and positions, whose backward pass loops over filters, too."""

from __future__ import annotations

import inspect
from itertools import product

import numpy as np
import pytest

import gradcheck_fast as gf


def convolved(x, kernel):
    n, _, height, width = x.shape
    out = np.zeros((n, len(kernel), height - 1, width - 1))
    for k, i, j in product(range(n), range(height - 1), range(width - 1)):
        out[k, :, i, j] = np.sum(x[k, :, i : i + 2, j : j + 2] * kernel, axis=(1, 2, 3))
    return out


def convolved_back(dout, x, kernel, mistake):
    n, filters, height, width = dout.shape
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for k, i, j, f in product(range(n), range(height), range(width), range(filters)):
        window = dx[k, :, i : i + 2, j : j + 2]
        going_back = dout[k, f, i, j] * (kernel[f][:, ::-1, ::-1] if mistake == "flipped" else kernel[f])
        window[...] = going_back if mistake == "overwritten" else window + going_back
        of_kernel = dout[k, f, i, j] * x[k, :, i : i + 2, j : j + 2]
        dkernel[f] = of_kernel if mistake == "kernel overwritten" else dkernel[f] + of_kernel
    return dx, dkernel


def pooled(x):
    out = np.zeros((*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2))
    for i, j in np.ndindex(out.shape[2:]):
        out[:, :, i, j] = np.amax(x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2], axis=(2, 3))
    return out


def pooled_back(dout, x, mistake):
    dx = np.zeros_like(x)
    for k, c, i, j in np.ndindex(dout.shape):
        window = x[k, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        a, b = np.unravel_index(window.argmax(), window.shape)
        if mistake == "winner":
            a, b = b, a
        dx[k, c, 2 * i + a, 2 * j + b] += dout[k, c, i, j]
    return dx


def network(seed, mistake):
    rng = np.random.default_rng(seed)
    x, target = rng.standard_normal((2, 2, 6, 6)), rng.standard_normal((2, 2))
    params = {
        "k1": rng.standard_normal((3, 2, 2, 2)),
        "k2": rng.standard_normal((2, 3, 2, 2)),
        "w": rng.standard_normal((8, 2)),
    }

    def forward(p):
        a = np.tanh(convolved(x, p["k1"]))
        b = np.tanh(convolved(a, p["k2"]))
        flat = pooled(b).reshape(2, -1)
        return a, b, flat, flat @ p["w"]

    def loss(p):
        return 0.5 * np.sum((forward(p)[3] - target) ** 2)

    def gradient(p):
        a, b, flat, out = forward(p)
        dpooled = ((out - target) @ p["w"].T).reshape(2, 2, 2, 2)
        if mistake == "order":
            dpooled = dpooled.transpose(0, 2, 3, 1)
        db = pooled_back(dpooled, b, mistake) * (1 - b * b)
        da, dk2 = convolved_back(db, a, p["k2"], mistake)
        _, dk1 = convolved_back(da * (1 - a * a), x, p["k1"], mistake)
        return {"k1": dk1, "k2": dk2, "w": flat.T @ (out - target)}

    return loss, gradient(params), params


def line_of(function, piece):
    lines, first = inspect.getsourcelines(function)
    return next(first + k for k, text in enumerate(lines) if piece in text)


_WINDOWS = (convolved, "np.sum(x[k")


@pytest.mark.parametrize("seed", [1, 6])  # with others no winner of the pool is in the last window
@pytest.mark.parametrize(
    ("mistake", "words", "where"),
    [
        ("flipped", "the kernel k2 is flipped in what goes back to its input", _WINDOWS),
        ("overwritten", "overwritten instead of added, only one of the windows counts, of the last filter", _WINDOWS),
        ("kernel overwritten", "is overwritten by each turn of the loops, only the last counts", _WINDOWS),
        ("winner", "two axes of each window are exchanged, those of the entry that is chosen,", (pooled, "np.amax")),
        ("order", "are put back in another order, transposed, or column after column", (network, "flat = pooled")),
    ],
)
def test_a_mistake_in_loops_is_named(mistake, words, where, seed):
    first, *_ = gf.gradcheck(*network(seed, mistake)).diagnoses
    assert words in first.cause
    assert (__file__, line_of(*where)) in first.lines


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_said_of_right_gradients_and_of_noise(seed):
    loss, gradient, params = network(seed, "")
    assert gf.gradcheck(loss, gradient, params).ok
    rng = np.random.default_rng(seed)
    noisy = {name: array * (1 + 0.1 * rng.standard_normal(array.shape)) for name, array in gradient.items()}
    assert not gf.gradcheck(loss, noisy, params).diagnoses
