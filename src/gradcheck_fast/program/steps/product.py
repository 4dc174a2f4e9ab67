"""Defines the matrix product of two arrays, as ``np.matmul`` defines it: of stacks of matrices, of vectors too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gradcheck_fast.program.primitive import Primitive, Shape, linear_spread, require_inputs, smooth, sum_to_shape

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals

    Array = TypeVar("Array", Reals, Mask)


def _shape(shapes: Sequence[Shape]) -> Shape:
    require_inputs(shapes, 2)
    a, b = shapes
    if not a or not b or a[-1] != b[-2:][0]:
        raise ValueError(f"arrays of the shapes {a} and {b} have no matrix product")
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise ValueError(f"arrays of the shapes {a} and {b} have no matrix product") from None
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def transposed(a: Reals) -> Reals:
    """Returns a view of a stack of matrices, each transposed."""
    return a.swapaxes(-1, -2)


def _rows(a: Reals) -> Reals:
    """Returns the rows of a stack of matrices below each other."""
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


def product(a: Reals, b: Reals) -> Reals:
    """Returns a b. The rows of a whole stack are multiplied at once where all are multiplied by one matrix."""
    if a.ndim > 2 and b.ndim == 2:
        return (_rows(a) @ b).reshape(*a.shape[:-1], b.shape[1])
    return np.asarray(a @ b)


def _difference(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
    """Returns the exact difference (a + da)(b + db) - a b = da (b + db) + a db = da b + (a + da) db."""
    (a, b), (da, db) = x, d
    if da is None:
        return np.zeros(_shape([a.shape, b.shape])) if db is None else product(a, db)
    if db is None:
        return product(da, b)
    if a.size < b.size:  # the smaller sum is made
        found = product(da, b)
        found += product(a + da, db)
    else:
        found = product(da, b + db)
        found += product(a, db)
    return found


def _as_matrices(x: Sequence[Array], up: Array) -> tuple[Array, Array, Array]:
    """Returns the two inputs and the output with a vector as a row on the left and as a column on the right."""
    a, b = x
    if b.ndim == 1:
        b, up = b[:, np.newaxis], up[..., np.newaxis]
    if a.ndim == 1:
        a, up = a[np.newaxis], up[..., np.newaxis, :]
    return a, b, up


def _back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    """Applies the transpose of the map from one input: up b^T or a^T up, summed where that input was broadcast."""
    a, b, up = _as_matrices(x, up)
    if k == 0:
        if a.ndim == 2 < b.ndim:  # one matrix that multiplies a whole stack: the sum is part of one product
            rows, columns = (_rows(each.swapaxes(-1, -2)) for each in (up, b))
            return (rows.T @ columns).reshape(x[0].shape)
        return sum_to_shape(product(up, transposed(b)), a.shape).reshape(x[0].shape)
    if b.ndim == 2 < a.ndim:
        return (_rows(a).T @ _rows(up)).reshape(x[1].shape)
    return sum_to_shape(np.asarray(transposed(a) @ up), b.shape).reshape(x[1].shape)


def _reach(masks: Sequence[Mask]) -> Mask:
    """A row of the left input reaches a row of the output, and a column of the right one a column."""
    shape = _shape([mask.shape for mask in masks])
    a, b, up = _as_matrices(masks, np.zeros(shape, np.bool_))
    return (up | a.any(axis=-1, keepdims=True) | b.any(axis=-2, keepdims=True)).reshape(shape)


def _work(shapes: Sequence[Shape]) -> float:
    return 2.0 * math.prod(_shape(shapes)) * shapes[0][-1]


#: The matrix product, as np.matmul.
MATMUL = Primitive(
    "matmul", "{0} @ {1}", _shape, lambda x: product(x[0], x[1]), _difference, _back, _reach, smooth,
    linear_spread(_back), _work,
)  # fmt: skip

PRIMITIVES = (MATMUL,)
