"""Defines what is computed along axes: sums, products (running ones too), extremes, and the logarithm of a sum of e^x.

A reduction has the attributes axis (a tuple of axes) and keepdims, and a running sum or product the attribute axis. The
rules of products, extremes and logsumexp are written for the last axis, to which all that is reduced is moved first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import (
    SLOPE_STEP,
    Primitive,
    Shape,
    change_of,
    linear_spread,
    require_inputs,
    smooth,
    spread_of_slopes,
    without_warnings,
)
from gradcheck_fast.program.steps.elementwise import WORK
from gradcheck_fast.program.sums import SHORT, Axes, total

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals


# ---- axes


def _shape(shapes: Sequence[Shape], *, axis: Axes, keepdims: bool) -> Shape:
    require_inputs(shapes, 1)
    (shape,) = shapes
    if len(set(axis)) != len(axis) or any(not 0 <= k < len(shape) for k in axis):
        raise ValueError(f"an array of shape {shape} cannot be reduced along the axes {axis}")
    return tuple(1 if k in axis else n for k, n in enumerate(shape) if keepdims or k not in axis)


def _shape_not_empty(shapes: Sequence[Shape], *, axis: Axes, keepdims: bool) -> Shape:
    found = _shape(shapes, axis=axis, keepdims=keepdims)
    if not all(shapes[0][k] for k in axis):
        raise ValueError(f"an array of shape {shapes[0]} has no entries along the axes {axis}")
    return found


def _as_input(up: Reals, shape: Shape, axis: Axes) -> Reals:
    """Returns the output of a reduction, or what is like it, with the axes that are reduced, of length 1."""
    return np.reshape(up, tuple(1 if k in axis else n for k, n in enumerate(shape)))


def _last(x: Reals, axis: Axes) -> Reals:
    """Moves the axes that are reduced to the end and makes one of them. The first axes are moved without a copy."""
    if len(axis) == x.ndim:
        return x.reshape(-1)
    if axis == (x.ndim - 1,):
        return x
    if axis == tuple(range(len(axis))):
        return np.moveaxis(x.reshape(math.prod(x.shape[: len(axis)]), *x.shape[len(axis) :]), 0, -1)
    kept = [k for k in range(x.ndim) if k not in axis]
    rows = x.transpose(*kept, *axis)
    return rows.reshape(*rows.shape[: len(kept)], math.prod(rows.shape[len(kept) :]))


def _not_last(rows: Reals, shape: Shape, axis: Axes) -> Reals:
    """Undoes `_last`."""
    if len(axis) == len(shape) or axis == (len(shape) - 1,):
        return rows.reshape(shape)
    order = [*(k for k in range(len(shape)) if k not in axis), *axis]
    moved = rows.reshape([shape[k] for k in order])
    return np.ascontiguousarray(moved.transpose(np.argsort(order).tolist()))


def _reach(masks: Sequence[Mask], *, axis: Axes, keepdims: bool) -> Mask:
    return np.asarray(masks[0].any(axis=axis, keepdims=keepdims))


def _work(shapes: Sequence[Shape], **attributes: Any) -> float:
    return float(math.prod(shapes[0]))


def _along(
    name: str, value: Callable[..., Any], difference: Callable[[Reals, Reals], Reals],
    slopes: Callable[[Reals], Reals], *, work: float = 1.0, shape: Callable[..., Shape] = _shape_not_empty,
    kinks: Callable[..., Reals] = smooth, spread: Callable[..., Reals] | None = None,
) -> Primitive:  # fmt: skip
    """Returns a reduction that is not linear.

    Parameters
    ----------
    name : str
    value : callable
        ``value(x, axis=..., keepdims=...)`` returns the value.
    difference : callable
        ``difference(rows, d)`` returns the exact difference of the reduction along the last axis.
    slopes : callable
        ``slopes(rows)`` returns the slope by each entry, of the reduction along the last axis; each is a central
        difference of `difference` along that entry alone, or equals one.
    work : float
        The estimated number of operations for each entry.
    shape, kinks, spread : callable, optional
        As in `Primitive`. By default there must be entries along the axes, and the reduction is smooth.
    """

    def value_of(x: Sequence[Reals], *, axis: Axes, keepdims: bool) -> Reals:
        return np.asarray(value(x[0], axis=axis, keepdims=keepdims))

    def difference_of(x: Sequence[Reals], d: Sequence[Reals | None], *, axis: Axes, keepdims: bool) -> Reals:
        found = difference(_last(x[0], axis), _last(change_of(x, d), axis))
        return np.asarray(found).reshape(_shape([x[0].shape], axis=axis, keepdims=keepdims))

    def back(x: Sequence[Reals], k: int, up: Reals, *, axis: Axes, keepdims: bool) -> Reals:
        slope = _not_last(slopes(_last(x[0], axis)), x[0].shape, axis)
        return np.asarray(slope * _as_input(up, x[0].shape, axis))

    def smooth_spread(
        x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float, *, axis: Axes, keepdims: bool
    ) -> Reals:
        return np.asarray(np.abs(back(x, k, half, axis=axis, keepdims=keepdims)))

    return Primitive(
        name, f"{name}({{0}})", shape, without_warnings(value_of), without_warnings(difference_of),
        without_warnings(back), _reach, without_warnings(kinks), without_warnings(spread or smooth_spread),
        lambda shapes, **attributes: work * math.prod(shapes[0]),
    )  # fmt: skip


# ---- sums


def _sum_difference(x: Sequence[Reals], d: Sequence[Reals | None], *, axis: Axes, keepdims: bool) -> Reals:
    return total(change_of(x, d), axis, keepdims)


def _sum_back(x: Sequence[Reals], k: int, up: Reals, *, axis: Axes, keepdims: bool) -> Reals:
    back = np.empty(x[0].shape)
    back[...] = _as_input(up, x[0].shape, axis)
    return back


#: The sum along some axes.
SUM = Primitive(
    "sum", "sum({0})", _shape, lambda x, *, axis, keepdims: total(x[0], axis, keepdims), _sum_difference, _sum_back,
    _reach, smooth, linear_spread(_sum_back), _work,
)  # fmt: skip


def _running_shape(shapes: Sequence[Shape], *, axis: int) -> Shape:
    require_inputs(shapes, 1)
    if not 0 <= axis < len(shapes[0]):
        raise ValueError(f"an array of shape {shapes[0]} has no axis {axis}")
    return shapes[0]


def _running_reach(masks: Sequence[Mask], *, axis: int) -> Mask:
    return np.logical_or.accumulate(masks[0], axis=axis)


def _cumsum_difference(x: Sequence[Reals], d: Sequence[Reals | None], *, axis: int) -> Reals:
    return np.cumsum(change_of(x, d), axis=axis)


def _cumsum_back(x: Sequence[Reals], k: int, up: Reals, *, axis: int) -> Reals:
    return np.ascontiguousarray(np.flip(np.cumsum(np.flip(up, axis), axis), axis))


#: The running sum along an axis.
CUMSUM = Primitive(
    "cumsum", "cumsum({0})", _running_shape, lambda x, *, axis: np.cumsum(x[0], axis), _cumsum_difference, _cumsum_back,
    _running_reach, smooth, linear_spread(_cumsum_back), _work,
)  # fmt: skip


# ---- extremes


def _winners(rows: Reals, top: Reals, distance: float) -> Mask | None:
    """Marks the largest entries of each row, if no other entry may be within a distance of them; else None."""
    near: Mask = rows >= top - 4.0 * distance  # this may be rounded
    count = np.count_nonzero(near)
    return near if count in (top.size, np.count_nonzero(rows == top)) and not np.isnan(top).any() else None


def _two_largest(rows: Reals) -> tuple[Reals, Reals]:
    """Returns the largest entry of each row, and that of all others: the same if two tie, and -inf if there is none."""
    if rows.shape[-1] <= SHORT:
        top = np.array(rows[..., 0])
        second = np.full(top.shape, -np.inf)
        for k in range(1, rows.shape[-1]):
            np.maximum(second, np.minimum(top, rows[..., k]), out=second)
            np.maximum(top, rows[..., k], out=top)
        return top[..., np.newaxis], second[..., np.newaxis]
    top = rows.max(axis=-1, keepdims=True)
    wins = rows == top
    second = np.where(wins, -np.inf, rows).max(axis=-1, keepdims=True)
    return top, np.where(np.count_nonzero(wins, axis=-1, keepdims=True) > 1, top, second)


def _over_others(rows: Reals, top: Reals, second: Reals) -> Reals:
    """Returns the largest of all other entries of the row minus each entry, given what `_two_largest` returns."""
    return np.asarray(np.where(rows == top, second, top) - rows)


def _max_difference(rows: Reals, d: Reals) -> Reals:
    """Returns the largest of d - g, where g is the gap from an entry to the winner, which is exact for the winner.

    The rounding of g, which is what is lost in ((top - g) - x), is subtracted too, so that a loser that comes close to
    the winner or overtakes it loses no digits either (Knuth, The Art of Computer Programming, 4.2.2, theorem B).
    """
    top = rows.max(axis=-1, keepdims=True)
    gap = top - rows
    found: Reals = d - gap
    if np.count_nonzero(gap <= 4.0 * float(np.ptp(d))) != np.count_nonzero(gap == 0.0):  # some loser comes close
        part = gap - top
        lost = (top - (gap - part)) - (rows + part)
        found -= np.where(np.isfinite(gap), lost, 0.0)
    return np.asarray(found.max(axis=-1))


def _max_slopes(rows: Reals) -> Reals:
    """Returns the central difference of the maximum along each entry alone, which is that of max(entry, others).

    That is 1 for the winner and 0 for the others, and 1/2 each for two that tie. Where more than two tie, each gets
    the same share of 1: so the slope is right if they move together, as those in a constant part of an image do.
    """
    top = rows.max(axis=-1, keepdims=True)
    wins = _winners(rows, top, SLOPE_STEP)
    if wins is None:
        slopes = 0.5 - 0.5 * np.clip(_over_others(rows, *_two_largest(rows)) / SLOPE_STEP, -1.0, 1.0)
    else:
        slopes = wins.astype(np.float64)
        if np.count_nonzero(wins) == top.size:
            return slopes
    return np.asarray(slopes / slopes.sum(axis=-1, keepdims=True))


def _extreme(name: str, value: Callable[..., Any], sign: float) -> Primitive:
    """Returns the maximum, or the minimum, which is minus the maximum of -x, if `sign` is -1."""

    def kinks(x: Sequence[Reals], *, axis: Axes, keepdims: bool) -> Reals:
        """Returns the gap between the largest and the second largest: at 0 the slope jumps."""
        rows = _last(sign * x[0], axis)
        top, second = _two_largest(rows)
        shape = _shape([x[0].shape], axis=axis, keepdims=keepdims)
        return (top - second).reshape(1, *shape)[: int(rows.shape[-1] > 1)]

    def spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float, *, axis: Axes, keepdims: bool) -> Reals:
        """The slope by an entry that is within h of the largest other may be any between 0 and 1."""
        rows = _last(sign * x[0], axis)
        top, second = _two_largest(rows)
        size, half = (np.asarray(each).reshape(top.shape) for each in (np.abs(up), half))
        some = ((half != 0.0) | ~(top - second > h))[..., 0]  # in the other rows nothing is open
        over = _over_others(rows[some], top[some], second[some])
        wins, zero, one = (over < 0.0).astype(np.float64), np.zeros_like(over), np.ones_like(over)
        found = np.zeros(rows.shape)
        found[some] = spread_of_slopes(np.abs(over) <= h, wins, zero, one, size[some], half[some])
        return _not_last(found, x[0].shape, axis)

    return _along(
        name, value, lambda rows, d: sign * _max_difference(sign * rows, sign * d),
        lambda rows: _max_slopes(sign * rows), kinks=kinks, spread=spread,
    )  # fmt: skip


#: The largest entry along some axes.
MAX = _extreme("max", np.max, 1.0)
#: The smallest entry along some axes.
MIN = _extreme("min", np.min, -1.0)


# ---- products


def _running_products(old: Reals, new: Reals, d: Reals) -> Reals:
    """Returns the exact differences of the running products along the last axis, where `new` is ``old + d``.

    Two factors p q, of which p changes by dp and q by dq, change by dp q' + p dq, where q' is the new q. Products of
    neighbours are joined to products of 2, 4, 8, ... neighbours, so that zeros do no harm.
    """
    old, new, d, reach = old.copy(), new.copy(), d.copy(), 1
    while reach < d.shape[-1]:
        left, right = np.s_[..., :-reach], np.s_[..., reach:]
        joined = d[left] * new[right] + old[left] * d[right]
        d[right] = joined
        old[right], new[right] = old[left] * old[right], new[left] * new[right]
        reach *= 2
    return d


def _product_difference(rows: Reals, d: Reals) -> Reals:
    """Returns the sum over i of (product of the entries before i) d_i (product of the new entries after i)."""
    return np.asarray((_before(rows) * d * _after(rows + d)).sum(axis=-1))


def _before(rows: Reals) -> Reals:
    """Returns the products of the entries before each."""
    found = np.ones_like(rows)
    np.cumprod(rows[..., :-1], axis=-1, out=found[..., 1:])
    return found


def _after(rows: Reals) -> Reals:
    """Returns the products of the entries after each."""
    return _before(rows[..., ::-1])[..., ::-1]


def others(rows: Reals) -> Reals:
    """Returns the product of all other entries along the last axis, for each: a product is linear in each factor."""
    return _before(rows) * _after(rows)


#: The product along some axes.
PROD = _along("prod", np.prod, _product_difference, others, shape=_shape)


def _cumprod_difference(x: Sequence[Reals], d: Sequence[Reals | None], *, axis: int) -> Reals:
    old, change = (np.moveaxis(array, axis, -1) for array in (x[0], change_of(x, d)))
    return np.ascontiguousarray(np.moveaxis(_running_products(old, old + change, change), -1, axis))


def _cumprod_back(x: Sequence[Reals], k: int, up: Reals, *, axis: int) -> Reals:
    """Applies the transpose: (product of the entries before j) s_j, where s_j = up_j + x_(j+1) s_(j+1).

    That s is linear in the next one. Such maps are joined as in `_running_products`.
    """
    rows, found = np.moveaxis(x[0], axis, -1), np.moveaxis(up, axis, -1).copy()
    factor = np.concatenate([rows[..., 1:], np.zeros_like(rows[..., :1])], axis=-1)
    reach = 1
    while reach < rows.shape[-1]:
        left, right = np.s_[..., :-reach], np.s_[..., reach:]
        found[left] = found[left] + factor[left] * found[right]
        factor[left] = factor[left] * factor[right]
        reach *= 2
    return np.ascontiguousarray(np.moveaxis(_before(rows) * found, -1, axis))


#: The running product along an axis.
CUMPROD = Primitive(
    "cumprod", "cumprod({0})", _running_shape, lambda x, *, axis: np.cumprod(x[0], axis), _cumprod_difference,
    _cumprod_back, _running_reach, smooth, linear_spread(_cumprod_back), _work,
)  # fmt: skip


# ---- the logarithm of a sum of e^x


def logsumexp(x: Reals, axis: Axes, keepdims: bool) -> Reals:
    """Returns the logarithm of the sum of e^x, without overflow."""
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    found = top + np.log(np.exp(x - top).sum(axis=axis, keepdims=True))
    return np.asarray(found if keepdims else np.squeeze(found, axis))


def _logsumexp_difference(rows: Reals, d: Reals) -> Reals:
    """Returns log1p(sum of p expm1(d)), where p = softmax(x).

    Where the argument of log1p nears -1, or is large, it is the logarithm of the sum of p e^d.
    """
    log_p = rows - logsumexp(rows, (-1,), True)
    x = (np.exp(log_p) * np.expm1(np.minimum(d, 1.0))).sum(axis=-1)
    near = (x > -0.5) & (d.max(axis=-1) <= 1.0)
    return np.where(near, np.log1p(np.where(near, x, 0.0)), logsumexp(log_p + d, (-1,), False))


def _logsumexp_slopes(rows: Reals) -> Reals:
    """Returns the central difference along each entry alone: of log1p(p expm1(d))."""
    p = np.exp(rows - logsumexp(rows, (-1,), True))
    plus, minus = (np.log1p(p * math.expm1(step)) for step in (SLOPE_STEP, -SLOPE_STEP))
    return np.asarray((plus - minus) / (2.0 * SLOPE_STEP))


#: The logarithm of the sum of e^x along some axes.
LOGSUMEXP = _along("logsumexp", logsumexp, _logsumexp_difference, _logsumexp_slopes, work=WORK)

PRIMITIVES = (SUM, MAX, MIN, PROD, CUMSUM, CUMPROD, LOGSUMEXP)
