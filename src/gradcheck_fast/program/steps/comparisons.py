"""Defines the comparisons of two steps, the greater and the lesser of them, and the choice between two steps.

All act entry by entry and broadcast their inputs by NumPy's rules. Comparisons give 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import (
    SLOPE_STEP,
    Primitive,
    broadcast_shape,
    linear_spread,
    same_entry,
    sum_to_shape,
    without_warnings,
)
from gradcheck_fast.program.steps.arithmetic import as_output, binary, gap_of, no_kinks, size
from gradcheck_fast.program.steps.functions import FEW, three_sum, two_sum
from gradcheck_fast.program.steps.jumps import nothing_back

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals

EPSILON = float(np.finfo(np.float64).eps)


# ---- the greater and the lesser


def maximum_difference(a: Reals, b: Reals, da: Reals | float | None, db: Reals | float | None) -> Reals:
    """Returns the exact difference of the greater of two numbers, through the gap between them.

    Where a is the greater one, it is the greater of da and db - (a - b): b may catch up. So ties are exact.
    """
    da, db = 0.0 if da is None else da, 0.0 if db is None else db
    plain, largest = a - b, float(np.abs(da).max(initial=0.0)) + float(np.abs(db).max(initial=0.0))
    if np.abs(plain).min(initial=math.inf) > 2.0 * largest:  # none catches up
        return np.where(plain > 0.0, da, db)
    gap, low = gap_of(a, b)
    return np.where(gap >= 0.0, np.maximum(da, (db - gap) - low), np.maximum(db, (da + gap) + low))


def _minimum_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns the difference of the lesser one, -max(-a, -b)."""
    return -maximum_difference(-a, -b, None if da is None else -da, None if db is None else -db)


def _back(sign: float) -> Callable[[Sequence[Reals], int, Reals], Reals]:
    """Returns the rule `back` of the greater (1) or the lesser (-1) of two numbers.

    The central difference (max(g + h, 0) - max(g - h, 0)) / 2h with the gap g is 1/2 + g / 2h, but no less than 0 and
    no more than 1.
    """

    def back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
        gap = (x[k] - x[1 - k]) * (sign / (2.0 * SLOPE_STEP))
        return sum_to_shape(up * np.minimum(np.maximum(gap + 0.5, 0.0), 1.0), x[k].shape)

    return back


# ---- comparisons


def _moved_gap(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns (a + da) - (b + db), whose sign is right also where neither sum can be told from a or b."""
    change = -db if da is None else da if db is None else da - db  # type: ignore[operator]
    plain = a - b
    total = plain + change
    if (np.abs(total) > 4.0 * EPSILON * (np.abs(plain) + np.abs(change))).all():  # then rounding does not matter
        return np.asarray(total)
    gap, low = gap_of(a, b)
    error = two_sum(da, -db)[1] if da is not None and db is not None else 0.0
    exact = three_sum(gap, change, low + error)
    lost = np.isnan(exact)  # infinities have no rounding error
    return np.where(lost, gap + change, exact) if lost.any() else exact


def _comparison(name: str, sign: str, compare: Callable[[Any, Any], Any]) -> Primitive:
    """Returns the primitive of a comparison; ``compare(a, b)`` is NumPy's."""

    def difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
        return np.asarray(np.subtract(compare(_moved_gap(a, b, da, db), 0.0), compare(a, b), dtype=np.float64))

    return binary(
        name, f"({{0}} {sign} {{1}})", lambda a, b: compare(a, b).astype(np.float64), difference, back=nothing_back,
        spread=nothing_back, kinks=lambda a, b: a - b,
    )  # fmt: skip


# ---- the choice


def _select_difference(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
    """Returns the exact difference of the choice; where the mask changes, the gap between the inputs is part of it."""
    mask, a, b = x
    da, db = (np.zeros(()) if change is None else change for change in d[1:])
    first = mask != 0.0
    change = np.where(first, da, db)
    if d[0] is not None:
        now = mask + d[0] != 0.0
        gap, low = two_sum(a, -b)
        entered, left = three_sum(gap, low, da), three_sum(-gap, -low, db)
        change = np.where(now == first, change, np.where(now, entered, left))
    return as_output(change, x)


def _select_back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    if k == 0:
        return np.zeros_like(x[0])
    chosen = x[0] != 0.0
    return sum_to_shape(np.where(chosen, up, 0.0) if k == 1 else np.where(chosen, 0.0, up), x[k].shape)


#: The choice: the second input where the first is not 0, and the third elsewhere.
SELECT = Primitive(
    "select", "({1} where {0} else {2})", broadcast_shape(3), lambda x: np.where(x[0] != 0.0, x[1], x[2]),
    without_warnings(_select_difference), _select_back, same_entry, no_kinks, linear_spread(_select_back), size,
)  # fmt: skip

PRIMITIVES = (
    binary(
        "maximum", "maximum({0}, {1})", np.maximum, maximum_difference, back=_back(1.0), kinks=np.subtract, work=FEW
    ),
    binary(
        "minimum", "minimum({0}, {1})", np.minimum, _minimum_difference, back=_back(-1.0), kinks=np.subtract, work=FEW
    ),
    _comparison("greater", ">", np.greater),
    _comparison("greater_equal", ">=", np.greater_equal),
    _comparison("less", "<", np.less),
    _comparison("less_equal", "<=", np.less_equal),
    _comparison("equal", "==", np.equal),
    _comparison("not_equal", "!=", np.not_equal),
    SELECT,
)
