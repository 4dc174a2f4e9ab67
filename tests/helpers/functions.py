"""Functions with known gradients, of every kind that makes finite differences err."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import NamedTuple

import numpy as np


class Function(NamedTuple):
    """f, its gradient, and where to look; `noise` is how much of its values is noise, beyond roundings."""

    name: str
    kind: str
    f: Callable
    gradient: Callable
    x: np.ndarray
    noise: float = 0.0


def _points(size, *seed):
    return np.random.default_rng(seed).normal(size=size)


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def _jitters(x):
    """Noise from -1 to 1 that depends on the last bits of x, always the same."""
    bits = np.ascontiguousarray(x.real).view(np.uint64)
    mixed = np.bitwise_xor.reduce((bits ^ (bits >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15), keepdims=True)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
    return float(mixed[0] >> np.uint64(11)) / 2.0**52 - 1.0


def _logarithms(p):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sum(np.log(p))


def _smooth(seed):
    x = _points(12, 1, seed)
    A = _points((12, 12), 2, seed) / 4
    W, y = _points((5, 12), 3, seed) / 3, _points(5, 4, seed)
    yield "sines", lambda p: np.sum(np.sin(p)), np.cos, x
    yield "gaussian", lambda p: np.exp(-0.5 * p @ p / 10), lambda p: -p / 10 * np.exp(-0.5 * p @ p / 10), x
    yield "rosenbrock", _rosenbrock, _rosenbrock_gradient, x / 2
    yield "log-sum-exp", lambda p: np.log(np.sum(np.exp(p))), lambda p: np.exp(p) / np.sum(np.exp(p)), x
    yield "quadratic form", lambda p: p @ A @ p, lambda p: (A + A.T) @ p, x
    yield "quartic", lambda p: np.sum(p**4 - 3 * p**2 + p), lambda p: 4 * p**3 - 6 * p + 1, x
    yield "rational", lambda p: np.sum(1 / (1 + p * p)), lambda p: -2 * p / (1 + p * p) ** 2, x
    yield (
        "small network",
        lambda p: 0.5 * np.sum((np.tanh(W @ p) - y) ** 2),
        lambda p: W.T @ ((np.tanh(W @ p) - y) * (1 - np.tanh(W @ p) ** 2)),
        x,
    )
    yield "product", lambda p: np.prod(1.5 + np.sin(p)), _product_gradient, x
    yield "softplus", lambda p: np.sum(np.logaddexp(0, 3 * p)), lambda p: 3 * _sigmoid(3 * p), x


def _rosenbrock(p):
    return np.sum(100 * (p[1:] - p[:-1] ** 2) ** 2 + (1 - p[:-1]) ** 2)


def _rosenbrock_gradient(p):
    g = np.zeros_like(p)
    g[1:] += 200 * (p[1:] - p[:-1] ** 2)
    g[:-1] += -400 * p[:-1] * (p[1:] - p[:-1] ** 2) - 2 * (1 - p[:-1])
    return g


def _product_gradient(p):
    return np.prod(1.5 + np.sin(p)) * np.cos(p) / (1.5 + np.sin(p))


def _badly_scaled(seed):
    u, scales = _points(9, 5, seed), 10.0 ** np.arange(-8, 9, 2)
    for s in (1e-8, 1e-4, 1e4, 1e8):
        yield f"sine of scale {s:g}", lambda p, s=s: np.sum(np.sin(p / s)), lambda p, s=s: np.cos(p / s) / s, s * u
    for s in (1e-8, 1e8):
        yield f"values of size {s:g}", lambda p, s=s: s * np.sum(np.exp(p)), lambda p, s=s: s * np.exp(p), u
    yield "each its own scale", lambda p: np.sum(np.sin(p / scales)), lambda p: np.cos(p / scales) / scales, scales * u
    yield (
        "logarithms of 1e-8 to 1e8",
        _logarithms,
        lambda p: 1 / p,
        scales * np.abs(u),
    )
    yield "sums of squares", lambda p: np.sum((p / scales) ** 2), lambda p: 2 * p / scales**2, scales * u


def _oscillating(seed):
    x = _points(8, 6, seed)
    for k in (1e2, 1e4, 1e6):
        yield f"sine of {k:g} x", lambda p, k=k: np.sum(np.sin(k * p)), lambda p, k=k: k * np.cos(k * p), x
    yield "chirp", lambda p: np.sum(np.sin(30 * p**2)), lambda p: 60 * p * np.cos(30 * p**2), x
    yield (
        "ripples on a slope",
        lambda p: np.sum(p * p + 1e-3 * np.sin(1e3 * p)),
        lambda p: 2 * p + np.cos(1e3 * p),
        x,
    )
    yield (
        "damped",
        lambda p: np.sum(np.exp(-p) * np.cos(200 * p)),
        lambda p: -np.exp(-p) * (np.cos(200 * p) + 200 * np.sin(200 * p)),
        x,
    )


def _noisy(seed):
    x = _points(10, 7, seed)
    yield "sines, noise 1e-10", lambda p: np.sum(np.sin(p)) + 1e-10 * _jitters(p), np.cos, x, 1e-10
    yield "exponentials, noise 1e-10", lambda p: np.sum(np.exp(p)) + 1e-10 * _jitters(p), np.exp, x, 1e-10
    yield "squares, noise 1e-10", lambda p: p @ p + 1e-10 * _jitters(p), lambda p: 2 * p, x, 1e-10
    yield "rounded to 10 digits", lambda p: np.round(np.sum(np.tanh(p)), 10), lambda p: 1 / np.cosh(p) ** 2, x, 1e-10
    yield "iterated to 1e-10", _babylonian, lambda p: 0.5 / np.sqrt(1 + p * p) * 2 * p, x, 1e-10
    yield (
        "cancelling",
        lambda p: np.sum((1e6 + np.sin(p)) - 1e6),
        np.cos,
        x,
        1e-10,
    )


def _babylonian(p):
    a = 1 + p * p
    r = a.copy()
    while np.max(np.abs(r * r - a)) > 1e-10 * np.max(a):
        r = 0.5 * (r + a / r)
    return np.sum(np.round(r, 10))


def _kinked(seed):
    x = _points(8, 8, seed)
    zeros = np.where(np.arange(8) % 2, x, 0.0)
    yield "absolute values", lambda p: np.sum(np.abs(p)), np.sign, x
    yield "absolute values at 0", lambda p: np.sum(np.abs(p)), np.sign, zeros
    yield "rectifiers at 0", lambda p: np.sum(np.maximum(p, 0) * 3), lambda p: 3.0 * (p > 0), zeros
    yield "maximum", np.max, lambda p: (p == p.max()).astype(float), x
    yield (
        "hinges",
        lambda p: np.sum(np.maximum(0, 1 - 2 * p)) + 0.1 * p @ p,
        lambda p: -2.0 * (2 * p < 1) + 0.2 * p,
        x,
    )
    near = x[0] + 1e-7 * np.arange(8)
    yield "kinks close by", lambda p: np.sum(np.abs(p - x[0]) + p * p), lambda p: np.sign(p - x[0]) + 2 * p, near
    yield (
        "leaky",
        lambda p: np.sum(np.where(p > 0, np.sin(p), 0.01 * p)),
        lambda p: np.where(p > 0, np.cos(p), 0.01),
        zeros,
    )


def _flat_and_straight(seed):
    x, c = _points(10, 9, seed), _points(10, 10, seed)
    yield "zero", lambda p: 0.0, np.zeros_like, x, "constant"
    yield "one million", lambda p: 1e6, np.zeros_like, x, "constant"
    yield "unused entries", lambda p: np.sin(p[0]), lambda p: np.cos(p) * (np.arange(p.size) == 0), x, "constant"
    yield "sum", np.sum, np.ones_like, x, "linear"
    yield "weighted sum", lambda p: c @ p + 7.0, lambda p: c.copy(), x, "linear"
    yield "large offset", lambda p: c @ p + 1e6, lambda p: c.copy(), x, "linear"
    weights = c * 10.0 ** np.arange(-5, 5)
    yield "weights 1e-5 to 1e4", lambda p: weights @ p, lambda p: weights.copy(), x, "linear"


def _discontinuous(seed):
    x = _points(8, 11, seed)
    zeros = np.where(np.arange(8) % 2, x, 0.0)
    yield "steps far away", lambda p: np.sum(np.sin(p) + (p > 9)), np.cos, x
    yield "floors", lambda p: np.sum(np.floor(10 * p) + p * p), lambda p: 2 * p, x
    yield "steps at 0", lambda p: np.sum(np.sin(p) + (p > 0)), np.cos, zeros
    yield "signs at 0", lambda p: np.sum(np.sign(p) + np.exp(p)), np.exp, zeros
    yield "small steps at 0", lambda p: np.sum(np.cos(p) + 1e-6 * (p > 0)), lambda p: -np.sin(p), zeros


def functions(seed=0):
    """All of them, at points of that seed."""
    for kind, family in (
        ("smooth", _smooth), ("badly scaled", _badly_scaled), ("oscillating", _oscillating), ("noisy", _noisy),
        ("kinked", _kinked), ("discontinuous", _discontinuous),
    ):  # fmt: skip
        for name, f, gradient, x, *noise in family(seed):
            yield Function(name, kind, f, gradient, x, *noise)
    for name, f, gradient, x, kind in _flat_and_straight(seed):
        yield Function(name, kind, f, gradient, x)


# ---- how well a gradient is found

#: What others find a gradient with, by name: a module, and a function of it, of f and of x.
PEERS = {
    "SciPy, 3-point": ("scipy.optimize._numdiff", lambda m, f, x: m.approx_derivative(f, x, method="3-point")),
    "numdifftools": ("numdifftools", lambda m, f, x: m.Gradient(f)(x)),
}


def peers():
    """Those that are installed, as functions of f and x."""
    found = {}
    for name, (module, find) in PEERS.items():
        try:
            found[name] = partial(find, import_module(module))
        except ImportError:
            continue
    return found


class Counted:
    """A function that counts its calls."""

    def __init__(self, f):
        self.f, self.calls = f, 0

    def __call__(self, x):
        self.calls += 1
        return self.f(x)


def sizes(function):
    """What errors of the entries are measured by: their own size, or a part of the array's."""
    true = np.abs(function.gradient(function.x))
    return np.maximum(true, 1e-3 * np.sqrt(np.mean(true**2)))


def relative_errors(function, found):
    errors, size = np.abs(found - function.gradient(function.x)), sizes(function)
    relative = np.divide(errors, size, out=np.where(errors == 0.0, 0.0, np.inf), where=size > 0.0)
    return np.where(np.isfinite(relative), relative, np.inf)


def measure(find):
    """The relative errors of ``find(f, x)`` for all functions, and how many calls of these it took, both by kind."""
    errors, calls = {}, {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for function in functions():
            counted = Counted(function.f)
            found = np.atleast_1d(find(counted, function.x))
            errors.setdefault(function.kind, []).extend(relative_errors(function, found))
            calls[function.kind] = calls.get(function.kind, 0) + counted.calls
    return errors, calls
