"""Operators that act on each entry by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.activations import activation
from gradcheck_fast.frontends.operators.elementary import as_float, erf, erfc, gammaln, is_traced, primitive, values_of
from gradcheck_fast.frontends.torch_trace.operators.registry import Call, Unsupported, aten, simple

for _name, _function in {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sqrt": np.sqrt,  "reciprocal": np.reciprocal, "neg": np.negative,
    "abs": np.absolute, "sign": np.sign, "sgn": np.sign, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp, "logaddexp2": np.logaddexp2,
    "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax, "fmin": np.fmin, "fmod": np.fmod,
    "remainder": np.remainder, "copysign": np.copysign, "heaviside": np.heaviside,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_not": np.logical_not,
    "logical_xor": np.logical_xor, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "isnan": np.isnan, "isinf": np.isinf, "deg2rad": np.deg2rad,
    "rad2deg": np.rad2deg,
}.items():  # fmt: skip
    simple(_function, _name)

for _name in (
    "relu", "sigmoid", "tanh", "silu", "mish", "hardswish", "hardsigmoid", "hardshrink", "softshrink",
    "leaky_relu", "hardtanh", "threshold", "glu",
):  # fmt: skip
    simple(lambda x, *args, _name=_name: activation(_name, x, *args), _name)

simple(erf, "erf")
simple(erfc, "erfc")
simple(gammaln, "lgamma")
simple(lambda x: primitive("erfinv", x), "erfinv")
simple(lambda x: 1.0 / np.sqrt(x), "rsqrt")
simple(lambda x: x - np.trunc(x), "frac")
simple(lambda x, beta=1.0, threshold=20.0: activation("softplus", x, beta, threshold), "softplus")
simple(lambda x, *, approximate="none": activation("gelu", x, approximate), "gelu")
simple(lambda x, weight: activation("relu", x) - weight * activation("relu", -x), "_prelu_kernel")
simple(lambda x: (x > -math.inf) & (x < math.inf))
simple(lambda x, y: primitive("xlogy", x, y), "xlogy")
simple(lambda x: -primitive("xlogy", x, x), "special_entr")
simple(np.sinc, "sinc")
simple(lambda x, alpha=1.0: activation("celu", x, float(alpha)), "celu")
simple(lambda x, y, weight: x + weight * (y - x), "lerp")
simple(lambda x, a, b, *, value=1: x + _times(a * b, value), "addcmul")
simple(lambda x, a, b, *, value=1: x + _times(a / b, value), "addcdiv")
simple(lambda x, y, *, alpha=1: x + _times(y, alpha), "add")
simple(lambda x, y, *, alpha=1: x - _times(y, alpha), "sub")
simple(lambda x, y, alpha=1: y - _times(x, alpha), "rsub")
simple(lambda x, mask, value: np.where(mask, value, x), "masked_fill")
simple(lambda x, minimum: np.maximum(x, minimum), "clamp_min")
simple(lambda x, maximum: np.minimum(x, maximum), "clamp_max")


def _times(x: Any, factor: Any) -> Any:
    return x if type(factor) in (int, float) and factor == 1 else factor * x


@aten("mul")
def mul(call: Call, x: Any, y: Any) -> Any:
    """``mul``: of masks, both must be true."""
    return np.logical_and(x, y) if _are_masks(x, y) else as_float(x) * as_float(y)


def _are_masks(*x: Any) -> bool:
    return all(getattr(array, "dtype", None) == np.bool_ for array in x)


for _name, _function in {
    "bitwise_and": np.logical_and, "bitwise_or": np.logical_or, "bitwise_xor": np.logical_xor,
    "bitwise_not": np.logical_not,
}.items():  # fmt: skip

    def _of_masks(*x: Any, _function: Any = _function) -> Any:
        if not _are_masks(*x):
            raise Unsupported
        return _function(*x)

    simple(_of_masks, _name)


@aten("div")
def div(call: Call, x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    """``div``, rounded down or towards zero if that is asked for."""
    if rounding_mode is None:
        return as_float(x) / as_float(y)
    return np.floor_divide(x, y) if rounding_mode == "floor" else np.trunc(x / y)


simple(np.floor_divide, "floor_divide")


@aten("pow")
def power(call: Call, x: Any, y: Any) -> Any:
    """``pow``."""
    x, y = as_float(x), y if is_traced(y) or isinstance(y, np.ndarray) else float(y)
    return np.square(x) if isinstance(y, float) and y == 2.0 else np.power(x, y)


@aten("round")
def rounded(call: Call, x: Any, *, decimals: int = 0) -> Any:
    """``round``."""
    return np.round(x, decimals)


@aten("elu")
def elu(call: Call, x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    """``elu``, by which PyTorch also says ``selu`` and ``celu``."""
    if input_scale != 1:
        return scale * (activation("relu", x) + alpha * np.expm1(np.minimum(x * input_scale, 0.0)))
    found = activation("elu", x, float(alpha))
    return found if scale == 1 else scale * found


@aten("clamp")
def clamp(call: Call, x: Any, minimum: Any = None, maximum: Any = None, **bounds: Any) -> Any:
    """``clamp``, of which one bound may be missing."""
    minimum, maximum = bounds.get("min", minimum), bounds.get("max", maximum)
    if minimum is not None:
        x = np.maximum(x, minimum)
    return x if maximum is None else np.minimum(x, maximum)


@aten("where")
def where(call: Call, condition: Any, x: Any, y: Any) -> Any:
    """``where``."""
    return np.where(condition, x, y)


@aten("logit")
def logit(call: Call, x: Any, eps: float | None = None) -> Any:
    """``logit``: log(x / (1 - x)), where x is first moved away from 0 and 1 by `eps`."""
    if eps is not None:
        x = np.minimum(np.maximum(x, eps), 1.0 - eps)
    return np.log(x) - np.log1p(-x)


@aten("nan_to_num")
def nan_to_num(
    call: Call, x: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """``nan_to_num``."""
    large = float(np.finfo(np.float64).max)
    x = np.where(np.isnan(x), nan or 0.0, x)
    x = np.where(x == math.inf, large if posinf is None else posinf, x)
    return np.where(x == -math.inf, -large if neginf is None else neginf, x)


@aten("native_dropout")
def native_dropout(call: Call, x: Any, p: float, train: bool | None) -> Any:
    """``native_dropout``: its mask is what was drawn."""
    mask = call.found[1]
    return x * (mask * (1.0 / (1.0 - p) if train and p < 1.0 else 1.0)), mask


@aten("log_sigmoid_forward")
def log_sigmoid(call: Call, x: Any) -> Any:
    """``log_sigmoid_forward``, and what it keeps for its backward; on some devices nothing."""
    return activation("logsigmoid", x), np.exp(-np.abs(x)) if call.found[1].size else call.found[1]


@aten(
    "fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
)  # fmt: skip
def fake_quantised(call: Call, x: Any, *_: Any) -> tuple[Any, Any]:
    """``fake_quantize``: to autograd, rounding is the addition of a constant, and what is cut off is one."""
    if call.held is None or not is_traced(x):
        raise Unsupported
    call.held.lines.append(call.recording.source())
    found, is_inside = call.found
    return np.where(is_inside, x + (found - values_of(x)), found.copy()), None
