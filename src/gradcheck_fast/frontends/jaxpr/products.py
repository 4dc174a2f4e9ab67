"""``dot_general`` and ``conv_general_dilated``, as products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.jaxpr.reductions import between
from gradcheck_fast.frontends.jaxpr.registry import Equation, rule
from gradcheck_fast.frontends.operators.convolution import convolution
from gradcheck_fast.frontends.operators.elementary import is_traced, reshaped


@rule("dot_general", plain=True, counts=True)
def _dot_general(op: Equation, x: Any, y: Any) -> Any:
    (of_x, of_y), (batch_x, batch_y) = op.params["dimension_numbers"]
    if op.dtype.kind in "biu":
        if not is_traced(x) and not is_traced(y):
            return op.machine.bound(op.equation, [x, y])
    elif not is_traced(x) and not is_traced(y):
        x, y = np.asarray(x, op.dtype), np.asarray(y, op.dtype)
    free_x = [k for k in range(x.ndim) if k not in of_x and k not in batch_x]
    free_y = [k for k in range(y.ndim) if k not in of_y and k not in batch_y]
    if not batch_x and len(of_x) == 1 and free_x and len(free_y) == 1:  # a layer: NumPy's own product
        return _last(x, of_x[0]) @ (y if of_y[0] == 0 else np.transpose(y))
    rows = _as_matrices(x, batch_x, free_x, of_x)
    columns = _as_matrices(y, batch_y, of_y, free_y)
    return reshaped(rows @ columns, op.shape)


def _last(x: Any, axis: int) -> Any:
    return x if axis == x.ndim - 1 else np.moveaxis(x, axis, -1)


def _as_matrices(x: Any, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int]) -> Any:
    """Returns an array with these axes as one of rows and one of columns, behind those of the batch."""
    order = [*batch, *rows, *columns]
    if order != sorted(order):
        x = np.transpose(x, order)
    shape, begin = x.shape, len(batch)
    middle = begin + len(rows)
    wanted = (*shape[:begin], math.prod(shape[begin:middle]), math.prod(shape[middle:]))
    return x if tuple(shape) == wanted else reshaped(x, wanted)


@rule("conv_general_dilated")
def _conv_general_dilated(op: Equation, x: Any, kernel: Any) -> Any:
    if not is_traced(x) and not is_traced(kernel):
        return op.machine.bound(op.equation, [x, kernel])
    params, (of_x, of_kernel, of_found) = op.params, op.params["dimension_numbers"]
    x, kernel = np.transpose(x, of_x), np.transpose(kernel, of_kernel)
    base = params["lhs_dilation"] or (1,) * (x.ndim - 2)
    x = between(op, x, (1, 1, *base))
    groups, batches = params["feature_group_count"], params["batch_group_count"]
    if batches > 1:  # the samples are in groups, each for outputs of its own
        samples, channels = x.shape[0] // batches, x.shape[1]
        x = reshaped(x, (batches, samples, channels, *x.shape[2:]))
        x, groups = reshaped(np.swapaxes(x, 0, 1), (samples, batches * channels, *x.shape[3:])), batches
    found = convolution(
        x, _own(kernel), stride=params["window_strides"], padding=params["padding"], dilation=params["rhs_dilation"],
        groups=groups,
    )  # fmt: skip
    return np.transpose(found, np.argsort(of_found))


def _own(kernel: Any) -> Any:
    return reshaped(kernel, kernel.shape)
