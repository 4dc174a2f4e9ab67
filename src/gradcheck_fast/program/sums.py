"""Adds up entries along axes, so that few roundings come together.

NumPy adds up rows one after the other where the last axis is kept: n equal terms then lose about n / 20 roundings, all
to one side. What goes back through a normalisation over samples and places cancels, and such roundings would be left.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

Axes = tuple[int, ...]
#: Along axes of no more entries than SHORT, arrays of at least MANY are added up part by part.
SHORT, MANY = 8, 4096
#: More terms than this are added up in blocks.
LONG = 64


def total(x: Reals, axis: Axes, keepdims: bool = False) -> Reals:
    """Returns the sum along some axes.

    Parameters
    ----------
    x : ndarray of float64
    axis : tuple of int
        The axes, none of them negative.
    keepdims : bool
        Whether they are kept, with the length 1.
    """
    extents = [x.shape[k] for k in axis]
    if x.size >= MANY and extents and max(extents) <= SHORT:
        added = x
        for k in sorted(axis, reverse=True):
            added = reduce(np.add, np.moveaxis(added, k, 0))
    elif math.prod(extents) <= LONG or len(axis) == x.ndim:
        return np.asarray(x.sum(axis=axis, keepdims=keepdims))
    else:
        added = _in_blocks(x, axis)
    return np.asarray(np.expand_dims(added, axis) if keepdims else added)


def _in_blocks(x: Reals, axis: Axes) -> Reals:
    """Returns the sum along some axes, one run of neighbouring axes after the other, from the last to the first."""
    x, k = np.ascontiguousarray(x), x.ndim
    while k:
        end = k
        while k and k - 1 in axis:
            k -= 1
        if k == end:
            k -= 1
            continue
        before, after = x.shape[:k], x.shape[end:]
        rows = x.reshape(math.prod(before), math.prod(x.shape[k:end]), math.prod(after))
        x = (_sum_of_rows(rows) if after else rows.sum(axis=1)).reshape(*before, *after)
    return x


def _sum_of_rows(x: Reals) -> Reals:
    """Returns the sums along the middle one of three axes: those of every m-th row, which are then added up.

    With m about the square root of the number of rows, no sum has many more terms than that. Rows side by side are
    added as one long row, which takes less time where rows are short.
    """
    outer, n, width = x.shape
    if n <= LONG:
        return np.asarray(x.sum(axis=1))
    m = math.isqrt(n)
    whole = n // m * m
    part = x[:, :whole].reshape(outer, whole // m, m * width).sum(axis=1)
    found = part.reshape(outer, m, width).sum(axis=1)
    if whole < n:
        found += x[:, whole:].sum(axis=1)
    return np.asarray(found)
