"""Functions that find places in traced arrays, or bring their entries into an order.

Places are plain integers. Where two entries are equal, or an entry lies on an edge, they would change: the comparisons
of neighbours are steps, which know how far that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.recording import has_traced
from gradcheck_fast.frontends.numpy_trace.reductions import axes_of, given, without_nan
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


def _look_at_gaps(recording: Recording, ordered: TracedArray, axis: int) -> None:
    """Adds the comparison of neighbours along an axis: where two are equal, their order is a kink."""
    count = ordered.shape[axis]
    if count > 1 and ordered._step() is not None:
        _ = np.take(ordered, range(1, count), axis=axis) > np.take(ordered, range(count - 1), axis=axis)


def _extreme(function: Any) -> Any:
    def find(recording: Recording, a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        x = recording.as_numbers(recording.traced(a))
        places = function(x._view, axis=axis, keepdims=bool(keepdims) if given(keepdims) else False)
        if x._step() is not None and x.size > 1:
            flat: Any = np.ravel(x) if axis is None else x
            (along,) = axes_of(flat, 0 if axis is None else axis)
            if flat.shape[along] > 1:
                order = np.argsort(flat._view if function is np.argmin else -flat._view, axis=along, kind="stable")
                _look_at_gaps(recording, take_along_axis(recording, flat, np.take(order, [1, 0], along), along), along)
        if given(out):
            out[...] = places
        return places

    return find


implements(np.argmax)(_extreme(np.argmax))
implements(np.argmin)(_extreme(np.argmin))


def _without_nan(find: Any, fill: float) -> Any:
    def find_number(recording: Recording, a: Any, *args: Any, **kwargs: Any) -> Any:
        return find(recording, without_nan(recording, a, fill), *args, **kwargs)

    return find_number


implements(np.nanargmax)(_without_nan(_extreme(np.argmax), -np.inf))
implements(np.nanargmin)(_without_nan(_extreme(np.argmin), np.inf))


@implements(np.take_along_axis)
def take_along_axis(recording: Recording, arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """``np.take_along_axis``."""
    x = recording.traced(arr)
    if axis is None:
        x, axis = np.ravel(x), 0
    index = np.take_along_axis(np.arange(x.size).reshape(x.shape), np.asarray(indices), axis)
    return np.ravel(x)[index]


def _order(function: Any) -> Any:
    def order(recording: Recording, a: Any, *args: Any, axis: Any = -1, kind: Any = None, **kwargs: Any) -> Any:
        x = recording.as_numbers(recording.traced(a))
        if function is np.argsort and args:  # the partition's kth comes first, the axis of argsort does
            axis, args = args[0], ()
        elif len(args) > 1:
            axis, args = args[1], args[:1]
        if axis is None:
            x, axis = np.ravel(x), 0
        if function is np.argsort:
            kwargs = {"kind": kind or "stable"}
        found = function(x._view, *args, axis=axis, **kwargs)
        if x._step() is not None:
            # a partition is within its parts in any order, but which entries are in a part depends on the whole order
            whole = found if function is np.argsort else np.argsort(x._view, axis=axis, kind="stable")
            _look_at_gaps(recording, take_along_axis(recording, x, whole, axis), axes_of(x, axis)[0])
        return found

    return order


argsort = implements(np.argsort)(_order(np.argsort))
_argpartition = implements(np.argpartition)(_order(np.argpartition))


def _sorted(order: Any) -> Any:
    def sort(recording: Recording, a: Any, *args: Any, axis: Any = -1, **kwargs: Any) -> Any:
        x = recording.as_numbers(recording.traced(a))
        if len(args) > (order is _argpartition):
            axis, args = args[-1], args[:-1]
        if axis is None:
            x, axis = np.ravel(x), 0
        kwargs = {name: value for name, value in kwargs.items() if name == "kth"}
        return take_along_axis(recording, x, order(recording, x, *args, axis=axis, **kwargs), axis)

    return sort


sort = implements(np.sort)(_sorted(argsort))
implements(np.partition)(_sorted(_argpartition))


@implements(np.lexsort)
def lexsort(recording: Recording, keys: Any, axis: int = -1) -> Any:
    """``np.lexsort``: of one-dimensional keys, the last of which decides first."""
    parts = [recording.as_numbers(recording.traced(key)) for key in keys]
    order = np.lexsort([part._view for part in parts], axis)
    for part in parts:
        _look_at_gaps(recording, take_along_axis(recording, part, order, axis), axes_of(part, axis)[0])
    return order


@implements(np.median)
def median(
    recording: Recording, a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
    keepdims: Any = False,
) -> Any:  # fmt: skip
    """``np.median``."""
    x = recording.traced(a)
    places = axes_of(x, axis)
    kept = [k for k in range(x.ndim) if k not in places]
    flat = np.transpose(x, [*kept, *places]).reshape([*(x.shape[k] for k in kept), -1])
    ordered = sort(recording, flat)
    count = ordered.shape[-1]
    middle = (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) * 0.5
    if given(keepdims) and keepdims:
        middle = middle.reshape([1 if k in places else n for k, n in enumerate(x.shape)])
    return recording.into(out, middle)


def _quantiles(function: Any, whole: float) -> Any:
    def find(
        recording: Recording, a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
        method: str = "linear", keepdims: Any = False, **others: Any,
    ) -> Any:  # fmt: skip
        x, keep = recording.traced(a), bool(keepdims) if given(keepdims) else False
        weights = {name: value for name, value in others.items() if value is not None}
        if method != "linear" or has_traced(q) or weights or (axis is not None and np.ndim(axis)):
            found = recording.opaque(function, (a, q, axis), {"method": method, "keepdims": keep, **others})
            return recording.into(out, found)
        flat = np.ravel(x) if axis is None else np.moveaxis(x, axis, -1)
        ordered = sort(recording, flat)
        place = np.asarray(q, np.float64) / whole * (ordered.shape[-1] - 1)
        below = np.minimum(np.floor(place).astype(int), ordered.shape[-1] - 1)
        above = np.minimum(below + 1, ordered.shape[-1] - 1)
        low, high = ordered[..., below], ordered[..., above]
        found = low + (high - low) * (place - below)
        found = np.moveaxis(found, range(-np.ndim(q), 0), range(np.ndim(q))) if np.ndim(q) else found
        if keep:
            reduced = range(x.ndim) if axis is None else axes_of(x, axis)
            found = found.reshape([*np.shape(q), *(1 if k in reduced else n for k, n in enumerate(x.shape))])
        return recording.into(out, found)

    return find


quantile = implements(np.quantile)(_quantiles(np.quantile, 1.0))
percentile = implements(np.percentile)(_quantiles(np.percentile, 100.0))


def _of_numbers(exact: Any) -> Any:
    """Returns a function of rows that leaves NaN out, which makes rows of different lengths."""

    def find(recording: Recording, a: Any, *args: Any, **kwargs: Any) -> Any:
        x, names = recording.traced(a), ("q", "axis", "out") if args and exact is not median else ("axis", "out")
        if not np.isnan(x._view).any():
            return exact(recording, x, *args, **kwargs)
        kwargs |= dict(zip(names, args, strict=False))
        axis, out, keepdims = (kwargs.pop(name, None) for name in ("axis", "out", "keepdims"))
        places = axes_of(x, axis)
        kept = [k for k in range(x.ndim) if k not in places]
        rows = np.transpose(x, [*kept, *places]).reshape([-1, int(np.prod([x.shape[k] for k in places]))])
        parts = [exact(recording, row[~np.isnan(row._view)], **kwargs) for row in rows]
        found = np.stack(parts, axis=-1)
        shape = [1 if k in places else n for k, n in enumerate(x.shape) if k in kept or (given(keepdims) and keepdims)]
        return recording.into(out, found.reshape([*found.shape[:-1], *shape]))

    return find


implements(np.nanmedian)(_of_numbers(median))
implements(np.nanquantile)(_of_numbers(quantile))
implements(np.nanpercentile)(_of_numbers(percentile))


@implements(np.searchsorted)
def searchsorted(recording: Recording, a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    """``np.searchsorted``."""
    edges, x = recording.traced(a), recording.traced(v)
    _ = x.reshape((*x.shape, 1)) > edges
    return np.searchsorted(edges._view, x._view, side, sorter)


@implements(np.digitize)
def digitize(recording: Recording, x: Any, bins: Any, right: bool = False) -> Any:
    """``np.digitize``."""
    edges, a = recording.traced(bins), recording.traced(x)
    _ = a.reshape((*a.shape, 1)) > edges
    return np.digitize(a._view, edges._view, right)


def _nonzero(function: Any) -> Any:
    def find(recording: Recording, a: Any) -> Any:
        return function(recording.mask(recording.traced(a))._view)

    return find


for _function in (np.nonzero, np.flatnonzero, np.argwhere):
    implements(_function)(_nonzero(_function))


@implements(np.unique)
def unique(
    recording: Recording, ar: Any, return_index: bool = False, return_inverse: bool = False,
    return_counts: bool = False, axis: int | None = None, **others: Any,
) -> Any:  # fmt: skip
    """``np.unique``: each entry comes from the place where it occurs first."""
    x = recording.traced(ar)
    find: Any = np.unique
    _, index, *more = find(x._view, True, return_inverse, return_counts, axis, **others)
    found = np.take(np.ravel(x) if axis is None else x, index, axis=axis or 0)
    if axis is None:
        _look_at_gaps(recording, recording.as_numbers(found), 0)
    rest = ([index] if return_index else []) + more
    return (found, *rest) if rest else found
