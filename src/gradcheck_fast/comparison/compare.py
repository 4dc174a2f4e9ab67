"""Compares an analytic gradient with a numerical one, entry by entry and as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.comparison._judge import judge
from gradcheck_fast.comparison.agreement import MOST_SURE, SURE_ROUNDINGS, agreement, sure_roundings
from gradcheck_fast.comparison.coarse import settled
from gradcheck_fast.comparison.results import ArrayResult, Comparison, known
from gradcheck_fast.comparison.tolerances import BY_DEFAULT, Tolerances
from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.gradient_names import taken
from gradcheck_fast.inputs.trees import Packed, Tree, pack, pack_as, parts
from gradcheck_fast.numerical.errorbars import (
    COST_ROUNDINGS,
    Bars,
    error_bars,
    in_proportion,
    reaching_over_kinks,
    refined_bars,
    typical,
)
from gradcheck_fast.numerical.gradient import EPSILON, JITTER, Kinks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.inputs.trees import Shape
    from gradcheck_fast.numerical.gradient import Numerical


def relative_error(a: Tree, b: Tree) -> float:
    """Returns ‖a − b‖ / ‖a + b‖, the tutorials' measure of how far two gradients differ.

    Parameters
    ----------
    a, b : tree of arrays
        Two trees with the same number of entries. They are compared in order, or by name if both are dicts with the
        same names; those in `b` may also be named as the gradients of those in `a`, such as ``dW1`` for ``W1``.

    Returns
    -------
    float
        The measure; 0 if both are zero everywhere, infinity if a = -b, and NaN if an entry is not finite.

    Raises
    ------
    TypeError
        If an array is not one of real numbers.
    ValueError
        If the two have different numbers of entries, or arrays of the same name have different shapes.
    """
    first = pack(a, "a", finite=False)
    second = pack(b, "b", finite=False)
    both = isinstance(a, Mapping) and isinstance(b, Mapping)
    if both and (set(first.shapes) == set(second.shapes) or taken("b", list(second.shapes), list(first.shapes))):
        second = pack_as(b, first.shapes, "b", finite=False, gradient=True)
    if first.flat.size != second.flat.size:
        raise ValueError(f"relative_error: a has {first.flat.size} entries, b has {second.flat.size}; expected as many")
    return _ratio(first.flat, second.flat)


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    (first, first_finite), (second, second_finite) = _norms.largest(a), _norms.largest(b)
    if not (first_finite and second_finite):
        return float("nan")
    scale = max(first, second)
    if scale == 0.0:
        return 0.0
    difference, total = _norms.squares(a, b, scale)
    return math.sqrt(difference / total) if total else float("inf")


#: Plain differences with their first steps confirm an entry that differs from them by no more than this part of its
#: size, their noise, and some roundings.
_SURE = 1e-8
#: Noise could hide an error, so that margin must be no more than this part of the entry, and some roundings; otherwise
#: error bars are found.
_CLEAR = 1e-6
#: How many roundings of its dtype the analytic gradient may have. One rounding moves an entry as far as it moves if all
#: parameters, and all that is added up on the way, are rounded by one part in eps.
ANALYTIC_ROUNDINGS = 12.0
#: In a coarse dtype one rounding of any entry is at least eps times this, times the largest entry of all: where a unit
#: is nearly saturated, 1 - a² loses as many digits as it makes the gradient smaller.
_SATURATED = 3.0
#: Where all entries of an array are within their error bars of 0, there is nothing to check in it if no bar is more
#: than this part of the root mean square of the whole gradient. If a bar is wider, nothing is known of the array.
NEGLIGIBLE = 1e-6
#: How many of the entries that seem wrong are looked at more closely, at most, beginning with the worst: each takes
#: dozens of evaluations.
_MOST_LOOKED_AT = 100
#: The eps of a dtype of few digits, or more: that of float16 is 1e-3, that of float32 1e-7.
_FEW_DIGITS = 1e-4
#: How many of the smallest normal numbers an entry may have lost to underflow.
_UNDERFLOWS = 1024.0
#: The smallest normal number of float32. It takes the place of that of float16, which is larger: numbers are mostly
#: stored in float16 and added up in float32.
_TINY = float(np.finfo(np.float32).tiny)


def compare(
    analytic: Packed, numerical: Numerical, tolerances: Tolerances = BY_DEFAULT, *, with_bars: bool = False,
    n_threads: int = 1,
) -> Comparison:  # fmt: skip
    """Compares two gradients entry by entry.

    Where the two agree to some roundings everywhere, or as well as a first difference can tell, nothing else is done:
    two independent ways have led to the same numbers. Of a dtype of few digits the same code must agree in float64.
    Otherwise error bars are found. If an entry is beyond its bar, it is also found how far rounding may move the
    entries, and those that seem wrong are looked at more closely.
    """
    by_default = not tolerances.are_given and numerical.exact and not with_bars
    by_default = by_default and not _is_wrong_in_double(analytic, numerical)
    agreed = agreement(analytic, numerical, n_threads) if by_default else None
    if agreed is not None:
        return agreed
    zeros, n, (rtol, atol) = np.broadcast_to(0.0, numerical.gradient.shape), numerical.gradient, tolerances
    if by_default:
        comparison = _judge(analytic, numerical, Bars(n, zeros), partial(_sure, n))
        if not any(array.wrong for array in comparison.arrays):
            return comparison
    if atol is not None:  # the user says how much; error bars are only shown
        found = Bars(n, zeros)
        by_user: _ToleranceOf = lambda part, *_: _EntryTolerance(rtol or 0.0, atol, zeros[part])
        shown = reaching_over_kinks(error_bars(numerical, analytic.shapes).bars, numerical.kinks) if with_bars else None
        comparison, *_ = _looked_closer(analytic, numerical, found, lambda _: by_user)
        return comparison._replace(bars=shown)
    found, widths = _with_bars(analytic, numerical, everywhere=with_bars)
    is_coarse = any(precision.is_coarse for precision in analytic.precisions)
    in_double = numerical.in_double() if numerical.in_double is not None and is_coarse else None

    def tolerance(found: Bars, roundings: NDArray[np.float64]) -> _ToleranceOf:
        if rtol is not None:
            return lambda part, *_: _EntryTolerance(rtol, 0.0, found.bars[part])
        within: _ToleranceOf = partial(_within_bars, found, numerical.exact, roundings)
        if in_double is not None:
            within = partial(_settled, within, analytic, numerical, found, in_double)
        return partial(_or_sure, within, n) if by_default else within

    comparison = _judge(analytic, numerical, found, tolerance(found, zeros))
    if any(array.wrong for array in comparison.arrays):
        roundings = zeros if rtol is not None else _roundings(comparison, analytic, numerical)
        comparison, looked_at, better, numerical = _looked_closer(
            analytic, numerical, found, lambda found: tolerance(found, roundings)
        )
        widths[looked_at] = better.bars[looked_at]
    bars = reaching_over_kinks(widths, numerical.kinks) if np.isfinite(widths).any() else None
    return comparison._replace(bars=bars)


def _is_wrong_in_double(analytic: Packed, numerical: Numerical) -> bool:
    """Whether the same code in float64 has an error that the roundings of fewer digits would hide.

    That is looked at in arrays of 16 bits or less, a rounding of which is as large as many mistakes.
    """
    if numerical.in_double is None or all(precision.eps < _FEW_DIGITS for precision in analytic.precisions):
        return False
    in_double = numerical.in_double()
    if in_double is None:
        return False
    for name, part, _ in parts(analytic.shapes):
        n, eps = numerical.gradient[part], analytic.precision(name).eps
        size = np.maximum(np.abs(n), _norms.root_mean_square(n))
        if eps >= _FEW_DIGITS and (np.abs(in_double[part] - n) > eps * size).any():
            return True
    return False


def _looked_closer(
    analytic: Packed, numerical: Numerical, found: Bars, tolerance: Callable[[Bars], _ToleranceOf]
) -> tuple[Comparison, NDArray[np.intp], Bars, Numerical]:
    """Compares, looks more closely at the worst of the entries that seem wrong, and compares again.

    Returns the comparison, the numbers of the entries that are known better now, and the gradient that is known now:
    once with its error bars, and once as a `Numerical` with its kinks. Without a method for a closer look nothing
    changes.
    """
    comparison = _judge(analytic, numerical, found, tolerance(found))
    worst = np.flatnonzero((comparison.excess > 1.0) & np.isfinite(analytic.flat))
    if numerical.closer is None or not len(worst):
        return comparison, worst[:0], found, numerical
    worst = np.sort(worst[np.argsort(-comparison.excess[worst], kind="stable")[:_MOST_LOOKED_AT]])
    closer = numerical.closer(worst, analytic.flat[worst])
    crossed, low, high = numerical.kinks or Kinks(0, *np.zeros((2, len(found.bars))))
    at_kink = (low[worst] != 0.0) | (high[worst] != 0.0)
    with np.errstate(invalid="ignore"):
        refuted = np.abs(closer.derivatives - found.gradient[worst]) > closer.bars + found.bars[worst]
        # larger steps may have crossed kinks, if there are any
        agrees = np.abs(closer.derivatives - analytic.flat[worst]) <= closer.bars
        agrees &= (closer.bars <= _CLEAR * np.abs(closer.derivatives)) & (numerical.kinks is not None)
    taken = np.isfinite(closer.derivatives) & (at_kink | refuted | agrees | (closer.low != 0.0))
    if not taken.any():
        return comparison, worst[:0], found, numerical
    gradient, bars, low, high = (array.copy() for array in (found.gradient, found.bars, low, high))
    for array, new in zip((gradient, bars, low, high), closer, strict=True):
        array[worst[taken]] = new[taken]
    found, numerical = Bars(gradient, bars), numerical._replace(kinks=Kinks(crossed, low, high))
    return _judge(analytic, numerical, found, tolerance(found)), worst[taken], found, numerical


class _EntryTolerance(NamedTuple):
    """The tolerance of an array: ``atol + rtol * max(|a|, |n|) + allowance``, where the allowance is by entry."""

    rtol: float
    atol: float
    allowance: NDArray[np.float64]


#: Gives the tolerance of an array, called with its slice of the flat vector, its shape and its precision.
_ToleranceOf: TypeAlias = "Callable[[slice, Shape, Precision], _EntryTolerance]"


def _sure(n: NDArray[np.float64], part: slice, shape: Shape, precision: Precision) -> _EntryTolerance:
    """The tolerance of some roundings; see `sure_roundings`."""
    relative = sure_roundings(precision)
    return _EntryTolerance(relative, relative * _norms.root_mean_square(n[part]), np.broadcast_to(0.0, n[part].shape))


def _or_sure(
    within: _ToleranceOf, n: NDArray[np.float64], part: slice, shape: Shape, precision: Precision
) -> _EntryTolerance:
    """Adds that of some roundings of float64 to a tolerance: other entries that are wrong make no entry wrong."""
    found = within(part, shape, precision)
    if precision.is_coarse:
        return found
    sure = _sure(n, part, shape, precision)
    return found._replace(rtol=max(found.rtol, sure.rtol), atol=max(found.atol, sure.atol))


def _settled(
    within: _ToleranceOf, analytic: Packed, numerical: Numerical, found: Bars, in_double: NDArray[np.float64],
    part: slice, shape: Shape, precision: Precision,
) -> _EntryTolerance:  # fmt: skip
    """Takes the rounding of a coarse dtype for what the same code in float64 says that it is."""
    tolerance = within(part, shape, precision)
    if not precision.is_coarse:
        return tolerance
    zeros = np.broadcast_to(0.0, found.gradient.shape)
    low, high = (zeros, zeros) if numerical.kinks is None else numerical.kinks[1:]
    allowance = settled(
        analytic.flat[part], found.gradient[part], in_double[part], found.bars[part], tolerance.allowance,
        (low[part], high[part]), precision,
    )  # fmt: skip
    return tolerance._replace(allowance=allowance)


def _with_bars(analytic: Packed, numerical: Numerical, *, everywhere: bool) -> tuple[Bars, NDArray[np.float64]]:
    """Returns the numerical gradient with how far entries of yours may be from it, and the bars that are known."""
    if numerical.refine is None or everywhere:
        found = error_bars(numerical, analytic.shapes)
        return found, found.bars
    close, unsure, enough = _first_glance(analytic, numerical)
    gradient, known = refined_bars(numerical, unsure, enough)
    return Bars(gradient, np.where(unsure, known, close)), known


def _within_bars(
    found: Bars, exact: bool, roundings: NDArray[np.float64], part: slice, shape: Shape, precision: Precision
) -> _EntryTolerance:
    """The tolerance of error bars, and of roundings in the analytic gradient's dtype."""
    bars, own, eps = found.bars[part], found.gradient[part], precision.eps
    # The bars of exact differences show how far rounding moves an entry. Those of plain differences do not, so the size
    # of the entry stands in for it; in dtypes coarser than float64, the typical size of its row and column does, too.
    condition = bars / JITTER if exact else np.maximum(np.abs(own), (eps > EPSILON) * typical(own, {"": shape}))
    allowance = bars + ANALYTIC_ROUNDINGS * eps * (condition + roundings[part])
    lost = precision.smallest_subnormal + _UNDERFLOWS * min(precision.tiny, _TINY)
    return _EntryTolerance(0.0, lost, allowance)


def _roundings(comparison: Comparison, analytic: Packed, numerical: Numerical) -> NDArray[np.float64]:
    """Returns how far each entry moves if all that it is found from is rounded once, divided by eps of the dtype."""
    n = comparison.numerical
    roundings: NDArray[np.float64] = np.broadcast_to(numerical.roundings(), n.shape)
    coarse = any(array.wrong and analytic.precision(array.name).is_coarse for array in comparison.arrays)
    change = numerical.coarse_roundings() if coarse else None
    if change is None:
        return roundings
    spread = np.fmax(typical(change, analytic.shapes), in_proportion(change, n, analytic.shapes))
    least = _SATURATED * np.abs(n[np.isfinite(n)]).max(initial=0.0)
    return np.asarray(np.maximum(np.maximum(roundings, least), np.fmax(change, spread)))


def _first_glance(
    analytic: Packed, numerical: Numerical
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Compares with plain differences that have their first steps, to see which entries need error bars.

    Returns, for each entry, how far the two may differ for the entry to be sure, whether it is not sure, and how wide
    its error bar may be. Noise may well hide an error of the analytic gradient; that truncation just makes up for one
    is not to be expected.
    """
    a, n = analytic.flat, numerical.gradient
    close = COST_ROUNDINGS * EPSILON * np.broadcast_to(numerical.noise(), n.shape) + _SURE * np.abs(n)
    unsure, enough = np.empty(len(n), np.bool_), np.empty(len(n))
    for name, part, _ in parts(analytic.shapes):
        size = np.abs(n[part])
        precision = analytic.precision(name)
        least = _norms.root_mean_square(n[part]) if precision.is_coarse else 0.0
        with np.errstate(invalid="ignore", over="ignore"):
            rounding = min(SURE_ROUNDINGS * precision.eps, MOST_SURE) * np.maximum(size, least)
            agree = (np.abs(a[part] - n[part]) <= close[part] + rounding) & np.isfinite(n[part])
            clear = close[part] <= _CLEAR * size + rounding
        unsure[part] = ~(agree & clear | ~np.isfinite(a[part]))
        enough[part] = np.where(agree, _CLEAR * size, 0.0)  # what does not agree is looked at as well as can be
    zero = np.flatnonzero(unsure & (a == 0.0) & (n == 0.0))
    if numerical.flat is not None and len(zero):
        bars = numerical.flat(zero)
        sure = np.isfinite(bars)
        close[zero[sure]], unsure[zero[sure]] = bars[sure], False
    return close, unsure, enough


def _judge(analytic: Packed, numerical: Numerical, found: Bars, tolerance: _ToleranceOf) -> Comparison:
    """Compares under the tolerances that `tolerance` gives for each array."""
    a, n = analytic.flat, found.gradient
    low, high = np.broadcast_to(0.0, (2, *n.shape)) if numerical.kinks is None else numerical.kinks[1:]
    results: list[ArrayResult] = []
    excess = np.empty_like(n)
    negligible = NEGLIGIBLE * _norms.root_mean_square(n)
    for name, part, shape in parts(analytic.shapes):
        rtol, atol, allowance = tolerance(part, shape, analytic.precision(name))
        own, other, ratio = a[part], n[part], excess[part]
        error, wrong, at_kink, undecided, small = judge(
            own, other, found.bars[part], allowance, low[part], high[part], rtol, atol,
            _norms.root_mean_square(other), ratio,
        )  # fmt: skip
        empty, reach = not wrong and small + at_kink == own.size, found.bars[part]
        if undecided and not wrong and not empty and not analytic.precision(name).is_coarse:
            # the bars may not show how far the roundings of many steps move a sum that is 0
            empty, reach = bool((np.abs(other) <= allowance).all()), allowance
        if empty and negligible:
            empty = bool(reach.max(initial=0.0) <= negligible)
        results.append(
            ArrayResult(
                name, shape, _ratio(own, other), error, wrong, own.size, rtol, float(atol), at_kink,
                0 if empty else undecided, empty,
                power=_power(own, other, allowance + found.bars[part], rtol, atol),
            )
        )  # fmt: skip
    return Comparison(tuple(results), _ratio(a, n), known(excess), n, None)


def _power(
    own: NDArray[np.float64], other: NDArray[np.float64], allowance: NDArray[np.float64], rtol: float, atol: float
) -> float:
    """Returns the relative size from which on an error is seen: one that is tolerated everywhere is no larger."""
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = allowance + (atol + rtol * np.fmax(np.abs(own), np.abs(other)))
        size = _norms.root_mean_square(other)
        return _norms.root_mean_square(allowed) / size if size and np.isfinite(allowed).all() else math.inf


#: Two costs that differ by no more than this part of the larger one are the same: yours may be one in float32.
_SAME_COST = 1e-4
#: Two costs that differ by no more than this are the same: of costs next to nothing rounding may have left no digit.
_NO_COST = 1e-12


def compare_costs(yours: float, ours: float) -> tuple[str, ...]:
    """Returns a note that says how the user's cost differs from that of the described network; none if they agree."""
    if abs(yours - ours) <= _SAME_COST * max(abs(yours), abs(ours)) + _NO_COST:
        return ()
    said = f"your cost is {yours:.10g}, the one described here {ours:.10g}"
    if ours:
        ratio = yours / ours
        said += f": {ratio:.4g} times as much"
        for factor, what in ((2.0, "a factor ½ differs"), (0.5, "a factor ½ differs"), (-1.0, "the sign differs")):
            if abs(ratio - factor) <= _SAME_COST * abs(factor):
                said += f", so {what}"
    return (f"{said}. Before the gradient, check the layers, the cost and its reduction: another network is described",)
