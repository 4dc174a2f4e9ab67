"""Operators that PyTorch's autograd calls, as steps of a forward pass that asks for gradients itself.

Forces, PINNs and gradient penalties do so. Each rule says what the operator computes; no gradient that is compared with
the user's is found by any of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators import convolution as convolutions
from gradcheck_fast.frontends.operators.activations import sigmoid
from gradcheck_fast.frontends.operators.elementary import as_float, erf
from gradcheck_fast.frontends.torch_trace.operators.movement import added
from gradcheck_fast.frontends.torch_trace.operators.registry import Call, Unsupported, aten, simple

simple(lambda up, y: up * (1.0 - np.square(y)), "tanh_backward")
simple(lambda up, y: up * (y * (1.0 - y)), "sigmoid_backward")
simple(lambda up, x, threshold: up * as_float(x > threshold), "threshold_backward")
simple(lambda up, x: up * (sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)))))
simple(lambda up, x, low, high: up * as_float((x > low) & (x < high)), "hardtanh_backward")
simple(lambda up, x, buffer: up * sigmoid(-x), "log_sigmoid_backward")
simple(lambda up, x, target, reduction: _shared(2.0 * (x - target), up, reduction), "mse_loss_backward")


def _shared(slopes: Any, up: Any, reduction: int) -> Any:
    """Returns the slopes of a loss times what comes from above; of a mean, each has its share."""
    return slopes * up / (slopes.size if reduction == 1 else 1)


@aten("gelu_backward")
def gelu_backward(call: Call, up: Any, x: Any, *, approximate: str = "none") -> Any:
    """``gelu_backward``."""
    if approximate == "none":
        density = np.exp(-0.5 * np.square(x)) / math.sqrt(2.0 * math.pi)
        return up * (0.5 * (1.0 + erf(x / math.sqrt(2.0))) + x * density)
    a = math.sqrt(2.0 / math.pi)
    y = np.tanh(a * (x + 0.044715 * x**3))
    return up * (0.5 * (1.0 + y) + 0.5 * x * (1.0 - np.square(y)) * (a * (1.0 + 0.134145 * np.square(x))))


@aten("softplus_backward")
def softplus_backward(call: Call, up: Any, x: Any, beta: float, threshold: float) -> Any:
    """``softplus_backward``."""
    return up * np.where(x * beta > threshold, 1.0, sigmoid(x * beta))


@aten("elu_backward")
def elu_backward(call: Call, up: Any, alpha: float, scale: float, input_scale: float, is_result: bool, x: Any) -> Any:
    """``elu_backward``."""
    below = up * (input_scale * (x + alpha * scale) if is_result else input_scale * alpha * scale * np.exp(
        np.minimum(x * input_scale, 0.0)))  # fmt: skip
    return np.where(x <= 0.0, below, up * scale)


@aten("leaky_relu_backward")
def leaky_relu_backward(call: Call, up: Any, x: Any, slope: float, is_result: bool) -> Any:
    """``leaky_relu_backward``."""
    return up * np.where(x > 0.0, 1.0, slope)


@aten("_softmax_backward_data")
def softmax_backward(call: Call, up: Any, y: Any, axis: int, dtype: Any) -> Any:
    """``_softmax_backward_data``."""
    weighted = up * y
    return weighted - y * np.sum(weighted, axis=axis, keepdims=True)


@aten("_log_softmax_backward_data")
def log_softmax_backward(call: Call, up: Any, y: Any, axis: int, dtype: Any) -> Any:
    """``_log_softmax_backward_data``."""
    return up - np.exp(y) * np.sum(up, axis=axis, keepdims=True)


@aten("nll_loss_backward")
def nll_backward(
    call: Call, up: Any, x: Any, target: Any, weight: Any, reduction: int, ignore_index: int, total: Any
) -> Any:
    """``nll_loss_backward``."""
    if x.ndim != 2:
        raise Unsupported
    kept = target != ignore_index
    places = np.where(kept, target, 0)
    factor = -as_float(kept) * (1.0 if weight is None else weight[places])
    factor = factor / total if reduction == 1 else factor
    index = np.arange(len(target)) * x.shape[1] + places
    return added(call.recording.traced(up) * factor, index, x.shape)


@aten("embedding_dense_backward")
def embedding_backward(call: Call, up: Any, index: Any, count: int, padding: int, scale_by_freq: bool) -> Any:
    """``embedding_dense_backward``."""
    if scale_by_freq:
        raise Unsupported
    rows = up.reshape((-1, up.shape[-1])) * (np.asarray(index).reshape(-1, 1) != padding)
    places = np.asarray(index).reshape(-1, 1) * up.shape[-1] + np.arange(up.shape[-1])
    return added(rows, places, (count, up.shape[-1]))


@aten("native_layer_norm_backward")
def layer_norm_backward(
    call: Call, up: Any, x: Any, shape: Sequence[int], mean: Any, scale: Any, weight: Any, bias: Any, mask: Any
) -> Any:
    """``native_layer_norm_backward``."""
    axes, leading = tuple(range(-len(shape), 0)), tuple(range(x.ndim - len(shape)))
    normal = (x - mean) * scale
    own = up if weight is None else up * weight
    average = np.mean(own, axis=axes, keepdims=True)
    aligned = np.mean(own * normal, axis=axes, keepdims=True)
    found = (
        scale * (own - average - normal * aligned),
        np.sum(up * normal, axis=leading) if mask[1] else None,
        np.sum(up, axis=leading) if mask[2] else None,
    )
    return tuple(part if wanted else None for part, wanted in zip(found, mask, strict=True))


@aten("convolution_backward")
def convolution_backward(
    call: Call, up: Any, x: Any, weight: Any, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, mask: Sequence[bool],
) -> Any:  # fmt: skip
    """``convolution_backward`` of a convolution that is not transposed.

    What goes back to the input is a transposed convolution with the same kernel; what goes to the kernel, the
    convolution of the input with what comes from above, samples and channels exchanged.
    """
    axes = weight.ndim - 2
    stride, padding, dilation = (list(n) * (axes if len(n) == 1 else 1) for n in (stride, padding, dilation))
    if transposed or groups != 1:
        raise Unsupported
    pairs = [(p, p) for p in padding]
    kernel = weight.shape[2:]
    ends = [
        size + 2 * p - d * (k - 1) - 1 - s * (n - 1)
        for size, p, d, k, s, n in zip(x.shape[2:], padding, dilation, kernel, stride, up.shape[2:], strict=True)
    ]
    to_x = to_weight = to_bias = None
    if mask[0]:
        to_x = convolutions.transposed_convolution(
            up, weight, stride=stride, padding=pairs, output_padding=ends, dilation=dilation
        )
    if mask[1]:
        seen = convolutions.convolution(
            np.swapaxes(x, 0, 1), np.swapaxes(up, 0, 1), stride=dilation, padding=pairs, dilation=stride
        )
        to_weight = np.swapaxes(seen, 0, 1)[(slice(None), slice(None), *(slice(k) for k in kernel))]
    if mask[2]:
        to_bias = np.sum(up, axis=(0, *range(2, 2 + axes)))
    return to_x, to_weight, to_bias


@aten("max_pool2d_with_indices_backward")
def max_pool_backward(
    call: Call, up: Any, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, index: Any
) -> Any:
    """``max_pool2d_with_indices_backward``."""
    planes = int(np.prod(x.shape[:-2]))
    places = np.asarray(index).reshape(planes, -1) + np.arange(planes)[:, np.newaxis] * (x.shape[-2] * x.shape[-1])
    return added(up.reshape(places.shape), places, x.shape)


@aten("unfold_backward")
def unfold_backward(call: Call, up: Any, shape: Sequence[int], axis: int, size: int, step: int) -> Any:
    """The transpose of ``unfold``."""
    numbers = np.arange(math.prod(shape)).reshape(tuple(shape))
    places = np.lib.stride_tricks.sliding_window_view(numbers, size, axis=axis)
    places = places[(*(slice(None),) * (axis % len(shape)), slice(None, None, step))]
    return added(up, places, shape)


@aten("diagonal_backward")
def diagonal_backward(call: Call, up: Any, shape: Sequence[int], offset: int, first: int, second: int) -> Any:
    """The transpose of ``diagonal``."""
    places = np.diagonal(np.arange(math.prod(shape)).reshape(tuple(shape)), offset, first, second)
    return added(up, places, shape)
