"""Pooling: the largest entries of windows, their averages and norms, in any number of dimensions.

Sizes, ties and NaN are as in PyTorch: with `ceil_mode` windows that begin in the padding after the array are left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.elementary import reshaped, values_of
from gradcheck_fast.frontends.operators.windows import Numbers, Pairs, output_sizes, padded, reached, windows


def _all_windows(
    x: Any, kernel: Numbers, stride: Numbers, padding: Pairs, dilation: Numbers, ceil_mode: bool, fill: float
) -> Any:
    """Returns all windows, with the axes (*kernel, samples, channels, *places), filled where they reach beyond x.

    The axes that are going to be reduced come first, so that the inner loops of NumPy run along the others.
    """
    size = x.shape[2:]
    count = output_sizes(size, kernel, stride, padding, dilation, ceil_mode)
    around = [reached(*each) for each in zip(size, kernel, stride, padding, dilation, count, strict=True)]
    return _kernel_first(windows(padded(x, around, fill), kernel, stride, dilation, count), len(kernel))


def _kernel_first(seen: Any, axes: int) -> Any:
    first = range(seen.ndim - axes, seen.ndim)
    return np.transpose(seen, (*first, *range(seen.ndim - axes)))


def _first(axes: int) -> tuple[int, ...]:
    return tuple(range(axes))


def _winners(seen: Any, numbers: Any, axes: int) -> Any:
    """Returns the numbers of the first largest entries of plain windows, or of the last NaN where there is any.

    That is the order in which PyTorch looks at a window. Entries of the number -1 are padding.
    """
    rows = seen.reshape(-1, *seen.shape[axes:])
    own = np.broadcast_to(numbers, seen.shape).reshape(rows.shape)
    count = len(rows)
    outside = own < 0
    rows = np.where(outside, -np.inf, rows)
    order = np.broadcast_to(np.arange(count).reshape(-1, *(1,) * (rows.ndim - 1)), rows.shape)
    place = np.where((rows == rows.max(axis=0)) & ~outside, order, count).argmin(axis=0)
    if np.isnan(rows).any():
        last = np.where(np.isnan(rows), order, -1).max(axis=0)
        place = np.where(last >= 0, last, place)
    return np.take_along_axis(own, place[np.newaxis], 0)[0]


def max_pool(
    x: Any, kernel: Numbers, *, stride: Numbers, padding: Pairs, dilation: Numbers, ceil_mode: bool = False
) -> tuple[Any, Any]:
    """Returns the largest entry of each window, and where it is.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    kernel, stride, dilation : sequence of int
        For each spatial axis.
    padding : sequence of (int, int)
        How many entries that never win come before and after, for each spatial axis.
    ceil_mode : bool
        Whether the last window may reach beyond that.

    Returns
    -------
    value : ndarray or TracedArray, shape (samples, channels, *places)
    indices : ndarray of int64
        The numbers of the winners in C order of the spatial axes: plain, as they are at the parameters.
    """
    axes = len(kernel)
    settings = kernel, stride, padding, dilation, ceil_mode
    seen = _all_windows(x, *settings, -np.inf)
    numbers = np.arange(1, 1 + math.prod(x.shape[2:])).reshape(1, 1, *x.shape[2:])
    numbers = _all_windows(numbers, *settings, 0) - 1
    return np.max(seen, axis=_first(axes)), _winners(values_of(seen), numbers, axes)


def max_pool_values(
    x: Any, kernel: Numbers, *, stride: Numbers, padding: Pairs, dilation: Numbers, ceil_mode: bool = False
) -> Any:
    """Returns the largest entry of each window; see `max_pool`."""
    return np.max(_all_windows(x, kernel, stride, padding, dilation, ceil_mode, -np.inf), axis=_first(len(kernel)))


def average_pool(
    x: Any, kernel: Numbers, *, stride: Numbers, padding: Pairs, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor: float | None = None,
) -> Any:  # fmt: skip
    """Returns the average of each window.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    kernel, stride : sequence of int
        For each spatial axis.
    padding : sequence of (int, int)
        How many zeros come before and after, for each spatial axis.
    ceil_mode : bool
        Whether the last window may reach beyond that. What it reaches beyond the padding is never counted.
    count_include_pad : bool
        Whether the zeros of the padding are counted.
    divisor : float, optional
        What the sum of each window is divided by, in place of the number of its entries.

    Returns
    -------
    ndarray or TracedArray, shape (samples, channels, *places)
    """
    axes = len(kernel)
    settings = kernel, stride, padding, (1,) * axes, ceil_mode
    total = np.sum(_all_windows(x, *settings, 0.0), axis=_first(axes))
    if divisor is not None:
        return total / divisor
    if count_include_pad:
        size = [n + sum(pads) for n, pads in zip(x.shape[2:], padding, strict=True)]
        settings = kernel, stride, [(0, 0)] * axes, (1,) * axes, False
        ones = np.ones((1, 1, *size))
        around = [
            reached(*each) for each in zip(size, kernel, stride, settings[2], settings[3], total.shape[2:], strict=True)
        ]
        counts = _kernel_first(windows(padded(ones, around), kernel, stride, settings[3], total.shape[2:]), axes)
    else:
        counts = _all_windows(np.ones((1, 1, *x.shape[2:])), *settings, 0.0)
    counts = counts.sum(axis=_first(axes))
    return total / (counts.flat[0] if (counts == counts.flat[0]).all() else counts)


def _adaptive(x: Any, output_size: Numbers, fill: float) -> tuple[Any, Any]:
    """Returns the windows of adaptive pooling, and the numbers of their entries in the array; -1 is `fill`.

    Window k of n goes from floor(k size / n) to ceil((k + 1) size / n).
    """
    size, axes = x.shape[2:], len(output_size)
    numbers = np.arange(math.prod(size)).reshape(1, 1, *size)
    if all(n % m == 0 for n, m in zip(size, output_size, strict=True)):
        kernel = [n // m for n, m in zip(size, output_size, strict=True)]
        return tuple(_kernel_first(windows(a, kernel, kernel, (1,) * axes, output_size), axes) for a in (x, numbers))
    own = numbers.reshape(size)
    for k, (n, m) in enumerate(zip(size, output_size, strict=True)):
        begins = np.arange(m) * n // m
        ends = -(-(np.arange(m) + 1) * n // m)
        places = begins[:, np.newaxis] + np.arange((ends - begins).max())
        inside = places < ends[:, np.newaxis]
        taken = np.take(own, np.where(inside, places, 0), axis=2 * k)  # the axis becomes two: window, entry of it
        own = np.where(inside.reshape(inside.shape + (1,) * (taken.ndim - 2 * k - 2)), taken, -1)
    own = own.transpose([2 * k + 1 for k in range(axes)] + [2 * k for k in range(axes)])
    flat = reshaped(x, (*x.shape[:2], numbers.size))
    if (own < 0).any():
        flat = np.concatenate([flat, np.full((*x.shape[:2], 1), fill)], axis=-1)
    return np.moveaxis(flat[..., own], (0, 1), (axes, axes + 1)), own.reshape(
        *own.shape[:axes], 1, 1, *own.shape[axes:]
    )


def adaptive_average_pool(x: Any, output_size: Numbers) -> Any:
    """Returns the averages of as many windows as `output_size` says, which cover the array.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    output_size : sequence of int
        For each spatial axis.

    Returns
    -------
    ndarray or TracedArray, shape (samples, channels, *output_size)
    """
    axes = tuple(range(2, x.ndim))
    if all(m == 1 for m in output_size):
        return np.mean(x, axis=axes, keepdims=True)
    seen, own = _adaptive(x, output_size, 0.0)
    first = _first(len(output_size))
    counts = (own >= 0).sum(axis=first)
    return np.sum(seen, axis=first) / (float(counts.flat[0]) if (counts == counts.flat[0]).all() else counts)


def adaptive_max_pool(x: Any, output_size: Numbers) -> tuple[Any, Any]:
    """Returns the largest entries of as many windows as `output_size` says, and where they are; see `max_pool`."""
    seen, own = _adaptive(x, output_size, -np.inf)
    return np.max(seen, axis=_first(len(output_size))), _winners(values_of(seen), own, len(output_size))


def lp_pool(
    x: Any, norm_type: float, kernel: Numbers, *, stride: Numbers, padding: Pairs, ceil_mode: bool = False,
    absolute: bool = False,
) -> Any:  # fmt: skip
    """Returns (sum of x^p)^(1/p) over each window, with p the `norm_type`.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    norm_type : float
    kernel, stride, padding, ceil_mode
        As in `average_pool`.
    absolute : bool
        Whether the powers are those of the sizes of the entries, as in ONNX. In PyTorch they are those of the entries,
        and a window that reaches beyond the array counts as if it was full: its sum is that times its average.

    Returns
    -------
    ndarray or TracedArray, shape (samples, channels, *places)
    """
    powers = np.power(np.abs(x) if absolute else x, norm_type)
    if absolute:
        seen = _all_windows(powers, kernel, stride, padding, (1,) * len(kernel), ceil_mode, 0.0)
        total = np.sum(seen, axis=_first(len(kernel)))
    else:
        average = average_pool(powers, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
        total = average * float(math.prod(kernel))
    return np.power(total, 1.0 / norm_type)
