"""Operators that move entries about, make constants, and look at shapes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx

from gradcheck_fast.frontends.onnx.arrays import is_integral
from gradcheck_fast.frontends.onnx.linear import cut
from gradcheck_fast.frontends.onnx.registry import Node, Unsupported, integer, integers, operator, plain
from gradcheck_fast.frontends.operators.elementary import is_traced, reshaped


@operator("Shape")
def _shape(node: Node, x: Any) -> Any:
    return np.array(x.shape, np.int64)[slice(node.get("start", 0), node.get("end"))]


@operator("Size")
def _size(node: Node, x: Any) -> Any:
    return np.array(x.size, np.int64)


@operator("Constant")
def _constant(node: Node) -> Any:
    (value,) = (value for name, value in node.attributes.items() if value is not None)
    return np.asarray(value)


@operator("ConstantOfShape")
def _constant_of_shape(node: Node, wanted: Any) -> Any:
    value = node.get("value")
    value = np.zeros(1) if value is None else value
    return np.full(integers(wanted), value.reshape(()), value.dtype)


@operator("EyeLike")
def _eye_like(node: Node, x: Any) -> Any:
    kind = node.get("dtype")
    dtype = x.dtype if kind is None else np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    return np.eye(x.shape[0], x.shape[1], k=node.get("k"), dtype=np.float64 if dtype.kind == "f" else dtype)


@operator("Range")
def _number_range(node: Node, start: Any, limit: Any, delta: Any) -> Any:
    first, end, step = plain(start), plain(limit), plain(delta)
    count = max(int(np.ceil((end.item() - first.item()) / step.item())), 0)
    return np.asarray(first.reshape(()) + np.arange(count).astype(first.dtype) * step.reshape(()), first.dtype)


@operator("Reshape")
def _reshape(node: Node, x: Any, wanted: Any) -> Any:
    """0 keeps the length of that axis unless `allowzero` is set; -1 is what is left."""
    sizes = integers(wanted)
    if not node.get("allowzero"):
        sizes = [x.shape[axis] if length == 0 else length for axis, length in enumerate(sizes)]
    if -1 in sizes:
        others = prod(length for length in sizes if length != -1)
        sizes[sizes.index(-1)] = x.size // others if others else 0
    return reshaped(x, sizes)


@operator("Flatten")
def _flatten(node: Node, x: Any) -> Any:
    axis = node.get("axis")
    axis = axis + x.ndim if axis < 0 else axis
    return reshaped(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


@operator("Transpose")
def _transpose(node: Node, x: Any) -> Any:
    return np.transpose(x, node.get("perm") or None)


@operator("Expand")
def _expand(node: Node, x: Any, wanted: Any) -> Any:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(integers(wanted))))


@operator("Tile")
def _tile(node: Node, x: Any, repeats: Any) -> Any:
    return np.tile(x, integers(repeats))


@operator("Concat")
def _concat(node: Node, *x: Any) -> Any:
    return np.concatenate(x, axis=node.get("axis"))


def _axes(node: Node, axes: Any) -> list[int] | None:
    """The axes are an attribute at first, and an input since opset 13."""
    given = node.get("axes") if axes is None else integers(axes)
    return None if given is None else list(given)


@operator("Squeeze")
def _squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    found = _axes(node, axes)
    if found is None:
        found = [axis for axis, length in enumerate(x.shape) if length == 1]
    drop = {axis % x.ndim for axis in found}
    if any(x.shape[axis] != 1 for axis in drop):
        raise ValueError(f"axes {sorted(drop)} of the shape {x.shape} do not all have length 1")
    return reshaped(x, [length for axis, length in enumerate(x.shape) if axis not in drop])


@operator("Unsqueeze")
def _unsqueeze(node: Node, x: Any, axes: Any = None) -> Any:
    found = _axes(node, axes) or []
    ndim = x.ndim + len(found)
    new, old = {axis % ndim for axis in found}, iter(x.shape)
    return reshaped(x, [1 if axis in new else next(old) for axis in range(ndim)])


@operator("Split")
def _split(node: Node, x: Any, sizes: Any = None) -> Any:
    """The sizes are an attribute at first, an input since opset 13; without them the parts are equal."""
    axis, count = node.get("axis"), len(node.outputs)
    lengths = list(node.get("split") or []) if sizes is None else integers(sizes)
    if not lengths:
        each = -(-x.shape[axis] // count)  # the last part may be smaller
        lengths = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    return tuple(np.split(x, np.cumsum(lengths)[:-1], axis=axis))


@operator("Slice")
def _sliced(node: Node, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    begins, stops = integers(starts), integers(ends)
    over = list(range(len(begins))) if axes is None else integers(axes)
    strides = [1] * len(begins) if steps is None else integers(steps)
    key = [slice(None)] * x.ndim
    for begin, stop, axis, stride in zip(begins, stops, over, strides, strict=True):
        length = x.shape[axis]
        begin = begin + length if begin < 0 else begin
        stop = stop + length if stop < 0 else stop
        if stride > 0:
            key[axis] = slice(min(max(begin, 0), length), min(max(stop, 0), length), stride)
        else:
            begin, stop = min(max(begin, 0), length - 1), min(max(stop, -1), length - 1)
            key[axis] = slice(begin, None if stop < 0 else stop, stride)
    return x[tuple(key)]


@operator("Pad")
def _pad(node: Node, x: Any, pads: Any, fill: Any = None, axes: Any = None) -> Any:
    """Negative numbers cut entries off."""
    numbers, mode = integers(pads), node.get("mode")
    over = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in integers(axes)]
    before, after = [0] * x.ndim, [0] * x.ndim
    for axis, first, last in zip(over, numbers[: len(over)], numbers[len(over) :], strict=True):
        before[axis], after[axis] = first, last
    if mode == "constant":
        begins, ends = [-n for n in before], [n + m for n, m in zip(x.shape, after, strict=True)]
        if is_traced(fill):
            return cut(x, 0, begins, ends) + fill * cut(np.zeros(x.shape), 0, begins, ends, 1.0)
        return cut(x, 0, begins, ends, 0 if fill is None else plain(fill).item())
    kept = cut(x, 0, [max(-n, 0) for n in before], [n + min(m, 0) for n, m in zip(x.shape, after, strict=True)])
    width = [(max(n, 0), max(m, 0)) for n, m in zip(before, after, strict=True)]
    return np.pad(kept, width, mode=mode)


@operator("DepthToSpace")
def _depth_to_space(node: Node, x: Any) -> Any:
    n, c, h, w = x.shape
    block = node.get("blocksize")
    if node.get("mode", "DCR") == "DCR":
        parts = np.transpose(x.reshape(n, block, block, c // block**2, h, w), (0, 3, 4, 1, 5, 2))
    else:
        parts = np.transpose(x.reshape(n, c // block**2, block, block, h, w), (0, 1, 4, 2, 5, 3))
    return reshaped(parts, (n, c // block**2, h * block, w * block))


@operator("SpaceToDepth")
def _space_to_depth(node: Node, x: Any) -> Any:
    if node.get("mode", "DCR") != "DCR":
        raise Unsupported("SpaceToDepth with another mode than DCR")
    n, c, h, w = x.shape
    block = node.get("blocksize")
    parts = np.transpose(x.reshape(n, c, h // block, block, w // block, block), (0, 3, 5, 1, 2, 4))
    return reshaped(parts, (n, c * block**2, h // block, w // block))


@operator("Trilu", since=14)
def _triangle(node: Node, x: Any, k: Any = None) -> Any:
    shift = 0 if k is None else integer(k)
    mask = np.tri(x.shape[-2], x.shape[-1], k=shift if not node.get("upper") else shift - 1, dtype=bool)
    mask = mask ^ bool(node.get("upper"))
    return np.where(mask, x, np.zeros((), np.float64 if x.dtype.kind == "f" else x.dtype))


@operator("ReverseSequence", since=10)
def _reverse_sequence(node: Node, x: Any, lengths: Any) -> Any:
    """Of each sample the first entries in time, as many as its length says, are in reverse order."""
    time, batch = node.get("time_axis"), node.get("batch_axis")
    numbers = np.array(integers(lengths))[:, np.newaxis]
    times = np.arange(x.shape[time])[np.newaxis]
    order = np.where(times < numbers, numbers - 1 - times, times)  # (samples, times)
    parts = np.moveaxis(x, (batch, time), (0, 1))
    return np.moveaxis(parts[np.arange(x.shape[batch])[:, np.newaxis], order], (0, 1), (batch, time))


@operator("Compress")
def _compress(node: Node, x: Any, condition: Any) -> Any:
    axis = node.get("axis")
    places = np.flatnonzero(plain(condition))
    return np.take(x.reshape(-1), places) if axis is None else np.take(x, places, axis=axis)


@operator("NonZero")
def _nonzero(node: Node, x: Any) -> Any:
    return np.array([plain(places) for places in np.nonzero(x)], np.int64)


@operator("OneHot")
def _one_hot(node: Node, places: Any, depth: Any, values: Any) -> Any:
    """Places that are out of range give only the value for 'off'."""
    count, axis = integer(depth), node.get("axis")
    numbers = np.asarray(plain(places), np.int64)
    numbers = np.where(numbers < 0, numbers + count, numbers)
    axis = axis + numbers.ndim + 1 if axis < 0 else axis
    numbers = np.expand_dims(numbers, axis)
    hot = numbers == np.arange(count).reshape((-1,) + (1,) * (numbers.ndim - axis - 1))
    found = np.where(hot, values[1], values[0])
    return found.astype(values.dtype) if is_integral(values) else found


@operator("TopK", since=11)
def _top_k(node: Node, x: Any, k: Any) -> Any:
    """Of equal entries the first come first."""
    axis, count = node.get("axis"), integer(k)
    order = plain(np.argsort(-x if node.get("largest") else x, axis=axis, kind="stable"))
    places = np.take(order, np.arange(count), axis=axis).astype(np.int64)
    return np.take_along_axis(x, places, axis=axis), places
