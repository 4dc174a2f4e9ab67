"""Error bars: how far a numerical gradient may be from the true one.

The gradient is found twice, the second time with a larger step and all parameters moved by some roundings of their
size. What changes is truncation, the rounding of either run, and how the problem itself answers to rounding. One
difference alone may be small by chance; so no entry's bar is less than what is typical of its row and column, or of its
array in proportion to its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.trees import parts
from gradcheck_fast.numerical.gradient import EPSILON, SECOND_STEP, SMALLER_STEP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gradcheck_fast.numerical.gradient import Kinks, Numerical

#: Roundings of an entry, or of one that is typical of its row and column, that no bar is less than.
FEWEST_ROUNDINGS = 4.0
#: Bars are so many times what changed between the two runs: in exact arithmetic, and in plain, where both have noise;
EXACT_FACTOR, PLAIN_FACTOR = 1.5, 4.0
#: and roundings of the cost in the difference of two costs.
COST_ROUNDINGS = 4.0


class Bars(NamedTuple):
    """A numerical gradient with error bars.

    Attributes
    ----------
    gradient : ndarray, shape (size,)
        In plain arithmetic with default steps, of each entry whichever of the two that has less error.
    bars : ndarray, shape (size,)
        Infinite where nothing is known. They do not reach over kinks.
    """

    gradient: NDArray[np.float64]
    bars: NDArray[np.float64]


def error_bars(numerical: Numerical, shapes: Mapping[str, tuple[int, ...]]) -> Bars:
    """Runs the method once more, and says how far each entry may be off.

    Parameters
    ----------
    numerical : Numerical
    shapes : dict
        Of the arrays in the flat vector, in order.
    """
    if numerical.refine is not None:
        return refined_bars(numerical, np.ones(len(numerical.gradient), np.bool_))
    assert numerical.again is not None
    first, second = numerical.gradient, numerical.again(SECOND_STEP)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(second).all() and np.isfinite(first).all():  # a larger step leads too far: a smaller one
            second = np.where(np.isfinite(second), second, numerical.again(1.0 / SECOND_STEP))
        change = np.abs(second - first)
        at_kink = np.zeros(len(first), np.bool_)
        if numerical.kinks is not None:
            at_kink = numerical.kinks.where
        unknown = ~np.isfinite(change)
        change[at_kink] = np.nan  # the second run may lie on another side of them: left out
        spread = np.fmax(change, typical(change, shapes))
        np.fmax(spread, in_proportion(change, first, shapes), out=spread)
        gradient = first
        if numerical.exact:
            bars = np.maximum(np.abs(first), typical(first, shapes))
            bars *= FEWEST_ROUNDINGS * EPSILON
            spread *= EXACT_FACTOR
            bars += spread
        else:
            noise = COST_ROUNDINGS * EPSILON * numerical.noise()
            bars = PLAIN_FACTOR * spread + noise
            if numerical.step is None:  # where only noise changed, the larger step has less of it
                gradient = np.where((change <= noise) & ~at_kink, second, first)
    bars[unknown] = np.inf
    np.copyto(bars, np.inf, where=~np.isfinite(bars))
    return Bars(gradient, bars)


def refined_bars(numerical: Numerical, where: NDArray[np.bool_], enough: NDArray[np.float64] | float = 0.0) -> Bars:
    """The gradient with better steps and error bars at some entries; infinite bars elsewhere.

    At a kink the difference with the first step is kept, for its slopes are found with that; they have its noise. Bars
    of the size `enough` need not be narrower.
    """
    gradient, bars = numerical.gradient.copy(), np.full(len(where), np.inf)
    assert numerical.refine is not None
    if numerical.kinks is not None:
        at_kink = numerical.kinks.where
        noise = np.broadcast_to(numerical.noise(), bars.shape)
        bars[at_kink] = SMALLER_STEP * COST_ROUNDINGS * EPSILON * noise[at_kink]
        where = where & ~at_kink
    gradient[where], bars[where] = numerical.refine(np.flatnonzero(where), np.broadcast_to(enough, where.shape)[where])
    return Bars(gradient, bars)


def reaching_over_kinks(bars: NDArray[np.float64], kinks: Kinks | None) -> NDArray[np.float64]:
    """Error bars that at kinks reach to all slopes."""
    return bars if kinks is None else bars + np.maximum(np.abs(kinks.low), np.abs(kinks.high))


def in_proportion(
    change: NDArray[np.float64], x: NDArray[np.float64], shapes: Mapping[str, tuple[int, ...]]
) -> NDArray[np.float64]:
    """x times what the whole array changes by, in proportion to its size: rows and columns may be of few entries."""
    result = np.zeros_like(x)
    for _, part, _ in parts(shapes):
        size = _norms.root_mean_square(x[part])
        if size > 0.0:
            result[part] = np.abs(x[part]) * (_norms.root_mean_square(change[part]) / size)
    return result


def typical(x: NDArray[np.float64], shapes: Mapping[str, tuple[int, ...]]) -> NDArray[np.float64]:
    """What is typical of the row and column of each entry: the product of their root mean squares, over the array's.

    Of a vector, its own; an array of more axes has a column for each entry of the last. What is not finite is left out.
    """
    result = np.empty_like(x)
    for _, part, shape in parts(shapes):
        if not part.stop > part.start:
            continue
        if len(shape) < 2:
            result[part] = _norms.root_mean_square(x[part])
            continue
        table = x[part].reshape(-1, shape[-1])
        rows, columns = np.empty(len(table)), np.empty(table.shape[1])
        _norms.row_and_column_sizes(table, rows, columns)
        np.multiply.outer(rows, columns, out=result[part].reshape(table.shape))
    return result
