"""Wrong derivatives of normalisations, in several spellings."""

from __future__ import annotations

import re

import numpy as np
import pytest
from searching import explain, is_said, line_of

EPSILON = 1e-3


def batch_norm(z):
    mean = z.sum(axis=0) / len(z)
    centred = z - mean
    variance = np.mean(centred**2, axis=0)
    std = np.sqrt(variance + EPSILON)
    return centred / std


def batch_norm_by_reciprocal(z):
    inverse = 1.0 / np.sqrt(z.var(axis=0) + EPSILON)
    return (z - z.mean(axis=0)) * inverse


def layer_norm(z):
    centred = z - np.mean(z, axis=-1, keepdims=True)
    return centred / np.sqrt(np.var(z, axis=-1, keepdims=True) + EPSILON)


def root_mean_square(z):
    size = np.sqrt(np.mean(z**2, axis=-1, keepdims=True) + EPSILON)
    return z / size


AXES = {batch_norm: 0, batch_norm_by_reciprocal: 0, layer_norm: 1, root_mean_square: 1}


def network(norm, mistake="", seed=0):
    """A normalised hidden layer with a scale and a shift; squared errors."""
    rng = np.random.default_rng(seed)
    n, d, h = (int(size) for size in rng.integers(4, 9, 3))
    X, T = rng.standard_normal((n, d)), rng.standard_normal((n, 2))
    shapes = {"W": (d, h), "scale": (h,), "shift": (h,), "V": (h, 2)}
    params = {name: rng.standard_normal(shape) for name, shape in shapes.items()}

    def forward(p):
        normal = norm(X @ p["W"])
        out = p["scale"] * normal + p["shift"]
        return normal, out, out @ p["V"]

    def loss(p):
        return np.sum((forward(p)[-1] - T) ** 2)

    def mean(a):
        return a.mean(axis=AXES[norm], keepdims=True)

    normal, out, y = forward(params)
    dy = 2 * (y - T)
    dout = dy @ params["V"].T
    dnormal = dout * params["scale"]
    z = X @ params["W"]
    is_centred = norm is not root_mean_square
    centred = z - mean(z) if is_centred else z
    std = np.sqrt(mean(centred**2) + (0.0 if mistake == "without epsilon" else EPSILON))
    count = z.shape[AXES[norm]]
    of_variance = {
        "variance constant": 0.0, "both constant": 0.0, "N - 1": count / (count - 1), "doubled": 2.0, "negative": -1.0
    }.get(mistake, 1.0)  # fmt: skip
    of_mean = float(is_centred and mistake not in ("mean constant", "both constant"))
    dz = (dnormal - of_mean * mean(dnormal) - of_variance * normal * mean(dnormal * normal)) / std
    if mistake == "by the variance":
        dz = dz / std
    if mistake == "left out":
        dz = dnormal
    built_with = {"scale with z": z, "scale with centred": centred}.get(mistake, normal)
    gradient = {"W": X.T @ dz, "scale": np.sum(dout * built_with, axis=0), "shift": dout.sum(axis=0), "V": out.T @ dy}
    return forward, loss, gradient, params


SIZE = dict.fromkeys(AXES, "the variance") | {root_mean_square: "the norm"}
MISTAKES = {
    "variance constant": "what goes back through {size} is left out",
    "negative": "what goes back through {size} has the wrong sign",
    "N - 1": "on the way back {size} has N - 1 instead of N",
    "by the variance": "what goes back divides by the square of",
    "without epsilon": "the ε under the root of line",
    "left out": "its derivative is left out",
    "mean constant": "what goes back through the mean is left out",
    "both constant": "the mean and the variance are treated as constants on the way back",
}
CASES = [
    (norm, mistake)
    for norm in AXES
    for mistake in MISTAKES
    if (norm is not root_mean_square or mistake not in ("mean constant", "both constant"))
    and (norm is not batch_norm_by_reciprocal or mistake != "negative")
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("norm", "mistake"), CASES)
def test_a_wrong_derivative_of_a_normalisation_is_named_with_its_line(mistake, norm, seed):
    _, loss, gradient, params = network(norm, mistake, seed)
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, re.escape(MISTAKES[mistake].format(size=SIZE[norm])), line_of(norm, "return "))


@pytest.mark.parametrize("norm", AXES)
def test_a_factor_2_on_the_way_to_the_size_is_that_of_the_root(norm):
    _, loss, gradient, params = network(norm, "doubled")
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, re.escape("the derivative of sqrt lacks the factor 1/2"), line_of(norm, "np.sqrt("))


def test_a_wrong_sign_on_the_way_to_the_size_is_that_of_the_reciprocal():
    _, loss, gradient, params = network(batch_norm_by_reciprocal, "negative")
    (cause, *_) = explain(loss, gradient, params)
    words = re.escape("the derivative of reciprocal has the wrong sign")
    assert is_said(cause, words, line_of(batch_norm_by_reciprocal, "1.0 / np.sqrt("))


@pytest.mark.parametrize("norm", [batch_norm, layer_norm])
@pytest.mark.parametrize(
    ("mistake", "words"),
    [("scale with z", "with what is normalised"), ("scale with centred", "with what is centred, not divided,")],
)
def test_a_scale_whose_gradient_is_built_with_another_value(mistake, words, norm):
    forward, loss, gradient, params = network(norm, mistake)
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(
        cause, f"the scale's gradient is built {words} instead of the normalised value", line_of(forward, "out =")
    )


@pytest.mark.parametrize("norm", AXES)
def test_nothing_is_said_of_a_right_gradient(norm):
    _, loss, gradient, params = network(norm)
    assert explain(loss, gradient, params) == []
