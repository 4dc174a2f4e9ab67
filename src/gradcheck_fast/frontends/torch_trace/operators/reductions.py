"""Operators that reduce an axis, bring its entries into an order, or say where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.activations import log_softmax, logsumexp, softmax
from gradcheck_fast.frontends.operators.elementary import as_float, values_of
from gradcheck_fast.frontends.torch_trace.operators.registry import Call, aten

Axes = int | Sequence[int] | None


def axes_of(axis: Axes) -> Any:
    """Returns axes as NumPy takes them: an empty list means all, as None does."""
    if axis is None or isinstance(axis, int):
        return axis
    return tuple(axis) or None


@aten("sum", "nansum")
def total(call: Call, x: Any, axis: Axes = None, keepdim: bool = False, **_: Any) -> Any:
    """``sum``."""
    return np.sum(as_float(x), axis=axes_of(axis), keepdims=keepdim)


@aten("mean")
def mean(call: Call, x: Any, axis: Axes = None, keepdim: bool = False, **_: Any) -> Any:
    """``mean``."""
    return np.mean(as_float(x), axis=axes_of(axis), keepdims=keepdim)


@aten("prod")
def prod(call: Call, x: Any, axis: Axes = None, keepdim: bool = False, **_: Any) -> Any:
    """``prod``."""
    return np.prod(as_float(x), axis=axes_of(axis), keepdims=keepdim)


@aten("any")
def any_true(call: Call, x: Any, axis: Axes = None, keepdim: bool = False) -> Any:
    """``any``."""
    return np.any(x, axis=axes_of(axis), keepdims=keepdim)


@aten("all")
def all_true(call: Call, x: Any, axis: Axes = None, keepdim: bool = False) -> Any:
    """``all``."""
    return np.all(x, axis=axes_of(axis), keepdims=keepdim)


@aten("var")
def var(call: Call, x: Any, axis: Any = None, *args: Any, **settings: Any) -> Any:
    """``var``."""
    return _moments(x, axis, *args, **settings)[0]


@aten("std")
def std(call: Call, x: Any, axis: Any = None, *args: Any, **settings: Any) -> Any:
    """``std``."""
    return np.sqrt(_moments(x, axis, *args, **settings)[0])


@aten("var_mean")
def var_mean(call: Call, x: Any, axis: Any = None, *args: Any, **settings: Any) -> Any:
    """``var_mean``."""
    return _moments(x, axis, *args, **settings)


@aten("std_mean")
def std_mean(call: Call, x: Any, axis: Any = None, *args: Any, **settings: Any) -> Any:
    """``std_mean``."""
    variance, middle = _moments(x, axis, *args, **settings)
    return np.sqrt(variance), middle


def _moments(
    x: Any, axis: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> tuple[Any, Any]:
    """Returns variance and mean. Of the overload without axes, the second argument is `unbiased`."""
    if isinstance(axis, bool):
        axis, unbiased = None, axis
    less = float(unbiased if correction is None else correction)
    axes = axes_of(axis)
    middle = np.mean(x, axis=axes, keepdims=True)
    squares = np.sum(np.square(x - middle), axis=axes, keepdims=keepdim)
    count = x.size // max(middle.size, 1)
    return squares / max(count - less, 0.0), middle.reshape(np.shape(squares))


@aten("amax")
def amax(call: Call, x: Any, axis: Axes = None, keepdim: bool = False) -> Any:
    """``amax``."""
    return np.max(x, axis=axes_of(axis), keepdims=keepdim)


@aten("amin")
def amin(call: Call, x: Any, axis: Axes = None, keepdim: bool = False) -> Any:
    """``amin``."""
    return np.min(x, axis=axes_of(axis), keepdims=keepdim)


@aten("max")
def largest(call: Call, x: Any, axis: Any = None, keepdim: bool = False) -> Any:
    """``max``: of all, along an axis with the places, or of two tensors."""
    if axis is None:
        return np.max(x)
    if not isinstance(axis, int):
        return np.maximum(x, axis)
    return np.max(x, axis=axis, keepdims=keepdim), call.found[1]


@aten("min")
def smallest(call: Call, x: Any, axis: Any = None, keepdim: bool = False) -> Any:
    """``min``: of all, along an axis with the places, or of two tensors."""
    if axis is None:
        return np.min(x)
    if not isinstance(axis, int):
        return np.minimum(x, axis)
    return np.min(x, axis=axis, keepdims=keepdim), call.found[1]


@aten("aminmax")
def aminmax(call: Call, x: Any, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """``aminmax``."""
    return np.min(x, axis=dim, keepdims=keepdim), np.max(x, axis=dim, keepdims=keepdim)


@aten("argmax")
def argmax(call: Call, x: Any, axis: int | None = None, keepdim: bool = False) -> Any:
    """``argmax``: that another entry may win is a kink."""
    np.argmax(x, axis=axis)
    return call.found[0]


@aten("argmin")
def argmin(call: Call, x: Any, axis: int | None = None, keepdim: bool = False) -> Any:
    """``argmin``."""
    np.argmin(x, axis=axis)
    return call.found[0]


@aten("sort")
def sort(call: Call, x: Any, *_: Any, **settings: Any) -> Any:
    """``sort``: the order is that which PyTorch found."""
    axis = settings.get("dim", next((a for a in _ if isinstance(a, int) and not isinstance(a, bool)), -1))
    if x.ndim == 0:
        return x, call.found[1]
    _ordered(call, "sort", x, axis)
    return np.take_along_axis(x, call.found[1], axis), call.found[1]


def _ordered(call: Call, name: str, x: Any, axis: int) -> None:
    """Says that an operator goes by the order of entries: that it may be another is a kink.

    Entries that are equal may come in another order as soon as they move. If that matters, the line is named.
    """
    np.argsort(x, axis=axis)
    if not np.diff(np.sort(values_of(x), axis=axis), axis=axis).all():
        call.recording.leak(f"{name} puts entries in order that are equal")


@aten("topk")
def topk(call: Call, x: Any, k: int, axis: int = -1, *_: Any) -> Any:
    """``topk``."""
    _ordered(call, "topk", x, axis)
    return np.take_along_axis(x, call.found[1], axis), call.found[1]


@aten("kthvalue")
def kthvalue(call: Call, x: Any, k: int, axis: int = -1, keepdim: bool = False) -> Any:
    """``kthvalue``."""
    return _one_of(call, "kthvalue", x, axis, keepdim)


@aten("median", "nanmedian")
def median(call: Call, x: Any, axis: int | None = None, keepdim: bool = False) -> Any:
    """``median``: of an even number of entries the lower one in the middle."""
    if axis is None:
        _ordered(call, "median", np.ravel(x), 0)
        return np.sort(np.ravel(x))[(x.size - 1) // 2]
    return _one_of(call, "median", x, axis, keepdim)


def _one_of(call: Call, name: str, x: Any, axis: int, keepdim: bool) -> Any:
    """Returns the entries along an axis that PyTorch found, and their places."""
    _ordered(call, name, x, axis)
    places = call.found[1] if keepdim else np.expand_dims(call.found[1], axis)
    found = np.take_along_axis(x, places, axis)
    return found if keepdim else np.squeeze(found, axis=axis), call.found[1]


@aten("cumsum")
def cumsum(call: Call, x: Any, axis: int, **_: Any) -> Any:
    """``cumsum``."""
    return np.cumsum(as_float(x), axis=axis) if x.ndim else x


@aten("cumprod")
def cumprod(call: Call, x: Any, axis: int, **_: Any) -> Any:
    """``cumprod``."""
    return np.cumprod(as_float(x), axis=axis) if x.ndim else x


@aten("cummax", "cummin")
def cummax(call: Call, x: Any, axis: int) -> Any:
    """``cummax`` and ``cummin``: an entry of the axis; that another may win is a kink."""
    _ordered(call, "cummax", x, axis)
    return np.take_along_axis(x, call.found[1], axis), call.found[1]


@aten("logcumsumexp")
def logcumsumexp(call: Call, x: Any, axis: int) -> Any:
    """``logcumsumexp``."""
    return np.logaddexp.accumulate(x, axis=axis)


@aten("logsumexp")
def log_sum(call: Call, x: Any, axis: Axes, keepdim: bool = False) -> Any:
    """``logsumexp``."""
    return logsumexp(x, tuple(range(x.ndim)) if axes_of(axis) is None else axes_of(axis), keepdim)


@aten("_softmax", "_safe_softmax")
def soft(call: Call, x: Any, axis: int, *_: Any, **__: Any) -> Any:
    """``softmax``."""
    return softmax(x, axis) if x.ndim else np.exp(x - x)


@aten("_log_softmax")
def log_soft(call: Call, x: Any, axis: int, *_: Any, **__: Any) -> Any:
    """``log_softmax``."""
    return log_softmax(x, axis)


@aten("linalg_vector_norm", "norm")
def norm(call: Call, x: Any, order: Any = 2, axis: Axes = None, keepdim: bool = False, **_: Any) -> Any:
    """``linalg.vector_norm``: (sum of abs(x)^p)^(1/p)."""
    axes, order = axes_of(axis), 2.0 if order is None else float(order)
    if order == 2.0:
        return np.sqrt(np.sum(np.square(x), axis=axes, keepdims=keepdim))
    if order == math.inf:
        return np.max(np.abs(x), axis=axes, keepdims=keepdim)
    if order == -math.inf:
        return np.min(np.abs(x), axis=axes, keepdims=keepdim)
    if order == 0.0:
        return np.sum(as_float(x != 0.0), axis=axes, keepdims=keepdim)
    sizes = np.abs(x)
    if order == 1.0:
        return np.sum(sizes, axis=axes, keepdims=keepdim)
    return np.power(np.sum(np.power(sizes, order), axis=axes, keepdims=keepdim), 1.0 / order)


@aten("count_nonzero")
def count_nonzero(call: Call, x: Any, axis: Axes = None) -> Any:
    """``count_nonzero``."""
    return np.sum(as_float(x != 0.0), axis=axes_of(axis))


@aten("nonzero")
def nonzero(call: Call, x: Any) -> Any:
    """``nonzero``: that another entry is not zero is a jump."""
    if x.dtype != np.bool_:
        _ = x != 0.0
    return call.found[0]
