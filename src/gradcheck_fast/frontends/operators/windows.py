"""The windows that convolutions and pooling look through: padding, sizes, and views of all windows at once.

Arrays have the axes (samples, channels, *spatial). There is one number for each spatial axis, and for padding one pair:
before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradcheck_fast.frontends.operators.elementary import is_traced

Pairs = Sequence[tuple[int, int]]
Numbers = Sequence[int]


def output_size(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int, ceil_mode: bool) -> int:
    """Returns how many windows there are along one axis.

    With `ceil_mode` the last one may reach beyond the padding after the array, but must begin before that.
    """
    rest = size + sum(pads) - dilation * (kernel - 1) - 1
    count = (-(-rest // stride) if ceil_mode else rest // stride) + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + pads[0] else count


def output_sizes(
    shape: Numbers, kernel: Numbers, stride: Numbers, padding: Pairs, dilation: Numbers, ceil_mode: bool = False
) -> tuple[int, ...]:
    """Returns how many windows there are along each spatial axis.

    Raises
    ------
    ValueError
        If along some axis there is none.
    """
    found = tuple(output_size(*each, ceil_mode) for each in zip(shape, kernel, stride, padding, dilation, strict=True))
    if any(count < 1 for count in found):
        raise ValueError(
            f"a kernel of the size {tuple(kernel)} with the dilation {tuple(dilation)} does not fit into an array of "
            f"the size {tuple(shape)} with the padding {tuple(padding)}"
        )
    return found


def padded(x: Any, padding: Pairs, fill: float = 0.0) -> Any:
    """Returns an array with more entries of one value around its last axes; negative padding cuts entries off."""
    if not any(before or after for before, after in padding):
        return x
    first = x.ndim - len(padding)
    if any(before < 0 or after < 0 for before, after in padding):
        cut = tuple(
            slice(max(-before, 0), n - max(-after, 0))
            for (before, after), n in zip(padding, x.shape[first:], strict=True)
        )
        x = x[(..., *cut)]
        padding = [(max(before, 0), max(after, 0)) for before, after in padding]
        if not any(before or after for before, after in padding):
            return x
    return np.pad(x, [(0, 0)] * first + [tuple(pair) for pair in padding], constant_values=fill)


def reached(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int, count: int) -> tuple[int, int]:
    """Returns the padding before and after along one axis, so that the last of `count` windows fits in."""
    last = (count - 1) * stride + dilation * (kernel - 1) + 1
    return pads[0], max(pads[1], last - size - pads[0])


def windows(x: Any, kernel: Numbers, stride: Numbers, dilation: Numbers, count: Numbers) -> Any:
    """Returns a view of all windows of an array, with the axes (samples, channels, *places, *entries of the kernel)."""
    axes = len(kernel)
    lead, own = x.strides[: x.ndim - axes], x.strides[x.ndim - axes :]
    strides = (
        *lead,
        *(step * each for step, each in zip(own, stride, strict=True)),
        *(step * each for step, each in zip(own, dilation, strict=True)),
    )
    shape = (*x.shape[: x.ndim - axes], *count, *kernel)
    return x._seen(as_strided(x._view, shape, strides)) if is_traced(x) else as_strided(x, shape, strides)
