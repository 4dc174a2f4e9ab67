"""Functions of PyTorch tensors, whose kernels for the CPU compute them in one precision, with their backward passes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from helpers.one_precision_kernels import matrix
from torch.nn import functional


class TensorFunction(NamedTuple):
    """``draw(rng, n)`` gives a function of tensors and arrays for about n entries; `is_scaled` is as for kernels."""

    draw: Any
    is_scaled: bool = False


def _rows(rng, n):
    width = int(rng.integers(2, max(3, min(n, 16)) + 1))
    return rng.standard_normal((max(1, n // width), width))


def _of_one(function, *, least=None, rows=False, scaled=False):
    """Makes a case of a function of one matrix, whose entries are no less than `least`, if that is given."""

    def draw(rng, n):
        x = _rows(rng, n) if rows else rng.standard_normal(matrix(rng, n))
        return function, (x if least is None else least + np.abs(x),)

    return TensorFunction(draw, scaled)


def _product(rng, n):
    k = int(rng.integers(1, max(2, round(n**0.5)) + 1))
    m = max(1, n // (2 * k))
    return torch.matmul, (rng.standard_normal((m, k)), rng.standard_normal((k, m)))


def _batched_product(rng, n):
    batch, k = (int(size) for size in rng.integers(1, 4, 2))
    m = max(1, n // (2 * batch * k))
    return torch.bmm, (rng.standard_normal((batch, m, k)), rng.standard_normal((batch, k, m)))


def _linear(activation):
    def draw(rng, n):
        k = int(rng.integers(2, 6))
        rows, m = max(1, n // (2 * k)), max(1, n // (2 * k))
        x, w, b = (rng.standard_normal(shape) for shape in ((rows, k), (m, k), (m,)))
        return (lambda x, w, b: activation(functional.linear(x, w, b))), (x, w, b)

    return TensorFunction(draw)


def _layer_norm(rng, n):
    x = rng.standard_normal((max(1, n // 8), int(rng.integers(4, 9))))
    call = lambda x, w, b: functional.layer_norm(x, x.shape[1:], w, b)
    return call, (x, rng.standard_normal(x.shape[1]), rng.standard_normal(x.shape[1]))


def _group_norm(rng, n):
    x = rng.standard_normal((max(1, n // 24), 4, int(rng.integers(3, 7))))
    return (lambda x, w, b: functional.group_norm(x, 2, w, b)), (x, rng.standard_normal(4), rng.standard_normal(4))


def _rms_norm(rng, n):
    x = rng.standard_normal((max(1, n // 8), int(rng.integers(4, 9))))
    call = lambda x, w: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * w
    return call, (x, rng.standard_normal(x.shape[1]))


def _attention(rng, n):
    width = int(rng.integers(2, 9))
    rows = max(2, n // (3 * width))
    call = lambda q, k, v: torch.softmax(q @ k.T * float(width) ** -0.5, -1) @ v
    return call, tuple(rng.standard_normal((rows, width)) for _ in range(3))


def _fused_attention(rng, n):
    width = int(rng.integers(2, 9))
    rows = max(2, n // (3 * width))
    call = lambda q, k, v: functional.scaled_dot_product_attention(q, k, v)
    return call, tuple(rng.standard_normal((1, 1, rows, width)) for _ in range(3))


def _convolution(rng, n):
    width, channels = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    x = rng.standard_normal((1, channels, max(width, n // (2 * channels))))
    return (lambda x, w: functional.conv1d(x, w, padding=1)), (x, rng.standard_normal((2, channels, width)))


def _convolution_2d(rng, n):
    side = max(3, round((n / 2) ** 0.5))
    return functional.conv2d, (rng.standard_normal((1, 1, side, side)), rng.standard_normal((2, 1, 2, 3)))


def _scatter(rng, n):
    x = _rows(rng, n)
    to = torch.from_numpy(rng.integers(0, 3, len(x)))
    return (lambda x: torch.zeros(3, x.shape[1], dtype=x.dtype).index_add(0, to, x)), (x,)


def _gather(rng, n):
    x = _rows(rng, n)
    which = torch.from_numpy(rng.integers(0, x.shape[1], (len(x), 3)))
    return (lambda x: torch.gather(x, 1, which)), (x,)


def _embedding(rng, n):
    x = _rows(rng, n)
    which = torch.from_numpy(rng.integers(0, len(x), 5))
    return (lambda w: functional.embedding(which, w) ** 2), (x,)


def _cross_entropy(rng, n):
    x = 2.0 * _rows(rng, n)
    to = torch.from_numpy(rng.integers(0, x.shape[1], len(x)))
    return (lambda x: functional.cross_entropy(x, to)), (x,)


def _with_logits(rng, n):
    x = 2.0 * rng.standard_normal(matrix(rng, n))
    to = torch.from_numpy(rng.integers(0, 2, x.shape))
    call = lambda x: functional.binary_cross_entropy_with_logits(x, to.to(x.dtype))
    return call, (x,)


def _cosine(rng, n):
    x = _rows(rng, n)  # of two entries or more: the cosine of two numbers is 1 or -1
    return (lambda x, y: functional.cosine_similarity(x, y, 1)), (x, rng.standard_normal(x.shape))


def _of_two(function, *, size=1.0, scaled=False, least=0.0):
    def draw(rng, n):
        shape = matrix(rng, max(1, n // 2))
        x, y = size * rng.standard_normal(shape), size * rng.standard_normal(shape)
        return function, (x, np.sign(y) * (least + np.abs(y)))

    return TensorFunction(draw, scaled)


TENSOR_FUNCTIONS = {
    "tanh": _of_one(torch.tanh),
    "sigmoid": _of_one(torch.sigmoid),
    "relu": _of_one(torch.relu, scaled=True),
    "leaky relu": _of_one(lambda x: functional.leaky_relu(x, 0.1), scaled=True),
    "elu": _of_one(functional.elu),
    "gelu": _of_one(functional.gelu),
    "silu": _of_one(functional.silu),
    "hardswish": _of_one(lambda x: functional.hardswish(2 * x)),
    "softplus": _of_one(functional.softplus),
    "exp": _of_one(torch.exp),
    "log": _of_one(torch.log, least=0.2),
    "sqrt": _of_one(torch.sqrt, least=0.2),
    "square": _of_one(lambda x: x * x, scaled=True),
    "sin": _of_one(torch.sin),
    "abs": _of_one(torch.abs, scaled=True),
    "products": _of_two(lambda x, y: x * y + torch.sin(x)),
    "ratios": _of_two(torch.div, scaled=True, least=0.5),
    "softmax": _of_one(lambda x: torch.softmax(x, -1), rows=True),
    "log softmax": _of_one(lambda x: torch.log_softmax(x, -1), rows=True),
    "logsumexp": _of_one(lambda x: torch.logsumexp(x, 1), rows=True),
    "mean": _of_one(lambda x: x.mean(0), scaled=True),
    "variance": _of_one(lambda x: x.var(1), rows=True, scaled=True),
    "norm": _of_one(lambda x: x.norm(dim=1), rows=True, scaled=True),
    "largest": _of_one(lambda x: x.max(1).values, rows=True, scaled=True),
    "cumsum": _of_one(lambda x: torch.cumsum(x, 1), scaled=True),
    "pooling": _of_one(lambda x: functional.avg_pool1d(x[None], 2, 1), rows=True, scaled=True),
    "cosine": TensorFunction(_cosine),
    "matmul": TensorFunction(_product, True),
    "batched matmul": TensorFunction(_batched_product, True),
    "linear, tanh": _linear(torch.tanh),
    "linear, relu": _linear(torch.relu),
    "layer norm": TensorFunction(_layer_norm),
    "group norm": TensorFunction(_group_norm),
    "RMS norm": TensorFunction(_rms_norm),
    "attention": TensorFunction(_attention),
    "fused attention": TensorFunction(_fused_attention),
    "convolution": TensorFunction(_convolution, True),
    "convolution 2d": TensorFunction(_convolution_2d, True),
    "scatter": TensorFunction(_scatter, True),
    "gather": TensorFunction(_gather, True),
    "embedding": TensorFunction(_embedding, True),
    "mean square": _of_two(functional.mse_loss),
    "smooth L1": _of_two(functional.smooth_l1_loss, size=2.0),
    "cross entropy": TensorFunction(_cross_entropy),
    "cross entropy of logits": TensorFunction(_with_logits),
}
