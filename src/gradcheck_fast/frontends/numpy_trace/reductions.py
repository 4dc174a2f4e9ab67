"""Functions that reduce axes of traced arrays, or run along them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """Returns the axes that `axis` means, from 0 up."""
    if axis is None:
        return tuple(range(x.ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = []
    for one in given:
        place = operator.index(one)
        if not -x.ndim <= place < x.ndim:
            raise np.exceptions.AxisError(place, x.ndim) if hasattr(np, "exceptions") else ValueError(f"axis {place}")
        found.append(place % x.ndim)
    return tuple(found)


def given(value: Any) -> bool:
    """Whether an argument was given: NumPy's own default stands for one that was not."""
    return value is not None and value is not np._NoValue


def _some(where: Any) -> bool:
    """Whether an argument `where` leaves anything out."""
    return where is not True and given(where)


def _finish(recording: Recording, result: Any, out: Any, dtype: Any = None) -> Any:
    return recording.into(out, recording.cast(result, np.dtype(dtype)) if given(dtype) else result)


def _reduced(name: str, function: Any, neutral: float, combine: Any) -> Any:
    def reduce(
        recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
        initial: Any = None, where: Any = True,
    ) -> Any:  # fmt: skip
        x = recording.as_numbers(recording.traced(a))
        if _some(where):
            x = np.where(where, x, neutral)
        axes, keep = axes_of(x, axis), bool(keepdims) if given(keepdims) else False
        if given(initial) and not x.size:
            return _finish(recording, np.full(function(x._view, axes, keepdims=keep, initial=0.0).shape, initial), out)
        if axes or not x.ndim:
            value = function(x._view, axis=axes if x.ndim else None, keepdims=keep)
            result = recording.step(name, [x], value, axis=axes, keepdims=keep)
        else:
            result = x.copy()
        if given(initial):
            result = combine(result, initial)
        return _finish(recording, result, out, dtype)

    return reduce


sum_of = implements(np.sum)(_reduced("sum", np.sum, 0.0, np.add))
product_of = implements(np.prod)(_reduced("prod", np.prod, 1.0, np.multiply))
_largest = _reduced("max", np.max, -np.inf, np.maximum)
_least = _reduced("min", np.min, np.inf, np.minimum)


@implements(np.max, np.amax)
def largest(
    recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """``np.max``."""
    return _largest(recording, a, axis, None, out, keepdims, initial, where)


@implements(np.min, np.amin)
def least(
    recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """``np.min``."""
    return _least(recording, a, axis, None, out, keepdims, initial, where)


def _count(x: Any, axis: Any, where: Any, keepdims: Any) -> Any:
    """Returns over how many entries an average is taken: a number, or, with `where`, an array."""
    if _some(where):
        counted = np.broadcast_to(where, x.shape)
        return np.sum(counted, axis=axis, keepdims=bool(keepdims) if given(keepdims) else False)
    count = 1
    for place in axes_of(x, axis):
        count *= x.shape[place]
    return count


@implements(np.mean)
def mean(
    recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
    where: Any = True,
) -> Any:  # fmt: skip
    """``np.mean``."""
    x = recording.traced(a)
    total = sum_of(recording, x, axis, keepdims=keepdims, where=where)
    return _finish(recording, total / _count(x, axis, where, keepdims), out, dtype)


@implements(np.var)
def variance(
    recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: Any = False, where: Any = True, mean: Any = None, correction: Any = None,
) -> Any:  # fmt: skip
    """``np.var``."""
    x = recording.as_numbers(recording.traced(a))
    centre = mean if given(mean) else _mean(recording, x, axis, keepdims=True, where=where)
    squares = np.square(x - centre)
    total = sum_of(recording, squares, axis, keepdims=keepdims, where=where)
    count = _count(x, axis, where, keepdims) - (correction if given(correction) else ddof)
    return _finish(recording, total / np.maximum(count, 0), out, dtype)


_mean = mean


@implements(np.std)
def deviation(
    recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """``np.std``."""
    return _finish(recording, np.sqrt(variance(recording, a, axis, None, None, *args, **kwargs)), out, dtype)


@implements(np.ptp)
def peak_to_peak(recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """``np.ptp``."""
    top = largest(recording, a, axis, None, keepdims)
    return recording.into(out, top - least(recording, a, axis, None, keepdims))


@implements(np.average)
def average(
    recording: Recording, a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: Any = False
) -> Any:
    """``np.average``."""
    x = recording.traced(a)
    if weights is None:
        found = mean(recording, x, axis, keepdims=keepdims)
        return (found, np.full(found.shape, float(_count(x, axis, True, False)))) if returned else found
    w = recording.traced(weights)
    if w.shape != x.shape and axis is not None:
        places = axes_of(x, axis)
        w = np.transpose(w, np.argsort(places).tolist()).reshape(
            [n if k in places else 1 for k, n in enumerate(x.shape)]
        )
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


running_sum = implements(np.cumsum)(_running("cumsum", np.cumsum))
running_product = implements(np.cumprod)(_running("cumprod", np.cumprod))


def _cumulative(run: Any, first: float) -> Any:
    def cumulative(
        recording: Recording, x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None,
        include_initial: bool = False,
    ) -> Any:  # fmt: skip
        array = recording.traced(x)
        place = axes_of(array, 0 if axis is None and array.ndim == 1 else axis)[0]
        found = run(recording, array, place)
        if include_initial:
            begin = np.full([1 if k == place else n for k, n in enumerate(found.shape)], first)
            found = np.concatenate([begin, found], axis=place)
        return _finish(recording, found, out, dtype)

    return cumulative


implements(getattr(np, "cumulative_sum", None))(_cumulative(running_sum, 0.0))
implements(getattr(np, "cumulative_prod", None))(_cumulative(running_product, 1.0))


@implements(np.apply_over_axes)
def apply_over_axes(recording: Recording, func: Any, a: Any, axes: Any) -> Any:
    """``np.apply_over_axes``."""
    x = recording.traced(a)
    for axis in np.atleast_1d(axes).tolist():
        found = func(x, axis)
        x = found if found.ndim == x.ndim else np.expand_dims(found, axis)
    return x


# ---- NaN left out


def _holes(x: Any) -> Any:
    """Returns which entries are numbers, or True if all are."""
    bad = np.isnan(x._view)
    return ~bad if bad.any() else True


def without_nan(recording: Recording, a: Any, fill: float) -> Any:
    """Returns an array with a number in place of each NaN."""
    x = recording.as_numbers(recording.traced(a))
    numbers = _holes(x)
    return x if numbers is True else np.where(numbers, x, fill)


def _filled(function: Any, fill: float) -> Any:
    def reduce(recording: Recording, a: Any, *args: Any, **kwargs: Any) -> Any:
        return function(recording, without_nan(recording, a, fill), *args, **kwargs)

    return reduce


def _skipping(function: Any) -> Any:
    def reduce(recording: Recording, a: Any, *args: Any, **kwargs: Any) -> Any:
        x = recording.as_numbers(recording.traced(a))
        numbers = _holes(x)
        if numbers is True:
            return function(recording, x, *args, **kwargs)
        return function(recording, np.where(numbers, x, 0.0), *args, where=numbers, **kwargs)

    return reduce


implements(np.nansum)(_filled(sum_of, 0.0))
implements(np.nanprod)(_filled(product_of, 1.0))
implements(np.nancumsum)(_filled(running_sum, 0.0))
implements(np.nancumprod)(_filled(running_product, 1.0))
implements(np.nanmax)(_filled(largest, -np.inf))
implements(np.nanmin)(_filled(least, np.inf))
implements(np.nanmean)(_skipping(mean))
implements(np.nanvar)(_skipping(variance))
implements(np.nanstd)(_skipping(deviation))


# ---- masks


def _logical(plainly: Any, function: Any, name: str, neutral: float) -> Any:
    reduced = _reduced(name, function, neutral, None)

    def reduce(
        recording: Recording, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
    ) -> Any:
        mask = recording.mask(recording.traced(a))
        if mask._step() is None and not _some(where):
            return plainly(mask._view, axis=axis, keepdims=bool(keepdims) if given(keepdims) else False)
        if not mask.size:
            return plainly(mask._view, axis=axis)
        found = reduced(recording, mask, axis, None, None, keepdims, None, where)
        return recording.into(out, recording.as_mask(found))

    return reduce


implements(np.any)(_logical(np.any, np.max, "max", 0.0))
implements(np.all)(_logical(np.all, np.min, "min", 1.0))


@implements(np.count_nonzero)
def count_nonzero(recording: Recording, a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """``np.count_nonzero``: the sum of a mask."""
    mask = recording.mask(recording.traced(a))
    if mask._step() is None:
        return np.count_nonzero(mask._view, axis=axis, keepdims=keepdims)
    return sum_of(recording, mask, axis, keepdims=keepdims)
