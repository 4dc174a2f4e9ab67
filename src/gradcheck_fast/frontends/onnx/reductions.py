"""Operators that reduce axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.arrays import is_integral
from gradcheck_fast.frontends.onnx.registry import Node, integers, operator, plain
from gradcheck_fast.frontends.operators.activations import logsumexp


def _log_sum_exp(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return logsumexp(x, axis, keepdims) if axis else x


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceL1": lambda x, **over: np.sum(np.abs(x), **over),
    "ReduceL2": lambda x, **over: np.sqrt(np.sum(np.square(x), **over)),
    "ReduceLogSum": lambda x, **over: np.log(np.sum(x, **over)),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceSumSquare": lambda x, **over: np.sum(np.square(x), **over),
}


def _reduction(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(node: Node, x: Any, axes: Any = None) -> Any:
        """The axes are an attribute at first, and an input since opset 13 (ReduceSum) or 18."""
        given = list(node.get("axes") or []) if axes is None else integers(axes)
        if not given and node.get("noop_with_empty_axes"):
            # nothing is summed, but the function of single entries is applied
            return function(x, axis=(), keepdims=True) if name != "ReduceLogSumExp" else x
        over = tuple(sorted({axis % x.ndim for axis in given})) if given else tuple(range(x.ndim))
        found = function(x, axis=over, keepdims=bool(node.get("keepdims")))
        return plain(found).astype(x.dtype) if is_integral(x) else found

    return reduced


for _name, _function in _REDUCTIONS.items():
    operator(_name)(_reduction(_name, _function))


def _place_of(find: Callable[..., Any]) -> Callable[..., Any]:
    def place(node: Node, x: Any) -> Any:
        axis = node.get("axis")
        if node.get("select_last_index"):
            found = x.shape[axis] - 1 - plain(find(np.flip(x, axis), axis=axis))
        else:
            found = plain(find(x, axis=axis))
        found = np.asarray(found, np.int64)
        return np.expand_dims(found, axis) if node.get("keepdims") else found

    return place


operator("ArgMax")(_place_of(np.argmax))
operator("ArgMin")(_place_of(np.argmin))
