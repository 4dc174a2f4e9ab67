"""Puts the entries of an array of parameters into batches, whose perturbations are run side by side.

All differences of a batch are kept in the places that any of its entries reaches. So entries are put together that
reach the same places, such as those of a column of a matrix; how they are is found by trying.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Index = NDArray[np.intp]

#: A batch has as many perturbations as fit the largest difference of a step into so many numbers.
NUMBERS = 2**19
#: And no more than this many entries.
MOST_ENTRIES = 1024
#: To run a step for a batch takes as long as this many operations, besides those that it does.
STEP_WORK = 10_000.0
#: Entries without any order are put together in so many, or one by one.
TOGETHER = (1, 16, 256)


class Estimate(NamedTuple):
    """What it takes to perturb the entries of a group.

    Attributes
    ----------
    steps : int
        How many steps are run.
    largest : int
        The most places in which a step changes.
    work : float
        The estimated operations for one perturbation.
    """

    steps: int
    largest: int
    work: float


class Batch(NamedTuple):
    """Entries that are perturbed side by side.

    Attributes
    ----------
    parameter : int
        The number of the step that is their array.
    places : ndarray of int
        The entries, as places of the flat array.
    begin : int
        Where the array begins in the flat vector of all parameters.
    work : float
        The estimated number of operations.
    """

    parameter: int
    places: Index
    begin: int
    work: float

    @property
    def entries(self) -> Index:
        """The entries, as places of the flat vector of all parameters."""
        return self.places + self.begin


def batches(
    parameter: int, shape: tuple[int, ...], begin: int, wanted: Index | None, rows: int,
    estimate: Callable[[Index], Estimate],
) -> Iterator[Batch]:  # fmt: skip
    """Yields the batches of an array.

    Parameters
    ----------
    parameter : int
        The number of its step.
    shape : tuple of int
    begin : int
        Where it begins in the flat vector.
    wanted : ndarray of int or None
        The places of the entries that are wanted; None: all.
    rows : int
        How many perturbations each entry has.
    estimate : callable
        Gives what it takes to perturb a group of entries.
    """
    size = math.prod(shape)
    if not size or (wanted is not None and not len(wanted)):
        return
    best, limit = math.inf, 1
    found: list[Index] = []
    for groups in _groupings(shape):
        probes = [estimate(groups[k]) for k in {0, len(groups) // 2}]
        steps, largest, work = (max(each) for each in zip(*probes, strict=True))
        most = int(min(MOST_ENTRIES, max(1, NUMBERS // (rows * max(1, largest)))))
        count = math.ceil(len(groups[0]) / most) * len(groups)
        total = count * steps * STEP_WORK + rows * size * work
        if total < best:
            best, found, limit = total, groups, most
    marked = None
    if wanted is not None:
        marked = np.zeros(size, np.bool_)
        marked[wanted] = True
    for group in found:
        own = group if marked is None else group[marked[group]]
        if len(own):
            for part in np.array_split(own, math.ceil(len(own) / limit)):
                yield Batch(parameter, part, begin, best * len(part) / size)


def _groupings(shape: tuple[int, ...]) -> Iterator[list[Index]]:
    """Yields ways to put the entries of an array into groups: by each axis, and in their order."""
    numbered = np.arange(math.prod(shape)).reshape(shape)
    if len(shape) > 1:
        for axis in range(len(shape)):
            if shape[axis] > 1:
                yield list(np.moveaxis(numbered, axis, 0).reshape(shape[axis], -1))
    flat = numbered.ravel()
    for count in TOGETHER:
        if count == 1 or count // 16 < len(flat):
            if count == 1 and len(flat) > TOGETHER[-1]:
                continue
            yield [flat[begin : begin + count] for begin in range(0, len(flat), count)]
