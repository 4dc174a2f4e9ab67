"""Functions that cannot be traced, or not all of them: a program of their steps would compute something else.

Each must be noticed: traced rightly in part, called as a whole where it is opaque, or left to plain differences.
"""
# ruff: noqa: NPY002

from __future__ import annotations

import ctypes
import json
import math
import pickle
import random
import struct
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np


class Untraceable(NamedTuple):
    """A loss, where it is evaluated, and why its steps are not all that it computes.

    `deterministic` is whether calls at the same parameters give the same value; `needs` is a library besides NumPy.
    """

    name: str
    loss: Callable[[Any], Any]
    params: Any
    why: str
    deterministic: bool = True
    needs: str = ""


ALL: list[Untraceable] = []


def untraceable(params, why, deterministic=True, needs=""):
    """Puts a loss into the list."""

    def put(loss):
        ALL.append(Untraceable(loss.__name__, loss, params, why, deterministic, needs))
        return loss

    return put


x = np.array([0.7, -1.3, 0.4, 2.1])
A = np.array([[2.0, 0.3, 0.1], [0.3, 1.5, -0.2], [0.1, -0.2, 1.0]])
data = np.random.default_rng(0).normal(size=(6, 4))

# ---- how often a loop is run depends on values


@untraceable({"x": np.array(1.0 + 1e-9), "w": np.array([0.3, 0.8])}, "halvings until below a limit, which lies at x")
def halved_until_small(p):
    total, value = np.sum(p["w"] ** 2), p["x"] * 8
    while value >= 1.0:
        value = value / 2
        total = total + np.sin(value)
    return total


@untraceable(np.array([1.7, 0.4]), "the number of Newton steps depends on the values")
def newton_to_convergence(p):
    y = p[0]
    for _ in range(100):
        new = y - (y**3 + p[1] * y - 2) / (3 * y**2 + p[1])
        if abs(new - y) < 1e-14:
            break
        y = new
    return y**2


@untraceable(np.array([0.2, 0.3]), "fixed-point iteration, whose tolerance is met after a changing number of steps")
def fixed_point(p):
    z = np.zeros(3)
    residual = np.inf
    while residual > 1e-3:
        new = np.tanh(p[0] * (A @ z) + p[1])
        residual, z = np.max(np.abs(new - z)), new
    return np.sum(z)


@untraceable(np.array([0.5, 0.5, 1.2]), "two entries are equal, and the index of the larger is used")
def follows_the_larger(p):
    best = int(np.argmax(p[:2]))
    return p[best] * (1.0 if best == 0 else 3.0) + p[2] ** 2


# ---- values that are rounded


@untraceable(x, "values are rounded to three digits: the loss is flat between the jumps")
def rounded(p):
    return np.sum(np.round(np.tanh(p), 3) * p)


@untraceable(x, "int() cuts the fraction off in the middle of a sum")
def cut_by_int(p):
    return p[0] ** 2 + int(10 * p[1]) * p[2] + p[3]


@untraceable(x, "astype(int) makes levels")
def quantised(p):
    levels = (np.tanh(p) * 127).astype(int)
    return np.sum((levels / 127 - 0.2) ** 2) + 0.1 * np.sum(p**2)


@untraceable(x, "computed in float32, whose roundings are plateaus")
def in_single_precision(p):
    h = np.tanh(data.astype(np.float32) @ p.astype(np.float32))
    return float(np.sum(h * h))


@untraceable(x, "computed in float16 and kept in a buffer of it")
def half_precision_buffer(p):
    buffer = np.zeros(4, dtype=np.float16)
    for k in range(4):
        buffer[k] = np.exp(-(p[k] ** 2))
    return float(buffer.astype(float) @ np.arange(4.0))


@untraceable(x, "floor division and remainder")
def remainders(p):
    return np.sum(p % 0.25) + np.sum(p // 0.5) + np.fmod(p[3], 2.0) + divmod(p[3], 0.4)[1]


# ---- what a call leaves for the next one

calls = {"count": 0}


@untraceable(x, "counts its calls", deterministic=False)
def counts_calls(p):
    calls["count"] += 1
    return np.sum(p**2) + 1e-3 * calls["count"]


class RunningMean:
    def __init__(self):
        self.mean = np.zeros(6)

    def __call__(self, p):
        z = data @ p
        self.mean = 0.9 * self.mean + 0.1 * z
        return np.sum((z - self.mean) ** 2)


running = RunningMean()


@untraceable(x, "subtracts a running average, which each call moves", deterministic=False)
def running_average(p):
    return running(p)


temperature = 1.0


@untraceable(x, "a global that each call changes", deterministic=False)
def cools_down(p):
    global temperature
    temperature *= 0.999
    return np.sum(np.exp(-(p**2) / temperature))


seen: dict[float, float] = {}


@untraceable(np.array([0.5, 1.5]), "a cache by rounded values: near the first call the old value is given")
def cached_by_value(p):
    key = round(float(p[0]), 3)
    if key not in seen:
        seen[key] = math.exp(p[0])
    return seen[key] * p[1]


generator = np.random.default_rng(7)


@untraceable(x, "noise by NumPy's global generator", deterministic=False)
def legacy_noise(p):
    return np.sum((data @ p + 0.1 * np.random.randn(6)) ** 2)


@untraceable(x, "dropout by a generator that goes on from call to call", deterministic=False)
def dropout_goes_on(p):
    mask = generator.random(4) < 0.5
    return np.sum((data @ (p * mask) * 2) ** 2)


@untraceable(x, "noise by Python's generator", deterministic=False)
def python_noise(p):
    return sum(v * v * random.gauss(1.0, 0.1) for v in p)


@untraceable(x, "the time is added", deterministic=False)
def tells_the_time(p):
    return np.sum(p**2) + 1e-9 * time.perf_counter()


# ---- values that leave NumPy and come back


@untraceable(x, "values are written to a file and read again")
def through_a_file(p):
    with tempfile.TemporaryFile() as file:
        np.save(file, np.tanh(p))
        file.seek(0)
        return np.sum(np.load(file) * p)


@untraceable(x, "pickled and unpickled")
def pickled(p):
    return np.sum(np.sin(pickle.loads(pickle.dumps(p))))


@untraceable(x, "values as JSON")
def through_json(p):
    text = json.dumps({"p": [float(v) ** 2 for v in p]})
    return sum(json.loads(text)["p"])


@untraceable(x, "str() keeps six digits of each value")
def through_text(p):
    return sum(float(f"{v:.6f}") * w for v, w in zip(p, (1.0, 2.0, 3.0, 4.0), strict=True))


@untraceable(x, "float(repr(value))")
def through_repr(p):
    return sum(float(repr(float(v))) ** 2 for v in p)


@untraceable(x, "bytes by struct")
def through_struct(p):
    packed = struct.pack("<4d", *np.exp(p))
    return sum(struct.unpack("<4d", packed))


@untraceable(x, "the memory is read by a memoryview, and by frombuffer of bytes")
def through_memory(p):
    squares = np.ascontiguousarray(p * p)
    halves = np.frombuffer(squares.tobytes(), dtype=np.float64) / 2
    return sum(memoryview(squares)) + halves.sum()


@untraceable(x, "bits are looked at: the lowest of each value decides its factor")
def looks_at_bits(p):
    odd = (np.ascontiguousarray(p).view(np.int64) & 1).astype(bool)
    return np.sum(np.where(odd, 1.0, 1.0 + 1e-9) * p**2)


@untraceable(x, "a list of Python floats, sorted by Python")
def sorted_list(p):
    numbers = sorted((p**2).tolist())
    return sum((k + 1) * v for k, v in enumerate(numbers)) + max(numbers, key=lambda v: -abs(v - 0.5))


@untraceable(x, "exact decimals")
def decimals(p):
    return float(sum(Decimal(float(v)) ** 2 for v in p).sqrt())


@untraceable(x, "exact fractions")
def fractions(p):
    total = sum(Fraction(float(v)) / (1 + Fraction(float(v)) ** 2) for v in p)
    return total.numerator / total.denominator


libm = ctypes.CDLL(None)
libm.exp.restype, libm.exp.argtypes = ctypes.c_double, [ctypes.c_double]


@untraceable(x, "a function of the C library is called")
def foreign_function(p):
    return sum(libm.exp(float(v)) for v in p)


# ---- errors and branches


@untraceable(np.array([1e-9, 0.5]), "math.log raises for what is not positive, and the error is caught")
def catches_errors(p):
    try:
        return 0.01 * math.log(p[0]) + p[1] ** 2
    except ValueError:
        return p[1] ** 2 + 5.0


@np.vectorize
def soft_step(v):
    if v > 0.4:
        return v * v
    return 0.16 + 0.2 * (v - 0.4)


@untraceable(x, "a branch entry by entry, and one entry lies on its edge")
def vectorised_branch(p):
    return np.sum(soft_step(p))


@untraceable(np.array([[1.0, 2.0], [0.5, 1.5]]), "branches on whether an array is a certain one, which it is only here")
def compares_whole_arrays(p):
    if np.allclose(p, [[1.0, 2.0], [0.5, 1.5]], atol=1e-7):
        return np.sum(p)
    return np.sum(p**3)


# ---- functions that NumPy computes in C, without steps


@untraceable(np.linspace(-1, 1, 8) ** 3, "complex numbers of a Fourier transform")
def power_spectrum(p):
    return np.sum(np.abs(np.fft.rfft(np.tanh(p))) ** 2 * np.arange(5.0))


@untraceable(A, "eigenvalues of a symmetric matrix")
def eigenvalues(p):
    values, vectors = np.linalg.eigh(p @ p.T)
    return np.sum(np.log(values)) + np.abs(vectors[0]) @ values


@untraceable(A + np.triu(A), "singular values")
def singular_values(p):
    return np.linalg.svd(p, compute_uv=False).sum() + 0.1 * np.linalg.norm(p, 2)


@untraceable(x, "interpolation in a table")
def interpolated(p):
    return np.sum(np.interp(p, np.linspace(-3, 3, 13), np.sin(np.linspace(-3, 3, 13))))


@untraceable(x, "counts in bins do not move")
def histogram(p):
    counts, edges = np.histogram(data @ p, bins=4)
    return np.sum(counts * edges[1:]) / 6


@untraceable(x, "a least-squares polynomial")
def polynomial_fit(p):
    return np.sum(np.polyfit(np.arange(4.0), p, 2) ** 2)


@untraceable(x, "a convolution in C")
def convolved(p):
    return np.sum(np.convolve(np.tanh(p), [0.2, 0.5, 0.3], mode="same") ** 2)


@untraceable(x[:2], "a minimum that SciPy searches for", needs="scipy")
def inner_minimum(p):
    from scipy.optimize import minimize_scalar

    return minimize_scalar(lambda t: (t - p[0]) ** 2 + 0.5 * (t * p[1] - 1) ** 2).fun


@untraceable(np.array([0.8, 0.3]), "a differential equation with steps that SciPy chooses", needs="scipy")
def adaptive_ode(p):
    from scipy.integrate import solve_ivp

    path = solve_ivp(lambda t, y: [y[1], -p[0] * y[0] - p[1] * y[1]], (0.0, 2.0), [1.0, 0.0], rtol=1e-9, atol=1e-9)
    return path.y[0, -1]


# ---- the argument


class Model:
    def __init__(self):
        self.w = x.copy()

    def loss(self):
        return np.sum(np.tanh(data @ self.w) ** 2)


model = Model()


@untraceable(x, "the argument is ignored: the loss reads the model's own weights")
def ignores_its_argument(p):
    return model.loss()


@untraceable(x, "the parameters are changed in place")
def writes_into_its_argument(p):
    p *= 0.5
    return np.sum(p**2)


@untraceable({"w": x, "b": np.array([0.1])}, "an array of the argument is replaced by another")
def replaces_an_array(p):
    p["w"] = p["w"] * 0.5
    return np.sum(p["w"] ** 2) + p["b"][0]
