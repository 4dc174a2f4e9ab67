"""Operators that move entries. Those that give views need no rule; see `memory`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.elementary import as_float, is_traced, primitive
from gradcheck_fast.frontends.torch_trace.operators.registry import Call, Unsupported, aten, simple

for _name in ("clone", "_to_copy"):
    simple(lambda x, *_, **__: x.copy(), _name)
simple(lambda x, axes: np.transpose(x, axes).copy())
simple(lambda x, a, b: np.swapaxes(x, a, b).copy())
simple(lambda x, shape, **_: np.broadcast_to(x, shape).copy())
simple(lambda x, axes: np.flip(x, axes), "flip")
simple(lambda x, k=0: np.tril(x, k), "tril")
simple(lambda x, k=0: np.triu(x, k), "triu")
simple(lambda x, y, *_: np.broadcast_to(y, x.shape), "copy")
simple(lambda x, value: np.broadcast_to(value, x.shape), "fill")
simple(lambda x: np.zeros(x.shape), "zero")


@aten("cat")
def cat(call: Call, arrays: Sequence[Any], axis: int = 0) -> Any:
    """``cat``, which passes over empty vectors."""
    several = [array for array in arrays if array.shape != (0,)]
    return np.concatenate(several, axis=axis)


@aten("stack")
def stack(call: Call, arrays: Sequence[Any], axis: int = 0) -> Any:
    """``stack``."""
    return np.stack(list(arrays), axis=axis)


@aten("repeat")
def repeat(call: Call, x: Any, repeats: Sequence[int]) -> Any:
    """``repeat``: NumPy's tile."""
    return np.tile(x, tuple(repeats))


@aten("roll")
def roll(call: Call, x: Any, shifts: Sequence[int], axes: Sequence[int] = ()) -> Any:
    """``roll``."""
    return np.roll(x, tuple(shifts), tuple(axes)) if axes else np.roll(x, shifts[0])


@aten("rot90")
def rot90(call: Call, x: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """``rot90``."""
    return np.rot90(x, k, (axes[0], axes[1]))


@aten("constant_pad_nd")
def constant_pad(call: Call, x: Any, pad: Sequence[int], value: float = 0.0) -> Any:
    """``constant_pad_nd``: pairs from the last axis on; negative ones cut off."""
    widths = _widths(x.ndim, pad)
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True))
    around = [(max(a, 0), max(b, 0)) for a, b in widths]
    return np.pad(x[cut], around, constant_values=float(value))


def _widths(axes: int, pad: Sequence[int]) -> list[tuple[int, int]]:
    pairs = [(pad[k], pad[k + 1]) for k in range(0, len(pad), 2)]
    return [*[(0, 0)] * (axes - len(pairs)), *reversed(pairs)]


for _kind, _mode in (("reflection", "reflect"), ("replication", "edge")):
    for _axes in (1, 2, 3):
        simple(lambda x, pad, _mode=_mode: np.pad(x, _widths(x.ndim, pad), _mode), f"{_kind}_pad{_axes}d")


@aten("index_select")
def index_select(call: Call, x: Any, axis: int, index: Any) -> Any:
    """``index_select``."""
    return np.take(x, _places(index), axis=axis)


@aten("gather")
def gather(call: Call, x: Any, axis: int, index: Any, **_: Any) -> Any:
    """``gather``: the index may be shorter than x along the other axes."""
    return x[_along(index, axis)] if x.ndim else x


@aten("take")
def take(call: Call, x: Any, index: Any) -> Any:
    """``take``."""
    return np.ravel(x)[_places(index)]


def _places(index: Any) -> Any:
    """Returns an index of integers, or a mask, as a plain array; of another kind of index nothing is known."""
    if is_traced(index):
        if index.dtype == np.bool_:
            return index._view
        raise Unsupported
    return np.asarray(index)


def _along(index: Any, axis: int) -> tuple[Any, ...]:
    """Returns the key that takes an index along an axis, and its own places along the others."""
    places = _places(index)
    key = list(np.ogrid[tuple(slice(n) for n in places.shape)])
    key[axis] = places
    return tuple(key)


def key_of(indices: Sequence[Any]) -> tuple[Any, ...]:
    """Returns the key of NumPy for PyTorch's list of indices, in which None stands for a whole axis."""
    return tuple(slice(None) if index is None else _places(index) for index in indices)


@aten("index", "_unsafe_index")
def index(call: Call, x: Any, indices: Sequence[Any]) -> Any:
    """``x[indices]``."""
    return x[key_of(indices)]


@aten("index_put")
def index_put(call: Call, x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False, *_: Any) -> Any:
    """``x[indices] = values``, or ``+=`` where repeated indices count as often as they occur."""
    return _put(call, x, key_of(indices), values, accumulate)


def _put(call: Call, x: Any, key: Any, values: Any, accumulate: bool) -> Any:
    found = call.recording.traced(x).copy()
    shape = np.zeros(x.shape, np.bool_)[key].shape
    given = np.broadcast_to(call.recording.traced(as_float(values) if accumulate else values), shape)
    if not accumulate:
        found[key] = given
        return found
    places = np.arange(found.size).reshape(found.shape)[key]
    return as_float(found) + added(given, places, found.shape)


def added(values: Any, places: Any, shape: Sequence[int]) -> Any:
    """Returns an array of zeros to which values are added at these places of its flattened entries."""
    places = np.ascontiguousarray(np.broadcast_to(places, values.shape), np.int64)
    return primitive("scatter_add", values, index=places, shape=tuple(shape))


@aten("index_add")
def index_add(call: Call, x: Any, axis: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """``index_add``."""
    key = (*(slice(None),) * (axis % x.ndim), np.atleast_1d(_places(index)))
    return _put(call, x, key, source if alpha == 1 else alpha * source, True)


@aten("index_copy")
def index_copy(call: Call, x: Any, axis: int, index: Any, source: Any) -> Any:
    """``index_copy``."""
    return _put(call, x, (*(slice(None),) * (axis % x.ndim), np.atleast_1d(_places(index))), source, False)


@aten("index_fill")
def index_fill(call: Call, x: Any, axis: int, index: Any, value: Any) -> Any:
    """``index_fill``."""
    return _put(call, x, (*(slice(None),) * (axis % x.ndim), np.atleast_1d(_places(index))), value, False)


@aten("scatter")
def scatter(call: Call, x: Any, axis: int, index: Any, source: Any, *, reduce: str | None = None) -> Any:
    """``scatter``."""
    if reduce not in (None, "add"):
        raise Unsupported
    return _scatter(call, x, axis, index, source, reduce == "add")


@aten("scatter_add")
def scatter_add(call: Call, x: Any, axis: int, index: Any, source: Any) -> Any:
    """``scatter_add``."""
    return _scatter(call, x, axis, index, source, True)


def _scatter(call: Call, x: Any, axis: int, index: Any, source: Any, accumulate: bool) -> Any:
    if np.ndim(source):
        source = source[tuple(slice(n) for n in np.shape(index))]
    return _put(call, x, _along(index, axis), source, accumulate)


@aten("scatter_reduce")
def scatter_reduce(
    call: Call, x: Any, axis: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """``scatter_reduce``: sums and means; maxima and minima where nothing but they is written."""
    key = _along(index, axis)
    source = source[tuple(slice(n) for n in np.shape(index))]
    places = np.arange(x.size).reshape(x.shape)[key]
    count = np.bincount(places.ravel(), minlength=x.size).reshape(x.shape)
    own = x if include_self else np.where(count > 0, 0.0, x)
    if reduce in ("sum", "mean"):
        found = own + added(source, places, x.shape)
        return found if reduce == "sum" else found / np.maximum(count + include_self, 1)
    if reduce not in ("amax", "amin"):
        raise Unsupported
    extreme, worst = (np.max, -math.inf) if reduce == "amax" else (np.min, math.inf)
    order = np.argsort(places.ravel(), kind="stable")
    begin = np.cumsum(count.ravel()) - count.ravel()
    column = np.arange(places.size) - np.repeat(begin, count.ravel())
    table = call.recording.traced(np.full((x.size, int(count.max(initial=0)) + 1), worst)).copy()
    table[places.ravel()[order], column + 1] = np.ravel(source)[order]
    table[:, 0] = np.ravel(x if include_self else np.where(count > 0, worst, x))
    return extreme(table, axis=1).reshape(x.shape)


@aten("masked_scatter")
def masked_scatter(call: Call, x: Any, mask: Any, source: Any) -> Any:
    """``masked_scatter``."""
    mask = np.broadcast_to(_places(mask), x.shape)
    return _put(call, x, mask, np.ravel(source)[: int(mask.sum())], False)


@aten("masked_select")
def masked_select(call: Call, x: Any, mask: Any) -> Any:
    """``masked_select``."""
    mask = _places(mask)
    shape = np.broadcast_shapes(x.shape, mask.shape)
    return np.broadcast_to(x, shape)[np.broadcast_to(mask, shape)]


@aten("select_scatter")
def select_scatter(call: Call, x: Any, source: Any, axis: int, place: int) -> Any:
    """``select_scatter``."""
    return _put(call, x, (*(slice(None),) * (axis % x.ndim), place), source, False)


@aten("slice_scatter")
def slice_scatter(
    call: Call, x: Any, source: Any, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """``slice_scatter``."""
    return _put(call, x, (*(slice(None),) * (axis % x.ndim), slice(start, end, step)), source, False)


# ---- what goes back through a view: zeros, with a tensor at its place


@aten("select_backward")
def select_backward(call: Call, up: Any, shape: Sequence[int], axis: int, place: int) -> Any:
    """The transpose of ``select``."""
    return select_scatter(call, np.zeros(tuple(shape)), up, axis, place)


@aten("slice_backward")
def slice_backward(call: Call, up: Any, shape: Sequence[int], axis: int, start: int, end: int, step: int) -> Any:
    """The transpose of ``slice``."""
    return slice_scatter(call, np.zeros(tuple(shape)), up, axis, start, end, step)


@aten("diag_embed")
def diag_embed(call: Call, x: Any, offset: int = 0, first: int = -2, second: int = -1) -> Any:
    """``diag_embed``."""
    size = x.shape[-1] + abs(offset)
    rows, columns = np.arange(x.shape[-1]) + max(-offset, 0), np.arange(x.shape[-1]) + max(offset, 0)
    found = _put(call, np.zeros((*x.shape[:-1], size, size)), (..., rows, columns), x, False)
    return np.moveaxis(found, (-2, -1), (first, second))


@aten("trace")
def trace(call: Call, x: Any) -> Any:
    """``trace``."""
    return np.trace(x)
