"""Forty backward passes with a mistake, as they are made."""

from math import erf, pi, sqrt

import numpy as np

from .case import Case, elementwise, numbers, with_entry

TINY_EPS = 1e-3


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def standardized_backward_without_spread(v, x):
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return ((v - v.mean(-1, keepdims=True)) / spread,)


def convolved(x, w):
    return np.convolve(x, w, "valid")


def convolved_backward_not_flipped(v, x, w):
    return np.convolve(v, w[::-1][::-1], "full")[::-1][: x.size], np.convolve(x, v[::-1], "valid")


def embedded_backward_overwritten(v, table):
    found = np.zeros_like(table)
    found[PLACES] = v
    return (found,)


def gelu(x):
    return 0.5 * x * (1.0 + np.vectorize(erf)(x / sqrt(2.0)))


def gelu_slope_of_the_tanh_form(x):
    inner = sqrt(2.0 / pi) * (x + 0.044715 * x**3)
    turn = sqrt(2.0 / pi) * (1.0 + 3.0 * 0.044715 * x**2)
    return 0.5 * (1.0 + np.tanh(inner)) + 0.5 * x * (1.0 - np.tanh(inner) ** 2) * turn


def attention(q, k):
    return softmax(q @ k.T / sqrt(q.shape[1]))


def attention_backward_without_scale(v, q, k):
    p = attention(q, k)
    d = p * (v - (v * p).sum(-1, keepdims=True))
    return d @ k, d.T @ q


def product_backward_by_division(v, x):
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.nan_to_num(v * x.prod() / x),)


def rms_backward_without_projection(v, x):
    return (v / np.sqrt((x * x).mean(-1, keepdims=True)),)


def sum_of_two_scales(x, y):
    return np.concatenate([1e6 * x, 1e-3 * y])


def determinant_backward_transposed(v, a):
    return (v * np.linalg.det(a) * np.linalg.inv(a),)


def solved_backward_not_transposed(v, a, b):
    turned = np.linalg.solve(a, v)
    return -np.outer(turned, np.linalg.solve(a, b)), turned


def spectrum(x):
    found = np.fft.rfft(x, norm="ortho")
    return np.concatenate([found.real, found.imag])


def spectrum_backward_of_another_norm(v, x):
    half = len(v) // 2
    n = np.arange(len(x))
    waves = np.exp(-2j * pi * np.outer(np.arange(half), n) / len(x))
    return ((v[:half] @ waves.real + v[half:] @ waves.imag) / len(x),)


SQUARE, SQUARE_BACK = elementwise(lambda x: x * x, lambda x: 2.0 * x)
PLACES = np.array([0, 2, 2, 5, 1, 2])
ORDER = np.array([3, 0, 4, 1, 2])
MASK = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]) / 0.6
SQUARED_ENTRY = {
    "one entry of 1,000 times 1.001": lambda g: 1.001 * g,
    "one entry of 1,000 times 1.01": lambda g: 1.01 * g,
    "one entry of 1,000 times 1.1": lambda g: 1.1 * g,
    "one entry of 1,000 doubled": lambda g: 2.0 * g,
    "one entry of 1,000 with its sign flipped": lambda g: -g,
}


def planted(name, f, vjp, *inputs):
    return Case(name, f, vjp, inputs, True)


PLANTED = [
    *(planted(f"x²: {name}", SQUARE, with_entry(SQUARE_BACK, 500, change), numbers(1000))
      for name, change in SQUARED_ENTRY.items()),
    planted("x²: one entry of 10,000 is 11 times too large", SQUARE, with_entry(SQUARE_BACK, 77, lambda g: 11.0 * g),
            numbers(10_000)),
    planted("x²: two entries, wrong by the same amount up and down", SQUARE,
            with_entry(with_entry(SQUARE_BACK, 3, lambda g: g + 0.01), 4, lambda g: g - 0.01), numbers(50)),
    planted("x²: all times 1.001", SQUARE, lambda v, x: (2.002 * v * x,), numbers(50)),
    planted("x²: all times 1 + 1e-6", SQUARE, lambda v, x: (2.000002 * v * x,), numbers(50)),
    planted("1e-5 x: zero", *elementwise(lambda x: 1e-5 * x, np.zeros_like), numbers(8)),
    planted("1e-6 x: sign flipped", *elementwise(lambda x: 1e-6 * x, lambda x: -1e-6 + 0.0 * x), numbers(8)),
    planted("sigmoid: zero where it is saturated (x = 12)", *elementwise(sigmoid, lambda x: 0.0 * x), np.array([12.0])),
    planted("a·b: nothing for a where a = 0", lambda a, b: a * b,
            lambda v, a, b: (np.where(a == 0.0, 0.0, v * b), v * a), np.array([0.0, 1.0, 2.0]), numbers(3)),
    planted("two outputs of sizes 1e6 and 1e-3: the small one has no gradient", sum_of_two_scales,
            lambda v, x, y: (1e6 * v[:4], 0.0 * y), numbers(4), numbers(4, seed=1)),
    planted("softmax: the diagonal of its Jacobian alone", softmax,
            lambda v, x: (v * softmax(x) * (1.0 - softmax(x)),), numbers(3, 5)),
    planted("tanh: 1 - a", *elementwise(np.tanh, lambda x: 1.0 - np.tanh(x)), numbers(8)),
    planted("bias: the mean over the rows, not the sum", lambda x, b: x + b, lambda v, x, b: (v, v.mean(0)),
            numbers(4, 3), numbers(3)),
    planted("layer norm: the mean, but not the variance", layer_norm, standardized_backward_without_spread,
            numbers(3, 6)),
    planted("convolution: the kernel not flipped", convolved, convolved_backward_not_flipped, numbers(9),
            numbers(3, seed=1)),
    planted("cumsum: not reversed", np.cumsum, lambda v, x: (np.cumsum(v),), numbers(6)),
    planted("embedding: repeated rows overwritten", lambda table: table[PLACES], embedded_backward_overwritten,
            numbers(6, 3)),
    planted("attention: the scale forgotten", attention, attention_backward_without_scale, numbers(4, 3),
            numbers(4, 3, seed=1)),
    planted("max: the gradient goes to the wrong winner", lambda x: x.max(-1),
            lambda v, x: (v[:, None] * (x == x.min(-1, keepdims=True)),), numbers(3, 5)),
    planted("clip: the gradient passes outside", lambda x: np.clip(x, -0.5, 0.5), lambda v, x: (v,), numbers(8)),
    planted("log(x + ε): without its ε", *elementwise(lambda x: np.log(x + TINY_EPS), lambda x: 1.0 / x),
            np.array([0.2, 0.5, 0.9, 2.0])),
    planted("x / rms(x): without its projection", lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True)),
            rms_backward_without_projection, numbers(3, 5)),
    planted("A B: a transpose missing", lambda a, b: a @ b, lambda v, a, b: (v @ b, a.T @ v), numbers(4, 4),
            numbers(4, 4, seed=1)),
    planted("arctan2: both signs", np.arctan2, lambda v, y, x: (v * x / (x * x + y * y), v * y / (x * x + y * y)),
            numbers(5), numbers(5, seed=1)),
    planted("x³: 3 x", *elementwise(lambda x: x**3, lambda x: 3.0 * x), numbers(5)),
    planted("√x: 1 / √x", *elementwise(np.sqrt, lambda x: 1.0 / np.sqrt(x)), np.array([0.3, 1.0, 4.0])),
    planted("leaky ReLU: 0.1 for 0.01", *elementwise(lambda x: np.where(x > 0, x, 0.01 * x),
                                                     lambda x: np.where(x > 0, 1.0, 0.1)), numbers(8)),
    planted("gelu: the slope of its tanh form", *elementwise(gelu, gelu_slope_of_the_tanh_form), numbers(8)),
    planted("dropout: the mask without its scale", lambda x: x * MASK, lambda v, x: (v * (MASK > 0),), numbers(6)),
    planted("gather: the permutation for its inverse", lambda x: x[ORDER], lambda v, x: (v[ORDER],), numbers(5)),
    planted("prod: by division, with a zero among the factors", lambda x: np.array([x.prod()]),
            product_backward_by_division, np.array([2.0, 0.0, 3.0])),
    planted("hinge: without its margin", *elementwise(lambda x: np.maximum(0.0, 1.0 - x),
                                                      lambda x: np.where(x < 0.0, -1.0, 0.0)), numbers(8)),
    planted("outer: one factor for the other", np.outer, lambda v, a, b: (v @ a, v.T @ b), numbers(4),
            numbers(4, seed=1)),
    planted("det: its inverse not transposed", lambda a: np.array([np.linalg.det(a)]), determinant_backward_transposed,
            numbers(3, 3)),
    planted("solve: the matrix not transposed", np.linalg.solve, solved_backward_not_transposed,
            numbers(3, 3) + 3.0 * np.eye(3), numbers(3, seed=1)),
    planted("rfft: the factor of another norm", spectrum, spectrum_backward_of_another_norm, numbers(8)),
]  # fmt: skip
