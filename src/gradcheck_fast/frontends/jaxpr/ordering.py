"""Primitives that look for places or bring entries into an order.

Places are plain integers; `numpy_trace.ordering` says how their changes are known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.jaxpr.registry import Equation, rule
from gradcheck_fast.frontends.operators.elementary import is_traced, values_of


def _place(function: Any) -> Any:
    def find(op: Equation, x: Any) -> Any:
        (axis,) = op.params["axes"]
        return function(op.recording.as_numbers(x) if is_traced(x) else x, axis=axis)

    return find


rule("argmax", plain=True, counts=True)(_place(np.argmax))
rule("argmin", plain=True, counts=True)(_place(np.argmin))


def _name_ties(op: Equation, x: Any, axis: int) -> None:
    """Notes that entries are put in order that are equal: if that matters, the line is named."""
    if is_traced(x) and not np.diff(np.sort(values_of(x), axis=axis), axis=axis).all():
        op.recording.leak(f"{op.name} puts entries in order that are equal")


@rule("sort", counts=True)
def _sort(op: Equation, *x: Any) -> Any:
    axis, keys = op.params["dimension"], x[: op.params["num_keys"]]
    _name_ties(op, keys[0], axis)
    if len(keys) == 1:
        order = np.argsort(keys[0], axis=axis, kind="stable")
    elif keys[0].ndim == 1:
        order = np.lexsort(tuple(reversed(keys)))
    else:
        return op.machine.bound(op.equation, x)
    return [np.take_along_axis(part, order, axis) for part in x]


@rule("top_k", counts=True)
def _top_k(op: Equation, x: Any) -> Any:
    axis = op.params.get("axis", -1) % x.ndim
    _name_ties(op, x, axis)
    # the lowest place comes first where entries are equal
    order = np.take(np.argsort(-x, axis=axis, kind="stable"), range(op.params["k"]), axis=axis)
    return [np.take_along_axis(x, order, axis), order]
