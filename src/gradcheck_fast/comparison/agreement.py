"""Compares two gradients that agree, as most do: in one pass, and without arrays of their size."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.comparison._judge import glance
from gradcheck_fast.comparison.results import ArrayResult, Comparison
from gradcheck_fast.inputs.trees import parts
from gradcheck_fast.kernels.instruction_sets import instruction_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.numerical.gradient import Numerical

#: An entry that agrees to this many roundings of its size and of the root mean square of its array, in the dtype of the
#: analytic gradient, is right without any error bar: two independent ways have led to the same number.
SURE_ROUNDINGS = 8.0
#: But a part of this size must not be missing, though it is no more than a few roundings in float8.
MOST_SURE = 0.25
#: As `SURE_ROUNDINGS` in float64, where sums over hundreds of units and samples make tens of roundings, and where an
#: entry that is so far off is still right to 14 digits of what is typical of its array.
SURE_ROUNDINGS_OF_DOUBLES = 40.0
#: Sums of squares beside which nothing has been lost to underflow.
_SAFE_SQUARES = 1e-200


def sure_roundings(precision: Precision) -> float:
    """Returns to how many roundings an entry must agree to be right without an error bar, times eps."""
    roundings = SURE_ROUNDINGS if precision.is_coarse else SURE_ROUNDINGS_OF_DOUBLES
    return min(roundings * precision.eps, MOST_SURE)


def agreement(analytic: Packed, numerical: Numerical, n_threads: int) -> Comparison | None:
    """Compares in one pass, without arrays of the size of the gradient; None if an entry needs a closer look."""
    if numerical.kinks is not None:
        return None
    a, n, results, tolerances = analytic.flat, numerical.gradient, list[ArrayResult](), list[_Relative]()
    differences = totals = 0.0
    arrays = list(parts(analytic.shapes))
    relatives = [sure_roundings(precision) for precision in analytic.precisions]
    found = glance(a, n, [part.stop for _, part, _ in arrays], relatives, instruction_set(), n_threads)
    rows = zip(arrays, analytic.precisions, relatives, found.tolist(), strict=True)
    for (name, part, shape), precision, relative, row in rows:
        difference, total, square, largest, beyond, zeros = row
        size = part.stop - part.start
        lost = square <= _SAFE_SQUARES and not (zeros == size and largest == 0.0)
        if lost or not math.isfinite(difference + total):
            return None
        tolerance = _Relative(part, relative, relative * math.sqrt(square / max(size, 1)))
        if beyond > tolerance.atol:
            return None
        ratio = math.sqrt(difference / total) if total else 0.0
        # what is tolerated of each entry is relative of its size, and of what is typical
        power = 2.0 * relative if precision.is_coarse else None
        empty = zeros == size
        results.append(
            ArrayResult(name, shape, ratio, largest, 0, size, relative, tolerance.atol, 0, 0, empty, power=power)
        )
        tolerances.append(tolerance)
        differences, totals = differences + difference, totals + total
    relative_error = math.sqrt(differences / totals) if totals else 0.0
    return Comparison(tuple(results), relative_error, partial(_relative_excess, a, n, tolerances), n, None)


class _Relative(NamedTuple):
    """The tolerance ``atol + rtol * max(|a|, |n|)`` of an array, and its slice of the flat vector."""

    part: slice
    rtol: float
    atol: float


def _relative_excess(
    a: NDArray[np.float64], n: NDArray[np.float64], tolerances: Sequence[_Relative]
) -> NDArray[np.float64]:
    """Returns the error of each entry over its tolerance, for entries that agree."""
    excess = np.zeros_like(n)
    for part, rtol, atol in tolerances:
        allowed = atol + rtol * np.maximum(np.abs(a[part]), np.abs(n[part]))
        np.divide(np.abs(a[part] - n[part]), allowed, out=excess[part], where=allowed > 0.0)
    return excess
