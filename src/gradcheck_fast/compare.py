"""What is wrong: an analytic gradient against a numerical one, entry by entry and as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _compare
from .arrays import finfo, is_coarse
from .differences import EPSILON, JITTER
from .errorbars import COST_ROUNDINGS, Bars, error_bars, in_proportion, reaching_over_kinks, refined_bars, typical
from .trees import Packed, Tree, pack, pack_as, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .differences import Numerical


class Entry(NamedTuple):
    """One entry of the gradient, as both sides have it."""

    array: str
    index: tuple[int, ...]  # type: ignore[assignment]  # shadows tuple.index
    analytic: float
    numerical: float


class Block(NamedTuple):
    """Rows and columns of an array between which more is wrong than is listed entry by entry.

    Attributes
    ----------
    rows, columns : tuple of (int, int)
        Stretches of them, each from the first to one beyond the last. An array of more axes is seen as the matrix that
        is nearest to a square, a vector as one row.
    extent : tuple of int
        Rows and columns of the array.
    drawn, wrong : int
        How many of them were drawn at random and differenced one by one, and how many of these were wrong.
    """

    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]
    extent: tuple[int, int]
    drawn: int
    wrong: int

    @property
    def size(self) -> int:
        """How many entries lie in it."""
        return _total(self.rows) * _total(self.columns)

    @property
    def estimate(self) -> int:
        """About how many entries are wrong: all, if all that were drawn are; at least one."""
        return max(1, round(self.size * self.wrong / max(self.drawn, 1)))

    @property
    def label(self) -> str:
        """Where it is, such as ``rows 4-7 x column 2``; empty if it is all of the array."""
        sides = zip(("row", "column"), (self.rows, self.columns), self.extent, strict=True)
        return " x ".join(_side(what, found) for what, found, extent in sides if _total(found) < extent)

    @property
    def evidence(self) -> str:
        """What the entries that were drawn of it say."""
        if not self.drawn:
            return "something is wrong there"
        if self.drawn == self.size == self.wrong:
            return f"all of its {self.size} entries are wrong"
        share = "all" if self.wrong == self.drawn else "none" if not self.wrong else f"{self.wrong}"
        return f"{share} of {self.drawn} entries drawn at random {'is' if self.wrong == 1 else 'are'} wrong"

    def to_dict(self) -> dict[str, Any]:
        """The block as plain numbers, strings, lists and dicts."""
        return {
            "label": self.label,
            "rows": [list(stretch) for stretch in self.rows],
            "columns": [list(stretch) for stretch in self.columns],
            "extent": list(self.extent),
            "size": self.size,
            "drawn": self.drawn,
            "wrong": self.wrong,
        }


def _total(stretches: tuple[tuple[int, int], ...]) -> int:
    return sum(end - begin for begin, end in stretches)


def _side(what: str, stretches: tuple[tuple[int, int], ...]) -> str:
    parts = [f"{begin}" if end == begin + 1 else f"{begin}-{end - 1}" for begin, end in stretches]
    parts = [*parts[:6], f"and {len(parts) - 6} more"] if len(parts) > 6 else parts
    return f"{what}{'s' * (_total(stretches) > 1)} {', '.join(parts)}"


class Drawn(NamedTuple):
    """Entries of one array that were differenced one by one: its name, and for each entry three numbers.

    They are columns, of shape (entries, 1), if the array is a matrix.
    """

    array: str
    params: NDArray[np.float64]
    analytic: NDArray[np.float64]
    numerical: NDArray[np.float64]


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
        Entries beyond the tolerance, or not finite in the analytic gradient.
    size : int
        Entries in all.
    rtol, atol : float
        The tolerance: an entry is right if ``|a - n| <= atol + rtol * max(|a|, |n|)``, by default plus its error bar
        and the rounding that a sum of its condition has in the dtype of the analytic gradient.
    at_kink : int
        Right entries at a kink: the analytic number is one of the slopes there.
    inconclusive : int
        Entries whose error bar, or the rounding due to the gradient's dtype, is too wide to decide, or whose numerical
        gradient is not finite; in an array in which there is something to check.
    empty : bool
        Whether the numerical gradient is zero, less than its error bars, or at a kink, in all entries, and yours or the
        bars are next to nothing: nothing that is wrong would surely have been seen.
    drawn : int, optional
        How many entries were drawn at random and compared; None: all were.
    power : float, optional
        By directions: an error of this size, relative to ‖a‖, would have been seen with the stated probability; in a
        wrong array, outside of what was found. `relative_error` is then an estimate, and `largest_error` that of the
        entries that were differenced one by one.
    entries : tuple of tuple of int
        By directions: the indices of the wrong entries that were found one by one.
    blocks : tuple of Block
        What is wrong besides, and too much to be listed.
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
    drawn: int | None = None
    power: float | None = None
    entries: tuple[tuple[int, ...], ...] = ()
    blocks: tuple[Block, ...] = ()

    @property
    def checked(self) -> int:
        """How many entries were compared."""
        return self.size if self.drawn is None else self.drawn

    @property
    def estimated(self) -> bool:
        """Whether the number of wrong entries is an estimate: not all in its blocks were looked at and wrong."""
        return any(block.wrong < block.drawn or not block.drawn for block in self.blocks)

    @property
    def status(self) -> str:
        """``"right"``, ``"wrong"``, ``"inconclusive"`` or ``"nothing to check"``."""
        if self.wrong:
            return "wrong"
        if self.empty:
            return "nothing to check"
        return "inconclusive" if self.inconclusive else "right"


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
#: Plain differences with their first steps are sure where they agree to this part of an entry and to noise, and noise
#: is less than the other part of what is typical.
_SURE, _CLEAR = 1e-8, 1e-6
#: How many roundings, of its dtype, the analytic gradient may have: of its parameters, and of what is added up in it.
ANALYTIC_ROUNDINGS = 12.0
#: A unit that is nearly saturated loses as many digits of 1 - a² in a coarse dtype as its gradient is smaller than it
#: would be elsewhere. So no entry has less rounding than the largest of all, times this.
_SATURATED = 3.0
#: An array that is less than its error bars has nothing to check, if these or its gradient are so small a part of the
#: whole gradient; else nothing is known of it.
NEGLIGIBLE = 1e-6
#: So many of the smallest normal numbers of its dtype may have been lost to underflow; of float32, if less was stored.
_UNDERFLOWS, _TINY = 1024.0, float(np.finfo(np.float32).tiny)


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

    Where the two agree to some roundings everywhere, or to what a first difference can tell, that is all: two
    independent ways have led to the same numbers. Else error bars are found; and where something is beyond them, what
    is rounded on the way.
    """
    zeros, n = np.broadcast_to(0.0, numerical.gradient.shape), numerical.gradient
    by_default = rtol is None and atol is None
    if by_default and numerical.exact and not with_bars:

        def sure(part: slice, shape: tuple[int, ...], dtype: np.finfo[Any]) -> _Tolerance:
            relative = _SURE_ROUNDINGS * float(dtype.eps)
            return _Tolerance(relative, relative * _compare.root_mean_square(n[part]), zeros[part])

        comparison = _judge(analytic, numerical, Bars(n, zeros), sure)
        if not any(array.wrong for array in comparison.arrays):
            return comparison
    if atol is not None:  # the user says how much; error bars are only shown
        by_user = lambda part, *_: _Tolerance(rtol or 0.0, atol, zeros[part])
        shown = reaching_over_kinks(error_bars(numerical, analytic.shapes).bars, numerical.kinks) if with_bars else None
        return _judge(analytic, numerical, Bars(n, zeros), by_user)._replace(bars=shown)
    if numerical.refine is None or with_bars:
        found = error_bars(numerical, analytic.shapes)
        known = found.bars
    else:
        close, unsure = _first_glance(analytic, numerical)
        gradient, known = refined_bars(numerical, unsure)
        found = Bars(gradient, np.where(unsure, known, close))
    if rtol is not None:
        by_rtol = lambda part, *_: _Tolerance(rtol, 0.0, found.bars[part])
        comparison = _judge(analytic, numerical, found, by_rtol)
    else:

        def within_bars(part: slice, shape: tuple[int, ...], dtype: np.finfo[Any]) -> _Tolerance:
            bars, own = found.bars[part], found.gradient[part]
            eps = float(dtype.eps)
            if numerical.exact:  # they show how the problem answers to rounding
                condition = bars / JITTER
            else:
                # what cancels in an entry is rounded, too; in float64 that is less than plain differences can see
                condition = np.maximum(np.abs(own), (eps > EPSILON) * typical(own, {"": shape}))
            allowance = bars + ANALYTIC_ROUNDINGS * eps * (condition + roundings[part])
            lost = float(dtype.smallest_subnormal) + _UNDERFLOWS * min(float(dtype.tiny), _TINY)
            return _Tolerance(0.0, lost, allowance)

        roundings = zeros
        comparison = _judge(analytic, numerical, found, within_bars)
        if any(array.wrong for array in comparison.arrays):
            roundings = np.broadcast_to(numerical.roundings(), n.shape)
            coarse = any(array.wrong and is_coarse(analytic.dtypes[array.name]) for array in comparison.arrays)
            change = numerical.coarse_roundings() if coarse else None
            if change is not None:
                spread = np.fmax(typical(change, analytic.shapes), in_proportion(change, n, analytic.shapes))
                roundings = np.maximum(roundings, np.fmax(change, spread))
                roundings = np.maximum(roundings, _SATURATED * np.abs(n[np.isfinite(n)]).max(initial=0.0))
            comparison = _judge(analytic, numerical, found, within_bars)
    bars = reaching_over_kinks(known, numerical.kinks) if np.isfinite(known).any() else None
    return comparison._replace(bars=bars)


def _first_glance(analytic: Packed, numerical: Numerical) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How close plain differences with their first steps must come to be sure, and which entries are not sure.

    Truncation that just makes up for an error of the analytic gradient is not to be expected; noise that hides one is.
    """
    a, n = analytic.flat, numerical.gradient
    close = COST_ROUNDINGS * EPSILON * np.broadcast_to(numerical.noise(), n.shape) + _SURE * np.abs(n)
    unsure = np.empty(len(n), np.bool_)
    for name, part, _ in parts(analytic.shapes):
        size = np.abs(n[part])
        dtype = analytic.dtypes[name]
        eps = float(finfo(dtype).eps)
        with np.errstate(invalid="ignore", over="ignore"):
            rounding = _SURE_ROUNDINGS * eps * np.maximum(size, is_coarse(dtype) * _compare.root_mean_square(n[part]))
            agree = (np.abs(a[part] - n[part]) <= close[part] + rounding) & (close[part] <= _CLEAR * size + rounding)
        unsure[part] = ~(agree | ~np.isfinite(a[part]))
    return close, unsure


class _Tolerance(NamedTuple):
    """What is allowed to an array: ``atol + rtol * max(|a|, |n|) + allowance``, the last for each entry."""

    rtol: float
    atol: float
    allowance: NDArray[np.float64]


def _judge(
    analytic: Packed, numerical: Numerical, found: Bars, tolerance: Callable[[slice, tuple[int, ...], Any], _Tolerance]
) -> Comparison:
    """The results under a tolerance that is asked for by array: its part, its shape, and its dtype's finfo."""
    a, n = analytic.flat, found.gradient
    low, high = np.broadcast_to(0.0, (2, *n.shape)) if numerical.kinks is None else numerical.kinks[1:]
    results: list[ArrayResult] = []
    excess = np.empty_like(n)
    negligible = NEGLIGIBLE * _compare.root_mean_square(n)
    for name, part, shape in parts(analytic.shapes):
        rtol, atol, allowance = tolerance(part, shape, finfo(analytic.dtypes[name]))
        own, other, ratio = a[part], n[part], excess[part]
        error, wrong, at_kink, undecided, small = _compare.judge(
            own, other, found.bars[part], allowance, low[part], high[part], rtol, atol,
            _compare.root_mean_square(other), ratio,
        )  # fmt: skip
        empty = not wrong and small + at_kink == own.size
        if empty and negligible:  # that much may be there, or is claimed to be, is more than nothing
            empty = found.bars[part].max(initial=0.0) <= negligible or np.abs(own).max(initial=0.0) <= negligible
        results.append(
            ArrayResult(
                name, shape, _ratio(own, other), error, wrong, own.size, rtol, float(atol), at_kink,
                0 if empty else undecided, empty,
            )
        )  # fmt: skip
    return Comparison(tuple(results), _ratio(a, n), excess, n, None)


#: Costs that differ by less, in parts of the larger, are taken for the same: yours may have been found in float32.
_SAME_COST = 1e-4
#: The same, where both are next to nothing.
_NO_COST = 1e-12


def compare_costs(yours: float, ours: float) -> tuple[str, ...]:
    """What to say where the user's cost is not the described one's; nothing if it is."""
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
