"""Defines the arithmetic of two steps, entry by entry, and the choice between two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import (
    Primitive,
    Shape,
    changes,
    entrywise_slope,
    entrywise_spread,
    linear_spread,
    one_shape,
    require_inputs,
    same_entry,
    smooth,
)

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals


def _size(shapes: Sequence[Shape], **attributes: Any) -> float:
    return float(np.prod(shapes[-1], dtype=float))


def binary(
    name: str, written: str, value: Callable[[Reals, Reals], Reals],
    difference: Callable[[Reals, Reals, Reals, Reals], Reals], back: Callable[..., Reals] | None = None,
) -> Primitive:  # fmt: skip
    """Returns the primitive of a smooth function of two numbers a and b, applied entry by entry.

    Parameters
    ----------
    name : str
        Its name, and that of its kernel in ``csrc/steps/pairwise.h``.
    written : str
        The format string for reports.
    value : callable
        ``value(a, b)`` returns the value.
    difference : callable
        ``difference(a, b, da, db)`` returns the exact difference.
    back : callable, optional
        As in `Primitive`; for functions that are linear in each number, it applies their transposes. If it is None,
        slopes are found by differences.
    """

    def of_all(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
        return difference(*x, *changes(x, d))

    back, spread = (
        (back, linear_spread(back))
        if back
        else (partial(entrywise_slope, of_all), partial(entrywise_spread, of_all, smooth))
    )
    return Primitive(
        name, written, one_shape(2), lambda x: value(*x), of_all, back, same_entry, smooth, spread, _size
    )  # fmt: skip


ADD = binary("add", "({0} + {1})", lambda a, b: a + b, lambda a, b, da, db: da + db, lambda x, k, up: up)
SUBTRACT = binary(
    "subtract", "({0} - {1})", lambda a, b: a - b, lambda a, b, da, db: da - db, lambda x, k, up: up if k == 0 else -up
)
MULTIPLY = binary(
    "multiply",
    "{0} * {1}",
    lambda a, b: a * b,
    lambda a, b, da, db: da * b + (a + da) * db,
    lambda x, k, up: up * x[1 - k],
)


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
    _where_reach, lambda x: np.empty((0, *x[1].shape)), linear_spread(_where_back), _size,
)  # fmt: skip

PRIMITIVES = (ADD, SUBTRACT, MULTIPLY, WHERE)
