"""Judges each row of a Jacobian by its own scale, as it would be if its output were the only one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.checks.second_look import compared, seen_again
from gradcheck_fast.comparison.compare import compare
from gradcheck_fast.inputs.arrays import coarsest
from gradcheck_fast.numerical.gradient import JITTER
from gradcheck_fast.numerical.joined import Piece, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.comparison.results import Comparison
    from gradcheck_fast.inputs.jacobian_blocks import Blocks
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.numerical.gradient import Numerical

#: Rows whose sizes differ by less than this factor are judged by the scale of their array.
NEAR = 2.0**10
#: A row that changes by more than this part of its size where the inputs move by some roundings is rounding itself. It
#: has no scale of its own.
STEADY = 1e-3
#: No row is made larger or smaller by more than this power of two.
_MOST = 200


def compared_by_rows(
    analytic: Packed, numerical: Numerical, options: Options, blocks: Blocks
) -> tuple[Numerical, Comparison]:
    """Compares two Jacobians, as a whole and with every row brought to the same size by a power of two.

    The verdicts on entries are those by rows, unless the user has given tolerances, or the Jacobian is of less than
    float64, in which rounding is absolute for the smallest numbers.
    """
    numerical, whole = compared(analytic, numerical, options)
    if options.tolerances.are_given or coarsest(analytic.precisions).is_coarse:
        return numerical, whole
    factors = _factors(numerical, blocks)
    if factors is None:
        return numerical, whole
    by_rows = compare(
        replace(analytic, join=lambda: analytic.flat * factors), _scaled(numerical, factors, blocks),
        with_bars=options.error_bars,
    )  # fmt: skip
    other = seen_again(analytic, numerical, by_rows)
    if other is not None:
        return compared_by_rows(analytic, other, options, blocks)
    arrays = tuple(
        replace(array, wrong=own.wrong, at_kink=own.at_kink, inconclusive=own.inconclusive, empty=own.empty)
        for array, own in zip(whole.arrays, by_rows.arrays, strict=True)
    )
    bars = None if by_rows.bars is None else by_rows.bars / factors
    return numerical, by_rows._replace(
        arrays=arrays, relative_error=whole.relative_error, numerical=by_rows.numerical / factors, bars=bars
    )


def _factors(numerical: Numerical, blocks: Blocks) -> NDArray[np.float64] | None:
    """Returns the power of two by which each entry is multiplied; None if all rows are of about one size."""
    height, rows = blocks.extent[0], _rows(blocks)
    size, change = np.zeros(height), np.zeros(height)
    gradient = np.abs(numerical.gradient)
    np.maximum.at(size, rows, np.where(np.isfinite(gradient), gradient, 0.0))
    if numerical.exact and numerical.again is not None:
        moved = np.abs(numerical.again(1.0) - numerical.gradient)
        np.maximum.at(change, rows, np.where(np.isfinite(moved), moved, 0.0))
    own = (size > 0.0) & (change <= STEADY * size)
    if not own.any() or size[own].max() <= NEAR * size[own].min():
        return None
    size[~own] = size[own].max()
    powers = np.clip(-np.frexp(size)[1], -_MOST, _MOST)
    return np.asarray(np.ldexp(1.0, powers)[rows])


def _rows(blocks: Blocks) -> NDArray[np.intp]:
    """Returns the row of the whole Jacobian that each entry lies in."""
    height, width = blocks.extent
    rows = np.empty(height * width, np.intp)
    for number in range(height):
        rows[blocks.row(number)] = number
    return rows


def _scaled(numerical: Numerical, factors: NDArray[np.float64], blocks: Blocks) -> Numerical:
    """Multiplies numerical derivatives, and says how far rounding moves them by what it moves in their rows."""
    everything, rows = np.arange(len(factors)), _rows(blocks)
    found = joined([Piece(numerical, everything, everything, factors)], len(factors))

    def roundings() -> NDArray[np.float64]:
        size = np.abs(found.gradient)
        squares = np.bincount(rows, np.where(np.isfinite(size), size, 0.0) ** 2) / np.bincount(rows)
        own = np.maximum(size, np.sqrt(squares)[rows])
        return own if found.again is None else own + np.abs(found.again(1.0) - found.gradient) / JITTER

    return found._replace(roundings=roundings) if numerical.exact else found
