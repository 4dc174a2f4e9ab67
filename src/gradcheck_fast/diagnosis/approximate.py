"""Recognises losses that are computed to a tolerance, and checked against the gradient of the exact problem.

An iteration that stops early, or a solver that chooses its steps, computes a function that is smooth in pieces: where
the number of steps changes, it jumps. Differences with small steps lie within one piece and give its slope; a curve
fitted over many pieces gives that of the exact problem.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.unused import value_at
from gradcheck_fast.inputs.trees import parts
from gradcheck_fast.numerical.gradient import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.results import Comparison
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem

#: The gradient of an exact problem must agree with the numerical one to this part of each array's largest entry.
_CLOSE = 1e-2
#: Where no pieces are seen in the loss, it must agree to this part.
_VERY_CLOSE = 1e-3
#: An error counts if it is larger than its error bar by this factor.
_BARS = 4.0
#: Where no pieces are seen, at least this part of the entries of the wrong arrays must be wrong: a wrong single entry
#: has another cause.
_SHARE = 0.25
#: Where no pieces are seen, at least this many entries must be wrong in all, for the same reason.
_ENTRIES = 4
#: Half the lengths of the lines on which the loss is evaluated, in sizes of the parameters.
_WIDTHS = (1e-3, 1e-2, 1e-1)
#: The loss is evaluated at this many points of each line.
_POINTS = 41
#: Lines are looked at if their evaluations take less than this many seconds, by the time that the first one takes.
_SECONDS = 10.0
#: The curve that is fitted to the values on a line has this degree.
_DEGREE = 3
#: Residuals are more than rounding if they are larger than this many roundings of the loss.
_ROUNDINGS = 64.0
#: The loss has jumps if the residuals change their sign at least this often. The residuals of a smooth function change
#: their sign about five times.
_SIGNS = 10
#: The slope of the curve may differ from the analytic derivative by at most this part of the difference between the
#: analytic and the numerical one.
_NEARER = 0.25
#: The standard error of the slope may be at most this part of that same difference.
_SURE = 0.1


class _Fit(NamedTuple):
    """A curve fitted to values on a line: their scatter around it, its slope, and the standard error of the slope."""

    scatter: float
    slope: float
    error: float


def of_exact_problem(
    problem: Problem, params: Packed, analytic: Packed, comparison: Comparison
) -> tuple[str, str, tuple[str, ...]] | None:
    """Returns the cause, the evidence and the arrays if the gradient seems to be that of an exact problem, else None.

    The test takes at most two evaluations of the loss, and `_POINTS` for each of `_WIDTHS`, or ends after `_SECONDS`.
    """
    coarse = any(precision.is_coarse for precision in analytic.precisions)
    if comparison.bars is None or coarse or "units" in problem.methods:
        return None
    error = analytic.flat - comparison.numerical
    clear = np.isfinite(error) & (comparison.excess > 1.0) & (np.abs(error) > _BARS * comparison.bars)
    places = {name: part for name, part, _ in parts(analytic.shapes)}
    wrong = [array.name for array in comparison.arrays if array.wrong]
    misfits = [_misfit(error[places[name]], comparison.numerical[places[name]]) for name in wrong]
    misfit = max(misfits, default=np.inf)
    if not misfit <= _CLOSE or not clear.any():
        return None
    names = tuple(wrong)
    direction = np.where(clear, error, 0.0)
    size = np.where(params.flat == 0.0, 1.0, np.abs(params.flat))
    direction /= (np.abs(direction) / size).max()
    fit = _seen_pieces(problem, params, direction, float(analytic.flat[clear] @ direction[clear]),
                       float(comparison.numerical[clear] @ direction[clear]))  # fmt: skip
    entries = sum(places[name].stop - places[name].start for name in wrong)
    agrees = f"{clear.sum():,} of {entries:,} entries are off, by {misfit:.0e} of their array's largest entry at most"
    if fit is not None:
        return (
            "yours is the gradient of the exact problem, and the loss is computed to a tolerance (an iteration that "
            "stops early, a solver that chooses its steps): it is smooth in pieces only",
            f"the values of the loss jump by about {fit.scatter:.0e}, around a curve whose slope is yours; {agrees}",
            names,
        )
    if misfit > _VERY_CLOSE or clear.sum() < max(_ENTRIES, _SHARE * entries):
        return None
    return (
        f"your gradient is right to {misfit:.0e}, but no further: as that of an exact problem whose loss is computed "
        "to a tolerance (an iteration that stops early, a solver), that of a problem without a small constant (an "
        "epsilon), or one that is itself approximate",
        agrees,
        names,
    )


def _misfit(error: NDArray[np.float64], numerical: NDArray[np.float64]) -> float:
    """Returns the largest error relative to the largest entry; infinite if that is zero or not finite."""
    largest = float(np.abs(numerical).max(initial=0.0))
    misfit = float(np.abs(error).max(initial=0.0)) / largest if largest else np.inf
    return misfit if np.isfinite(misfit) else np.inf


def _seen_pieces(
    problem: Problem, params: Packed, direction: NDArray[np.float64], analytic: float, numerical: float
) -> _Fit | None:
    """Fits curves to the loss on lines, and returns the best whose slope is the analytic derivative; else None.

    It is None as well if that would take longer than `_SECONDS`. `analytic` and `numerical` are the two derivatives
    along the direction.
    """
    began = perf_counter()
    value_at(problem, params, params.flat)
    if (perf_counter() - began) * len(_WIDTHS) * _POINTS > _SECONDS:
        return None
    apart = abs(analytic - numerical)
    fits = [_fit(problem, params, direction, width) for width in _WIDTHS]
    value_at(problem, params, params.flat)  # leaves the loss at the parameters
    found = [
        fit
        for fit in fits
        if fit is not None and fit.error <= _SURE * apart and abs(fit.slope - analytic) <= _NEARER * apart
    ]
    return min(found, key=lambda fit: fit.error, default=None)


def _fit(problem: Problem, params: Packed, direction: NDArray[np.float64], width: float) -> _Fit | None:
    """Fits a polynomial to values on a line; returns None if one is missing, or if no jumps show in the residuals."""
    at = np.linspace(-1.0, 1.0, _POINTS) + np.random.default_rng(0).uniform(-0.4, 0.4, _POINTS) / _POINTS
    found = [value_at(problem, params, params.flat + width * t * direction) for t in at]
    values = np.array([np.nan if value is None else value for value in found])
    if not np.isfinite(values).all():
        return None
    powers = np.vander(at, _DEGREE + 1, increasing=True)
    coefficients = np.linalg.lstsq(powers, values - values.mean(), rcond=None)[0]
    residuals = values - values.mean() - powers @ coefficients
    scatter = float(np.sqrt((residuals @ residuals) / (_POINTS - _DEGREE - 1)))
    signs = int(np.count_nonzero(np.diff(np.signbit(residuals))))
    if scatter <= _ROUNDINGS * EPSILON * np.abs(values).max() or signs < _SIGNS:
        return None
    error = scatter * float(np.sqrt(np.linalg.inv(powers.T @ powers)[1, 1]))
    return _Fit(scatter, float(coefficients[1]) / width, error / width)
