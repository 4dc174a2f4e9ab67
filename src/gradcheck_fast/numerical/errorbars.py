"""Finds error bars: how far each entry of a numerical gradient may be from the true derivative.

The gradient is found twice, the second time with a larger step, and with all parameters moved by some roundings of
their size. What changes is truncation, the rounding of either run, and how far rounding of the parameters moves the
gradient itself. A single change may be small by chance. So the bar of an entry is no less than what is typical of its
row and column, or of its array in proportion to the size of the entry.
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

#: An exact bar is at least this many roundings of its entry, or of what is typical of the entry's row and column.
FEWEST_ROUNDINGS = 4.0
#: How many times what changed between the two runs a bar is in exact arithmetic. The second step is three times the
#: first, so the truncation of the first run is at most half of the change.
EXACT_FACTOR = 1.5
#: How many times what changed between the two runs a bar is in plain arithmetic, where both runs have noise.
PLAIN_FACTOR = 4.0
#: How many roundings of the cost the difference of two costs may have.
COST_ROUNDINGS = 4.0


class Bars(NamedTuple):
    """A numerical gradient with error bars.

    Attributes
    ----------
    gradient : ndarray of float64, shape (size,)
        The derivative of each entry. In plain arithmetic with default steps it is that of the run with less error.
    bars : ndarray of float64, shape (size,)
        Their error bars; infinite where nothing is known. They do not reach over kinks.
    """

    gradient: NDArray[np.float64]
    bars: NDArray[np.float64]


def error_bars(numerical: Numerical, shapes: Mapping[str, tuple[int, ...]]) -> Bars:
    """Finds the gradient once more, and from both how far each entry may be off.

    Parameters
    ----------
    numerical : Numerical
        The gradient, and how to find it again.
    shapes : dict
        The shape of each array in the flat vector, by its name, in order.
    """
    if numerical.refine is not None:
        return refined_bars(numerical, np.ones(len(numerical.gradient), np.bool_))
    assert numerical.again is not None
    first, second = numerical.gradient, numerical.again(SECOND_STEP)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(second).all() and np.isfinite(first).all():  # the larger step leads too far
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
    """Finds better steps and error bars for some entries; the bars of the others are infinite.

    At a kink the difference with the first step is kept: the slopes are found relative to it, with a step that is
    `SMALLER_STEP` times smaller, and the bar there is the noise of these slopes.

    Parameters
    ----------
    numerical : Numerical
        A gradient that can be refined.
    where : ndarray of bool, shape (size,)
        The entries that are to be refined.
    enough : float or ndarray of float64, shape (size,)
        Bars of this size need not be narrower.
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
    """Widens error bars so that at kinks they reach to all slopes."""
    return bars if kinks is None else bars + np.maximum(np.abs(kinks.low), np.abs(kinks.high))


def in_proportion(
    change: NDArray[np.float64], x: NDArray[np.float64], shapes: Mapping[str, tuple[int, ...]]
) -> NDArray[np.float64]:
    """Returns what each entry would change by if it changed by the same part of itself as its whole array.

    That is steadier than what is typical of a row or column, which may have few entries.
    """
    result = np.zeros_like(x)
    for _, part, _ in parts(shapes):
        size = _norms.root_mean_square(x[part])
        if size > 0.0:
            result[part] = np.abs(x[part]) * (_norms.root_mean_square(change[part]) / size)
    return result


def typical(x: NDArray[np.float64], shapes: Mapping[str, tuple[int, ...]]) -> NDArray[np.float64]:
    """Returns what is typical of the row and the column of each entry.

    It is the product of their root mean squares, divided by the root mean square of the array. For the entries of a
    vector or scalar, it is that of the array. An array of more axes is seen as a matrix with a column for each index of
    the last axis. Entries that are not finite are left out.

    Parameters
    ----------
    x : ndarray of float64, shape (size,)
    shapes : dict
        The shape of each array in `x`, by its name, in order.

    Returns
    -------
    ndarray of float64, shape (size,)
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
