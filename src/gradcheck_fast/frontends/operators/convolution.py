"""Convolutions, as neural networks have them (cross-correlations), and their transposes, in any number of dimensions.

A convolution is a matrix product: the windows of the padded array, as a view, are the columns of one matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.elementary import contiguous, primitive, reshaped
from gradcheck_fast.frontends.operators.windows import Numbers, Pairs, output_sizes, padded, windows


def same_padding(
    size: Numbers, kernel: Numbers, stride: Numbers, dilation: Numbers, upper: bool = True
) -> list[tuple[int, int]]:
    """Returns the padding with which there are as many windows as entries, or one for each whole stride of them.

    Parameters
    ----------
    size, kernel, stride, dilation : sequence of int
        For each spatial axis.
    upper : bool
        Whether an odd number is padded once more after the array (PyTorch, Keras, ONNX's SAME_UPPER) or before it.
    """
    found = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        less = total // 2
        found.append((less, total - less) if upper else (total - less, less))
    return found


def _require_groups(channels: int, weight: Sequence[int], groups: int, output: int) -> None:
    if groups < 1 or channels % groups or output % groups:
        raise ValueError(f"groups: {channels} and {output} channels cannot be in {groups} groups of equal size")
    if weight[1] * groups != channels:
        raise ValueError(
            f"weight: expected {channels // groups} channels in axis 1 for {channels} channels in {groups} groups, "
            f"got the shape {tuple(weight)}"
        )


def convolution(
    x: Any, weight: Any, bias: Any = None, *, stride: Numbers, padding: Pairs, dilation: Numbers, groups: int = 1
) -> Any:
    """Returns the convolution of an array with a kernel, which is not flipped.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    weight : ndarray or TracedArray, shape (outputs, channels / groups, *kernel)
    bias : ndarray or TracedArray, shape (outputs,), optional
    stride, dilation : sequence of int
        For each spatial axis.
    padding : sequence of (int, int)
        How many zeros come before and after, for each spatial axis.
    groups : int
        Into how many groups the channels are cut that do not mix.

    Returns
    -------
    ndarray or TracedArray, shape (samples, outputs, *spatial)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    samples, channels = x.shape[:2]
    outputs, kernel = weight.shape[0], weight.shape[2:]
    _require_groups(channels, weight.shape, groups, outputs)
    count = output_sizes(x.shape[2:], kernel, stride, padding, dilation)
    x = padded(x, padding)
    inner = channels // groups * math.prod(kernel)
    matrix = weight.reshape((groups, outputs // groups, inner) if groups > 1 else (outputs, inner))
    seen = windows(x, kernel, stride, dilation, count)
    axes, spatial = len(kernel), range(2, 2 + len(kernel))
    # (channels, *kernel, samples, *places)
    columns = np.transpose(seen, (1, *(k + axes for k in spatial), 0, *spatial))
    places = samples * math.prod(count)
    columns = reshaped(columns, (groups, inner, places) if groups > 1 else (inner, places))
    found = matrix @ columns
    if bias is not None:
        found = found + bias.reshape((groups, outputs // groups, 1) if groups > 1 else (outputs, 1))
    return np.moveaxis(found.reshape((outputs, samples, *count)), 0, 1)


def transposed_convolution(
    x: Any, weight: Any, bias: Any = None, *, stride: Numbers, padding: Pairs, output_padding: Numbers,
    dilation: Numbers, groups: int = 1,
) -> Any:  # fmt: skip
    """Returns what a convolution with the same numbers would send back to its input: its transpose.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    weight : ndarray or TracedArray, shape (channels, outputs / groups, *kernel)
    bias : ndarray or TracedArray, shape (outputs,), optional
    stride, dilation : sequence of int
        For each spatial axis.
    padding : sequence of (int, int)
        How many entries are cut off before and after, for each spatial axis.
    output_padding : sequence of int
        How many entries there are more at the end, for each spatial axis.
    groups : int
        Into how many groups the channels are cut that do not mix.

    Returns
    -------
    ndarray or TracedArray, shape (samples, outputs, *spatial)
        Of (n - 1) stride - before - after + dilation (kernel - 1) + output_padding + 1 entries along an axis.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    samples, channels = x.shape[:2]
    size, kernel = x.shape[2:], weight.shape[2:]
    outputs = weight.shape[1] * groups
    if channels % groups or weight.shape[0] != channels:
        raise ValueError(
            f"weight: expected {channels} channels in axis 0, a multiple of {groups} groups, got the shape "
            f"{tuple(weight.shape)}"
        )
    inner, places = math.prod(kernel), samples * math.prod(size)
    rows = reshaped(np.moveaxis(x, 1, 0), (groups, channels // groups, places))
    matrix = weight.reshape((groups, channels // groups, outputs // groups * inner))
    columns = np.swapaxes(matrix, -1, -2) @ rows  # (groups, outputs / groups * kernel, samples * size)
    whole = tuple(
        max((n - 1) * s + d * (k - 1) + 1, (n - 1) * s + d * (k - 1) + 1 + more - after)
        for n, s, d, k, more, (_, after) in zip(size, stride, dilation, kernel, output_padding, padding, strict=True)
    )
    index = _places(samples, outputs, whole, kernel, stride, dilation, size)
    found = primitive("scatter_add", columns.reshape(index.shape), index=index, shape=(samples, outputs, *whole))
    cut = tuple(
        slice(before, (n - 1) * s + d * (k - 1) + 1 + more - after)
        for n, s, d, k, more, (before, after) in zip(
            size, stride, dilation, kernel, output_padding, padding, strict=True
        )
    )
    found = contiguous(found[(slice(None), slice(None), *cut)])
    return found if bias is None else found + bias.reshape((outputs, *(1,) * len(kernel)))


def _places(
    samples: int, outputs: int, whole: Numbers, kernel: Numbers, stride: Numbers, dilation: Numbers, size: Numbers
) -> Any:
    """Returns where each entry goes: an index of shape (outputs, *kernel, samples, *size)."""
    numbers = np.arange(samples * outputs * math.prod(whole)).reshape(samples, outputs, *whole)
    seen = windows(numbers, kernel, stride, dilation, size)
    axes, spatial = len(kernel), range(2, 2 + len(kernel))
    return np.ascontiguousarray(np.transpose(seen, (1, *(k + axes for k in spatial), 0, *spatial)))
