"""What NumPy's ufuncs, and SciPy's, do with traced arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace import special
from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.special import logsumexp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: The primitive that a ufunc of this name is.
PRIMITIVE_OF = {
    name: name
    for name in (
        "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "arctan2", "hypot", "logaddexp",
        "xlogy", "negative", "exp", "log", "log1p", "expm1", "exp2", "log2", "log10", "sqrt", "cbrt",
        "square", "reciprocal", "absolute", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
        "arcsinh", "arccosh", "arctanh", "erf", "erfc", "erfinv", "gammaln", "sign", "floor", "ceil", "rint", "trunc",
        "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "matmul",
    )
} | {"true_divide": "divide", "float_power": "power", "fabs": "absolute", "fmax": "maximum", "fmin": "minimum",
     "expit": "sigmoid", "psi": "digamma"}  # fmt: skip


def _floor_divide(x: Any, y: Any) -> Any:
    """Returns the floor of a quotient, as if that was not rounded before."""
    found = np.floor(x / y)
    off = np.floor_divide(x._view, y._view) - found._view
    return found + off if (np.isfinite(off) & (off != 0.0)).any() else found


#: What a ufunc of this name does, said by others.
COMPOSITE: Mapping[str, Callable[..., Any]] = {
    "positive": lambda x: x.copy(),
    "conjugate": lambda x: x.copy(),
    "remainder": lambda x, y: x - _floor_divide(x, y) * y,
    "divmod": lambda x, y: (_floor_divide(x, y), x - _floor_divide(x, y) * y),
    "fmod": lambda x, y: x - np.trunc(x / y) * y,
    "floor_divide": lambda x, y: _floor_divide(x, y),
    "degrees": lambda x: x * (180.0 / math.pi),
    "rad2deg": lambda x: x * (180.0 / math.pi),
    "radians": lambda x: x * (math.pi / 180.0),
    "deg2rad": lambda x: x * (math.pi / 180.0),
    "heaviside": lambda x, y: np.where(x == 0.0, y, (x > 0.0) * 1.0),
    "copysign": lambda x, y: np.where((y >= 0.0) == (x >= 0.0), x, -x),
    "logaddexp2": lambda x, y: np.logaddexp(x * math.log(2.0), y * math.log(2.0)) / math.log(2.0),
    "modf": lambda x: (x - np.trunc(x), np.trunc(x)),
    "ldexp": lambda x, n: x * np.ldexp(1.0, n._view),
    "vecdot": lambda x, y: np.sum(x * y, axis=-1),
    "matvec": lambda x, y: np.squeeze(x @ y[..., np.newaxis], axis=-1),
    "vecmat": lambda x, y: np.squeeze(x[..., np.newaxis, :] @ y, axis=-2),
    **special.COMPOSITE,
}
#: Ufuncs of truth values, by their name, as the same function of numbers 0 and 1.
_LOGICAL: Mapping[str, Callable[..., Any]] = {
    "logical_not": lambda a: 1.0 - a,
    "invert": lambda a: 1.0 - a,
    "logical_and": lambda a, b: a * b,
    "bitwise_and": lambda a, b: a * b,
    "multiply": lambda a, b: a * b,
    "minimum": lambda a, b: a * b,
    "logical_or": lambda a, b: a + b - a * b,
    "bitwise_or": lambda a, b: a + b - a * b,
    "add": lambda a, b: a + b - a * b,
    "maximum": lambda a, b: a + b - a * b,
    "logical_xor": lambda a, b: a + b - 2.0 * a * b,
    "bitwise_xor": lambda a, b: a + b - 2.0 * a * b,
}
#: Ufuncs whose result does not depend on the parameters, as long as no branch flips.
_PLAIN = {"isnan", "isfinite", "isinf", "signbit"}
#: The function that reduces by a ufunc of this name.
_REDUCTIONS: Mapping[str, Any] = {
    "add": np.sum, "multiply": np.prod, "maximum": np.max, "minimum": np.min, "fmax": np.max, "fmin": np.min,
    "logical_or": np.any, "logical_and": np.all,
}  # fmt: skip
_ACCUMULATIONS: Mapping[str, Any] = {"add": np.cumsum, "multiply": np.cumprod}


def apply(recording: Recording, ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Does what a method of a ufunc does with inputs of which at least one, or the output, is traced."""
    if not kwargs and method == "__call__":
        return call(recording, ufunc, inputs)
    out, where = kwargs.pop("out", None), kwargs.pop("where", True)
    kwargs.pop("casting", None), kwargs.pop("order", None), kwargs.pop("subok", None)
    dtype = kwargs.pop("dtype", None)
    if method == "at":
        return _at(recording, ufunc, *inputs)
    if method == "__call__":
        result = call(recording, ufunc, inputs)
    elif method == "reduce":
        kwargs["where"] = where
        result = _reduce(recording, ufunc, *inputs, **kwargs)
        where = True
    elif method == "accumulate":
        result = _accumulate(recording, ufunc, *inputs, **kwargs)
    elif method == "reduceat":
        result = _reduceat(ufunc, *inputs, **kwargs)
    elif method == "outer":
        first, second = (recording.traced(x) for x in inputs)
        result = ufunc(first.reshape(first.shape + (1,) * second.ndim), second)
    else:
        result = recording.opaque(getattr(ufunc, method), inputs, kwargs)
    if isinstance(result, tuple):
        outs = out if isinstance(out, tuple) else (out,) * len(result)
        return tuple(_finish(recording, *pair, where, dtype) for pair in zip(result, outs, strict=True))
    return _finish(recording, result, out[0] if isinstance(out, tuple) else out, where, dtype)


def _finish(recording: Recording, result: Any, out: Any, where: Any, dtype: Any) -> Any:
    if dtype is not None and isinstance(result, TracedArray):
        result = result.astype(dtype)
    if out is None:
        return result if where is True else np.where(where, result, np.zeros(np.shape(result)))
    target = out if type(out) is TracedArray else recording.adopt(out)
    if where is not True:
        result = np.where(where, result, target.copy())
    np.broadcast_to(result._view if type(result) is TracedArray else result, target.shape)  # or raises an error
    target._assign(..., result)
    return target


def call(recording: Recording, ufunc: Any, inputs: Sequence[Any]) -> Any:
    """Returns what a ufunc makes of its inputs."""
    name = ufunc.__name__
    x = [recording.traced(value) for value in inputs]
    plain = [at._view for at in x]
    if name in _LOGICAL and (name.startswith("logical") or all(at.dtype == np.bool_ for at in plain)):
        return _logical(recording, ufunc, x)
    if name in PRIMITIVE_OF:
        if name in ("fmax", "fmin"):
            x = _without_nan(*x)
        if name == "matmul":
            x = [recording.as_numbers(at) for at in x]
        if name == "power" and plain[1].ndim == 0 and x[1]._step() is None and float(plain[1]) in _POWERS:
            return _POWERS[float(plain[1])](x[0], ufunc(*plain))
        return recording.step(PRIMITIVE_OF[name], x, ufunc(*plain))
    if name in _PLAIN or all(at._step() is None for at in x):
        value = ufunc(*plain)
        return value if isinstance(value, tuple) or value.dtype.kind != "f" else recording.buffer(np.asarray(value))
    if name in COMPOSITE:
        return COMPOSITE[name](*x)
    return recording.opaque(ufunc, x, {})


def _square(x: TracedArray, value: Any) -> Any:
    return x._recording.step("square", [x], value)


#: Powers that have a primitive of their own, or are none.
_POWERS: Mapping[float, Callable[[TracedArray, Any], Any]] = {
    2.0: _square,
    1.0: lambda x, value: x._recording.as_numbers(x).copy(),
    0.5: lambda x, value: x._recording.step("sqrt", [x], value),
    -1.0: lambda x, value: x._recording.step("reciprocal", [x], value),
}


def _without_nan(x: Any, y: Any) -> list[Any]:
    """Returns two arrays, each with the entries of the other in place of NaN."""
    bad = [np.isnan(at._view) for at in (x, y)]
    return [np.where(bad[0], y, x) if bad[0].any() else x, np.where(bad[1], x, y) if bad[1].any() else y]


def _logical(recording: Recording, ufunc: Any, x: Sequence[Any]) -> Any:
    masks = [at if at._view.dtype == np.bool_ else at != 0.0 for at in x]
    value = np.asarray(ufunc(*(at._view for at in x)))
    if all(mask._step() is None for mask in masks):
        return TracedArray(recording, value.astype(bool), None)
    numbers = _LOGICAL[ufunc.__name__](*(recording.as_numbers(mask) for mask in masks))
    return TracedArray(recording, value.astype(bool), numbers._step())


def _reduce(
    recording: Recording, ufunc: Any, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None,
    keepdims: bool = False, initial: Any = None, where: Any = True,
) -> Any:  # fmt: skip
    name, x = ufunc.__name__, recording.traced(array)
    more = {} if initial is None or initial is np._NoValue else {"initial": initial}
    if name in _REDUCTIONS:
        if where is not True:
            more["where"] = where
        return _REDUCTIONS[name](x, axis=axis, keepdims=keepdims, **more)
    if where is not True or more or not isinstance(axis, (int, np.integer)):
        return recording.opaque(ufunc.reduce, (x,), {"axis": axis, "keepdims": keepdims, "where": where, **more})
    if name == "logaddexp":
        return logsumexp(recording, x, axis=axis, keepdims=keepdims)
    parts = np.moveaxis(x, axis, 0)
    result = parts[0]
    for part in parts[1:]:
        result = ufunc(result, part)
    return np.expand_dims(result, axis) if keepdims else result


def _reduceat(ufunc: Any, x: Any, indices: Any, axis: int = 0) -> Any:
    parts, begins = np.moveaxis(x, axis, 0), np.asarray(indices).tolist()
    found = [
        ufunc.reduce(parts[begin:end], axis=0) if end is None or begin < end else parts[begin]
        for begin, end in zip(begins, [*begins[1:], None], strict=True)
    ]
    return np.moveaxis(np.stack(found), 0, axis)


def _accumulate(recording: Recording, ufunc: Any, x: Any, axis: int = 0, **kwargs: Any) -> Any:
    name, x = ufunc.__name__, recording.traced(x)
    if name in _ACCUMULATIONS:
        return _ACCUMULATIONS[name](x, axis=axis)
    parts = [np.take(x, [0], axis=axis)]
    for k in range(1, x.shape[axis]):
        parts.append(ufunc(parts[-1], np.take(x, [k], axis=axis)))
    return np.concatenate(parts, axis=axis)


def _at(recording: Recording, ufunc: Any, target: Any, index: Any, value: Any = None) -> None:
    """Does ``ufunc.at``: repeated indices count as often as they occur."""
    if type(target) is not TracedArray:
        target = recording.adopt(target)
    index = recording.key(index, target)[0]
    places = np.arange(target.size).reshape(target.shape)[index]
    if ufunc.__name__ in ("add", "subtract"):
        added: Any = np.broadcast_to(recording.traced(value), places.shape)
        summed = np.zeros(target.shape)
        np.add.at(summed.reshape(-1), places, added._view)
        sums = recording.step("scatter_add", [added], summed, index=np.asarray(places), shape=target.shape)
        target._assign(..., ufunc(target, sums))
        return
    flat: Any = np.ravel(target)
    more = () if value is None else (np.ravel(np.broadcast_to(recording.traced(value), np.shape(places))),)
    for turn in _turns(np.ravel(places)):  # an index that occurs twice has its second turn after the first
        at = np.ravel(places)[turn]
        flat[at] = ufunc(flat[at], *(part[turn] for part in more))
    if not np.may_share_memory(flat._view, target._view):
        target._assign(..., flat.reshape(target.shape))


def _turns(places: NDArray[Any]) -> list[NDArray[Any]]:
    """Returns the positions of the first occurrence of each place, then those of the second, and so on."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    turn = np.arange(len(order)) - np.repeat(begins, np.diff([*begins, len(order)]))
    return [order[turn == k] for k in range(int(turn.max(initial=-1)) + 1)]
