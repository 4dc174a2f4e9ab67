"""What is wrong: an analytic gradient against a numerical one, entry by entry and as a whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _compare
from .differences import EPSILON
from .errorbars import Bars, error_bars, typical
from .trees import Packed, Tree, pack, pack_as

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from . import _compare
from .differences import Numerical


class Entry(NamedTuple):
    """One entry of the gradient, as both sides have it."""

    array: str
    index: tuple[int, ...]  # type: ignore[assignment]  # shadows tuple.index
    analytic: float
    numerical: float


@dataclass(frozen=True)
class ArrayResult:
    """How one array of the gradient compares.

    Attributes
    ----------
    name : str
    shape : tuple of int
    relative_error : float
        ‖a − n‖ / ‖a + n‖ over the array.
    largest_error : float
        Largest \\|a − n\\|.
    wrong : int
        Entries beyond the tolerance, or not finite.
    size : int
        Entries in all.
    rtol, atol : float
        The tolerance: an entry is right if ``|a - n| <= atol + rtol * max(|a|, |n|)``, by default plus its error bar
        and the rounding that a sum of its condition has in the dtype of the analytic gradient.
    at_kink : int
        Right entries at a kink: the analytic number is one of the slopes there.
    inconclusive : int
        Entries whose error bar is too wide to decide.
    empty : bool
        Whether the numerical gradient is zero, or less than its error bars, in all entries: nothing was checked here.
    """

    name: str
    shape: tuple[int, ...]
    relative_error: float
    largest_error: float
    wrong: int
    size: int
    rtol: float
    atol: float
    at_kink: int = 0
    inconclusive: int = 0
    empty: bool = False

    @property
    def status(self) -> str:
        """``"right"``, ``"wrong"``, ``"inconclusive"`` or ``"nothing to check"``."""
        if self.wrong:
            return "wrong"
        if self.empty:
            return "nothing to check"
        return "inconclusive" if self.inconclusive == self.size else "right"


def relative_error(a: Tree, b: Tree) -> float:
    """‖a − b‖ / ‖a + b‖, the tutorials' measure of how far two gradients differ.

    Parameters
    ----------
    a, b : tree of arrays
        With the same number of entries; compared in order, or by name if both are dicts of the same names.

    Returns
    -------
    float
        0 where both are zero everywhere, infinity where a = -b, NaN where an entry is not finite.

    Raises
    ------
    TypeError, ValueError
        If they are not real, or have different numbers of entries.
    """
    first = pack(a, "a", finite=False)
    second = pack(b, "b", finite=False)
    if isinstance(a, Mapping) and set(first.shapes) == set(second.shapes):  # whatever their order
        second = pack_as(b, first.shapes, "b", finite=False)
    if first.flat.size != second.flat.size:
        raise ValueError(f"relative_error: a has {first.flat.size} entries, b has {second.flat.size}; expected as many")
    return _ratio(first.flat, second.flat)


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    (first, first_finite), (second, second_finite) = _compare.largest(a), _compare.largest(b)
    if not (first_finite and second_finite):
        return float("nan")
    scale = max(first, second)
    if scale == 0.0:
        return 0.0
    difference, total = _compare.squares(a, b, scale)
    return math.sqrt(difference / total) if total else float("inf")


#: Roundings, of the analytic gradient's dtype, that a gradient which agrees so well needs no error bars to be right:
#: of an entry, and of the root mean square of its array.
_SURE_ROUNDINGS = 8.0
#: How many times the rounding that our own gradient shows the analytic one may have, in its dtype.
_ANALYTIC_FACTOR = 8.0
#: An error bar of more than this part of an entry, and of what is typical of its array, does not let decide.
_WIDE_BAR = 1e-2


class Comparison(NamedTuple):
    """The results of all arrays, and for each entry of the flat vector how far it exceeds its tolerance.

    `numerical` is the gradient that was compared with, and `bars` are its error bars, if they were needed.
    """

    arrays: tuple[ArrayResult, ...]
    relative_error: float
    excess: NDArray[np.float64]
    numerical: NDArray[np.float64]
    bars: NDArray[np.float64] | None


def compare(
    analytic: Packed, numerical: Numerical, rtol: float | None, atol: float | None, *, with_bars: bool = False
) -> Comparison:
    """Compares entry by entry.

    Where the two agree to some roundings everywhere, that is all: two independent ways have led to the same numbers.
    Else error bars are found, by a second run.
    """
    if rtol is None and atol is None and not with_bars and numerical.exact:
        sure = _compare_with(analytic, numerical, Bars(numerical.gradient, _NO_BARS), 0.0, 0.0, sure=True)
        if not any(array.wrong for array in sure.arrays):
            return sure._replace(bars=None)
    found = error_bars(numerical, analytic.shapes)
    if atol is not None and not with_bars:  # the user says how much
        found = Bars(numerical.gradient, _NO_BARS)
    return _compare_with(analytic, numerical, found, rtol or 0.0, atol or 0.0, given=atol is not None)


_NO_BARS = np.zeros(1)


def _compare_with(
    analytic: Packed, numerical: Numerical, found: Bars, rtol: float, atol: float, *, sure: bool = False,
    given: bool = False,
) -> Comparison:  # fmt: skip
    a, n = analytic.flat, found.gradient
    zeros = np.broadcast_to(0.0, n.shape)
    bars = np.broadcast_to(found.bars, n.shape)
    low, high = (zeros, zeros) if numerical.kinks is None else numerical.kinks[1:]
    results: list[ArrayResult] = []
    excess = np.empty_like(n)
    begin = 0
    for name, shape in analytic.shapes.items():
        part = slice(begin, begin + math.prod(shape))
        begin = part.stop
        own, other, bar, below, above, ratio = (vector[part] for vector in (a, n, bars, low, high, excess))
        itemsize = analytic.dtypes[name].itemsize if analytic.dtypes[name].kind == "f" else 8
        rounding = float(np.finfo(f"f{itemsize}").eps)
        middle = _root_mean_square(other)
        r, t, allowance = rtol, atol, zeros[part]
        if sure:
            r, t = _SURE_ROUNDINGS * rounding, _SURE_ROUNDINGS * rounding * middle
        elif not given:
            condition = bar / EPSILON if numerical.exact else _SURE_ROUNDINGS * np.maximum(
                np.abs(other), typical(other, {name: shape})
            )
            allowance = bar + _ANALYTIC_FACTOR * rounding * condition
        error, wrong = _compare.excess(own, other, allowance, below, above, r, t, ratio)
        right = ratio <= 1.0
        kinked = int(np.count_nonzero((below < above) & right)) if numerical.kinks else 0
        wide = 0
        if not sure and not given:
            wide = int(np.count_nonzero(right & (bar > _WIDE_BAR * np.maximum(np.abs(other), middle)) & (below == above)))
        empty = not wrong and bool((np.abs(other) <= bar).all())
        results.append(
            ArrayResult(name, shape, _ratio(own, other), error, wrong, own.size, r, float(t), kinked, wide, empty)
        )
    return Comparison(tuple(results), _ratio(a, n), excess, n, None if found.bars is _NO_BARS else found.bars)


#: Costs that differ by less are taken for the same: theirs may have been found in float32.
_SAME_COST = 1e-4
#: Factors between two costs that have a name.
_FACTORS = {2.0: "a factor ½ differs", 0.5: "a factor ½ differs", -1.0: "the sign differs"}


def compare_costs(yours: float, ours: float) -> tuple[str, ...]:
    """What to say where the user's cost is not the described one's; nothing if it is."""
    if abs(yours - ours) <= _SAME_COST * max(abs(yours), abs(ours)):
        return ()
    ratio = yours / ours if ours else math.inf
    named = next((f": {text}" for factor, text in _FACTORS.items() if abs(ratio / factor - 1.0) <= _SAME_COST), "")
    return (
        f"your cost is {yours:.10g}, ours {ours:.10g}: {ratio:.6g} times ours{named}. What is described here is not "
        "what you compute; check the layers, the cost and its reduction before the gradient",
    )


def _root_mean_square(x: NDArray[np.float64]) -> float:
    size, _ = _compare.largest(x)
    if size == 0.0:
        return 0.0
    scaled = np.where(np.isfinite(x), x, 0.0) / size
    return float(size * math.sqrt(scaled @ scaled / len(x)))
