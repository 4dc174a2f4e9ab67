"""Defines the arithmetic of two steps, entry by entry, and the choice between two steps.

Inputs are broadcast by NumPy's rules, except those of the choice by a column of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import (
    Primitive,
    Shape,
    broadcast_shape,
    changes,
    entrywise_slope,
    entrywise_spread,
    linear_spread,
    one_shape,
    require_inputs,
    same_entry,
    slopes,
    smooth_spread,
    sum_to_shape,
    without_warnings,
)
from gradcheck_fast.program.steps.functions import reciprocal_difference, two_sum

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Distance, Mask, Reals

    #: ``difference(a, b, da, db)``, where None says that a number does not change.
    Difference = Callable[[Reals, Reals, Reals | None, Reals | None], Reals]


def size(shapes: Sequence[Shape], **attributes: Any) -> float:
    """Returns the number of entries of the output: the work of a step that broadcasts its inputs."""
    return float(math.prod(np.broadcast_shapes(*shapes)))


def no_kinks(x: Sequence[Reals]) -> Reals:
    """Returns no kinks: the rule of a primitive that has none, and that broadcasts its inputs."""
    return np.empty((0, *np.broadcast(*x).shape))


def as_output(change: Reals, x: Sequence[Reals]) -> Reals:
    """Returns `change`, which may be that of one input, broadcast to the shape of the output."""
    shape = np.broadcast(*x).shape
    return change if change.shape == shape else np.array(np.broadcast_to(change, shape))


def gap_of(a: Reals, b: Reals) -> tuple[Reals, Reals]:
    """Returns a - b and its rounding error; the gap between two infinities of one sign is 0."""
    gap, low = two_sum(a, -b)
    finite = np.isfinite(gap)
    if not finite.all():
        gap, low = np.where(a == b, 0.0, gap), np.where(finite, low, 0.0)
    return gap, low


def rule(difference: Difference) -> Callable[[Sequence[Reals], Sequence[Reals | None]], Reals]:
    """Returns the rule `difference` of a function of two numbers, also for the case that neither changes."""

    def of_all(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
        if d[0] is None and d[1] is None:
            return np.zeros(np.broadcast(*x).shape)
        return np.asarray(difference(*x, *d))

    return of_all


def binary(
    name: str, written: str, value: Callable[[Reals, Reals], Reals], difference: Difference, *,
    back: Callable[..., Reals] | None = None, spread: Callable[..., Reals] | None = None,
    kinks: Callable[[Reals, Reals], Reals] | None = None, distance: Distance | None = None, work: float = 1.0,
) -> Primitive:  # fmt: skip
    """Returns the primitive of a function of two numbers a and b, applied entry by entry.

    Parameters
    ----------
    name : str
        Its name, and that of its kernel in ``csrc/steps/pairwise.h`` if there is one.
    written : str
        The format string for reports.
    value : callable
        ``value(a, b)`` returns the value.
    difference : callable
        ``difference(a, b, da, db)`` returns the exact difference. One of the changes may be None.
    back, spread : callable, optional
        As in `Primitive`; without them, slopes are found by differences.
    kinks : callable, optional
        ``kinks(a, b)`` is 0 where the slope jumps, or the value.
    distance : callable, optional
        How far entries are from the nearest singularity, if that may be less than 1; see `slopes`.
    work : float
        The estimated number of operations for one entry.
    """

    of_all = rule(difference)
    of_kinks = no_kinks if kinks is None else lambda x: np.asarray(kinks(*x))[np.newaxis]
    if spread is None:
        spread = (
            partial(smooth_spread, of_all, distance=distance)
            if kinks is None
            else partial(entrywise_spread, of_all, of_kinks)
        )
    return Primitive(
        name, written, broadcast_shape(2), without_warnings(lambda x: np.asarray(value(*x))), without_warnings(of_all),
        without_warnings(back or partial(entrywise_slope, of_all, distance=distance)), same_entry, of_kinks,
        without_warnings(spread), lambda shapes: work * size(shapes),
    )  # fmt: skip


# ---- sums and products


def _add_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    if da is not None and db is not None:
        return da + db
    return as_output(db if da is None else da, (a, b))  # type: ignore[arg-type]


def _subtract_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    if da is not None and db is not None:
        return da - db
    return as_output(-db if da is None else da, (a, b))  # type: ignore[operator]


def _multiply_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    if db is None:
        return da * b  # type: ignore[operator]
    if da is None:
        return a * db
    change = (a + da) * db
    change += da * b
    return change


def _multiply_back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    return sum_to_shape(np.asarray(up * x[1 - k]), x[k].shape)


def _divide_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns the exact difference (da - y db) / (b + db) of the quotient y."""
    if db is None:
        return da / b  # type: ignore[operator]
    change = (a / b) * db
    change = -change if da is None else da - change
    return change / (b + db)


def _divide_back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    """Multiplies by 1/b, or by a and the slope of 1/b, which is found in the shape of b."""
    a, b = x
    if k == 0:
        return sum_to_shape(np.asarray(up / b), a.shape)
    return np.asarray(sum_to_shape(np.asarray(up * a), b.shape) * slopes(_reciprocal, [b], 0, _from_zero))


def _divide_spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float) -> Reals:
    return np.abs(_divide_back([np.abs(at) for at in x], k, half))


def _reciprocal(x: Sequence[Reals], d: Sequence[Reals]) -> Reals:
    return reciprocal_difference(x[0], d[0])


def _from_zero(x: Sequence[Reals], k: int) -> Reals:
    return np.abs(x[k])


def _linear(
    name: str, written: str, value: Callable[[Reals, Reals], Reals], difference: Difference,
    back: Callable[..., Reals],
) -> Primitive:  # fmt: skip
    return Primitive(
        name, written, broadcast_shape(2), lambda x: np.asarray(value(*x)), rule(difference), back, same_entry,
        no_kinks, linear_spread(back), size,
    )  # fmt: skip


ADD = _linear("add", "({0} + {1})", np.add, _add_difference, lambda x, k, up: sum_to_shape(up, x[k].shape))
SUBTRACT = _linear(
    "subtract",
    "({0} - {1})",
    np.subtract,
    _subtract_difference,
    lambda x, k, up: sum_to_shape(up if k == 0 else -up, x[k].shape),
)
MULTIPLY = _linear("multiply", "{0} * {1}", np.multiply, _multiply_difference, _multiply_back)
DIVIDE = binary("divide", "{0} / {1}", np.divide, _divide_difference, back=_divide_back, spread=_divide_spread)


# ---- the choice by data


def _where_shape(shapes: Sequence[Shape]) -> Shape:
    require_inputs(shapes, 3)
    mask, *both = shapes
    shape = one_shape(2)(both)
    if mask != (*shape[:-1], 1):
        raise ValueError(f"expected a mask of shape {(*shape[:-1], 1)}, got {mask}")
    return shape


def _where_difference(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
    mask, first, second = changes(x, d)
    if mask.any():
        raise ValueError("the mask of a choice is data, and does not change")
    return np.where(x[0] != 0.0, first, second)


def _where_back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    chosen = x[0] != 0.0
    return np.zeros_like(x[0]) if k == 0 else np.where(chosen if k == 1 else ~chosen, up, 0.0)


def _where_reach(masks: Sequence[Mask]) -> Mask:
    return masks[0] | masks[1] | masks[2]


#: The choice: the second input where the first, a mask of data with one column, is not 0, and the third elsewhere.
WHERE = Primitive(
    "where", "({1} or {2})", _where_shape, lambda x: np.where(x[0] != 0.0, x[1], x[2]), _where_difference, _where_back,
    _where_reach, lambda x: np.empty((0, *x[1].shape)), linear_spread(_where_back), size,
)  # fmt: skip

PRIMITIVES = (ADD, SUBTRACT, MULTIPLY, DIVIDE, WHERE)
