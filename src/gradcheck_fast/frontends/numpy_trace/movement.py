"""Functions that move entries of traced arrays and compute nothing.

NumPy itself says where each entry goes: the function is called once more with the numbers of the entries in place of
their values. What shares memory with its argument is a view, and stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.recording import has_traced
from gradcheck_fast.frontends.numpy_trace.reductions import given
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: The number of an entry that a function fills in.
FILL = 0


def moved(recording: Recording, x: Sequence[Any], function: Callable[..., Any], fill: float = 0.0) -> Any:
    """Returns what a function that only moves entries makes of some arrays.

    Parameters
    ----------
    recording : Recording
    x : sequence of TracedArray
        All arrays from which entries come.
    function : callable
        Takes as many plain arrays, and returns an array or a sequence of them.
    fill : float
        The value of the entries that the function fills in as 0.
    """
    numbers, begin = [], 1  # FILL is the number 0
    for part in x:
        numbers.append(np.arange(begin, begin + part.size).reshape(part.shape))
        begin += part.size
    found = function(*numbers)
    if isinstance(found, (list, tuple)):
        return type(found)([_of_numbers(recording, x, part, fill) for part in found])
    return _of_numbers(recording, x, found, fill)


def _of_numbers(recording: Recording, x: Sequence[Any], numbers: Any, fill: float) -> Any:
    numbers = np.asarray(numbers)
    is_mask = all(part._view.dtype == np.bool_ for part in x) and bool(x)
    entries = np.concatenate([[fill], *(np.ravel(part._view) for part in x)])
    value = entries[numbers]
    value = value.astype(np.bool_) if is_mask else value
    inputs, index = list(x), numbers - 1
    if (numbers == FILL).any():
        inputs.append(TracedArray(recording, np.array([fill]), None))
        index = np.where(numbers == FILL, len(entries) - 1, index)
    return recording.step("gather", inputs, np.asarray(value), index=np.ascontiguousarray(index).reshape(index.shape))


#: Functions that leave the entries in C order, unless they are told otherwise.
_SAME_ORDER = (np.reshape, np.ravel)


def _of_one(function: Any) -> Any:
    """Returns what a function does that moves the entries of its first argument."""

    def move(recording: Recording, a: Any, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        x = recording.traced(a)
        if given(out):
            return recording.into(out, move(recording, x, *args, **kwargs))
        call = partial(_called, function, args, kwargs)
        found = call(x._view)
        if isinstance(found, (list, tuple)):
            if all(_is_view(part, x) for part in found):
                return type(found)([x._seen(part) for part in found])
        elif _is_view(found, x):
            return x._seen(found)
        if function in _SAME_ORDER:
            copy = x.copy()  # in C order, of which the result may be a view: that needs no map of the entries
            found = call(copy._view)
            if _is_view(found, copy):
                return copy._seen(found)
        return moved(recording, [x], call)

    return move


def _called(function: Any, args: Sequence[Any], kwargs: Any, a: NDArray[Any]) -> Any:
    return function(a, *args, **kwargs)


def _is_view(found: Any, x: TracedArray) -> bool:
    return (
        isinstance(found, np.ndarray)
        and found.dtype == x._view.dtype
        and (not found.size or np.may_share_memory(found, x._view))
    )


for _function in (
    np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.squeeze, np.expand_dims,
    np.broadcast_to, np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit, np.diagonal, np.flip, np.fliplr,
    np.flipud, np.rot90, np.roll, np.tile, np.repeat, np.take, np.tril, np.triu, np.diag, np.diagflat, np.delete,
    np.resize, np.trim_zeros, as_strided, sliding_window_view,
    getattr(np, "matrix_transpose", None), getattr(np, "unstack", None), getattr(np, "permute_dims", None),
):  # fmt: skip
    if _function is not None:
        implements(_function)(_of_one(_function))


@implements(np.compress)
def compress(recording: Recording, condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    """``np.compress``: the entries at which a mask is true."""
    mask = recording.traced(condition)._view
    return recording.into(out, moved(recording, [recording.traced(a)], lambda x: np.compress(mask, x, axis)))


@implements(np.extract)
def extract(recording: Recording, condition: Any, arr: Any) -> Any:
    """``np.extract``."""
    mask = recording.traced(condition)._view
    return moved(recording, [recording.traced(arr)], lambda x: np.extract(mask, x))


def _as_one(recording: Recording, arrays: Any) -> list[Any]:
    parts = [recording.traced(part) for part in arrays]
    return parts if all(part._view.dtype == np.bool_ for part in parts) else [recording.as_numbers(p) for p in parts]


def _of_list(function: Any) -> Any:
    """Returns what a function does that joins the arrays of a list."""

    def join(recording: Recording, arrays: Any, *args: Any, out: Any = None, dtype: Any = None, **kwargs: Any) -> Any:
        kwargs.pop("casting", None)
        result = moved(recording, _as_one(recording, arrays), lambda *parts: function(parts, *args, **kwargs))
        return recording.into(out, result)

    return join


for _function in (
    np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack, getattr(np, "row_stack", None),
):  # fmt: skip
    if _function is not None:
        implements(_function)(_of_list(_function))


def stack_nested(recording: Recording, values: Sequence[Any]) -> TracedArray:
    """Returns a list, or a list of lists, with traced arrays in it as one array."""
    parts = [recording.traced(part) for part in values]
    if len({part.shape for part in parts}) > 1:
        shapes = " and ".join(sorted({str(part.shape) for part in parts}))
        raise ValueError(f"setting an array element with a sequence: the parts have the shapes {shapes}")
    stacked: TracedArray = _of_list(np.stack)(recording, parts)
    return stacked


@implements(np.block)
def block(recording: Recording, arrays: Any) -> Any:
    """``np.block``."""
    x: list[Any] = []

    def collect(nested: Any) -> Any:
        if isinstance(nested, list):
            return [collect(part) for part in nested]
        x.append(recording.traced(nested))
        return len(x) - 1

    form = collect(arrays)

    def rebuilt(nested: Any, parts: Sequence[Any]) -> Any:
        return [rebuilt(part, parts) for part in nested] if isinstance(nested, list) else parts[nested]

    return moved(recording, x, lambda *parts: np.block(rebuilt(form, parts)))


@implements(np.append)
def append(recording: Recording, arr: Any, values: Any, axis: int | None = None) -> Any:
    """``np.append``."""
    x = _as_one(recording, (arr, values))
    return moved(recording, x, lambda a, b: np.append(a, b, axis))


@implements(np.insert)
def insert(recording: Recording, arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """``np.insert``."""
    x = _as_one(recording, (arr, values))
    return moved(recording, x, lambda a, b: np.insert(a, obj, b, axis))


@implements(np.pad)
def pad(recording: Recording, array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """``np.pad``; the modes that compute with entries are differenced as they are."""
    x = recording.traced(array)
    if mode == "constant":
        fill = kwargs.get("constant_values", 0.0)
        if np.size(fill) == 1 and not has_traced(fill):
            return moved(recording, [x], lambda numbers: np.pad(numbers, pad_width), float(np.ravel(fill)[0]))
    elif mode in ("edge", "reflect", "symmetric", "wrap") and kwargs.get("reflect_type", "even") == "even":
        return moved(recording, [x], lambda numbers: np.pad(numbers, pad_width, mode))
    return recording.opaque(np.pad, (x, pad_width, mode), kwargs)


@implements(np.broadcast_arrays)
def broadcast_arrays(recording: Recording, *args: Any, **_: Any) -> Any:
    """``np.broadcast_arrays``."""
    x = [recording.traced(a) for a in args]
    shape = np.broadcast_shapes(*(part.shape for part in x))
    return tuple(np.broadcast_to(part, shape) for part in x)


def _at_least(function: Any) -> Any:
    def give(recording: Recording, *arrays: Any) -> Any:
        found = [_of_one(function)(recording, array) for array in arrays]
        return found[0] if len(found) == 1 else type(function(0.0, 0.0))(found)

    return give


for _function in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    implements(_function)(_at_least(_function))


@implements(np.meshgrid)
def meshgrid(recording: Recording, *xi: Any, **kwargs: Any) -> Any:
    """``np.meshgrid``."""
    return moved(recording, [recording.traced(x) for x in xi], lambda *parts: np.meshgrid(*parts, **kwargs))


def columns(recording: Recording, maker: Any, key: Any) -> Any:
    """``np.c_[key]`` and ``np.r_[key]``."""
    parts = key if isinstance(key, tuple) else (key,)
    places = [k for k, part in enumerate(parts) if isinstance(part, (np.ndarray, list, float, int)) or has_traced(part)]
    x = _as_one(recording, [parts[k] for k in places])

    def join(*numbers: Any) -> Any:
        filled = list(parts)
        for k, number in zip(places, numbers, strict=True):
            filled[k] = number
        return maker[tuple(filled)]

    return moved(recording, x, join)
