"""Takes many sensitivities of one step back at once: a row for each mutant.

What goes back through a step is linear in its sensitivity, so that rows of it can be taken together. Most steps of
small programs take hardly longer for hundreds of rows than for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.program.primitive import same_entry, sum_to_shape
from gradcheck_fast.program.steps.movement import GATHER, RESHAPE, SLICE, STRIDED
from gradcheck_fast.program.steps.product import MATMUL
from gradcheck_fast.program.steps.reduction import SUM

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals

#: A function of rows of sensitivities of a step, shape (rows, ...), that returns what goes back, row by row.
OfRows: TypeAlias = "Callable[[Reals], Reals]"


def of_rows(backward: Backward, number: int, k: int) -> OfRows:
    """Returns the function that takes rows of sensitivities of a step back to its input k."""
    step, shape = backward.steps[number], np.shape(backward.x(number)[k])
    if step.primitive.reach is same_entry:
        return _entrywise(backward.slope(number, k), shape)
    if step.primitive is MATMUL:
        a, b = backward.x(number)
        if a.ndim <= 2 and b.ndim <= 2:
            return _product(a, b, k)
    if step.primitive is RESHAPE:
        return lambda rows: rows.reshape(len(rows), *shape)
    if step.primitive is SUM and not step.attributes["keepdims"]:
        axis = tuple(at + 1 for at in step.attributes["axis"])
        return lambda rows: np.broadcast_to(np.expand_dims(rows, axis), (len(rows), *shape))
    if step.primitive in (SLICE, STRIDED, GATHER) and len(step.inputs) == 1:
        size = int(np.prod(shape, dtype=np.intp))
        entries = step.primitive.value([np.arange(size, dtype=np.float64).reshape(shape)], **step.attributes)
        index = entries.astype(np.intp).ravel()
        if len(np.unique(index)) == len(index):
            return _spread(index, size, shape)
    return lambda rows: _one_by_one(backward, number, k, rows, shape)


def _entrywise(slope: Reals, shape: tuple[int, ...]) -> OfRows:
    if slope.shape == shape:
        return lambda rows: rows * slope
    padded = (1,) * (slope.ndim - len(shape)) + shape
    return lambda rows: sum_to_shape(rows * slope, (len(rows), *padded)).reshape(len(rows), *shape)


def _product(a: Reals, b: Reals, k: int) -> OfRows:
    """Returns up bᵀ or aᵀ up for rows of up; a vector on the left is a row, and one on the right a column."""
    left, right = a.ndim == 1, b.ndim == 1
    b = b[:, np.newaxis] if right else b
    a = a[np.newaxis] if left else a
    shape = (a.shape[0], b.shape[1])

    def product(rows: Reals) -> Reals:
        up = rows.reshape(len(rows), *shape)
        if k == 0:
            back = (up.reshape(-1, shape[1]) @ b.T).reshape(len(rows), *a.shape)
            return back[:, 0] if left else back
        back = a.T @ up
        return back[:, :, 0] if right else back

    return product


def _spread(index: np.ndarray[tuple[int, ...], np.dtype[np.intp]], size: int, shape: tuple[int, ...]) -> OfRows:
    def spread(rows: Reals) -> Reals:
        back = np.zeros((len(rows), size))
        back[:, index] = rows.reshape(len(rows), -1)
        return back.reshape(len(rows), *shape)

    return spread


def _one_by_one(backward: Backward, number: int, k: int, rows: Reals, shape: tuple[int, ...]) -> Reals:
    back = np.zeros((len(rows), *shape))
    for row, up in enumerate(rows):
        if up.any():
            back[row] = backward.through(number, k, up)
    return back
