"""Forty right backward passes at points at which checkers accuse them."""

import numpy as np

from .case import Case, elementwise, numbers
from .planted import SQUARE, SQUARE_BACK, layer_norm, sigmoid, softmax


def softplus_of_torch(x):
    return np.where(x > 20.0, x, np.log1p(np.exp(np.minimum(x, 20.0))))


def smallest(x):
    return np.sort(x)[:2]


def smallest_backward(v, x):
    found = np.zeros_like(x)
    found[np.argsort(x, kind="stable")[:2]] = v
    return (found,)


def pooled(x):
    return x.reshape(-1, 2).max(-1)


def pooled_backward(v, x):
    pairs, found = x.reshape(-1, 2), np.zeros((len(x) // 2, 2))
    found[np.arange(len(pairs)), pairs.argmax(-1)] = v
    return (found.ravel(),)


def logsumexp(x):
    return x.max(-1) + np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1))


def layer_norm_backward(v, x):
    y, spread = layer_norm(x), np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return ((v - v.mean(-1, keepdims=True) - y * (v * y).mean(-1, keepdims=True)) / spread,)


def softmax_backward(v, x):
    p = softmax(x)
    return (p * (v - (v * p).sum(-1, keepdims=True)),)


def in_float32(x):
    """Computes in float32, and gives float64."""
    return np.tanh(x.astype(np.float32)).astype(np.float64)


def root_by_newton(x):
    """The square root as an iteration that stops early finds it."""
    y = np.ones_like(x)
    for _ in range(50):
        if np.abs(y * y - x).max() <= 1e-9:
            break
        y = 0.5 * (y + x / y)
    return y


def norm_backward(v, x):
    return (v * x / np.linalg.norm(x),)


def overlapping(x):
    return np.concatenate([x[:4] * x[2:6], x[1:5]])


def overlapping_backward(v, x):
    found = np.zeros_like(x)
    found[:4] += v[:4] * x[2:6]
    found[2:6] += v[:4] * x[:4]
    found[1:5] += v[4:]
    return (found,)


def selu(x):
    return 1.0507009873554805 * np.where(x > 0.0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0)))


def selu_slope(x):
    return 1.0507009873554805 * np.where(x > 0.0, 1.0, 1.6732632423543772 * np.exp(np.minimum(x, 0.0)))


def positive_only(x):
    if (x <= 0.0).any():
        raise ValueError("it is defined for positive numbers only")
    return np.log(x)


def half_precision_table(x):
    """A table of 4,096 values, interpolated linearly: its slope is that of the piece."""
    grid = np.linspace(-2.0, 2.0, 4096)
    return np.interp(x, grid, np.sin(grid))


def half_precision_table_slope(x):
    grid = np.linspace(-2.0, 2.0, 4096)
    place = np.searchsorted(grid, x) - 1
    return (np.sin(grid[place + 1]) - np.sin(grid[place])) / (grid[place + 1] - grid[place])


def right(name, f, vjp, *inputs):
    return Case(name, f, vjp, inputs, False)


def relu(x):
    return np.maximum(x, 0.0)


def step(x):
    return np.where(x > 0.0, 1.0, 0.0)


ONE = np.ones_like

AWKWARD = [
    right("relu at 0", *elementwise(relu, step), np.array([-1.0, 0.0, 1.0])),
    right("relu at 5e-7", *elementwise(relu, step), np.array([5e-7, 1.0])),
    right("relu at -1e-12", *elementwise(relu, step), np.array([-1e-12, 1.0])),
    right("clip at its end", *elementwise(lambda x: np.clip(x, -1.0, 1.0), lambda x: 1.0 * (np.abs(x) <= 1.0)),
          np.array([-1.0, 0.3, 1.0])),
    right("leaky ReLU at 0", *elementwise(lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1.0, 0.01)),
          np.array([0.0, 2.0])),
    right("selu at 0", *elementwise(selu, selu_slope), np.array([0.0, -1.0, 1.0])),
    right("|x| at 0", *elementwise(np.abs, np.sign), np.array([0.0, -2.0])),
    right("|x| at 1e-9", *elementwise(np.abs, np.sign), np.array([1e-9, -2.0])),
    right("max pool, ties", pooled, pooled_backward, np.array([1.0, 1.0, 2.0, 0.0])),
    right("the two smallest, ties", smallest, smallest_backward, np.array([1.0, 1.0, 1.0, 2.0])),
    right("maximum of equal numbers", np.maximum, lambda v, a, b: (v * (a >= b), v * (a < b)), np.array([1.0, 2.0]),
          np.array([1.0, 3.0])),
    right("softplus at 20, where it becomes x", *elementwise(softplus_of_torch, lambda x: np.where(
        x > 20.0, 1.0, sigmoid(x))), np.array([20.0, 1.0])),
    right("3 x at 1e8", *elementwise(lambda x: 3.0 * x, lambda x: 3.0 * ONE(x)), np.array([1e8, 1.0])),
    right("sin at 1e8", *elementwise(np.sin, np.cos), np.array([1e8, 1.0])),
    right("1e8 + sin x", *elementwise(lambda x: 1e8 + np.sin(x), np.cos), numbers(4)),
    right("x² at 1e8", SQUARE, SQUARE_BACK, np.array([1e8, 2e8])),
    right("x² at 1e-8", SQUARE, SQUARE_BACK, np.array([1e-8, -3e-8])),
    right("log at 1e-5", *elementwise(np.log, lambda x: 1.0 / x), np.array([1e-5, 1.0])),
    right("log at 1e-9, undefined below 0", *elementwise(positive_only, lambda x: 1.0 / x), np.array([1e-9, 1.0])),
    right("1 / x at 1e-6", *elementwise(lambda x: 1.0 / x, lambda x: -1.0 / x**2), np.array([1e-6, 1.0])),
    right("√x at 1e-10", *elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), np.array([1e-10, 1.0])),
    right("log1p at 1e-12", *elementwise(np.log1p, lambda x: 1.0 / (1.0 + x)), np.array([1e-12, -1e-12])),
    right("exp at -300", *elementwise(np.exp, np.exp), np.array([-300.0, 0.0])),
    right("exp at 300", *elementwise(np.exp, np.exp), np.array([300.0, 299.0])),
    right("sigmoid at 30", *elementwise(sigmoid, lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2),
          np.array([30.0, -30.0, 0.5])),
    right("tan near π / 2", *elementwise(np.tan, lambda x: 1.0 + np.tan(x) ** 2), np.array([1.57079, 0.3])),
    right("sin(1e4 x)", *elementwise(lambda x: np.sin(1e4 * x), lambda x: 1e4 * np.cos(1e4 * x)), numbers(4)),
    right("logsumexp of [1000, 0, -1000]", logsumexp, lambda v, x: (v[:, None] * softmax(x),),
          np.array([[1000.0, 0.0, -1000.0]])),
    right("softmax, saturated", softmax, softmax_backward, np.array([[40.0, 0.0, -40.0], [1.0, 2.0, 3.0]])),
    right("layer norm of nearly equal numbers", layer_norm, layer_norm_backward, 1e4 + numbers(2, 5)),
    right("norm near 0", lambda x: np.array([np.linalg.norm(x)]), norm_backward, 1e-9 * numbers(4)),
    right("float32 within", *elementwise(in_float32, lambda x: 1.0 - np.tanh(x) ** 2),
          numbers(6).astype(np.float32).astype(np.float64)),
    right("a root by an iteration that stops at 1e-9", *elementwise(root_by_newton, lambda x: 0.5 / np.sqrt(x)),
          np.array([2.0, 3.0, 7.0])),
    right("overlapping slices", overlapping, overlapping_backward, numbers(6)),
    right("round: 0", *elementwise(np.round, np.zeros_like), np.array([0.3, 1.2, -0.7])),
    right("a constant", lambda x: np.zeros(2) + 3.0, lambda v, x: (np.zeros_like(x),), numbers(3)),
    right("numbers of 1e100", *elementwise(lambda x: 1e100 * x, lambda x: 1e100 * ONE(x)), numbers(3)),
    right("numbers of 1e-100", *elementwise(lambda x: 1e-100 * x, lambda x: 1e-100 * ONE(x)), numbers(3)),
    right("a table of 4,096 values, interpolated", *elementwise(half_precision_table, half_precision_table_slope),
          np.array([0.1234, -1.05])),
    right("x √x at 0, defined on one side", *elementwise(lambda x: x * np.sqrt(x), lambda x: 1.5 * np.sqrt(x)),
          np.array([0.0, 1.0])),
]  # fmt: skip
