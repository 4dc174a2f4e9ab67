"""Primitives that move entries: what they return are views where NumPy has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.jaxpr.registry import Equation, rule
from gradcheck_fast.frontends.operators.elementary import is_traced


def writable(op: Equation, x: Any) -> Any:
    """Returns a copy of an array that can be written to, also with traced values."""
    if is_traced(x):
        return x.copy()
    kept = np.array(x)
    return op.recording.buffer(kept.astype(np.float64)) if kept.dtype.kind not in "biu" else kept


@rule("iota", plain=True)
def _iota(op: Equation, *_: Any) -> Any:
    axis = op.params["dimension"]
    numbers = np.arange(op.shape[axis]).astype(op.params["dtype"])
    return np.broadcast_to(numbers.reshape([-1 if k == axis else 1 for k in range(len(op.shape))]), op.shape)


@rule("reshape", "squeeze", plain=True, counts=True, parts="each")
def _reshape(op: Equation, x: Any) -> Any:
    if op.params.get("dimensions") is not None and op.name == "reshape":
        x = np.transpose(x, op.params["dimensions"])
    return np.reshape(x, op.shape)


@rule("broadcast_in_dim", plain=True, counts=True, parts="each")
def _broadcast_in_dim(op: Equation, x: Any, *_: Any) -> Any:
    shape = [1] * len(op.shape)
    for axis, length in zip(op.params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = length
    x = np.reshape(x, shape)
    return x if tuple(shape) == op.shape else np.broadcast_to(x, op.shape)


@rule("transpose", plain=True, counts=True, parts="each")
def _transpose(op: Equation, x: Any) -> Any:
    return np.transpose(x, op.params["permutation"])


@rule("slice", plain=True, counts=True, parts="each")
def _slice(op: Equation, x: Any) -> Any:
    params = op.params
    steps = params["strides"] or (1,) * x.ndim
    bounds = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    return x[(*(slice(*map(int, bound)) for bound in bounds), ...)]


@rule("rev", plain=True, counts=True, parts="each")
def _rev(op: Equation, x: Any) -> Any:
    return x[(*(slice(None, None, -1 if k in op.params["dimensions"] else 1) for k in range(x.ndim)), ...)]


@rule("concatenate", plain=True, counts=True, parts="each")
def _concatenate(op: Equation, *x: Any) -> Any:
    return np.concatenate(x, axis=op.params["dimension"])


@rule("stack", plain=True, counts=True, parts="each")
def _stack(op: Equation, *x: Any) -> Any:
    return np.stack(x, axis=op.params["axis"])


@rule("tile", plain=True, counts=True, parts="each")
def _tile(op: Equation, x: Any) -> Any:
    return np.tile(x, op.params["reps"])


@rule("split", plain=True, counts=True, parts="each")
def _split(op: Equation, x: Any) -> Any:
    axis, ends = op.params["axis"], np.cumsum(op.params["sizes"])
    return list(np.split(x, ends[:-1], axis=axis))


@rule("pad", plain=True, parts="each")
def _pad(op: Equation, x: Any, value: Any) -> Any:
    """Pads before, after and between entries; negative numbers of them cut off."""
    config = op.params["padding_config"]
    whole: Any
    if is_traced(value) or (not is_traced(x) and x.dtype.kind not in "f"):
        whole = np.broadcast_to(value, _inner_shape(x, config))
        whole = whole.copy() if is_traced(value) else np.array(whole)
    else:
        if all(low >= 0 and high >= 0 and not inside for low, high, inside in config):
            return np.pad(x, [(low, high) for low, high, _ in config], constant_values=value.item())
        whole = np.full(_inner_shape(x, config), value)
        whole = op.recording.buffer(whole) if is_traced(x) else whole
    taken: list[slice] = []
    cut: list[slice] = []
    for n, (low, high, inside) in zip(x.shape, config, strict=True):
        begin = max(low, 0)
        taken.append(slice(begin, begin + max(n + inside * (n - 1), 0), inside + 1))
        cut.append(slice(max(-low, 0), whole.shape[len(cut)] - max(-high, 0)))
    whole[(*taken, ...)] = x
    return whole[(*cut, ...)]


def _inner_shape(x: Any, config: Any) -> tuple[int, ...]:
    return tuple(
        max(low, 0) + max(n + inside * (n - 1), 0) + max(high, 0)
        for n, (low, high, inside) in zip(x.shape, config, strict=True)
    )


def _corner(op: Equation, shape: tuple[int, ...], sizes: tuple[int, ...], starts: Any) -> tuple[slice, ...]:
    """Returns the block of these sizes at a corner, which is moved inside."""
    numbers = [int(op.machine.plain(start, np.int64, "places of a block by")) for start in starts]
    begins = [min(max(k, 0), n - size) for k, n, size in zip(numbers, shape, sizes, strict=True)]
    return tuple(slice(k, k + size) for k, size in zip(begins, sizes, strict=True))


@rule("dynamic_slice", plain=True, counts=True, parts="each")
def _dynamic_slice(op: Equation, x: Any, *starts: Any) -> Any:
    return x[(*_corner(op, x.shape, op.params["slice_sizes"], starts), ...)]


@rule("dynamic_update_slice", counts=True, parts="each")
def _dynamic_update_slice(op: Equation, x: Any, update: Any, *starts: Any) -> Any:
    found = writable(op, x)
    found[(*_corner(op, x.shape, update.shape, starts), ...)] = update
    return found
