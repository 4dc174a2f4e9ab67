"""Operators between numbers and the integers that stand for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.registry import Node, Unsupported, operator
from gradcheck_fast.frontends.operators.elementary import recording_of


@operator("QuantizeLinear", "DynamicQuantizeLinear", since=10)
def _quantize(node: Node, x: Any, *others: Any) -> Any:
    if recording_of(x, *others) is None:
        raise Unsupported("integers are made of plain numbers")
    raise node.error(
        "it rounds values that depend on the parameters to integers, so the loss is a staircase and has no slope to "
        "check; what quantisation-aware training takes for one is no derivative. Export the model without it"
    )


@operator("DequantizeLinear", since=10)
def _dequantize(node: Node, x: Any, scale: Any, zero: Any = None) -> Any:
    """(x - zero) * scale, with a scale for all, for each place of an axis, or for each block of it."""
    axis, block = node.get("axis", 1), node.get("block_size") or 0
    values = np.asarray(x, np.float64) if recording_of(x) is None else x
    offset = None if zero is None else np.asarray(zero, np.float64)

    def spread(of: Any) -> Any:
        if of.size == 1 and of.ndim <= 1:
            return of.reshape(())
        if block:
            return np.take(np.repeat(of, block, axis=axis), np.arange(values.shape[axis]), axis=axis)
        return of.reshape([-1 if k == axis % values.ndim else 1 for k in range(values.ndim)])

    return (values if offset is None else values - spread(offset)) * spread(scale)
