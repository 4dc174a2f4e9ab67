"""Arrays that may be plain or traced: what the functions of operators share."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.operators.elementary import recording_of, reshaped


def writable(x: Any, *others: Any) -> Any:
    """Returns a copy of an array into which entries of the others can be written, traced if any of them is."""
    recording = recording_of(x, *others)
    if recording is None or type(x) is TracedArray:
        return x.copy()
    return recording.buffer(np.array(x, np.float64)) if x.dtype.kind == "f" else x.copy()


def zeros(shape: tuple[int, ...], *others: Any) -> Any:
    """Returns zeros into which entries of the others can be written."""
    return writable(np.zeros(shape), *others)


def is_integral(x: Any) -> bool:
    """Whether an array is of integers."""
    return np.asarray(x).dtype.kind in "iu" if not isinstance(x, np.ndarray) else x.dtype.kind in "iu"


def flattened_from(x: Any, axis: int) -> Any:
    """Returns an array as a matrix, whose rows are the axes before `axis` and whose columns the others."""
    axis = axis + x.ndim if axis < 0 else axis
    return reshaped(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


def along(vector: Any, ndim: int, axis: int = 1) -> Any:
    """Returns a vector so that it broadcasts along one axis of arrays of `ndim` axes."""
    return vector.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))


def plus(x: Any, bias: Any) -> Any:
    """Returns a sum with something that may be missing."""
    return x if bias is None else x + bias
