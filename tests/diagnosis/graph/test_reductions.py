"""Wrong derivatives of maxima, means and pools, and of what is broadcast."""

from __future__ import annotations

import re

import numpy as np
import pytest
from searching import explain, is_said, line_of

# ---- pools


def by_reshape(r, pool):
    n, c = r.shape[:2]
    windows = r.reshape(n, c, 2, 2, 2, 2)
    return pool(windows, axis=(3, 5))


def by_loops(r, pool):
    out = np.zeros((*r.shape[:2], 2, 2))
    for i in range(2):
        for j in range(2):
            out[:, :, i, j] = pool(r[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2], axis=(2, 3))
    return out


POOL_LINE = {by_reshape: "return pool(", by_loops: "out[:, :, i, j] ="}


def pooled(spelling, pool, mistake="", seed=0):
    """Two channels made of one image by a product, a rectifier and a pool of 2 by 2."""
    rng = np.random.default_rng(seed)
    n, c = 3, int(rng.integers(2, 5))
    X, T = rng.standard_normal((n, 4, 4, 3)), rng.standard_normal((n, 2))
    params = {"W": rng.standard_normal((3, c)), "b": rng.standard_normal(c), "V": rng.standard_normal((4 * c, 2))}

    def forward(p):
        z = X @ p["W"] + p["b"]
        a = np.tanh(z).transpose(0, 3, 1, 2)
        out = spelling(a, pool)
        return z, a, out

    def loss(p):
        return np.sum((forward(p)[-1].reshape(n, -1) @ p["V"] - T) ** 2)

    _, a, out = forward(params)
    dy = 2 * (out.reshape(n, -1) @ params["V"] - T)
    dout = (dy @ params["V"].T).reshape(out.shape)
    flat = a.reshape(n, c, 2, 2, 2, 2).swapaxes(3, 4).reshape(n, c, 2, 2, 4)
    if pool is np.mean:
        weights = {"not divided": 1.0, "by 2": 0.5}.get(mistake, 0.25) * np.ones_like(flat)
        if mistake == "first":
            weights = 0.25 * np.eye(4)[np.zeros(out.shape, int)]
    else:
        winners = {"least": flat.argmin(-1), "first": np.zeros(out.shape, int)}.get(mistake, flat.argmax(-1))
        weights = {"all": np.ones_like(flat), "shares": np.full_like(flat, 0.25)}.get(mistake, np.eye(4)[winners])
    dwindows = (dout[..., np.newaxis] * weights).reshape(n, c, 2, 2, 2, 2).swapaxes(3, 4)
    dz = (dwindows.reshape(a.shape) * (1 - a**2)).transpose(0, 2, 3, 1)
    db = {
        "bias of one position": dz[:, 0, 0].sum(axis=0),
        "bias of the first image": dz[0].sum(axis=(0, 1)),
        "bias averaged": dz.mean(axis=(0, 1, 2)),
        "bias without axis": np.full(dz.shape[-1], dz.sum()),
    }.get(mistake, dz.sum(axis=(0, 1, 2)))
    gradient = {"W": np.einsum("nijk,nijc->kc", X, dz), "b": db, "V": out.reshape(n, -1).T @ dy}
    return forward, loss, gradient, params


@pytest.mark.parametrize("spelling", POOL_LINE)
@pytest.mark.parametrize(
    ("pool", "mistake", "words"),
    [
        (np.max, "all", "goes to all entries, not to the largest alone"),
        (np.max, "shares", "goes to all entries in equal shares"),
        (np.max, "least", "goes to the entry at the other end"),
        (np.max, "first", "goes to the first entry, not to the largest"),
        (np.mean, "not divided", "the mean is taken for a sum on the way back: it is not divided by 4"),
        (np.mean, "by 2", "the mean's derivative is multiplied by 2: it is divided by 2, not by 4"),
        (np.mean, "first", "what goes back through the mean goes to the first entry alone"),
    ],
)
def test_a_pool_whose_sensitivity_goes_elsewhere_is_named_with_its_line(pool, mistake, words, spelling):
    _, loss, gradient, params = pooled(spelling, pool, mistake)
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, re.escape(words), line_of(spelling, POOL_LINE[spelling]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("bias of one position", "is that of the first entry along the axes 1, 2, not their sum"),
        ("bias of the first image", "is that of the first entry along axis 0, not their sum"),
        ("bias averaged", "is averaged instead of summed along the axes 0, 1, 2"),
        ("bias without axis", "is summed along all axes: all of its entries are the same sum"),
    ],
)
def test_a_bias_that_is_not_summed_is_named_with_its_line(mistake, words, seed):
    forward, loss, gradient, params = pooled(by_reshape, np.max, mistake, seed)
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, re.escape(words), line_of(forward, "z = X @"))


@pytest.mark.parametrize("spelling", POOL_LINE)
@pytest.mark.parametrize("pool", [np.max, np.mean])
def test_nothing_is_said_of_a_right_pool(pool, spelling):
    _, loss, gradient, params = pooled(spelling, pool)
    assert explain(loss, gradient, params) == []


# ---- sums


def square(mistake=""):
    """As many samples as outputs, so that a sum over the wrong axis has the right shape."""
    rng = np.random.default_rng(5)
    X, T = rng.standard_normal((4, 3)), rng.standard_normal((4, 4))
    params = {"W": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)}

    def loss(p):
        y = X @ p["W"] + p["b"]
        return np.sum((y - T) ** 2)

    dy = 2 * (X @ params["W"] + params["b"] - T)
    return loss, {"W": X.T @ dy, "b": dy.sum(axis=1 if mistake else 0)}, params


def test_a_bias_that_is_summed_over_the_wrong_axis():
    loss, gradient, params = square("wrong axis")
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, "is summed along axis 1 instead of axis 0", line_of(loss, "y = X"))
    loss, gradient, params = square()
    assert explain(loss, gradient, params) == []


def test_nothing_is_said_of_a_single_entry_that_has_the_same_number_by_chance():
    """The gradient of one number lacks the targets, the first of which is zero: it is no gradient of one entry."""
    rng = np.random.default_rng(6)
    x, t = rng.standard_normal((6, 3)), np.array([0.0, 1.3, -0.4, 2.0, 0.7, 1.1])
    params = {"w": rng.standard_normal(3), "c": np.array(0.6)}

    def loss(p):
        return np.sum(np.exp(x @ p["w"]) + t * p["c"])

    gradient = {"w": x.T @ np.exp(x @ params["w"]), "c": np.array(t[0])}
    assert not any("first entry" in cause for cause in explain(loss, gradient, params))


def running(mistake=""):
    """A running sum along the samples."""
    rng = np.random.default_rng(6)
    X, T = rng.standard_normal((6, 3)), rng.standard_normal((6, 4))
    params = {"W": rng.standard_normal((3, 4))}

    def loss(p):
        y = np.cumsum(X @ p["W"], axis=0)
        return np.sum((y - T) ** 2)

    dy = 2 * (np.cumsum(X @ params["W"], axis=0) - T)
    dz = {"not summed": dy, "from the beginning": np.cumsum(dy, axis=0)}.get(mistake, np.cumsum(dy[::-1], axis=0)[::-1])
    return loss, {"W": X.T @ dz}, params


@pytest.mark.parametrize(
    ("mistake", "words"),
    [("not summed", "running sum is not summed"), ("from the beginning", "is summed from the beginning")],
)
def test_a_running_sum(mistake, words):
    loss, gradient, params = running(mistake)
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, words, line_of(loss, "np.cumsum"))
    loss, gradient, params = running()
    assert explain(loss, gradient, params) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_mean_that_is_taken_over_the_entries_that_are_not_zero(seed):
    rng = np.random.default_rng(seed)
    x, params = rng.normal(size=(9, 3)), {"w": 1 + rng.random(3)}
    x[0], x[1], x[2] = -1, 1, 2  # some are active, and some are not

    def loss(p):
        margins = np.maximum(0, x @ p["w"] + 0.5)
        return np.mean(margins)

    active = x @ params["w"] + 0.5 > 0
    count = int(active.sum())
    (cause,) = explain(loss, {"w": x.T @ active / count}, params)
    assert is_said(cause, f"the mean divides by {count}, the number of entries that are not 0, not by 9", line_of(
        test_a_mean_that_is_taken_over_the_entries_that_are_not_zero, "return np.mean(margins)"))  # fmt: skip
