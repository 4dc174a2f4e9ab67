"""Functions that reduce axes of traced arrays, or run along them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.recording import has_traced
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


def axes_of(x: TracedArray, axis: Any) -> tuple[int, ...]:
    """Returns the axes that `axis` means, from 0 up."""
    if axis is None:
        return tuple(range(x.ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = []
    for one in given:
        place = one.__index__()
        if not -x.ndim <= place < x.ndim:
            raise np.exceptions.AxisError(place, x.ndim) if hasattr(np, "exceptions") else ValueError(f"axis {place}")
        found.append(place % x.ndim)
    return tuple(found)


def _given(value: Any) -> bool:
    return value is not None and value is not np._NoValue  # type: ignore[attr-defined]  # NumPy's own default


def _finish(recording: Recording, result: Any, out: Any, dtype: Any = None) -> Any:
    if _given(dtype):
        result = recording.cast(result, np.dtype(dtype))
    if not _given(out):
        return result
    target = out[0] if isinstance(out, tuple) else out
    target = target if type(target) is TracedArray else recording.adopt(target)
    target._assign(..., result)
    return target


def _reduced(name: str, function: Any, neutral: float, combine: Any) -> Any:
    def reduce(
        recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
        initial: Any = None, where: Any = True,
    ) -> Any:  # fmt: skip
        x = recording.as_numbers(recording.traced(a))
        if where is not True and _given(where):
            x = np.where(where, x, neutral)
        axes, keep = axes_of(x, axis), bool(keepdims) if _given(keepdims) else False
        result = x
        if axes or not x.ndim:
            value = function(x._view, axis=axes if x.ndim else None, keepdims=keep)
            result = recording.step(name, [x], value, axis=axes, keepdims=keep)
        if _given(initial):
            result = combine(result, initial)
        return _finish(recording, result, out, dtype)

    return reduce


sum_of = implements(np.sum)(_reduced("sum", np.sum, 0.0, np.add))
implements(np.prod)(_reduced("prod", np.prod, 1.0, np.multiply))
_largest = _reduced("max", np.max, -np.inf, np.maximum)
_least = _reduced("min", np.min, np.inf, np.minimum)


@implements(np.max, np.amax, np.nanmax)
def largest(
    recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """``np.max``."""
    return _largest(recording, a, axis, None, out, keepdims, initial, where)


@implements(np.min, np.amin, np.nanmin)
def least(
    recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """``np.min``."""
    return _least(recording, a, axis, None, out, keepdims, initial, where)


def _count(x: TracedArray, axis: Any) -> int:
    count = 1
    for place in axes_of(x, axis):
        count *= x.shape[place]
    return count


@implements(np.mean, np.nanmean)
def mean(
    recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
    where: Any = True,
) -> Any:  # fmt: skip
    """``np.mean``."""
    x = recording.traced(a)
    if where is not True and _given(where):
        counted = np.broadcast_to(where, x.shape)
        total = sum_of(recording, x, axis, keepdims=keepdims, where=where)
        return _finish(recording, total / np.sum(counted, axis=axis, keepdims=bool(keepdims)), out, dtype)
    return _finish(recording, sum_of(recording, x, axis, keepdims=keepdims) / _count(x, axis), out, dtype)


@implements(np.var, np.nanvar)
def variance(
    recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: Any = False, **others: Any,
) -> Any:  # fmt: skip
    """``np.var``."""
    x = recording.as_numbers(recording.traced(a))
    ddof = others.get("correction", ddof)
    deviation = x - mean(recording, x, axis, keepdims=True)
    total = sum_of(recording, np.square(deviation), axis, keepdims=keepdims)
    return _finish(recording, total / max(_count(x, axis) - ddof, 0), out, dtype)


@implements(np.std, np.nanstd)
def deviation(recording: Recording, a: Any, *args: Any, **kwargs: Any) -> Any:
    """``np.std``."""
    return np.sqrt(variance(recording, a, *args, **kwargs))


implements(np.nansum)(sum_of)


@implements(np.ptp)
def peak_to_peak(recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """``np.ptp``."""
    return largest(recording, a, axis, None, keepdims) - least(recording, a, axis, None, keepdims)


@implements(np.average)
def average(
    recording: Recording, a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: Any = False
) -> Any:
    """``np.average``."""
    x = recording.traced(a)
    if weights is None:
        found = mean(recording, x, axis, keepdims=keepdims)
        return (found, np.full(found.shape, float(_count(x, axis)))) if returned else found
    w = recording.traced(weights)
    if w.shape != x.shape and axis is not None:
        (place,) = axes_of(x, axis)
        w = w.reshape([-1 if k == place else 1 for k in range(x.ndim)])
    w = np.broadcast_to(w, x.shape)
    total = sum_of(recording, w, axis, keepdims=keepdims)
    found = sum_of(recording, x * w, axis, keepdims=keepdims) / total
    return (found, total) if returned else found


def _running(name: str, function: Any) -> Any:
    def run(recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        x = recording.as_numbers(recording.traced(a))
        if axis is None:
            x, axis = np.ravel(x), 0
        (place,) = axes_of(x, axis)
        return _finish(recording, recording.step(name, [x], function(x._view, axis=place), axis=place), out, dtype)

    return run


implements(np.cumsum, np.nancumsum)(_running("cumsum", np.cumsum))
implements(np.cumprod, np.nancumprod)(_running("cumprod", np.cumprod))


@implements(scipy="logsumexp")
def logsumexp(
    recording: Recording, a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """``scipy.special.logsumexp``."""
    x = recording.as_numbers(recording.traced(a))
    if b is not None:
        x = x + np.log(recording.traced(b))
    if return_sign:
        raise recording.untraceable("logsumexp(..., return_sign=True)", "it without the sign")
    axes = axes_of(x, axis)
    top = x._view.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        value = np.log(np.exp(x._view - top).sum(axis=axes, keepdims=True)) + top
    value = value if keepdims else value.reshape([n for k, n in enumerate(x.shape) if k not in axes])
    return recording.step("logsumexp", [x], value, axis=axes, keepdims=bool(keepdims))


@implements(scipy="log_softmax")
def log_softmax(recording: Recording, x: Any, axis: Any = None) -> Any:
    """``scipy.special.log_softmax``."""
    x = recording.traced(x)
    return x - logsumexp(recording, x, axis, keepdims=True)


@implements(scipy="softmax")
def softmax(recording: Recording, x: Any, axis: Any = None) -> Any:
    """``scipy.special.softmax``."""
    return np.exp(log_softmax(recording, x, axis))


def _logical(function: Any) -> Any:
    def reduce(recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, **_: Any) -> Any:
        x = recording.traced(a)
        if x._view.dtype != np.bool_:
            x = x != 0.0
        return function(x._view, axis=axis, keepdims=bool(keepdims) if _given(keepdims) else False)

    return reduce


implements(np.any)(_logical(np.any))
implements(np.all)(_logical(np.all))


@implements(np.count_nonzero)
def count_nonzero(recording: Recording, a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """``np.count_nonzero``: a number that does not change as long as no entry crosses 0."""
    x = recording.traced(a)
    return np.count_nonzero((x if x._view.dtype == np.bool_ else x != 0.0)._view, axis=axis, keepdims=keepdims)


# ---- places, and order


def _look_at_gaps(recording: Recording, ordered: TracedArray, axis: int) -> None:
    """Adds the comparison of neighbours along an axis: where two are equal, their order is a kink."""
    count = ordered.shape[axis]
    if count > 1 and ordered._step() is not None:
        _ = np.take(ordered, range(1, count), axis=axis) > np.take(ordered, range(count - 1), axis=axis)


def _extreme(function: Any) -> Any:
    def find(recording: Recording, a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        x = recording.as_numbers(recording.traced(a))
        places = function(x._view, axis=axis, keepdims=bool(keepdims) if _given(keepdims) else False)
        if x._step() is not None and x.size > 1:
            flat = np.ravel(x) if axis is None else x
            (along,) = axes_of(flat, 0 if axis is None else axis)
            if flat.shape[along] > 1:
                order = np.argsort(flat._view if function is np.argmin else -flat._view, axis=along, kind="stable")
                _look_at_gaps(recording, take_along_axis(recording, flat, np.take(order, [1, 0], along), along), along)
        if _given(out):
            out[...] = places
        return places

    return find


implements(np.argmax, np.nanargmax)(_extreme(np.argmax))
implements(np.argmin, np.nanargmin)(_extreme(np.argmin))


@implements(np.take_along_axis)
def take_along_axis(recording: Recording, arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """``np.take_along_axis``."""
    x = recording.traced(arr)
    if axis is None:
        x, axis = np.ravel(x), 0
    index = np.take_along_axis(np.arange(x.size).reshape(x.shape), np.asarray(indices), axis)
    return np.ravel(x)[index]


@implements(np.argsort)
def argsort(recording: Recording, a: Any, axis: Any = -1, kind: Any = None, **_: Any) -> Any:
    """``np.argsort``."""
    x = recording.as_numbers(recording.traced(a))
    if axis is None:
        x, axis = np.ravel(x), 0
    order = np.argsort(x._view, axis=axis, kind=kind or "stable")
    if x._step() is not None:
        _look_at_gaps(recording, take_along_axis(recording, x, order, axis), axes_of(x, axis)[0])
    return order


@implements(np.sort, np.partition)
def sort(recording: Recording, a: Any, *args: Any, axis: Any = -1, **_: Any) -> Any:
    """``np.sort``; a partition is sorted throughout."""
    x = recording.as_numbers(recording.traced(a))
    if args and isinstance(args[0], Sequence):
        args = args[1:]
    if axis is None:
        x, axis = np.ravel(x), 0
    return take_along_axis(recording, x, argsort(recording, x, axis), axis)


@implements(np.median, np.nanmedian)
def median(recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, **_: Any) -> Any:
    """``np.median``."""
    x = recording.traced(a)
    places = axes_of(x, axis)
    kept = [k for k in range(x.ndim) if k not in places]
    flat = np.transpose(x, [*kept, *places]).reshape([*(x.shape[k] for k in kept), -1])
    ordered = sort(recording, flat)
    count = ordered.shape[-1]
    middle = (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) * 0.5
    if _given(keepdims) and keepdims:
        middle = middle.reshape([1 if k in places else n for k, n in enumerate(x.shape)])
    return middle


def _quantiles(function: Any, whole: float) -> Any:
    def find(
        recording: Recording, a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
        method: str = "linear", keepdims: bool = False, **others: Any,
    ) -> Any:  # fmt: skip
        x = recording.traced(a)
        if method != "linear" or has_traced(q) or keepdims or (axis is not None and np.ndim(axis)):
            return recording.opaque(function, (a, q, axis), {"method": method, "keepdims": keepdims, **others})
        flat = np.ravel(x) if axis is None else np.moveaxis(x, axis, -1)
        ordered = sort(recording, flat)
        place = np.asarray(q, np.float64) / whole * (ordered.shape[-1] - 1)
        below = np.minimum(np.floor(place).astype(int), ordered.shape[-1] - 1)
        above = np.minimum(below + 1, ordered.shape[-1] - 1)
        low, high = ordered[..., below], ordered[..., above]
        found = low + (high - low) * (place - below)
        return found if not np.ndim(q) else np.moveaxis(found, -1, 0)

    return find


implements(np.quantile, np.nanquantile)(_quantiles(np.quantile, 1.0))
implements(np.percentile, np.nanpercentile)(_quantiles(np.percentile, 100.0))


@implements(np.searchsorted)
def searchsorted(recording: Recording, a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    """``np.searchsorted``: places that do not change as long as no entry crosses another."""
    edges, x = recording.traced(a), recording.traced(v)
    _ = x.reshape((*x.shape, 1)) > edges
    return np.searchsorted(edges._view, x._view, side, sorter)


def _nonzero(function: Any) -> Any:
    def find(recording: Recording, a: Any) -> Any:
        x = recording.traced(a)
        return function((x if x._view.dtype == np.bool_ else x != 0.0)._view)

    return find


for _function in (np.nonzero, np.flatnonzero, np.argwhere):
    implements(_function)(_nonzero(_function))


@implements(np.cov)
def cov(
    recording: Recording, m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None,
    **weights: Any,
) -> Any:  # fmt: skip
    """``np.cov`` without weights."""
    x = np.atleast_2d(recording.traced(m))
    if y is not None or any(weight is not None for weight in weights.values()):
        return recording.opaque(np.cov, (m, y, rowvar, bias, ddof), weights)
    x = x if rowvar or x.shape[0] == 1 else x.T
    centred = x - np.mean(x, axis=1, keepdims=True)
    return np.squeeze(centred @ centred.T / (x.shape[1] - (ddof if ddof is not None else 0 if bias else 1)))


@implements(np.corrcoef)
def corrcoef(recording: Recording, x: Any, y: Any = None, rowvar: bool = True, **_: Any) -> Any:
    """``np.corrcoef``."""
    if y is not None:
        return recording.opaque(np.corrcoef, (x, y, rowvar), {})
    covariance = np.atleast_2d(cov(recording, x, rowvar=rowvar))
    scale = np.sqrt(np.diagonal(covariance))
    return np.squeeze(covariance / scale[:, np.newaxis] / scale)
