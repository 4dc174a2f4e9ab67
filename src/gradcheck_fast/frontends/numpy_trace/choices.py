"""Functions that choose between traced arrays, or compute entry by entry without being ufuncs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.looking import plain
from gradcheck_fast.frontends.numpy_trace.movement import moved
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
        mask = mask != 0.0
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
    return recording.into(out, result.copy() if result is x else result)


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
    """``np.piecewise``: every function is called with the entries that are its own."""
    a = recording.traced(x)
    is_list = isinstance(condlist, (list, tuple)) and np.ndim(condlist[0]) == a.ndim
    masks = [np.asarray(recording.traced(one)._view, bool) for one in (condlist if is_list else [condlist])]
    if len(funclist) > len(masks):
        masks.append(~np.any(masks, axis=0))
    result: Any = recording.buffer(np.zeros(a.shape))
    for mask, function in zip(masks, funclist, strict=True):
        if not callable(function):
            result[mask] = function
        elif mask.any():
            result[mask] = function(a[mask], *args, **kw)
    return result


@implements(np.round, getattr(np, "around", None))
def rounded(recording: Recording, a: Any, decimals: int = 0, out: Any = None) -> Any:
    """``np.round``."""
    x, power = recording.traced(a), 10.0 ** abs(decimals)
    if not decimals:
        return recording.into(out, np.rint(x))
    return recording.into(out, np.rint(x * power) / power if decimals > 0 else np.rint(x / power) * power)


@implements(np.fix)
def fix(recording: Recording, x: Any, out: Any = None) -> Any:
    """``np.fix``."""
    return recording.into(out, np.trunc(recording.traced(x)))


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


@implements(np.choose)
def choose(recording: Recording, a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """``np.choose``: the number of a choice for each place."""
    parts = recording.traced(choices) if type(choices) is TracedArray else choices
    number = np.asarray(plain(recording.traced(a)) if type(a) is TracedArray else a).astype(int)
    x = [recording.as_numbers(recording.traced(part)) for part in parts]
    find: Any = np.choose
    return recording.into(out, moved(recording, x, lambda *numbers: find(number, numbers, mode=mode)))


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


# ---- real numbers as complex ones


@implements(np.real, np.real_if_close)
def real(recording: Recording, val: Any, *_: Any) -> Any:
    """``np.real``."""
    return recording.traced(val)


@implements(np.imag)
def imag(recording: Recording, val: Any) -> Any:
    """``np.imag``, which is zero."""
    return recording.buffer(np.zeros(np.shape(val)))


@implements(np.angle)
def angle(recording: Recording, z: Any, deg: bool = False) -> Any:
    """``np.angle``: 0, or half a turn for negative numbers."""
    return np.where(recording.traced(z) < 0.0, 180.0 if deg else np.pi, 0.0)
