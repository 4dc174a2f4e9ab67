"""Where differences are: the places of a tensor that one of many perturbations may change."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.engine import _entries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    Index = NDArray[np.intp]
    Mask = NDArray[np.bool_]

#: A difference with at least this part of the entries of its tensor is kept as a dense one.
FILLED = 0.5


class Places:
    """Some places of a tensor, in C order; `index` is None if it is all of them. Equal ones are the same object.

    Parameters
    ----------
    size : int
        The number of entries of the tensor.
    index : ndarray of int, optional
    """

    def __init__(self, size: int, index: Index | None = None) -> None:
        self.size, self.index = size, index

    @property
    def count(self) -> int:
        """How many places there are."""
        return self.size if self.index is None else len(self.index)

    @cached_property
    def mask(self) -> Mask:
        """Marks the places, in a flat array of the size of the tensor."""
        if self.index is None:
            return np.ones(self.size, np.bool_)
        mask = np.zeros(self.size, np.bool_)
        mask[self.index] = True
        return mask

    @cached_property
    def _numbers(self) -> Index:
        numbers = np.full(self.size, -1, np.intp)
        numbers[self.index] = np.arange(self.count)
        return numbers

    def numbers(self, where: Index) -> Index:
        """Returns the number of each of these places among its own, and -1 for those that are not among them."""
        return where if self.index is None else self._numbers[where]

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Returns the entries of an array of the size of the tensor that are in these places, as a flat array."""
        flat = array.ravel()
        return flat if self.index is None else flat[self.index]


class Change(NamedTuple):
    """By how much a tensor changes, in each of some perturbations.

    Attributes
    ----------
    values : ndarray of float64, shape (perturbations, places)
    places : Places
        Elsewhere none of them changes it.
    """

    values: Reals
    places: Places


class Single(NamedTuple):
    """A change of one entry in each perturbation.

    Attributes
    ----------
    values : ndarray of float64, shape (perturbations,)
    where : ndarray of int, shape (perturbations,)
    """

    values: Reals
    where: Index


class Book:
    """Keeps one object for equal places, so that what is made of it is made once."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, bytes], Places] = {}
        self._all: dict[int, Places] = {}
        self.kept = 0

    def every(self, size: int) -> Places:
        """Returns all places of a tensor of some size."""
        return self._all.setdefault(size, Places(size))

    def marked(self, mask: Mask) -> Places | None:
        """Returns the places that a mask marks, all of them if they are many, and None if there are none."""
        index = np.flatnonzero(mask)
        if not len(index):
            return None
        return self.every(mask.size) if len(index) >= FILLED * mask.size else self.some(mask.size, index)

    def some(self, size: int, index: Index) -> Places:
        """Returns these places, which ascend."""
        if len(index) == size:
            return self.every(size)
        key = size, index.tobytes()
        found = self._found.get(key)
        if found is None:
            found = self._found.setdefault(key, Places(size, index))
            self.kept += size + len(index)
        return found

    def spread(self, single: Single, size: int) -> Change:
        """Returns the change of one entry in each perturbation as one in the places of all of them."""
        index, numbers = np.unique(single.where, return_inverse=True)
        values = np.zeros((len(single.where), len(index)))
        values[np.arange(len(values)), numbers] = single.values
        return Change(values, self.some(size, index))

    def forget(self) -> None:
        """Forgets all places."""
        self._found.clear()
        self.kept = 0


def selection(numbers: Index, count: int) -> Index | None:
    """Returns the columns to take of `count`; None if they are all, as they are."""
    if len(numbers) == count and (numbers == np.arange(count)).all():
        return None
    return np.ascontiguousarray(numbers, np.intp)


def taken(values: Reals, columns: Index | None) -> Reals:
    """Returns some columns, with zeros for those with the number -1."""
    if columns is None:
        return values
    found = np.empty((len(values), len(columns)))
    _entries.take(values, columns, found)
    return found


def added(values: Reals, columns: Index, count: int) -> Reals:
    """Returns the sums of the columns that have the same number, of `count` numbers."""
    found = np.empty((len(values), count))
    _entries.add_up(values, columns, found)
    return found
