"""Activations under PyTorch's names, with its settings, and those of ONNX and Keras where these have more.

What has a kernel of its own (`program.steps.ACTIVATIONS`) is one step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.elementary import primitive


def activation(name: str, x: Any, *args: Any, **settings: Any) -> Any:
    """Returns an activation of an array.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    x : ndarray or TracedArray
    *args, **settings
        Those of the function of that name in this module.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in NAMES:
        raise ValueError(f"activation: expected one of {', '.join(sorted(NAMES))}, got {name!r}")
    return NAMES[name](x, *args, **settings)


def relu(x: Any) -> Any:
    """Returns max(x, 0)."""
    return primitive("relu", x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """Returns x where it is positive, and `negative_slope` times x elsewhere."""
    if negative_slope == 0.01:
        return primitive("leaky_relu", x)
    return relu(x) - negative_slope * relu(-x)


def prelu(x: Any, weight: Any, axis: int = 1) -> Any:
    """Returns x where it is positive, and `weight` times x elsewhere.

    Parameters
    ----------
    x : ndarray or TracedArray
    weight : ndarray or TracedArray
        One number, one for each entry of `axis`, or an array that is broadcast to x.
    axis : int
        The axis of the channels.
    """
    if np.size(weight) > 1 and np.ndim(weight) == 1 and np.ndim(x) > 1:
        weight = weight.reshape([-1 if k == axis % np.ndim(x) else 1 for k in range(np.ndim(x))])
    return relu(x) - weight * relu(-x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """Returns x where it is positive, and alpha (e^x - 1) elsewhere."""
    if alpha == 1.0:
        return primitive("elu", x)
    return relu(x) + alpha * np.expm1(np.minimum(x, 0.0))


def celu(x: Any, alpha: float = 1.0) -> Any:
    """Returns x where it is positive, and alpha (e^(x / alpha) - 1) elsewhere."""
    return elu(x) if alpha == 1.0 else alpha * elu(x / alpha)


def selu(x: Any, alpha: float | None = None, gamma: float | None = None) -> Any:
    """Returns gamma x where x is positive, and gamma alpha (e^x - 1) elsewhere; by default with the usual numbers."""
    if alpha is None or gamma is None:
        return primitive("selu", x)
    return gamma * elu(x, alpha)


def gelu(x: Any, approximate: str = "none") -> Any:
    """Returns x times the normal distribution function at x, or the approximation of that by ``tanh``.

    Raises
    ------
    ValueError
        If `approximate` is neither "none" nor "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate: expected 'none' or 'tanh', got {approximate!r}")
    return primitive("gelu" if approximate == "none" else "gelu_tanh", x)


def quick_gelu(x: Any, alpha: float = 1.702) -> Any:
    """Returns x / (1 + e^(-alpha x))."""
    return x * sigmoid(alpha * x)


def silu(x: Any) -> Any:
    """Returns x / (1 + e^-x)."""
    return primitive("silu", x)


def sigmoid(x: Any) -> Any:
    """Returns 1 / (1 + e^-x)."""
    return primitive("sigmoid", x)


def logsigmoid(x: Any) -> Any:
    """Returns log(1 / (1 + e^-x))."""
    return -primitive("softplus", -x)


def tanh(x: Any) -> Any:
    """Returns the hyperbolic tangent."""
    return primitive("tanh", x)


def scaled_tanh(x: Any, alpha: float = 1.0, beta: float = 1.0) -> Any:
    """Returns alpha tanh(beta x)."""
    return alpha * tanh(beta * x)


def softplus(x: Any, beta: float = 1.0, threshold: float = math.inf) -> Any:
    """Returns log(1 + e^(beta x)) / beta, but x itself where beta x is above a threshold; PyTorch's is 20."""
    scaled = x if beta == 1.0 else beta * x
    found = primitive("softplus", scaled)
    found = found if beta == 1.0 else found / beta
    return found if threshold == math.inf else np.where(scaled > threshold, x, found)


def softsign(x: Any) -> Any:
    """Returns x / (1 + abs(x))."""
    return primitive("softsign", x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """Returns x, but not less than `min_val` nor more than `max_val`."""
    return primitive("hardtanh", x) if (min_val, max_val) == (-1.0, 1.0) else np.clip(x, min_val, max_val)


def relu6(x: Any) -> Any:
    """Returns x, but not less than 0 nor more than 6."""
    return primitive("relu6", x)


def hardswish(x: Any) -> Any:
    """Returns x relu6(x + 3) / 6."""
    return x * relu6(x + 3.0) / 6.0


def hardsigmoid(x: Any, slope: float | None = None, offset: float = 0.5) -> Any:
    """Returns relu6(x + 3) / 6, or slope x + offset, but not less than 0 nor more than 1."""
    return relu6(x + 3.0) / 6.0 if slope is None else np.clip(slope * x + offset, 0.0, 1.0)


def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """Returns x, but 0 where its size is not above `lambd`."""
    return np.where(np.abs(x) <= lambd, 0.0, x)


def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """Returns x, nearer to 0 by `lambd`, but 0 where its size is not above that."""
    return relu(x - lambd) - relu(-x - lambd)


def shrink(x: Any, bias: float = 0.0, lambd: float = 0.5) -> Any:
    """Returns ONNX's Shrink: x nearer to 0 by `bias` where its size is above `lambd`, and 0 elsewhere."""
    return np.where(x > lambd, x - bias, np.where(x < -lambd, x + bias, 0.0))


def tanhshrink(x: Any) -> Any:
    """Returns x - tanh(x)."""
    return x - tanh(x)


def threshold(x: Any, threshold: float, value: float = 0.0) -> Any:
    """Returns x where it is above a threshold, and `value` elsewhere."""
    return np.where(x <= threshold, value, x)


def mish(x: Any) -> Any:
    """Returns x tanh(log(1 + e^x))."""
    return x * tanh(primitive("softplus", x))


def glu(x: Any, axis: int = -1, gate: str = "sigmoid", **settings: Any) -> Any:
    """Returns the first half of an array along an axis times an activation of the second half.

    Raises
    ------
    ValueError
        If the axis has an odd length.
    """
    length = np.shape(x)[axis]
    if length % 2:
        raise ValueError(f"glu: expected an axis of even length, got axis {axis} of the shape {np.shape(x)}")
    first, second = np.split(x, 2, axis=axis)
    return first * activation(gate, second, **settings)


def softmax(x: Any, axis: int = -1) -> Any:
    """Returns e^x divided by its sum along an axis."""
    if axis % np.ndim(x) == np.ndim(x) - 1:
        return primitive("softmax", x)
    return np.moveaxis(primitive("softmax", np.moveaxis(x, axis, -1)), -1, axis)


def logsumexp(x: Any, axis: int | tuple[int, ...] = -1, keepdims: bool = False) -> Any:
    """Returns the logarithm of the sum of e^x along one or more axes."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(k % np.ndim(x) for k in axes)
    return primitive("logsumexp", x, axis=axes, keepdims=keepdims)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Returns x less the logarithm of the sum of e^x along an axis."""
    return x - logsumexp(x, axis, keepdims=True)


def softmin(x: Any, axis: int = -1) -> Any:
    """Returns softmax of -x."""
    return softmax(-x, axis)


def hardmax(x: Any, axis: int = -1) -> Any:
    """Returns 1 at the first largest entry along an axis, and 0 elsewhere; its slope is 0."""
    places = np.argmax(x, axis=axis)
    found = np.zeros(np.shape(x))
    np.put_along_axis(found, np.expand_dims(places, axis), 1.0, axis)
    return found


def identity(x: Any) -> Any:
    """Returns x itself."""
    return x


def exponential(x: Any) -> Any:
    """Returns e^x."""
    return np.exp(x)


#: All activations by name.
NAMES: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        relu, leaky_relu, prelu, elu, celu, selu, gelu, quick_gelu, silu, sigmoid, logsigmoid, tanh, scaled_tanh,
        softplus, softsign, hardtanh, relu6, hardswish, hardsigmoid, hardshrink, softshrink, shrink, tanhshrink,
        threshold, mish, glu, softmax, logsumexp, log_softmax, softmin, hardmax, identity, exponential,
    )
}  # fmt: skip
