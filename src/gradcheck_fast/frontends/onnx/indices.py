"""Operators that read and write entries at places that other inputs say."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.arrays import writable
from gradcheck_fast.frontends.onnx.registry import Node, operator, plain
from gradcheck_fast.frontends.operators.resampling import grid_sample

_UFUNCS: dict[str, Any] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _places(indices: Any, length: int) -> Any:
    """Returns places that count from the front; errors for those outside of the axis."""
    found = np.asarray(plain(indices), np.int64)
    if found.size and not (-length <= found.min() and found.max() < length):
        raise ValueError(f"an index is outside of an axis of length {length}: {found.min()} to {found.max()}")
    return np.where(found < 0, found + length, found)


@operator("Gather")
def _gather(node: Node, x: Any, indices: Any) -> Any:
    axis = node.get("axis")
    return np.take(x, _places(indices, x.shape[axis]), axis=axis)


@operator("GatherElements", since=11)
def _gather_elements(node: Node, x: Any, indices: Any) -> Any:
    """The indices may have fewer entries than the array along the other axes."""
    return x[_elements(x.shape, indices, node.get("axis"))]


def _elements(shape: tuple[int, ...], indices: Any, axis: int) -> Any:
    axis = axis % len(shape)
    places = _places(indices, shape[axis])
    key = list(np.indices(places.shape, sparse=True))
    key[axis] = places
    return tuple(key)


@operator("GatherND", since=11)
def _gather_nd(node: Node, x: Any, indices: Any) -> Any:
    batch = node.get("batch_dims", 0)
    places = np.asarray(plain(indices), np.int64)
    own = np.indices(places.shape[:batch]) if batch else ()
    middle = (1,) * (places.ndim - 1 - batch)
    lead = [index.reshape(index.shape + middle) for index in own]
    key = [_places(places[..., k], x.shape[batch + k]) for k in range(places.shape[-1])]
    return x[(*lead, *key)]


@operator("ScatterElements", since=11)
def _scatter_elements(node: Node, x: Any, indices: Any, updates: Any) -> Any:
    return _scattered(node, x, _elements(x.shape, indices, node.get("axis")), updates)


@operator("ScatterND", since=11)
def _scatter_nd(node: Node, x: Any, indices: Any, updates: Any) -> Any:
    places = np.asarray(plain(indices), np.int64)
    key = tuple(_places(places[..., k], x.shape[k]) for k in range(places.shape[-1]))
    return _scattered(node, x, key, updates)


def _scattered(node: Node, x: Any, key: Any, updates: Any) -> Any:
    """Returns a copy with other entries at some places; what is there before is added to if the node says so."""
    found, how = writable(x, updates), node.get("reduction", "none")
    if how == "none":
        found[key] = updates
        return found
    if how == "add":
        np.add.at(found, key, updates)
        return found
    # one after another, for the same place may be written to again
    ufunc, numbers = _UFUNCS[how], np.arange(found.size).reshape(found.shape)[key]
    flat, values = found.reshape(-1), np.broadcast_to(updates, numbers.shape).reshape(-1)
    turns = _turns(numbers.ravel())
    for turn in range(int(turns.max(initial=-1)) + 1):
        now = np.flatnonzero(turns == turn)
        at = numbers.ravel()[now]
        flat[at] = ufunc(flat[at], values[now])
    return flat.reshape(x.shape)


def _turns(numbers: Any) -> Any:
    """Returns for each entry how many equal ones come before it."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    first = np.r_[0, np.flatnonzero(np.diff(ordered)) + 1] if ordered.size else np.zeros(0, int)
    starts = np.repeat(first, np.diff(np.r_[first, ordered.size]))
    turns = np.empty(numbers.size, int)
    turns[order] = np.arange(numbers.size) - starts
    return turns


@operator("GridSample", since=16)
def _grid_samples(node: Node, x: Any, grid: Any) -> Any:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(node.get("mode"), node.get("mode"))
    return grid_sample(x, grid, mode, node.get("padding_mode"), bool(node.get("align_corners")))


@operator("TensorScatter", since=24)
def _tensor_scatter(node: Node, cache: Any, update: Any, begin: Any = None) -> Any:
    """Writes what is new into a cache along one axis, from a place of each sample on; `circular` begins again."""
    axis, samples = node.get("axis") % cache.ndim, cache.shape[0]
    starts = np.zeros(samples, np.int64) if begin is None else np.asarray(plain(begin), np.int64)
    times = starts[:, np.newaxis] + np.arange(update.shape[axis])
    if node.get("mode") == "circular":
        times = times % cache.shape[axis]
    found = writable(cache, update)
    parts = np.moveaxis(found, axis, 1)
    parts[np.arange(samples)[:, np.newaxis], times] = np.moveaxis(update, axis, 1)
    return found


@operator("ArrayFeatureExtractor", domain="ai.onnx.ml")
def _array_feature_extractor(node: Node, x: Any, indices: Any) -> Any:
    places = np.asarray(plain(indices), np.int64).ravel()
    found = np.take(x, places, axis=-1)
    return found.reshape(1, prod(found.shape)) if x.ndim == 1 else found
