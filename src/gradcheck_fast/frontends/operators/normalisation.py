"""Normalisations: to mean 0 and variance 1 over some axes, or to mean square 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.elementary import reshaped
from gradcheck_fast.frontends.operators.windows import padded, windows


def normalised(x: Any, axes: int | tuple[int, ...], eps: float = 1e-5) -> Any:
    """Returns (x - mean) / sqrt(variance + eps), where both are taken over some axes."""
    centred = x - np.mean(x, axis=axes, keepdims=True)
    return centred / np.sqrt(np.mean(np.square(centred), axis=axes, keepdims=True) + eps)


def _scaled(x: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def batch_norm(
    x: Any, weight: Any = None, bias: Any = None, mean: Any = None, var: Any = None, eps: float = 1e-5
) -> Any:
    """Returns batch normalisation: by the mean and the variance of each channel.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    weight, bias : ndarray or TracedArray, shape (channels,), optional
    mean, var : ndarray or TracedArray, shape (channels,), optional
        Given ones, as in evaluation; without them those of the batch, the variance over the number of entries.
    eps : float
        Is added to the variance.
    """
    shape = (x.shape[1], *(1,) * (x.ndim - 2))
    if mean is None or var is None:
        found = normalised(x, (0, *range(2, x.ndim)), eps)
    else:
        found = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    return _scaled(found, weight, bias, shape)


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Returns instance normalisation: by mean and variance of each channel of each sample; see `batch_norm`."""
    return _scaled(normalised(x, tuple(range(2, x.ndim)), eps), weight, bias, (x.shape[1], *(1,) * (x.ndim - 2)))


def layer_norm(x: Any, axes: int | tuple[int, ...], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Returns layer normalisation over some axes; weight and bias are broadcast to x by NumPy's rules."""
    found = normalised(x, axes, eps)
    found = found if weight is None else found * weight
    return found if bias is None else found + bias


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Returns group normalisation: by mean and variance of each group of channels of each sample.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    groups : int
    weight, bias : ndarray or TracedArray, shape (channels,), optional
    eps : float

    Raises
    ------
    ValueError
        If the channels cannot be in so many groups of equal size.
    """
    samples, channels = x.shape[:2]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups: {channels} channels cannot be in {groups} groups of equal size")
    rows = reshaped(x, (samples, groups, channels // groups * math.prod(x.shape[2:])))
    found = normalised(rows, -1, eps).reshape(x.shape)
    return _scaled(found, weight, bias, (channels, *(1,) * (x.ndim - 2)))


def rms_norm(x: Any, axes: int | tuple[int, ...], weight: Any = None, eps: float = 1e-6) -> Any:
    """Returns x / sqrt(mean of x^2 + eps) over some axes, times a weight that is broadcast."""
    found = x / np.sqrt(np.mean(np.square(x), axis=axes, keepdims=True) + eps)
    return found if weight is None else found * weight


def local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, before: int | None = None
) -> Any:
    """Returns x / (k + alpha mean of the squares of `size` channels around)^beta.

    Channels beyond the first and the last one count as 0.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    size : int
    alpha, beta, k : float
    before : int, optional
        How many of the channels come before the channel itself: by default floor(size / 2), as in PyTorch. In ONNX that
        is floor((size - 1) / 2).
    """
    before = size // 2 if before is None else before
    squares = np.moveaxis(np.square(x), 1, -1)
    around = padded(squares, [(before, size - 1 - before)])
    total = np.sum(windows(around, (size,), (1,), (1,), (x.shape[1],)), axis=-1)
    return x / np.power(k + alpha * np.moveaxis(total, -1, 1) / size, beta)


def lp_normalised(x: Any, axis: int | tuple[int, ...], p: float = 2.0, eps: float = 1e-12) -> Any:
    """Returns x / max(norm of x along some axes, eps), with the norm (sum of abs(x)^p)^(1/p)."""
    if p == 2.0:
        norm = np.sqrt(np.sum(np.square(x), axis=axis, keepdims=True))
    elif p == 1.0:
        norm = np.sum(np.abs(x), axis=axis, keepdims=True)
    else:
        norm = np.sum(np.abs(x) ** p, axis=axis, keepdims=True) ** (1.0 / p)
    return x / (np.maximum(norm, eps) if eps else norm)
