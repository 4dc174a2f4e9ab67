"""Operators in NumPy with backward passes written by hand, as kernels of one precision compute them.

Each is a forward and a backward of arrays of any floating-point dtype, and what draws its inputs. A kernel of a
precision rounds after every operation, or computes in float32 inside and rounds what it takes and gives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Kernel(NamedTuple):
    """A forward ``f(*x)``, a backward ``b(v, *x)`` that gives a tuple, and ``draw(rng, n)`` for about n entries.

    `is_scaled` tells whether the operator may be given numbers of any scale: it does not saturate.
    """

    forward: Any
    backward: Any
    draw: Any
    is_scaled: bool = False


def in_one_precision(kernel: Kernel, dtype: np.dtype, inside: np.dtype) -> tuple[Any, Any]:
    """Makes the forward and the backward that take and give `dtype` only, and compute in the dtype `inside`."""

    def own(arrays):
        for array in arrays:
            if np.asarray(array).dtype.kind in "fV" and array.dtype != dtype:
                raise TypeError(f"a kernel of {dtype}, got {array.dtype}")
        return [np.asarray(a).astype(inside) if np.asarray(a).dtype.kind in "fV" else a for a in arrays]

    def forward(*arrays):
        return np.asarray(kernel.forward(*own(arrays))).astype(dtype)

    def backward(v, *arrays):
        found = kernel.backward(*own((v, *arrays)))
        return tuple(None if part is None else np.asarray(part).astype(dtype) for part in found)

    return forward, backward


def matrix(rng, n):
    """Draws the shape of a matrix of about n entries."""
    rows = int(rng.integers(1, max(2, round(n**0.5)) + 1))
    return rows, max(1, n // rows)


def _one(rng, n):
    return (rng.standard_normal(matrix(rng, n)),)


def _two(rng, n):
    shape = matrix(rng, max(1, n // 2))
    return rng.standard_normal(shape), rng.standard_normal(shape)


def _rows(rng, n):
    """A matrix whose rows have several entries."""
    width = int(rng.integers(2, max(3, min(n, 16)) + 1))
    return rng.standard_normal((max(1, n // width), width))


def _entrywise(f, slope, draw=_one):
    return Kernel(f, lambda v, x: (v * slope(x),), draw)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _silu_slope(x):
    s = _sigmoid(x)
    return s * (1 + x * (1 - s))


def _gelu(x):
    return x * (1 + np.tanh(x * (1 + x * x * x.dtype.type(0.044715)) * x.dtype.type(0.7978846))) / 2


def _gelu_slope(x):
    c, a = x.dtype.type(0.7978846), x.dtype.type(0.044715)
    t = np.tanh(c * (x + a * x * x * x))
    return (1 + t) / 2 + x * (1 - t * t) * c * (1 + 3 * a * x * x) / 2


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _softmax_back(v, x):
    y = _softmax(x)
    return (y * (v - (v * y).sum(-1, keepdims=True)),)


def _log_softmax(x):
    z = x - x.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def _normalised(x):
    d = x - x.mean(-1, keepdims=True)
    r = 1 / np.sqrt((d * d).mean(-1, keepdims=True) + x.dtype.type(1e-5))
    return d * r, r


def _layer_norm_back(v, x, w, b):
    y, r = _normalised(x)
    g = v * w
    dx = r * (g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True))
    return dx, (v * y).sum(0), v.sum(0)


def _draw_layer_norm(rng, n):
    x = _rows(rng, n)
    x = x if x.shape[1] > 2 else rng.standard_normal((x.shape[0], 4))
    return x, rng.standard_normal(x.shape[1]), rng.standard_normal(x.shape[1])


def _rms(x):
    return 1 / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(1e-5))


def _rms_back(v, x, w):
    r = _rms(x)
    g = v * w
    return r * g - x * r * r * r * (g * x).mean(-1, keepdims=True), (v * x * r).sum(0)


def _draw_product(rng, n):
    k = int(rng.integers(1, max(2, round(n**0.5)) + 1))
    rows = max(1, n // (2 * k))
    return rng.standard_normal((rows, k)), rng.standard_normal((k, max(1, n // (2 * k))))


def _draw_linear(rng, n):
    x, w = _draw_product(rng, n)
    return x, w, rng.standard_normal(w.shape[1])


def _tanh_layer_back(v, x, w, b):
    d = v * (1 - np.tanh(x @ w + b) ** 2)
    return d @ w.T, x.T @ d, d.sum(0)


def _relu_layer_back(v, x, w, b):
    d = v * (x @ w + b > 0)
    return d @ w.T, x.T @ d, d.sum(0)


def _attention(q, k, v):
    return _softmax(q @ k.T * q.dtype.type(q.shape[1] ** -0.5)) @ v


def _attention_back(g, q, k, v):
    scale = q.dtype.type(q.shape[1] ** -0.5)
    p = _softmax(q @ k.T * scale)
    d = g @ v.T
    s = p * (d - (d * p).sum(-1, keepdims=True)) * scale
    return s @ k, s.T @ q, p.T @ g


def _draw_attention(rng, n):
    width = int(rng.integers(2, 9))
    rows = max(2, n // (3 * width))
    return tuple(rng.standard_normal((rows, width)) for _ in range(3))


def _windows(x, width):
    return np.stack([x[:, k : x.shape[1] - width + 1 + k] for k in range(width)], -1)


def _convolution(x, w):
    out = np.zeros((w.shape[0], x.shape[1] - w.shape[2] + 1), x.dtype)
    for c in range(w.shape[1]):
        out = out + w[:, c] @ _windows(x, w.shape[2])[c].T
    return out


def _convolution_back(v, x, w):
    windows, dx = _windows(x, w.shape[2]), np.zeros_like(x)
    dw = np.stack([v @ windows[c] for c in range(w.shape[1])], 1)
    for k in range(w.shape[2]):
        dx[:, k : k + v.shape[1]] += w[:, :, k].T @ v
    return dx, dw


def _draw_convolution(rng, n):
    channels, width = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    x = rng.standard_normal((channels, max(width + 1, n // (2 * channels))))
    return x, rng.standard_normal((int(rng.integers(1, 4)), channels, width))


def _gather_back(v, x, i):
    dx = np.zeros_like(x)
    np.add.at(dx, i, v)
    return dx, None


def _draw_gather(rng, n):
    x = _rows(rng, n)
    return x, rng.integers(0, len(x), int(rng.integers(1, 2 * len(x) + 1)))


def _scatter(x, i):
    out = np.zeros((3, x.shape[1]), x.dtype)
    np.add.at(out, i, x)
    return out


def _draw_scatter(rng, n):
    x = _rows(rng, n)
    return x, rng.integers(0, 3, len(x))


def _cross_entropy_back(v, x, i):
    y = _softmax(x)
    y[np.arange(len(x)), i] -= 1
    return v * y / len(x), None


def _draw_classes(rng, n):
    x = _rows(rng, n)
    return 2.0 * x, rng.integers(0, x.shape[1], len(x))


def _huber(x, y):
    d = np.abs(x - y)
    return np.where(d < 1, d * d / 2, d - x.dtype.type(0.5)).mean()


def _huber_back(v, x, y):
    d = np.clip(x - y, -1, 1)
    return v * d / x.size, -v * d / x.size


def _logsumexp(x):
    m = x.max(-1, keepdims=True)
    return (m + np.log(np.exp(x - m).sum(-1, keepdims=True)))[..., 0]


def _variance_back(v, x):
    return (2 * v[:, None] * (x - x.mean(-1, keepdims=True)) / x.shape[1],)


def _norm_back(v, x):
    return (v[:, None] * x / np.sqrt((x * x).sum(-1, keepdims=True)),)


def _positive(rng, n):
    return (0.2 + np.abs(rng.standard_normal(matrix(rng, n))),)


def _draw_ratio(rng, n):
    x, y = _two(rng, n)
    return x, np.sign(y) * (0.5 + np.abs(y))


KERNELS = {
    "tanh": _entrywise(np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": _entrywise(_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "silu": _entrywise(lambda x: x * _sigmoid(x), _silu_slope),
    "gelu": _entrywise(_gelu, _gelu_slope),
    "relu": Kernel(lambda x: np.maximum(x, 0), lambda v, x: (v * (x > 0),), _one, True),
    "exp": _entrywise(np.exp, np.exp),
    "log": _entrywise(np.log, lambda x: 1 / x, _positive),
    "square": Kernel(lambda x: x * x, lambda v, x: (2 * x * v,), _one, True),
    "product": Kernel(lambda x, y: x * y, lambda v, x, y: (v * y, v * x), _two, True),
    "ratio": Kernel(lambda x, y: x / y, lambda v, x, y: (v / y, -v * (x / y) / y), _draw_ratio, True),
    "softmax": Kernel(_softmax, _softmax_back, lambda rng, n: (_rows(rng, n),)),
    "log softmax": Kernel(
        _log_softmax, lambda v, x: (v - _softmax(x) * v.sum(-1, keepdims=True),), lambda rng, n: (_rows(rng, n),)
    ),
    "logsumexp": Kernel(_logsumexp, lambda v, x: (v[:, None] * _softmax(x),), lambda rng, n: (_rows(rng, n),)),
    "layer norm": Kernel(lambda x, w, b: _normalised(x)[0] * w + b, _layer_norm_back, _draw_layer_norm),
    "RMS norm": Kernel(lambda x, w: x * _rms(x) * w, _rms_back, lambda rng, n: _draw_layer_norm(rng, n)[:2]),
    "matmul": Kernel(lambda x, w: x @ w, lambda v, x, w: (v @ w.T, x.T @ v), _draw_product, True),
    "linear, tanh": Kernel(lambda x, w, b: np.tanh(x @ w + b), _tanh_layer_back, _draw_linear),
    "linear, relu": Kernel(lambda x, w, b: np.maximum(x @ w + b, 0), _relu_layer_back, _draw_linear),
    "attention": Kernel(_attention, _attention_back, _draw_attention),
    "convolution": Kernel(_convolution, _convolution_back, _draw_convolution, True),
    "gather": Kernel(lambda x, i: x[i], _gather_back, _draw_gather, True),
    "scatter": Kernel(_scatter, lambda v, x, i: (v[i], None), _draw_scatter, True),
    "cumsum": Kernel(
        lambda x: np.cumsum(x, 1, x.dtype), lambda v, x: (np.cumsum(v[:, ::-1], 1, v.dtype)[:, ::-1],), _one, True
    ),
    "mean": Kernel(lambda x: x.mean(0), lambda v, x: (np.broadcast_to(v / len(x), x.shape),), _one, True),
    "variance": Kernel(lambda x: ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1), _variance_back,
                       lambda rng, n: (_rows(rng, n),), True),
    "norm": Kernel(lambda x: np.sqrt((x * x).sum(-1)), _norm_back, lambda rng, n: (_rows(rng, n),), True),
    "mean square": Kernel(
        lambda x, y: ((x - y) ** 2).mean(), lambda v, x, y: (2 * v * (x - y) / x.size, -2 * v * (x - y) / x.size), _two
    ),
    "huber": Kernel(_huber, _huber_back, lambda rng, n: tuple(2.0 * a for a in _two(rng, n))),
    "cross entropy": Kernel(
        lambda x, i: -_log_softmax(x)[np.arange(len(x)), i].mean(), _cross_entropy_back, _draw_classes
    ),
}  # fmt: skip
