"""gradcheck(): gradients that are made of what the loss has kept, and numbers of less than float64 on the way."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

# ---- what a gradient is made of


class Cached:
    """A network whose backward pass uses what its last forward pass has kept."""

    def __init__(self):
        self.a = None

    def loss(self, p):
        self.a = np.tanh(p)
        return np.sum(self.a**2)

    def gradient(self, p):
        return 2 * self.a * (1 - self.a**2)


@pytest.mark.parametrize("method", ["auto", "direct", "complex", "directional"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_gradient_from_a_cache_is_that_of_these_parameters(method, dtype):
    network, p = Cached(), np.random.default_rng(0).normal(size=30).astype(dtype)
    assert gf.gradcheck(network.loss, network.gradient, p, method=method), "nothing was kept before"
    network.loss(3 * p)
    assert gf.gradcheck(network.loss, network.gradient, p, method=method), "of other parameters"


def test_a_cache_of_a_vectorised_loss():
    network, p = Cached(), np.random.default_rng(0).normal(size=30)
    loss = lambda q: np.sum(np.atleast_2d(np.square(network.loss(q) and network.a)), axis=-1)
    assert gf.gradcheck(loss, lambda q: network.gradient(q).reshape(-1), p, vectorized=True)


# ---- the coarsest numbers on the way


def logistic(z, y):
    return float(np.sum(np.logaddexp(0.0, z) - y * z))


@pytest.mark.parametrize("labels", [np.int64, np.float64, bool])
@pytest.mark.parametrize("as_function", [False, True])
def test_a_float64_gradient_of_float32_parameters(labels, as_function):
    """float32 minus int64 is float64 in NumPy."""
    z, y = np.array([0.5, -1.2, 2.0], np.float32), np.array([1, 0, 1]).astype(labels)
    gradient = lambda z: 1 / (1 + np.exp(-z)) - y.astype(float)
    assert gradient(z).dtype == np.float64
    assert gf.gradcheck(lambda z: logistic(z, y), gradient if as_function else gradient(z), z)
    wrong = lambda z: gradient(z) * np.array([1.0, 1.0, 1.001])
    assert gf.gradcheck(lambda z: logistic(z, y), wrong if as_function else wrong(z), z).verdict == "FAIL"


@pytest.mark.parametrize("method", ["auto", "directional"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_one_array_of_parameters_is_coarse(method, dtype):
    rng = np.random.default_rng(0)
    p = {"w": rng.normal(size=(4, 3)).astype(dtype), "b": rng.normal(size=3)}
    X = rng.normal(size=(5, 4))
    z = lambda p: X.astype(dtype) @ p["w"]
    exact = lambda p: np.sum(np.tanh(X.astype(dtype).astype(float) @ p["w"].astype(float) + p["b"]))

    def gradient(p):
        d = 1 - np.tanh(z(p).astype(float) + p["b"]) ** 2
        return {"w": X.T @ d, "b": d.sum(axis=0)}

    given = gradient(p)
    assert {array.dtype for array in given.values()} == {np.dtype(float)}
    assert gf.gradcheck(exact, given, p, method=method)
    given["b"][1] *= 1.5
    assert gf.gradcheck(exact, given, p, method=method).verdict == "FAIL"


def test_float64_parameters_are_checked_as_closely_as_before():
    z, y = np.array([0.5, -1.2, 2.0]), np.array([1, 0, 1])
    gradient = (1 / (1 + np.exp(-z.astype(np.float32))) - y).astype(float)
    assert gf.gradcheck(lambda z: logistic(z, y), gradient, z).verdict == "FAIL"


@pytest.mark.parametrize("gradient_in_double", [True, False])
def test_saturated_float32_parameters(gradient_in_double):
    """1 - s cancels. A gradient that refuses float64 is not taken for one that was found in it."""
    z, y = np.array([1.0, 3.0, 8.0] if not gradient_in_double else [8.0, 9.0, 10.0], np.float32), np.array([1, 1, 1])

    def gradient(p):
        if p.dtype == np.float64 and not gradient_in_double:
            raise TypeError("float32 only")
        return 1 / (1 + np.exp(-p)) - y

    assert gf.gradcheck(lambda p: float(np.sum(np.logaddexp(0.0, -p))), gradient, z).verdict != "FAIL"
