"""Compares a gradient with one whose error bars are wide, as where a function computes in few digits only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.comparison.results import ArrayResult, Comparison, known
from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.trees import parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.tolerances import Tolerances
    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.numerical.one_precision import OnePrecision

#: A tolerance that is more than this many square roots of the unit roundoff, as a part of an entry and of what is
#: typical of its array, is too wide to say that the entry is right: 3.5 % in float16, 10 % in bfloat16.
WIDE = 1.6
#: It is never less than this part.
LEAST_WIDE = 1e-2
#: The share of the entries in which errors of the size that is stated would have been seen. As many must be decided.
SEEN_IN = 0.98
#: Where all entries of an array are within their tolerances of 0, there is nothing to check in it if no tolerance is
#: more than this part, of what is too wide, of the root mean square of the whole gradient.
NEGLIGIBLE = 1e-2
#: Where that holds for all arrays, it is this part of the root mean square of the steepest mean slopes that were seen.
FLAT = 1e-2


def wide(precision: Precision) -> float:
    """Gives the tolerance, relative to an entry, that is too wide for numbers of a precision."""
    return max(LEAST_WIDE, WIDE * float(np.sqrt(precision.unit_roundoff)))


def compare_in_one_precision(
    analytic: Packed, found: OnePrecision, tolerances: Tolerances, precision: Precision
) -> Comparison:
    """Compares a gradient with derivatives that have error bars.

    Parameters
    ----------
    analytic : Packed
    found : OnePrecision
    tolerances : Tolerances
        Of the user. If `atol` is given, error bars and rounding are not added.
    precision : Precision
        What the function computes in.
    """
    a, n, too_wide = analytic.flat, found.derivatives, wide(precision)
    allowance = found.bars + found.rounding if tolerances.rtol is None else found.bars
    if tolerances.atol is not None:
        allowance = np.zeros_like(n)
    rtol, atol = tolerances.rtol or 0.0, tolerances.atol or 0.0
    excess, results = np.empty_like(n), []
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = a - n
        beyond = np.fmax(np.fmax(error - found.high, found.low - error), 0.0)
        allowed = allowance + atol + rtol * np.fmax(np.abs(a), np.abs(n))
        excess = np.where(beyond > 0.0, np.minimum(beyond / allowed, np.finfo(np.float64).max), 0.0)
        at_kink = (found.high > found.low) & np.isfinite(found.high)
        unknown = ~np.isfinite(n) | ~np.isfinite(allowed) | ~np.isfinite(found.high)
        excess = np.where(np.isfinite(a), np.where(unknown, 1.0, excess), np.inf)
        whole = _norms.root_mean_square(n[np.isfinite(n)])
        if not unknown.any() and (np.abs(n) <= allowed).all():
            flat = FLAT * _norms.root_mean_square(found.steepest)
            whole = max(whole, flat / NEGLIGIBLE) if flat or allowed.any() else np.inf
        for name, part, shape in parts(analytic.shapes):
            own, some = n[part], allowed[part]
            wrong = excess[part] > 1.0
            size = np.maximum(np.abs(own), _norms.root_mean_square(own[np.isfinite(own)]))
            undecided = ~wrong & (unknown[part] | (some > too_wide * size) & ~at_kink[part])
            small = (np.abs(own) <= some) & (some <= NEGLIGIBLE * too_wide * whole)
            empty = bool(not wrong.any() and (small | at_kink[part]).all())
            few = undecided.sum() <= (1.0 - SEEN_IN) * own.size
            results.append(
                ArrayResult(
                    name, shape, _ratio(a[part], own), float(np.abs(error[part]).max(initial=0.0)), int(wrong.sum()),
                    own.size, rtol, atol, int((at_kink[part] & ~wrong).sum()),
                    0 if empty or few else int(undecided.sum()), empty, power=_power(some, size),
                )
            )  # fmt: skip
    return Comparison(tuple(results), _ratio(a, n), known(excess), n, found.bars)


def _power(allowed: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """Gives the relative error that would have been seen in nearly all entries."""
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(size > 0.0, allowed / size, np.where(allowed > 0.0, np.inf, 0.0))
    relative = np.where(np.isnan(relative), np.inf, relative)
    return float(np.sort(relative)[max(int(np.ceil(SEEN_IN * len(relative))) - 1, 0)]) if len(relative) else 0.0


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """‖a − b‖ / ‖a + b‖ over the entries of which the derivative is known."""
    known_ones = np.isfinite(b)
    if not np.isfinite(a).all():
        return float("nan")
    difference, total = (float(np.linalg.norm(x[known_ones])) for x in (a - b, a + b))
    return difference / total if total else (0.0 if difference == 0.0 else float("inf"))
