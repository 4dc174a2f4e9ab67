"""Defines the costs: functions of each sample's outputs x and targets y, times a scale that the reduction sets.

A cost takes x of shape (samples, width), y of the same shape, or (samples, 1) for a class, and perhaps a mask of shape
(samples, 1). Samples in which the mask is 0 cost nothing. The value is one number per sample, of shape (samples,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.primitive import (
    BOTH_SIDES,
    SLOPE_STEP,
    Primitive,
    changes,
    require_inputs,
    spread_of_slopes,
)
from gradcheck_fast.program.steps.elementwise import (
    WORK,
    clip_difference,
    positive_part_difference,
    softplus,
    softplus_difference,
)
from gradcheck_fast.program.steps.softmax import softmax

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals, Shape

#: A function of the rows x and y and of the constant that returns the cost of each row.
Value = Callable[["Reals", "Reals", float], "Reals"]
#: A function of the rows x and y, the change of x, and the constant that returns the change of the cost of each row.
Difference = Callable[["Reals", "Reals", "Reals", float], "Reals"]


@dataclass(frozen=True, eq=False, repr=False)
class Cost(Primitive):
    """A primitive that is a cost, with what else is known about it.

    Attributes
    ----------
    separable : bool
        Whether it is a sum over the entries of x of a function of x[k] and y[k].
    by_class : bool
        Whether y is a class instead of a row.
    link : str
        The activation that this cost contains, so that it takes logits; "" if it contains none.
    of_link : str
        The name of the same cost without the activation: it takes what `link` returns; "" if there is no `link`.
    """

    separable: bool
    by_class: bool
    link: str
    of_link: str


def _shape_of(shapes: Sequence[Shape], by_class: bool) -> Shape:
    require_inputs(shapes, 3 if len(shapes) == 3 else 2)
    x, y, *mask = shapes
    if len(x) != 2:
        raise ValueError(f"expected outputs of shape (samples, width), got {x}")
    if y != ((x[0], 1) if by_class else x):
        raise ValueError(
            f"expected {'classes' if by_class else 'targets'} of shape {(x[0], 1) if by_class else x}, got {y}"
        )
    if mask and mask[0] != (x[0], 1):
        raise ValueError(f"expected a mask of shape {(x[0], 1)}, got {mask[0]}")
    return x[:1]


def _reach(masks: Sequence[Mask], *, constant: float, scale: float) -> Mask:
    reached: Mask = np.logical_or.reduce([mask.any(axis=1) for mask in masks])
    return reached


def _work(shapes: Sequence[Shape], *, constant: float, scale: float) -> float:
    return WORK * float(np.prod(shapes[0], dtype=float))


def _cost(
    name: str, value: Value, difference: Difference, *, link: str = "", of_link: str = "", by_class: bool = False,
    distance: Callable[[Reals], Reals] = np.ones_like,
) -> Cost:  # fmt: skip
    """Returns the cost with the kernel of that name; `separable` and kinks are taken from the kernels' table.

    ``distance(x)`` is that of x from the nearest singularity, where there is one: the unit of the steps of slopes.
    """
    known = _kernels.COSTS[name]

    def shape(shapes: Sequence[Shape], *, constant: float, scale: float) -> Shape:
        return _shape_of(shapes, by_class)

    def counted(x: Sequence[Reals], scale: float) -> Reals | float:
        return scale * (x[2][:, 0] != 0.0) if len(x) > 2 else scale

    def value_of(x: Sequence[Reals], *, constant: float, scale: float) -> Reals:
        return np.asarray(counted(x, scale) * value(x[0], x[1], constant))

    def difference_of(x: Sequence[Reals], d: Sequence[Reals | None], *, constant: float, scale: float) -> Reals:
        change, *others = changes(x, d)
        if any(other.any() for other in others):
            raise ValueError(f"{name}: targets and masks are data, and do not change")
        return np.asarray(counted(x, scale) * difference(x[0], x[1], change, constant))

    def back(x: Sequence[Reals], k: int, up: Reals, *, constant: float, scale: float) -> Reals:
        """Differences the cost by each entry of a row while the others stay as they are, and multiplies by `up`."""
        if k != 0:
            raise ValueError(f"{name}: targets and masks are data, and have no sensitivity")
        return (up * counted(x, scale))[:, np.newaxis] * slopes(x, -SLOPE_STEP, SLOPE_STEP, constant)

    def slopes(x: Sequence[Reals], begin: float, end: float, constant: float) -> Reals:
        """The slopes of the cost by each entry, between two places in units of the distance to a singularity."""
        far = distance(x[0])
        unit, found = np.where(far > 0.0, far, 1.0), np.empty_like(x[0])
        for column in range(x[0].shape[1]):
            d = np.zeros_like(x[0])
            d[:, column] = unit[:, column]
            found[:, column] = difference(x[0], x[1], end * d, constant) - difference(x[0], x[1], begin * d, constant)
        return found / ((end - begin) * unit)

    def spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float, *, constant: float, scale: float) -> Reals:
        at_kink = np.any(np.abs(kinks(x, constant=constant, scale=scale)) <= h, axis=0)
        left, right = (slopes(x, begin * h, end * h, constant) for begin, end in BOTH_SIDES)
        middle, size, wide = slopes(x, -h, h, constant), np.abs(up)[:, np.newaxis], half[:, np.newaxis]
        scales = np.abs(np.reshape(counted(x, scale), (-1, 1)))
        return np.asarray(scales * spread_of_slopes(at_kink, middle, left, right, size, wide))

    def kinks(x: Sequence[Reals], *, constant: float, scale: float) -> Reals:
        margin = x[0] - x[1] if known.kink else x[0]
        return margin[np.newaxis][: int(known.kink)]

    return Cost(
        name, f"{name}({{0}})", shape, value_of, difference_of, back, _reach, kinks, spread, _work,
        separable=known.separable, by_class=by_class, link=link, of_link=of_link,
    )  # fmt: skip


def _sum(value: Value, difference: Difference) -> tuple[Value, Difference]:
    """Returns the value and difference of a separable cost, made of those of one entry."""
    return (
        lambda x, y, constant: value(x, y, constant).sum(axis=1),
        lambda x, y, d, constant: difference(x, y, d, constant).sum(axis=1),
    )


def _absolute_difference(x: Reals, y: Reals, d: Reals, constant: float) -> Reals:
    """Returns the exact difference of |x - y| = max(x - y, 0) + max(y - x, 0), part by part."""
    return positive_part_difference(x - y, d) + positive_part_difference(y - x, -d)


def _huber(x: Reals, y: Reals, c: float) -> Reals:
    """Returns Huber's error, written as t^2/2 + c max(|r| - c, 0) with r = x - y and t = clip(r, -c, c)."""
    t = np.clip(x - y, -c, c)
    return 0.5 * t * t + c * np.maximum(np.abs(x - y) - c, 0.0)


def _huber_difference(x: Reals, y: Reals, d: Reals, c: float) -> Reals:
    """Returns the exact difference: (t' - t)(t' + t)/2 for t^2/2, and those of the parts beyond c on either side."""
    r = x - y
    t, inner = np.clip(r, -c, c), clip_difference(r, d, -c, c)
    outer = positive_part_difference(r - c, d) + positive_part_difference(-r - c, -d)
    return inner * (t + 0.5 * inner) + c * outer


def _weighted_log(w: Reals, x: Reals) -> Reals:
    """Returns -w log x, which is 0 where w = 0, even if x is 0 there."""
    return -w * np.log(np.where(w == 0.0, 1.0, x))


def _weighted_log_difference(w: Reals, x: Reals, d: Reals) -> Reals:
    """Returns -w log1p(d/x), the exact difference of -w log x, which is 0 where w = 0 or d = 0."""
    counts = (w != 0.0) & (d != 0.0)
    return -w * np.log1p(np.where(counts, d, 0.0) / np.where(counts, x, 1.0))


def _binary_logits_difference(x: Reals, y: Reals, d: Reals, constant: float) -> Reals:
    """Returns the exact difference of (1 - y) softplus(x) + y softplus(-x), term by term."""
    return (1.0 - y) * softplus_difference(x, d) + y * softplus_difference(-x, -d)


def _one_hot(x: Reals, y: Reals) -> Reals:
    return np.asarray(np.arange(x.shape[1]) == y, np.float64)


def _logits(x: Reals, y: Reals, constant: float) -> Reals:
    """Returns the sum over k of y_k (s - x_k), where s is the logarithm of the sum of e^x over the row."""
    top = x.max(axis=1)
    log_sum = top + np.log(np.exp(x - top[:, np.newaxis]).sum(axis=1))
    return np.asarray(y.sum(axis=1) * log_sum - (y * x).sum(axis=1))


def _logits_difference(x: Reals, y: Reals, d: Reals, constant: float) -> Reals:
    """Returns Y log1p(sum of p expm1(d - m)) with p = softmax(x), Y the sum of y, and m = (sum of y d) / Y."""
    weight = y.sum(axis=1)
    mean = ((y * d).sum(axis=1) / weight)[:, np.newaxis]
    return np.asarray(weight * np.log1p((softmax(x) * np.expm1(d - mean)).sum(axis=1)))


PRIMITIVES = (
    _cost(
        "squared_error",
        *_sum(lambda x, y, c: c * (y - x) ** 2, lambda x, y, d, c: c * d * (d - 2.0 * (y - x))),
    ),
    _cost("absolute_error", *_sum(lambda x, y, c: np.abs(x - y), _absolute_difference)),
    _cost("huber", *_sum(_huber, _huber_difference)),
    _cost(
        "binary_cross_entropy_logits",
        *_sum(lambda x, y, c: (1.0 - y) * softplus(x) + y * softplus(-x), _binary_logits_difference),
        link="sigmoid",
        of_link="binary_cross_entropy_probabilities",
    ),
    _cost(
        "binary_cross_entropy_probabilities",
        *_sum(
            lambda x, y, c: _weighted_log(y, x) + _weighted_log(1.0 - y, 1.0 - x),
            lambda x, y, d, c: _weighted_log_difference(y, x, d) + _weighted_log_difference(1.0 - y, 1.0 - x, -d),
        ),
        distance=lambda x: np.minimum(x, 1.0 - x),
    ),
    _cost(
        "cross_entropy_logits",
        _logits,
        _logits_difference,
        link="softmax",
        of_link="cross_entropy_probabilities",
    ),
    _cost(
        "cross_entropy_logits_class",
        lambda x, y, c: _logits(x, _one_hot(x, y), c),
        lambda x, y, d, c: _logits_difference(x, _one_hot(x, y), d, c),
        link="softmax",
        of_link="cross_entropy_probabilities_class",
        by_class=True,
    ),
    _cost(
        "cross_entropy_probabilities",
        *_sum(lambda x, y, c: _weighted_log(y, x), lambda x, y, d, c: _weighted_log_difference(y, x, d)),
        distance=lambda x: x,
    ),
    _cost(
        "cross_entropy_probabilities_class",
        *_sum(
            lambda x, y, c: _weighted_log(_one_hot(x, y), x),
            lambda x, y, d, c: _weighted_log_difference(_one_hot(x, y), x, d),
        ),
        by_class=True,
        distance=lambda x: x,
    ),
)
#: All costs, by name.
COSTS = {cost.name: cost for cost in PRIMITIVES}
#: The costs that contain an activation, by the names of the costs that take the result of that activation.
BEFORE_LINK = {cost.of_link: cost for cost in PRIMITIVES if cost.of_link}
