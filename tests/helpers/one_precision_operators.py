"""Random operators of one precision with right backward passes: PyTorch's kernels on the CPU, and some of NumPy's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

#: The dtypes by name, for PyTorch and for NumPy.
PRECISIONS = ("float32", "float16", "bfloat16")


class Operator(NamedTuple):
    """A function of arrays of one dtype, its product with a cotangent, and its inputs."""

    name: str
    f: Any
    vjp: Any
    inputs: tuple[np.ndarray, ...]


def dtype_of(precision: str) -> np.dtype:
    """Gives NumPy's dtype of a precision; bfloat16 is that of ml_dtypes."""
    if precision == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(precision)


def torch_operator(precision: str, seed: int) -> Operator:
    """Draws an operator of PyTorch, its shapes, and the sizes of its inputs."""
    import torch

    rng = np.random.default_rng(seed)
    own = getattr(torch, precision)

    def tensor(array: np.ndarray) -> torch.Tensor:
        if array.dtype != dtype_of(precision):
            raise TypeError(f"expected {precision}, got {array.dtype}")
        return torch.from_numpy(array.astype(np.float32)).to(own)

    def array(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().float().numpy().astype(dtype_of(precision))

    names = list(_TORCH)
    name = names[seed % len(names)]
    operator, inputs = _TORCH[name](torch, rng)
    inputs = tuple(x.astype(dtype_of(precision)) for x in inputs)

    def f(*arrays: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return array(operator(*map(tensor, arrays)))

    def vjp(cotangent: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        leaves = [tensor(x).requires_grad_() for x in arrays]
        found = torch.autograd.grad(operator(*leaves), leaves, tensor(cotangent))
        return tuple(map(array, found))

    return Operator(f"{name}, seed {seed}", f, vjp, inputs)


def _size(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(-1.5, 1.5)))


def _one(operator, *, least: float | None = None, size: Any = _size):
    """Makes a case of a function of one matrix, whose entries are no less than `least`, if that is given."""

    def draw(torch, rng):
        x = size(rng) * rng.standard_normal(tuple(rng.integers(2, 5, 2)))
        return (lambda x: operator(torch, x)), (x if least is None else least + np.abs(x),)

    return draw


def _matmul(torch, rng):
    n, k, m = rng.integers(2, 6, 3)
    return torch.matmul, (_size(rng) * rng.standard_normal((n, k)), _size(rng) * rng.standard_normal((k, m)))


def _linear_activation(activation):
    def draw(torch, rng):
        n, k, m = rng.integers(2, 5, 3)
        x, w, b = (rng.standard_normal(shape) for shape in ((n, k), (m, k), (m,)))
        return (lambda x, w, b: activation(torch, torch.nn.functional.linear(x, w, b))), (x, _size(rng) * w, b)

    return draw


def _layer_norm(torch, rng):
    n, m = rng.integers(2, 4), rng.integers(4, 8)
    x = _size(rng) * rng.standard_normal((n, m))
    call = lambda x, w, b: torch.nn.functional.layer_norm(x, (int(m),), w, b)
    return call, (x, rng.standard_normal(m), rng.standard_normal(m))


def _rms_norm(torch, rng):
    n, m = rng.integers(2, 4), rng.integers(4, 8)
    call = lambda x, w: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * w
    return call, (_size(rng) * rng.standard_normal((n, m)), rng.standard_normal(m))


def _attention(torch, rng):
    n, d = rng.integers(2, 4, 2)
    call = lambda q, k, v: torch.softmax(q @ k.T * float(d) ** -0.5, -1) @ v
    return call, tuple(rng.standard_normal((n, d)) for _ in range(3))


def _convolution(torch, rng):
    n, width = int(rng.integers(4, 8)), int(rng.integers(2, 4))
    call = lambda x, w: torch.nn.functional.conv1d(x, w, padding=1)
    return call, (_size(rng) * rng.standard_normal((1, 2, n)), rng.standard_normal((2, 2, width)))


def _scatter(torch, rng):
    n, m = int(rng.integers(3, 7)), int(rng.integers(2, 4))
    to = torch.from_numpy(rng.integers(0, 3, n))
    call = lambda x: torch.zeros(3, m, dtype=x.dtype).index_add(0, to, x)
    return call, (_size(rng) * rng.standard_normal((n, m)),)


def _embedding(torch, rng):
    rows, m = int(rng.integers(3, 6)), int(rng.integers(2, 4))
    which = torch.from_numpy(rng.integers(0, rows, 5))
    return (lambda w: torch.nn.functional.embedding(which, w) ** 2), (_size(rng) * rng.standard_normal((rows, m)),)


def _products(torch, rng):
    shape = tuple(rng.integers(2, 5, 2))
    x, y = _size(rng) * rng.standard_normal(shape), _size(rng) * rng.standard_normal(shape)
    return (lambda x, y: x * y + torch.sin(x)), (x, y)


def _ratios(torch, rng):
    shape = tuple(rng.integers(2, 5, 2))
    return torch.div, (_size(rng) * rng.standard_normal(shape), 1.0 + np.abs(rng.standard_normal(shape)))


_TORCH = {
    "tanh": _one(lambda torch, x: torch.tanh(x)),
    "matmul": _matmul,
    "softmax": _one(lambda torch, x: torch.softmax(x, -1)),
    "layer norm": _layer_norm,
    "attention": _attention,
    "conv1d": _convolution,
    "index_add": _scatter,
    "cumsum": _one(lambda torch, x: torch.cumsum(x, 1)),
    "relu": _one(lambda torch, x: torch.relu(x)),
    "exp": _one(lambda torch, x: torch.exp(x)),
    "log": _one(lambda torch, x: torch.log(x), least=0.2),
    "sqrt": _one(lambda torch, x: torch.sqrt(x), least=0.2),
    "gelu": _one(lambda torch, x: torch.nn.functional.gelu(x)),
    "silu": _one(lambda torch, x: torch.nn.functional.silu(x)),
    "softplus": _one(lambda torch, x: torch.nn.functional.softplus(x)),
    "sigmoid": _one(lambda torch, x: torch.sigmoid(x)),
    "square": _one(lambda torch, x: x * x),
    "mean": _one(lambda torch, x: x.mean(0)),
    "logsumexp": _one(lambda torch, x: torch.logsumexp(x, 1)),
    "log_softmax": _one(lambda torch, x: torch.log_softmax(x, -1)),
    "max": _one(lambda torch, x: x.max(1).values),
    "RMS norm": _rms_norm,
    "embedding": _embedding,
    "linear, tanh": _linear_activation(lambda torch, z: torch.tanh(z)),
    "linear, relu": _linear_activation(lambda torch, z: torch.relu(z)),
    "products": _products,
    "ratios": _ratios,
    "abs": _one(lambda torch, x: x.abs()),
    "sin": _one(lambda torch, x: torch.sin(x)),
    "norm": _one(lambda torch, x: x.norm(dim=1)),
}
