"""Looks arrays up by their numbers, whatever factor they are multiplied by, and in whatever order their numbers are.

Users keep their arrays as they like: transposed, reshaped, times the number of samples. None of this changes the sum of
the sizes of the numbers over the largest size, Σ|x| / max|x|, nor that of the squares, Σx² / max|x|². The known arrays
are looked up by these two; the few that have the same ones are then compared number by number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from math import prod
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

Item = TypeVar("Item")

#: Two arrays are the same if they agree to this part of their largest entry.
SAME = 1e-9
#: In arrays of no more axes than these, they are recognised in any order.
_MOST_AXES = 4
#: The signatures of arrays are computed together if they have no more numbers than these.
_MOST_NUMBERS = 1_000_000
#: Rounding changes the sums by this part of them.
_ROUNDING = 1e-12


class _Signature(NamedTuple):
    """The largest size of the numbers of an array, and the sums of their sizes and of their squares over it."""

    largest: float
    sizes: float
    squares: float

    def is_of_one_number(self, size: int) -> bool:
        """Whether all numbers have one size, or all but one are zero: then the sums are the same for any number."""
        return self.squares >= size * (1.0 - 1e-6) or self.squares <= 1.0 + _ROUNDING


class _Table(NamedTuple):
    """The arrays of one size, by what they are looked up by: the keys, the sums of sizes, and the places, sorted."""

    keys: list[float]
    sizes: list[float]
    places: list[int]


class Lookup(Generic[Item]):
    """Arrays that others are looked up in. Those of one size are prepared when the first of that size is looked up."""

    def __init__(self) -> None:
        self._by_size: dict[int, list[tuple[Reals, Item]]] = {}
        self._finite: dict[int, list[Item]] = {}
        self._tables: dict[tuple[int, bool], _Table] = {}

    def add(self, array: Reals, item: Item) -> None:
        """Adds an array, with what is returned where it is found."""
        self._by_size.setdefault(array.size, []).append((array, item))

    def of_size(self, size: int) -> list[Item]:
        """Returns those with so many numbers, all of them finite, in the order in which they were added."""
        if size not in self._finite:
            self._prepare(size)
        return self._finite[size]

    def _prepare(self, size: int) -> None:
        given = self._by_size.get(size, [])
        found = signatures([array for array, _ in given], size)
        largest, sizes, squares = found.T
        is_finite = np.isfinite(largest)
        self._finite[size] = [given[place][1] for place in np.flatnonzero(is_finite)]
        number = np.cumsum(is_finite) - 1
        is_one = (squares >= size * (1.0 - 1e-6)) | (squares <= 1.0 + _ROUNDING)
        for one in (False, True):
            chosen = np.flatnonzero(is_finite & (largest > 0.0) & (is_one == one))
            keys = largest[chosen] if one else squares[chosen]
            order = np.argsort(keys, kind="stable")
            chosen = chosen[order]
            self._tables[size, one] = _Table(keys[order].tolist(), sizes[chosen].tolist(), number[chosen].tolist())

    def near(self, array: Reals, tolerance: float, factors: Iterable[float]) -> list[tuple[Item, float | None]]:
        """Returns what may be an array but for a factor, with the factor if the sums do not tell that it may be one.

        Parameters
        ----------
        array : ndarray of float64
        tolerance : float
            By which part of the largest its numbers may be off.
        factors : iterable of float
            Those that an array may have whose numbers are of one size, or zero but for one.

        Returns
        -------
        list of (item, float or None)
            In the order in which the arrays were added. None for an array of zeros, or of what is not finite.
        """
        signature = _signature(array)
        if signature is None or not self.of_size(array.size):
            return []
        size, of_one = array.size, signature.is_of_one_number(array.size)
        table, items = self._tables[size, of_one], self._finite[size]
        found: dict[int, float | None] = {}
        if of_one:
            for factor in factors:
                key = signature.largest / factor
                for place in _within(table, key, 2.0 * tolerance * key):
                    if abs(table.sizes[place] - signature.sizes) <= 0.5:
                        found.setdefault(table.places[place], factor)
        else:
            # both the sizes of the numbers and the largest are off by as much as the tolerance allows
            width = 4.0 * tolerance * signature.sizes + _ROUNDING * signature.squares
            nearest = 2.0 * tolerance * size + _ROUNDING * signature.sizes
            for place in _within(table, signature.squares, width):
                if abs(table.sizes[place] - signature.sizes) <= nearest:
                    found[table.places[place]] = None
        return [(items[place], found[place]) for place in sorted(found)]


def signatures(arrays: Sequence[Reals], size: int) -> Reals:
    """Returns for each array of a size a row: max|x|, Σ|x| / max|x| and Σx² / max|x|²."""
    found = np.empty((len(arrays), 3))
    at_once = max(_MOST_NUMBERS // max(size, 1), 1)
    for begin in range(0, len(arrays), at_once):
        rows = np.concatenate([array.reshape(-1) for array in arrays[begin : begin + at_once]]).reshape(-1, size)
        rows = np.abs(rows, out=rows if rows.dtype == np.float64 else None)
        largest = rows.max(axis=1, initial=0.0)
        rows /= np.where((largest > 0.0) & np.isfinite(largest), largest, 1.0)[:, np.newaxis]
        part = found[begin : begin + at_once]
        part[:, 0], part[:, 1], part[:, 2] = largest, rows.sum(axis=1), np.einsum("ij,ij->i", rows, rows)
    return found


def _signature(array: Reals) -> _Signature | None:
    """Returns the signature of one array; None for zeros, and for what is not finite."""
    sizes = np.abs(array).reshape(-1)
    largest = float(sizes.max(initial=0.0))
    if not 0.0 < largest < np.inf:
        return None
    sizes = sizes / largest
    return _Signature(largest, float(sizes.sum()), float(sizes @ sizes))


def _within(table: _Table, key: float, width: float) -> range:
    return range(bisect_left(table.keys, key - width), bisect_right(table.keys, key + width))


def fit(
    a: Reals, b: Reals, tolerance: float = SAME, *, is_stack: bool = False, is_mixed: bool = True
) -> tuple[float, str, float] | None:
    """Finds by which factor and in what order the numbers of b are those of a, and the misfit; None if they are not.

    Parameters
    ----------
    a, b : ndarray of float64
        Of the same number of entries.
    tolerance : float
        By which part of its largest entry `a` may be off.
    is_stack, is_mixed : bool
        As for `arrangements`.
    """
    x = a.reshape(-1)
    at = int(np.abs(x).argmax()) if x.size else 0
    if not x.size or x[at] == 0.0:
        return None
    for other, how in arrangements(a.shape, b, is_stack=is_stack, is_mixed=is_mixed):
        y = other.reshape(-1)
        if y[at] == 0.0:
            continue
        factor = float(x[at] / y[at])
        if abs(factor - 1.0) <= tolerance:
            factor = 1.0
        misfit = float(np.abs(x - factor * y).max()) / abs(float(x[at]))
        if misfit <= tolerance:
            return factor, how, misfit
    return None


def factor_of(array: Reals, known: Reals) -> float | None:
    """Returns c if an array is c times a known one, whatever the order of the axes; else None.

    Of arrays whose entries are all of one size, the factor says nothing: it must be 1.
    """
    if array.size != known.size:
        return None
    if not known.any() and not array.any():
        return 1.0 if array.shape == known.shape else None
    found = fit(array, known, is_mixed=False)
    if found is None or found[0] == 1.0:
        return found and found[0]
    sizes = np.abs(known)
    return None if float(sizes.min()) > float(sizes.max()) * (1.0 - SAME) else found[0]


def oriented(array: Reals, shape: tuple[int, ...]) -> Iterator[Reals]:
    """Yields an array in a shape: as it is, with its axes in another order, or with its entries in the same order."""
    if array.size == prod(shape):
        yield from (other for other, _ in arrangements(shape, array, is_mixed=False))


def arrangements(
    shape: tuple[int, ...], b: Reals, *, is_stack: bool = False, is_mixed: bool = True
) -> Iterator[tuple[Reals, str]]:
    """Yields the orders that the numbers of an array may be in, as arrays of the shape, with words for the order.

    Parameters
    ----------
    shape : tuple of int
    b : ndarray
        Of as many numbers.
    is_stack : bool
        Whether its first axis is time, which may also run backwards.
    is_mixed : bool
        Whether it may be reshaped as well as transposed; or else only if no order of its axes has the shape.
    """
    if not is_mixed and b.shape == shape and b.ndim <= 1:
        yield b, ""
        return
    wanted = tuple(n for n in shape if n > 1)
    squeezed = b.reshape(tuple(n for n in b.shape if n > 1))
    orders = list(permutations(range(squeezed.ndim))) if squeezed.ndim <= _MOST_AXES else [tuple(range(squeezed.ndim))]
    flips = ((squeezed, ""), (squeezed[::-1], "backwards in time")) if is_stack and squeezed.ndim else ((squeezed, ""),)
    for each, flipped in flips:
        for k, order in enumerate(orders):
            if tuple(each.shape[axis] for axis in order) == wanted:
                other = each.transpose(order) if k else each
                yield other.reshape(shape), " and ".join(filter(None, (flipped, "transposed" * bool(k))))
    if not is_mixed:
        if sorted(wanted) != sorted(squeezed.shape) or (len(wanted) > _MOST_AXES and wanted != squeezed.shape):
            yield b.reshape(shape), "reshaped"
        return
    for each, flipped in flips:  # a reshape is the last resort
        for k, order in enumerate(orders):
            other = each.transpose(order)
            if other.shape != wanted:
                yield other.reshape(shape), " and ".join(filter(None, (flipped, "transposed" * bool(k), "reshaped")))
        if 1 < len(wanted) <= _MOST_AXES:  # its axes may also be exchanged after it was reshaped
            for order in list(permutations(range(len(wanted))))[1:]:
                other = each.reshape(tuple(wanted[axis] for axis in order)).transpose(np.argsort(order).tolist())
                yield other.reshape(shape), " and ".join(filter(None, (flipped, "transposed", "reshaped")))


def are_same(a: Reals, b: Reals) -> bool:
    """Whether two arrays of one shape agree to rounding."""
    if a.shape != b.shape:
        return False
    off = np.abs(a - b).max(initial=0.0)
    return bool(off <= SAME * max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))
