"""The primitives that act on whole tensors: the inputs with which each is tested, and each once more at 60 digits.

The functions in `EXACT` compute in arrays of mpf, of dtype object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from reference import mp, mpf


def as_drawn(random, x):
    return x


def well_conditioned(random, x):
    """The first input as matrices whose condition is small; the determinant may have any sign."""
    return [x[0] + 3.0 * np.eye(x[0].shape[-1])[random.permutation(x[0].shape[-1])], *x[1:]]


def positive_definite(random, x):
    return [x[0] @ x[0].swapaxes(-1, -2) + np.eye(x[0].shape[-1])]


def singular(random, x):
    """Matrices of which one row is the sum of the others."""
    (a,) = x
    a[..., 0, :] = a[..., 1:, :].sum(axis=-2)
    return [a]


def with_zeros(random, x):
    return [np.where(random.random(at.shape) < 0.25, 0.0, at) for at in x]


class TensorCase(NamedTuple):
    name: str
    shapes: tuple[tuple[int, ...], ...]
    attributes: Mapping[str, Any] = MappingProxyType({})
    prepare: Callable[[Any, list], list] = as_drawn
    roundings: float = 16.0  # how many its value and its difference may be off, relative to the largest entry
    low: float = -2.0
    high: float = 2.0
    largest: float = 3.0  # the largest difference

    def __repr__(self):
        return " ".join([self.name, *map(str, self.shapes)])

    def drawn(self, seed=0):
        """Returns the inputs and a generator of random numbers."""
        random = np.random.default_rng(seed)
        x = [np.asarray(random.uniform(self.low, self.high, shape)) for shape in self.shapes]
        return self.prepare(random, x), random


def index(*entries, shape=None):
    return np.array(entries, np.int64).reshape(shape or (len(entries),))


def swirl(a, b):
    """A function of two arrays that no front end knows; it writes into what it is given."""
    a *= np.sin(b.sum())
    return a[0] * b + np.exp(a).sum()


REDUCED = [
    (((3, 4),), {"axis": (1,), "keepdims": False}),
    (((2, 3, 4),), {"axis": (0, 2), "keepdims": True}),
    (((7,),), {"axis": (0,), "keepdims": False}),
    (((2, 3),), {"axis": (), "keepdims": False}),
    (((3, 1),), {"axis": (1,), "keepdims": False}),
    (((),), {"axis": (), "keepdims": False}),
]
RUNNING = [(((3, 5),), {"axis": 1}), (((3, 5, 2),), {"axis": 0}), (((9,),), {"axis": 0}), (((1,),), {"axis": 0})]
PRODUCTS = [
    ((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)), ((2, 5, 2, 3), (2, 1, 3, 2)),
]  # fmt: skip
MATRICES = (((1, 1),), ((3, 3),), ((4, 4),), ((2, 3, 3),))
EQUATIONS = [
    ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 2)), ((2, 3, 3), (3,)), ((3, 3), (2, 3, 2)),
    ((2, 1, 3, 3), (4, 3, 1)),
]  # fmt: skip

TRANSFORMS = [((8,), 0, -1), ((3, 5), 1, 1), ((2, 7, 2), 1, -1), ((1,), 0, 1)]

TENSOR_CASES = [
    TensorCase("constant", (), {"value": np.array([1.0, 2.0])}),
    TensorCase("reshape", ((2, 6),), {"shape": (3, 4)}),
    TensorCase("reshape", ((1,),), {"shape": ()}),
    TensorCase("strided", ((3, 4),), {"offset": 0, "strides": (1, 4), "shape": (4, 3)}),  # a transpose
    TensorCase("strided", ((3, 4),), {"offset": 5, "strides": (-4, 2), "shape": (2, 2)}),
    TensorCase("strided", ((3,),), {"offset": 0, "strides": (0, 1, 0), "shape": (2, 3, 4)}),  # a broadcast
    TensorCase("strided", ((),), {"offset": 0, "strides": (0, 0), "shape": (2, 3)}),
    TensorCase("strided", ((7,),), {"offset": 1, "strides": (1, 2), "shape": (2, 3)}),  # no overlap
    TensorCase("strided", ((9,),), {"offset": 0, "strides": (1, 1), "shape": (7, 3)}),  # windows
    TensorCase("strided", ((2, 11, 9),), {"offset": 0, "strides": (99, 9, 1, 9, 1, 0), "shape": (2, 10, 8, 2, 2, 2)}),
    TensorCase("strided", ((2, 12, 10),), {"offset": 0, "strides": (120, 10, 1, 20, 2), "shape": (2, 3, 3, 5, 4)}),
    TensorCase("strided", ((20,),), {"offset": 0, "strides": (3, 2), "shape": (4, 5)}),
    TensorCase("strided", ((9,),), {"offset": 2, "strides": (1, -1), "shape": (7, 3)}),  # windows, each reversed
    TensorCase("strided", ((4, 3),), {"offset": 0, "strides": (4,), "shape": (3,)}),  # a diagonal
    TensorCase("strided", ((4, 3),), {"offset": 12, "strides": (3, 1), "shape": (0, 3)}),
    TensorCase("gather", ((3, 4),), {"index": index(0, 11, 5, 5, 2, 0, shape=(2, 3))}),
    TensorCase("gather", ((3,), (2, 2), ()), {"index": index(7, 0, 3, 2, 7, 7, 4)}),
    TensorCase("gather", ((3,), (2,)), {"index": index(1, shape=())}),
    TensorCase("gather", ((3,), (0,)), {"index": index(shape=(0, 2))}),
    TensorCase("scatter_add", ((2, 3),), {"index": index(4, 0, 4, 4, 1, 5, shape=(2, 3)), "shape": (2, 4)}),
    TensorCase("scatter_add", ((0,),), {"index": index(), "shape": (3,)}),
    *(TensorCase(name, *case) for name in ("sum", "max", "min", "logsumexp") for case in REDUCED),
    *(TensorCase("prod", *case, with_zeros, largest=0.5) for case in REDUCED),
    TensorCase("logsumexp", ((3, 4),), {"axis": (1,), "keepdims": False}, low=-40.0, high=40.0, largest=200.0),
    *(TensorCase("cumsum", *case) for case in RUNNING),
    *(TensorCase("cumprod", *case, with_zeros, largest=0.5) for case in RUNNING),
    *(TensorCase("matmul", shapes) for shapes in PRODUCTS),
    *(TensorCase("solve", shapes, prepare=well_conditioned, roundings=256.0, largest=0.3) for shapes in EQUATIONS),
    *(TensorCase("inv", shapes, prepare=well_conditioned, roundings=256.0, largest=0.3) for shapes in MATRICES),
    *(TensorCase("logdet", shapes, prepare=well_conditioned, roundings=256.0) for shapes in MATRICES),
    *(TensorCase("det", shapes, prepare=well_conditioned, roundings=64.0) for shapes in MATRICES),
    *(TensorCase("det", shapes, prepare=singular, roundings=64.0) for shapes in MATRICES[1:]),
    *(TensorCase("cholesky", shapes, prepare=positive_definite, roundings=64.0, largest=0.1) for shapes in MATRICES),
    *(TensorCase("fourier", (shape, shape), {"axis": axis, "sign": sign}) for shape, axis, sign in TRANSFORMS),
    TensorCase("opaque", ((3,), (4,)), {"function": swirl, "shape": (4,)}),
]  # fmt: skip


# ---- at 60 digits


def exact_array(array):
    """A float64 array as an array of mpf, not rounded."""
    found = np.empty(array.shape, object)
    found.ravel()[...] = [mpf(number) for number in array.ravel().tolist()]
    return found


def each_matrix(function, *arrays):
    """Applies a function of matrices to each of a stack; what it returns has a fixed shape."""
    batch = np.broadcast_shapes(*(array.shape[:-2] for array in arrays))
    arrays = [np.broadcast_to(array, (*batch, *array.shape[-2:])) for array in arrays]
    found = [function(*(mp.matrix(array[place].tolist()) for array in arrays)) for place in np.ndindex(batch)]
    return np.array(found, object).reshape(*batch, -1)


def entries(matrix):
    return [matrix[i, j] for i in range(matrix.rows) for j in range(matrix.cols)]


def square(array, like):
    return array.reshape(*array.shape[:-1], *like.shape[-2:])


def solution(x):
    a, b = x
    columns = b[:, np.newaxis] if b.ndim == 1 else b
    found = each_matrix(lambda a, b: entries(mp.inverse(a) * b), a, columns)
    found = found.reshape(*found.shape[:-1], *columns.shape[-2:])
    return found[..., 0] if b.ndim == 1 else found


def lower_of(a):
    """The matrix of which the lower triangle is read."""
    return mp.matrix([[a[max(i, j), min(i, j)] for j in range(a.cols)] for i in range(a.rows)])


def scattered(x, index, shape):
    found = np.full(int(np.prod(shape)), mpf(0))
    np.add.at(found, index.ravel(), x[0].ravel())
    return found.reshape(shape)


def view(x, offset, strides, shape):
    places = np.full(shape, offset)
    for axis, stride in enumerate(strides):
        places = places + stride * np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
    return x[0].ravel()[places]


def reduced(function):
    return lambda x, axis, keepdims: np.asarray(function(x[0], axis=axis, keepdims=keepdims), object)


def transformed(x, axis, sign):
    size = x[0].shape[axis]
    angles = [[2 * mp.pi * (j * k) / size for k in range(size)] for j in range(size)]
    cos, sin = (np.array([[wave(angle) for angle in row] for row in angles], object) for wave in (mp.cos, mp.sin))
    real, imag = (np.moveaxis(part, axis, -1) for part in x)
    parts = real @ cos - sign * (imag @ sin), sign * (real @ sin) + imag @ cos
    return np.stack([np.moveaxis(part, -1, axis) for part in parts])


#: The value of each primitive, of arrays of mpf; what has no axes may be a number.
EXACT = {
    "constant": lambda x, value: exact_array(value),
    "reshape": lambda x, shape: x[0].reshape(shape),
    "strided": view,
    "gather": lambda x, index: np.concatenate([at.ravel() for at in x])[index],
    "scatter_add": scattered,
    "sum": reduced(np.sum),
    "max": reduced(np.max),
    "min": reduced(np.min),
    "prod": reduced(np.prod),
    "logsumexp": reduced(
        lambda x, **axes: np.vectorize(mp.log, otypes=[object])(
            np.sum(np.vectorize(mp.exp, otypes=[object])(x), **axes)
        )
    ),
    "cumsum": lambda x, axis: np.cumsum(x[0], axis),
    "cumprod": lambda x, axis: np.cumprod(x[0], axis),
    "matmul": lambda x: np.asarray(np.matmul(*x), object),
    "fourier": transformed,
    "solve": solution,
    "inv": lambda x: square(each_matrix(lambda a: entries(mp.inverse(a)), x[0]), x[0]),
    "det": lambda x: each_matrix(mp.det, x[0])[..., 0],
    "logdet": lambda x: each_matrix(lambda a: mp.log(abs(mp.det(a))), x[0])[..., 0],
    "cholesky": lambda x: square(each_matrix(lambda a: entries(mp.cholesky(lower_of(a))), x[0]), x[0]),
}
