"""Functions that choose between traced arrays, look at them, or compute entry by entry without being ufuncs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


@implements(np.where)
def where(recording: Recording, condition: Any, *choices: Any) -> Any:
    """``np.where``."""
    mask = recording.traced(condition)
    if not choices:
        return np.nonzero(mask)
    first, second = (recording.traced(choice) for choice in choices)
    if mask._view.dtype != np.bool_:
        mask = mask != 0.0  # type: ignore[assignment]
    both = first._view.dtype == second._view.dtype == np.bool_
    value = np.where(mask._view, first._view, second._view)
    found = recording.step("select", [mask, first, second], value)
    return found if both or found._view.dtype == np.float64 else recording.as_numbers(found)


@implements(np.clip)
def clip(
    recording: Recording, a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None,
    max: Any = None, **_: Any,
) -> Any:  # fmt: skip
    """``np.clip``."""
    x = recording.traced(a)
    low, high = a_min if a_min is not None else min, a_max if a_max is not None else max
    result = x if low is None or _is(low, -np.inf) else np.maximum(x, low)
    result = result if high is None or _is(high, np.inf) else np.minimum(result, high)
    if out is None:
        return result.copy() if result is x else result
    target = out if type(out) is TracedArray else recording.adopt(out)
    target._assign(..., result)
    return target


def _is(bound: Any, value: float) -> bool:
    return isinstance(bound, float) and bound == value


@implements(np.select)
def select(recording: Recording, condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """``np.select``: the first condition that holds decides."""
    result: Any = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = where(recording, condition, choice, result)
    return result


@implements(np.piecewise)
def piecewise(recording: Recording, x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Any:
    """``np.piecewise``: every function is computed of all of x, as far as it is defined there."""
    a = recording.traced(x)
    conditions = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    result = np.zeros(a.shape)
    if len(funclist) > len(conditions):
        *funclist, last = funclist
        result = last(a, *args, **kw) if callable(last) else last
    for condition, function in zip(conditions, funclist, strict=True):
        result = where(recording, condition, function(a, *args, **kw) if callable(function) else function, result)
    return result


@implements(np.round, getattr(np, "around", None))
def rounded(recording: Recording, a: Any, decimals: int = 0, out: Any = None) -> Any:
    """``np.round``."""
    x = recording.traced(a)
    return np.rint(x) if not decimals else np.rint(x * 10.0**decimals) / 10.0**decimals


@implements(np.fix)
def fix(recording: Recording, x: Any, out: Any = None) -> Any:
    """``np.fix``."""
    return np.trunc(recording.traced(x))


@implements(np.nan_to_num)
def nan_to_num(recording: Recording, x: Any, copy: bool = True, nan: float = 0.0, **infinite: Any) -> Any:
    """``np.nan_to_num``."""
    a = recording.traced(x)
    bad = ~np.isfinite(a._view)
    return where(recording, bad, np.nan_to_num(a._view, nan=nan, **infinite), a) if bad.any() else a.copy()


@implements(np.sinc)
def sinc(recording: Recording, x: Any) -> Any:
    """``np.sinc``."""
    a = np.pi * recording.traced(x)
    return np.where(a == 0.0, 1.0, np.sin(a) / np.where(a == 0.0, 1.0, a))


@implements(np.diff)
def diff(recording: Recording, a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """``np.diff``."""
    x = recording.traced(a)
    ends = [part for part in (prepend, x, append) if part is not None and part is not np._NoValue]  # type: ignore[attr-defined]
    if len(ends) > 1:
        x = np.concatenate([np.atleast_1d(part) for part in ends], axis=axis)  # type: ignore[assignment]
    for _ in range(n):
        count = x.shape[axis]
        x = np.take(x, range(1, count), axis=axis) - np.take(x, range(count - 1), axis=axis)  # type: ignore[assignment]
    return x


@implements(np.gradient)
def gradient(recording: Recording, f: Any, *spacing: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """``np.gradient`` with one constant spacing, of first order at the edges."""
    x = recording.traced(f)
    if len(spacing) > 1 or (spacing and np.ndim(spacing[0])) or edge_order != 1 or (axis is not None and np.ndim(axis)):
        return recording.opaque(np.gradient, (f, *spacing), {"axis": axis, "edge_order": edge_order})
    step, found = spacing[0] if spacing else 1.0, []
    for place in range(x.ndim) if axis is None else (axis,):
        a = np.moveaxis(x, place, -1)
        inner = (a[..., 2:] - a[..., :-2]) / (2.0 * step)
        ends = (a[..., 1:2] - a[..., :1]) / step, (a[..., -1:] - a[..., -2:-1]) / step
        found.append(np.moveaxis(np.concatenate([ends[0], inner, ends[1]], axis=-1), -1, place))
    return found[0] if len(found) == 1 else tuple(found)


@implements(np.choose)
def choose(recording: Recording, a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """``np.choose``: the number of a choice for each place."""
    parts = [recording.traced(choice) for choice in choices]
    number = np.asarray(plain(recording.traced(a)) if type(a) is TracedArray else a).astype(int)
    shape = np.broadcast_shapes(number.shape, *(part.shape for part in parts))
    stacked = np.stack([np.broadcast_to(part, shape) for part in parts])
    return np.take_along_axis(stacked, np.broadcast_to(number, shape)[np.newaxis], 0)[0]


@implements(np.ediff1d)
def ediff1d(recording: Recording, ary: Any) -> Any:
    """``np.ediff1d``."""
    return diff(recording, np.ravel(recording.traced(ary)))


@implements(getattr(np, "trapezoid", None), getattr(np, "trapz", None))
def trapezoid(recording: Recording, y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """``np.trapezoid``."""
    a = np.moveaxis(recording.traced(y), axis, -1)
    width = dx if x is None else diff(recording, x)
    return np.sum(width * (a[..., 1:] + a[..., :-1]) * 0.5, axis=-1)


@implements(np.polyval)
def polyval(recording: Recording, p: Any, x: Any) -> Any:
    """``np.polyval``, by Horner's rule."""
    result: Any = np.zeros(np.shape(x))
    for coefficient in p:
        result = result * x + coefficient
    return result


@implements(np.apply_along_axis)
def apply_along_axis(recording: Recording, func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """``np.apply_along_axis``."""
    x = np.moveaxis(recording.traced(arr), axis, -1)
    rows = x.reshape((-1, x.shape[-1]))
    found = np.stack([recording.traced(func1d(row, *args, **kwargs)) for row in rows])
    return (
        np.moveaxis(found.reshape(x.shape[:-1] + found.shape[1:]), -1, axis)
        if found.ndim > 1
        else found.reshape(x.shape[:-1])
    )


# ---- what only looks


def _looks(function: Any) -> Any:
    def look(recording: Recording, *args: Any, **kwargs: Any) -> Any:
        return function(*plain(args), **plain(kwargs))

    return look


def plain(value: Any) -> Any:
    """Returns a value, or a list, tuple or dict of values, with plain arrays in place of traced ones."""
    if type(value) is TracedArray:
        return value._view
    if isinstance(value, (list, tuple)):
        parts = [plain(part) for part in value]
        return parts if type(value) is list else tuple(parts)
    return {key: plain(part) for key, part in value.items()} if isinstance(value, dict) else value


for _function in (
    np.shape, np.ndim, np.size, np.isclose, np.allclose, np.array_equal, np.array_equiv, np.may_share_memory,
    np.shares_memory, np.array2string, np.array_repr, np.array_str, np.result_type, np.can_cast, np.isrealobj,
    np.iscomplexobj, np.isreal, np.iscomplex, np.min_scalar_type, np.common_type, np.isposinf, np.isneginf,
    np.digitize, np.bincount, np.histogram, np.unique, np.zeros_like, np.ones_like, np.empty_like,
):  # fmt: skip
    implements(_function)(_looks(_function))


@implements(np.real)
def real(recording: Recording, val: Any) -> Any:
    """``np.real``."""
    return recording.traced(val)


@implements(np.copyto)
def copyto(recording: Recording, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """``np.copyto``."""
    target = dst if type(dst) is TracedArray else recording.adopt(dst)
    target[...] = src if where is True else np.where(where, src, target.copy())


@implements(np.putmask)
def putmask(recording: Recording, a: Any, mask: Any, values: Any) -> None:
    """``np.putmask``."""
    copyto(recording, a, np.broadcast_to(recording.traced(values), np.shape(a)), where=mask)


@implements(np.put)
def put(recording: Recording, a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """``np.put``: repeats its values as often as is needed."""
    target = a if type(a) is TracedArray else recording.adopt(a)
    places, values = np.ravel(np.asarray(ind)), np.ravel(recording.traced(v))
    target[np.unravel_index(places % target.size, target.shape)] = values[np.arange(places.size) % values.size]


@implements(np.place)
def place(recording: Recording, arr: Any, mask: Any, vals: Any) -> None:
    """``np.place``: fills the places of a mask one after the other."""
    put(recording, arr, np.flatnonzero(plain(recording.traced(mask))), vals)


@implements(np.fill_diagonal)
def fill_diagonal(recording: Recording, a: Any, val: Any, wrap: bool = False) -> None:
    """``np.fill_diagonal``."""
    target = a if type(a) is TracedArray else recording.adopt(a)
    places = np.arange(min(target.shape))
    target[(places,) * target.ndim] = val
