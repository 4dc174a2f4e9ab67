"""What is wrong: an analytic gradient against a numerical one, entry by entry and as a whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _compare
from .differences import EPSILON, ROUNDING_ULPS
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
        The tolerance: an entry is right if ``|a - n| <= atol + rtol * max(|a|, |n|)``, by default plus rounding.
    at_kink : int
        Right entries at a kink: the analytic number lies between the one-sided derivatives.
    inconclusive : int
        Entries whose error bar is too wide to decide.
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

    @property
    def status(self) -> str:
        """``"right"``, ``"wrong"``, ``"inconclusive"`` or ``"nothing to check"``."""
        return "wrong" if self.wrong else "inconclusive" if self.inconclusive else "right"


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


#: rtol, and atol as a fraction of the largest entry of the array, by the precision of the analytic gradient.
_TOLERANCES = {2: (1e-2, 1e-2), 4: (1e-3, 1e-5), 8: (1e-7, 1e-14)}
#: The same, at least, for a numerical gradient found in plain arithmetic, which truncates.
_PLAIN = (1e-5, 1e-7)
#: Part of the largest entry of the gradient that rounding may excuse: beyond, nothing would be checked any more.
_MOST_ROUNDING = 1e-2


class Comparison(NamedTuple):
    """The results of all arrays, and for each entry of the flat vector how far it exceeds its tolerance."""

    arrays: tuple[ArrayResult, ...]
    relative_error: float
    excess: NDArray[np.float64]


def compare(analytic: Packed, numerical: Numerical, rtol: float | None, atol: float | None) -> Comparison:
    """Compares entry by entry, with tolerances that follow the dtype of each analytic array unless given."""
    a, n = analytic.flat, numerical.gradient
    rounding = np.broadcast_to(np.asarray(numerical.rounding(), np.float64), n.shape)
    most_rounding = 0.0 if atol is not None else _MOST_ROUNDING * _compare.largest(n)[0]
    results: list[ArrayResult] = []
    excess = np.empty_like(n)
    vectors = (a, n, rounding, excess)
    begin = 0
    for name, shape in analytic.shapes.items():
        part = slice(begin, begin + math.prod(shape))
        own, other, blur, ratio = (vector[part] for vector in vectors)
        default_rtol, share, widening = _tolerance(analytic.dtypes[name], numerical.exact)
        r = default_rtol if rtol is None else rtol
        t = share * _compare.largest(other)[0] + numerical.truncation if atol is None else atol
        error, wrong = _compare.excess(own, other, blur, r, t, widening, most_rounding, ratio)
        results.append(ArrayResult(name, shape, _ratio(own, other), error, wrong, own.size, r, float(t)))
        begin = part.stop
    return Comparison(tuple(results), _ratio(a, n), excess)


def _tolerance(dtype: np.dtype[Any], exact: bool) -> tuple[float, float, float]:
    """rtol, atol's share of the largest entry, and by how much the rounding allowed for float64 is to be widened."""
    itemsize = dtype.itemsize if dtype.kind == "f" else 8
    rtol, share = _TOLERANCES[itemsize]
    if not exact:  # rounding is then that of two whole costs, on the numerical side
        return max(rtol, _PLAIN[0]), max(share, _PLAIN[1]), 1.0
    return rtol, share, max(1.0, float(np.finfo(f"f{itemsize}").eps) / (ROUNDING_ULPS * EPSILON))
