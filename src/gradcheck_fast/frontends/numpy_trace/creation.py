"""Functions that make arrays: in a trace these can hold traced values, so that they can be filled with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.looking import plain
from gradcheck_fast.frontends.numpy_trace.recording import has_traced
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: The functions that make a new array that is filled later.
MAKERS: tuple[Any, ...] = (
    np.zeros, np.ones, np.empty, np.full, np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.eye,
    np.identity, np.linspace, np.copy, np.array, np.asarray, np.ascontiguousarray, np.asfortranarray, np.asanyarray,
    np.pad, np.fromiter, np.tile, np.diag,
)  # fmt: skip


def make(recording: Recording, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Calls a function that makes an array of plain arguments, and returns an array that can hold traced values."""
    if function is np.fromiter:
        args = (list(args[0]), *args[1:])
        if has_traced(args):
            return fromiter(recording, *args, **kwargs)
    made = function(*args, **kwargs)
    if not isinstance(made, np.ndarray) or any(made is given for given in args):
        return made
    if made.dtype == np.float32 or made.dtype == np.float16:
        said = f"arrays of {made.dtype} that the function makes are kept in float64"
        recording.note_rounding(float(np.finfo(made.dtype).eps), said)
        made = made.astype(np.float64)
    return _boxed(recording.buffer(made))


def _boxed(made: Any) -> Any:
    """Returns a scalar as an array without axes, which ``isinstance(x, np.ndarray)`` tells from it."""
    if type(made) is not TracedArray or not made._is_scalar():
        return made
    box = made.reshape(1).copy()
    return box._seen(box._view.reshape(()))


def _like(function: Any) -> Any:
    def make_like(recording: Recording, *args: Any, **kwargs: Any) -> Any:
        fill = args[1:2] if function is np.full_like else ()
        if has_traced(fill) or has_traced(kwargs.get("fill_value")):
            return _full(recording, np.shape(args[0]), kwargs.get("fill_value", *fill))
        return make(recording, function, [plain(args[0]), *args[1:]], kwargs)

    return make_like


for _function in (np.zeros_like, np.ones_like, np.empty_like, np.full_like):
    implements(_function)(_like(_function))


@implements(np.full)
def _full(recording: Recording, shape: Any, fill_value: Any, *args: Any, **kwargs: Any) -> Any:
    made = recording.buffer(np.zeros(shape))
    made[...] = fill_value
    return made


@implements(np.copy)
def copy(recording: Recording, a: Any, *args: Any, **kwargs: Any) -> Any:
    """``np.copy``."""
    return recording.traced(a).copy()


@implements(np.array)
def array(recording: Recording, object: Any, dtype: Any = None, *, copy: Any = True, ndmin: int = 0, **_: Any) -> Any:
    """``np.array``."""
    if dtype is not None and np.dtype(dtype).kind == "O":
        return objects(object)
    made = recording.traced(object)
    made = made.copy() if copy or made is not object else made
    while made.ndim < ndmin:
        made = made[np.newaxis]
    return _boxed(made if dtype is None else made.astype(dtype))


def objects(values: Any) -> Any:
    """Returns an array of objects, each of which is an array; arrays of one shape are not taken apart."""
    made = np.empty(len(values), dtype=object)
    for k, value in enumerate(values):
        made[k] = value
    return made


@implements(np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, getattr(np, "asarray_chkfinite", None))
def asarray(recording: Recording, a: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
    """``np.asarray``."""
    if dtype is not None and np.dtype(dtype).kind == "O":
        return objects(a)
    made = recording.traced(a)
    return _boxed(made if dtype is None or made._view.dtype == dtype else made.astype(dtype))


@implements(np.fromiter)
def fromiter(recording: Recording, iter: Any, dtype: Any = None, count: int = -1, **_: Any) -> Any:
    """``np.fromiter``."""
    values = list(iter)
    return array(recording, values if count < 0 else values[:count], dtype)


@implements(np.require)
def require(recording: Recording, a: Any, dtype: Any = None, requirements: Any = None, **_: Any) -> Any:
    """``np.require``."""
    return asarray(recording, a, dtype)


@implements(getattr(np, "astype", None))
def astype(recording: Recording, x: Any, dtype: Any, /, **_: Any) -> Any:
    """``np.astype``."""
    return recording.traced(x).astype(dtype)


@implements(np.linspace)
def linspace(
    recording: Recording, start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False,
    dtype: Any = None, axis: int = 0, **_: Any,
) -> Any:  # fmt: skip
    """``np.linspace``."""
    first, last = recording.traced(start), recording.traced(stop)
    count = max(num - 1 if endpoint else num, 1)
    parts = (np.arange(num) / count).reshape((-1,) + (1,) * max(first.ndim, last.ndim))
    found = np.moveaxis(first + (last - first) * parts, 0, axis)
    return (found, (last - first) / count) if retstep else found


@implements(np.logspace)
def logspace(
    recording: Recording, start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0,
    dtype: Any = None, axis: int = 0,
) -> Any:  # fmt: skip
    """``np.logspace``."""
    return np.power(base, linspace(recording, start, stop, num, endpoint, axis=axis))


@implements(np.geomspace)
def geomspace(
    recording: Recording, start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """``np.geomspace`` of positive numbers."""
    first, last = recording.traced(start), recording.traced(stop)
    if (first._view <= 0.0).any() or (last._view <= 0.0).any():
        return recording.opaque(np.geomspace, (start, stop, num, endpoint), {"axis": axis})
    return np.exp(linspace(recording, np.log(first), np.log(last), num, endpoint, axis=axis))


def number(recording: Recording, value: Any = 0.0) -> Any:
    """``np.float64(value)``, or ``float(value)``."""
    return recording.traced(value).reshape(()).copy()
