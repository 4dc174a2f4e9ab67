"""Sums, products and extremes: of axes, of windows, and accumulated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck_fast.frontends.jaxpr.registry import Equation, rule
from gradcheck_fast.frontends.operators.elementary import is_traced
from gradcheck_fast.frontends.operators.windows import padded, windows

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min,
}  # fmt: skip
_ACCUMULATIONS: dict[str, Callable[..., Any]] = {
    "cumsum": np.cumsum, "cumprod": np.cumprod, "cummax": np.maximum.accumulate, "cummin": np.minimum.accumulate,
    "cumlogsumexp": np.logaddexp.accumulate,
}  # fmt: skip
#: What windows are reduced by, and what they are filled with beyond the array.
_WINDOWS: dict[str, tuple[Callable[..., Any], float]] = {
    "reduce_window_sum": (np.sum, 0.0), "reduce_window_max": (np.max, -np.inf), "reduce_window_min": (np.min, np.inf),
}  # fmt: skip


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(op: Equation, x: Any) -> Any:
        axes = tuple(op.params["axes"])
        return function(x, axis=axes) if axes else x

    return reduced


for _name, _function in _REDUCTIONS.items():
    rule(_name, plain=True, counts=True)(_reduction(_function))
rule("reduce_sum", plain=True, counts=True, parts="each")(_reduction(np.sum))


@rule("reduce_and", plain=True)
def _reduce_and(op: Equation, x: Any) -> Any:
    if op.dtype != np.bool_:
        return op.machine.bound(op.equation, [x])
    return np.all(x, axis=tuple(op.params["axes"]))


@rule("reduce_or", plain=True)
def _reduce_or(op: Equation, x: Any) -> Any:
    if op.dtype != np.bool_:
        return op.machine.bound(op.equation, [x])
    return np.any(x, axis=tuple(op.params["axes"]))


def _accumulation(function: Callable[..., Any]) -> Callable[..., Any]:
    def accumulated(op: Equation, x: Any) -> Any:
        axis = op.params["axis"]
        if not op.params["reverse"]:
            return function(x, axis=axis)
        return np.flip(function(np.flip(x, axis), axis=axis), axis)

    return accumulated


for _name, _function in _ACCUMULATIONS.items():
    rule(_name, parts="each" if _name == "cumsum" else "")(_accumulation(_function))


def _over_windows(function: Callable[..., Any], fill: float) -> Callable[..., Any]:
    def reduced(op: Equation, x: Any) -> Any:
        params = op.params
        padding, size = params["padding"], params["window_dimensions"]
        base = params.get("base_dilation") or (1,) * x.ndim
        if not is_traced(x) or not op.shape or not np.prod(op.shape):
            return op.machine.bound(op.equation, [x])
        x = padded(between(op, x, base, fill), padding, fill)
        dilation = params.get("window_dilation") or (1,) * x.ndim
        seen = windows(x, size, params["window_strides"], dilation, op.shape)
        return function(seen, axis=tuple(range(x.ndim, 2 * x.ndim)))

    return reduced


def between(op: Equation, x: Any, base: tuple[int, ...], fill: float = 0.0) -> Any:
    """Returns an array with so many steps from entry to entry along each axis, filled with a number in between."""
    if all(step == 1 for step in base):
        return x
    shape = [(n - 1) * step + 1 if n else 0 for n, step in zip(x.shape, base, strict=True)]
    whole = np.full(shape, fill)
    whole = op.recording.buffer(whole) if is_traced(x) else whole
    whole[tuple(slice(None, None, step) for step in base)] = x
    return whole


for _name, _pair in _WINDOWS.items():
    rule(_name)(_over_windows(*_pair))
