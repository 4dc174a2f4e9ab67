"""Defines the steps that move numbers, and at most add some up. Each is linear, and its transpose moves them back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import Primitive, Shape, change_of, linear_spread, require_inputs, smooth
from gradcheck_fast.program.sums import Axes, total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.primitive import Mask, Reals

    Index = NDArray[np.int64]

#: A loop over places of overlapping windows is worth it if it adds at least so many numbers at a time.
LEAST_ADDED = 256

#: Where a part of an array begins and ends, for each axis.
Ranges = tuple[tuple[int, int], ...]


def _cut(ranges: Ranges) -> tuple[slice, ...]:
    return tuple(slice(begin, end) for begin, end in ranges)


def _slice_shape(shapes: Sequence[Shape], *, ranges: Ranges) -> Shape:
    require_inputs(shapes, 1)
    (shape,) = shapes
    if len(ranges) != len(shape) or any(not 0 <= a <= b <= n for (a, b), n in zip(ranges, shape, strict=False)):
        raise ValueError(f"expected a part of an array of shape {shape}, got {ranges}")
    return tuple(end - begin for begin, end in ranges)


def _slice_value(x: Sequence[Reals], *, ranges: Ranges) -> Reals:
    return x[0][_cut(ranges)]


def _slice_difference(x: Sequence[Reals], d: Sequence[Reals | None], *, ranges: Ranges) -> Reals:
    return change_of(x, d)[_cut(ranges)]


def _slice_back(x: Sequence[Reals], k: int, up: Reals, *, ranges: Ranges) -> Reals:
    back = np.zeros_like(x[0])
    back[_cut(ranges)] = up
    return back


def _slice_reach(masks: Sequence[Mask], *, ranges: Ranges) -> Mask:
    return masks[0][_cut(ranges)]


def _no_work(shapes: Sequence[Shape], **attributes: Any) -> float:
    return 0.0


#: A part of an array, without gaps. Its attribute is ranges.
SLICE = Primitive(
    "slice", "{0}[...]", _slice_shape, _slice_value, _slice_difference, _slice_back, _slice_reach, smooth,
    linear_spread(_slice_back), _no_work,
)  # fmt: skip


# ---- the same numbers in another shape


def _reshape_shape(shapes: Sequence[Shape], *, shape: Shape) -> Shape:
    require_inputs(shapes, 1)
    if math.prod(shapes[0]) != math.prod(shape):
        raise ValueError(f"an array of shape {shapes[0]} cannot have the shape {shape}")
    return shape


def _reshape_back(x: Sequence[Reals], k: int, up: Reals, *, shape: Shape) -> Reals:
    return up.reshape(x[0].shape)


#: The same numbers, in C order, in another shape. Its attribute is shape.
RESHAPE = Primitive(
    "reshape", "{0}.reshape(...)", _reshape_shape, lambda x, *, shape: x[0].reshape(shape),
    lambda x, d, *, shape: change_of(x, d).reshape(shape), _reshape_back,
    lambda masks, *, shape: masks[0].reshape(shape), smooth, linear_spread(_reshape_back), _no_work,
)  # fmt: skip


# ---- views with strides


def _strided_shape(shapes: Sequence[Shape], *, offset: int, strides: tuple[int, ...], shape: Shape) -> Shape:
    require_inputs(shapes, 1)
    if len(strides) != len(shape) or any(extent < 0 for extent in shape):
        raise ValueError(f"expected a stride for each axis of the shape {shape}, got {strides}")
    ends = [stride * (extent - 1) for stride, extent in zip(strides, shape, strict=True)]
    first, last = offset + sum(end for end in ends if end < 0), offset + sum(end for end in ends if end > 0)
    if 0 not in shape and not 0 <= first <= last < math.prod(shapes[0]):
        raise ValueError(f"a view reads entries {first} to {last} of an array of shape {shapes[0]}")
    return shape


def _view(array: NDArray[Any], offset: int, strides: Sequence[int], shape: Shape) -> NDArray[Any]:
    """Returns a view of an array in C order; `offset` and `strides` are in entries."""
    if 0 in shape:
        return np.zeros(shape, array.dtype)
    flat, item = array.ravel(), array.itemsize
    return np.ndarray(shape, array.dtype, flat, offset * item, [stride * item for stride in strides])


def _seen(array: NDArray[Any], offset: int, strides: tuple[int, ...], shape: Shape) -> NDArray[Any]:
    """Returns the numbers of a view in C order; a transposed matrix stays a view, which BLAS reads as it is."""
    if len(shape) == 2 and strides == (1, shape[0]) and array.size == shape[0] * shape[1]:
        return array.reshape(shape[::-1]).T
    return np.asarray(_view(array, offset, strides, shape), order="C")


def _strided_value(x: Sequence[Reals], *, offset: int, strides: tuple[int, ...], shape: Shape) -> Reals:
    return _seen(x[0], offset, strides, shape)


def _strided_difference(
    x: Sequence[Reals], d: Sequence[Reals | None], *, offset: int, strides: tuple[int, ...], shape: Shape
) -> Reals:
    return _seen(change_of(x, d), offset, strides, shape)


def _strided_back(
    x: Sequence[Reals], k: int, up: Reals, *, offset: int, strides: tuple[int, ...], shape: Shape
) -> Reals:
    """Adds each entry of `up` to the entry that it was read from.

    Axes of stride 0 are summed first. Where windows overlap, each place of a window is added by itself, if there are
    few: these views have no entry twice.
    """
    if 0 in shape:
        return np.zeros_like(x[0])
    still, others, kept = _axes_of(strides, shape)
    if up.size == x[0].size and not still and not others:  # each entry was read once
        back = np.empty(up.size)
        _view(back, offset, strides, shape)[...] = up
        return back.reshape(x[0].shape)
    up = up.transpose(*still, *others, *kept)
    if still:
        up = total(up, tuple(range(len(still))))
    back = np.zeros(x[0].size)
    places = tuple(shape[axis] for axis in others)
    if others and up.size < LEAST_ADDED * math.prod(places):
        read = _view(np.arange(back.size), offset, [strides[axis] for axis in (*others, *kept)], up.shape)
        back = _added(read, up, back.size)
    else:
        steps, extents = [strides[axis] for axis in kept], tuple(shape[axis] for axis in kept)
        for place in product(*map(range, places)):
            begin = offset + sum(strides[axis] * at for axis, at in zip(others, place, strict=True))
            view = _view(back, begin, steps, extents)
            view += up[place]
    return back.reshape(x[0].shape)


@lru_cache(maxsize=1024)
def _axes_of(strides: tuple[int, ...], shape: Shape) -> tuple[Axes, Axes, Axes]:
    """Returns the axes along which a view stands still, and the others; the last have no entry twice among them.

    The longest axes are preferred for the last.
    """
    moving = {axis for axis, extent in enumerate(shape) if extent > 1 and strides[axis]}
    others: set[int] = set()
    for axis in sorted(moving, key=lambda axis: (-shape[axis], axis)):
        covered, kept = 0, [k for k in moving - others if (-shape[k], k) <= (-shape[axis], axis)]
        for stride, extent in sorted((abs(strides[k]), shape[k]) for k in kept):
            if stride <= covered:  # the axes of smaller strides reach as far
                others.add(axis)
            covered += stride * (extent - 1)
    still = set(range(len(shape))) - moving
    return tuple(sorted(still)), tuple(sorted(others)), tuple(sorted(moving - others))


def _strided_reach(masks: Sequence[Mask], *, offset: int, strides: tuple[int, ...], shape: Shape) -> Mask:
    return _view(masks[0], offset, strides, shape)


#: A view of an array, such as a transpose, a broadcast, or windows. Its attributes are offset, strides (in entries of
#: the array in C order) and shape.
STRIDED = Primitive(
    "strided", "{0}[...]", _strided_shape, _strided_value, _strided_difference, _strided_back, _strided_reach, smooth,
    linear_spread(_strided_back), _no_work,
)  # fmt: skip


# ---- maps of entries


def _added(index: NDArray[Any], weights: Reals, size: int) -> Reals:
    """Returns the sums of the weights that have the same index, for each index below `size`."""
    found = np.bincount(index.ravel(), weights.ravel(), size)
    return found.astype(np.float64, copy=False)  # without any weights it is of integers


def _require_indices(index: Index, size: int) -> None:
    if index.dtype != np.int64:
        raise ValueError(f"expected an index of int64, got one of {index.dtype}")
    if index.size and not 0 <= index.min() <= index.max() < size:
        raise ValueError(f"expected indices from 0 to {size - 1}, got {index.min()} to {index.max()}")


def _gather_shape(shapes: Sequence[Shape], *, index: Index) -> Shape:
    if not shapes:
        raise ValueError("expected an input, got 0")
    _require_indices(index, sum(map(math.prod, shapes)))
    return index.shape


def _concatenated(x: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return x[0].ravel() if len(x) == 1 else np.concatenate(x, axis=None)


def _gather_value(x: Sequence[Reals], *, index: Index) -> Reals:
    return np.asarray(_concatenated(x).take(index))


def _gather_difference(x: Sequence[Reals], d: Sequence[Reals | None], *, index: Index) -> Reals:
    if not any(change is None for change in d):
        return np.asarray(_concatenated([change for change in d if change is not None]).take(index))
    moved = np.zeros(sum(at.size for at in x))
    for change, (begin, end) in zip(d, _places(x), strict=True):
        if change is not None:
            moved[begin:end] = change.ravel()
    return np.asarray(moved.take(index))


def _places(x: Sequence[NDArray[Any]]) -> Iterator[tuple[int, int]]:
    """Yields where each input begins and ends in the concatenation of all."""
    end = 0
    for at in x:
        begin, end = end, end + at.size
        yield begin, end


def gather_back_all(x: Sequence[Reals], up: Reals, *, index: Index) -> list[Reals]:
    """Returns the sensitivities of all inputs of a gather: each entry of `up` is added to the entry it came from."""
    if len(x) == 1:
        return [_added(index, up, x[0].size).reshape(x[0].shape)]
    whole = _added(index, up, sum(at.size for at in x))
    return [whole[begin:end].reshape(at.shape) for at, (begin, end) in zip(x, _places(x), strict=True)]


def _gather_back(x: Sequence[Reals], k: int, up: Reals, *, index: Index) -> Reals:
    return gather_back_all(x, up, index=index)[k]


def _gather_reach(masks: Sequence[Mask], *, index: Index) -> Mask:
    return np.asarray(_concatenated(masks).take(index))


#: Any entries of one or more arrays. Its attribute is index: the places of the entries in the concatenation of all
#: inputs, each in C order.
GATHER = Primitive(
    "gather", "{0}[...]", _gather_shape, _gather_value, _gather_difference, _gather_back, _gather_reach, smooth,
    linear_spread(_gather_back), lambda shapes, *, index: float(index.size), back_all=gather_back_all,
)  # fmt: skip


def _scatter_shape(shapes: Sequence[Shape], *, index: Index, shape: Shape) -> Shape:
    require_inputs(shapes, 1)
    if index.shape != shapes[0]:
        raise ValueError(f"expected an index of shape {shapes[0]}, got {index.shape}")
    _require_indices(index, math.prod(shape))
    return shape


def _scatter_value(x: Sequence[Reals], *, index: Index, shape: Shape) -> Reals:
    return _added(index, x[0], math.prod(shape)).reshape(shape)


def _scatter_difference(x: Sequence[Reals], d: Sequence[Reals | None], *, index: Index, shape: Shape) -> Reals:
    return _scatter_value([change_of(x, d)], index=index, shape=shape)


def _scatter_back(x: Sequence[Reals], k: int, up: Reals, *, index: Index, shape: Shape) -> Reals:
    return np.asarray(up.take(index))


def _scatter_reach(masks: Sequence[Mask], *, index: Index, shape: Shape) -> Mask:
    reached = np.zeros(math.prod(shape), np.bool_)
    reached[index[masks[0]]] = True
    return reached.reshape(shape)


#: Zeros to which the entries of an array are added. Its attributes are index (the place of each entry in the output, in
#: C order) and shape.
SCATTER_ADD = Primitive(
    "scatter_add", "scatter_add({0})", _scatter_shape, _scatter_value, _scatter_difference, _scatter_back,
    _scatter_reach, smooth, linear_spread(_scatter_back), lambda shapes, *, index, shape: float(index.size),
)  # fmt: skip

PRIMITIVES = (SLICE, RESHAPE, STRIDED, GATHER, SCATTER_ADD)
